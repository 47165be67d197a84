from __future__ import annotations

import numpy as np
import pytest

from larqldb.knowledge.evidence import Parts, Shares
from larqldb.knowledge.pieces import LEAST, STRONGEST, SURELY, Written, written

PARTS = Parts(features=1000, heads=2, head_dim=16)
COLUMNS = ("shares", "leads", "sizes")


def shares(adds: list[float], leads: list[float], *, lead: float = 1.0, sizes: float = 1.0) -> Shares:
    """What a wording of logit 20 showed of the first features."""
    columns = (np.array(column, np.float32) for column in (adds, leads, [sizes] * len(adds)))
    return Shares(20.0, lead, np.arange(len(adds)), *columns)


def numbers(found: Written) -> list[int]:
    return [piece.number for piece in found.pieces]


def test_what_does_most_for_the_lead_comes_first() -> None:
    found = written([shares([5.0, 1.0, 2.0], [0.1, 3.0, -4.0])], PARTS)
    assert numbers(found) == [1, 0, 2]
    assert [piece.contribution for piece in found.pieces] == [1.0, 5.0, 2.0]
    assert found.logit == 20
    assert found.feature is found.pieces[1]


def test_what_writes_much_else_comes_later() -> None:
    one, other = shares([1.0], [1.0]), shares([1.0], [1.1], sizes=100.0)
    both = Shares(20.0, 1.0, np.array([0, 1]), *(np.concatenate([getattr(one, c), getattr(other, c)]) for c in COLUMNS))
    assert numbers(written([both], PARTS)) == [0, 1]


def test_heads_count_by_the_numbers_they_write() -> None:
    parts = np.array([3, PARTS.number("head", 0, 1)])
    column = np.array([1.0, 1.9], np.float32)
    found = written([Shares(20.0, 1.0, parts, column, column, column)], PARTS)
    assert [(piece.kind, piece.number) for piece in found.pieces] == [("feature", 3), ("head", 1)]  # 1.9 / 16 ** 0.25


def test_wordings_are_put_together_by_their_means() -> None:
    found = written([shares([0.3, 0.1], [1.0, 0.5]), shares([0.1], [0.0])], PARTS)
    assert [(piece.number, piece.contribution, piece.wordings) for piece in found.pieces] == [
        (0, pytest.approx(0.2), 1),
        (1, pytest.approx(0.05), 0),
    ]


def test_beyond_the_strongest_all_that_is_notable_is_kept_if_asked_for() -> None:
    leads = list(np.linspace(2, 1, 100))
    adds = [0.0] * 50 + [20 * LEAST] * 20 + [-20 * LEAST] * 20 + [19 * LEAST] * 10
    whole, some = (written([shares(adds, leads)], PARTS, whole=whole) for whole in (True, False))
    assert numbers(some) == list(range(STRONGEST))
    assert numbers(whole) == [*range(STRONGEST), *range(50, 90)]


def test_what_decides_holds_up_the_lead_and_more() -> None:
    assert written([shares([1.0] * 9, [1.0] * 9, lead=3 / SURELY)], PARTS).decisive == 3
    assert written([shares([1.0] * 9, [1.0] * 9, lead=9.5 / SURELY)], PARTS).decisive is None
    enough_in_all = [shares([1.0] * 99, [1.0] * 99, lead=(STRONGEST + 1) / SURELY)]
    assert written(enough_in_all, PARTS).decisive is None


def test_nothing_decides_an_answer_that_was_not_given() -> None:
    assert written([shares([1.0] * 9, [1.0] * 9, lead=-1.0)], PARTS).decisive is None


def test_no_wording_gave_the_answer() -> None:
    found = written([], PARTS)
    assert (found.pieces, found.logit, found.decisive, found.feature) == ((), None, None, None)
