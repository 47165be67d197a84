from __future__ import annotations

import numpy as np
import pytest

from larqldb.knowledge.confidence import PRECISE, Confidence, fit
from larqldb.knowledge.support import Support, supports


def test_supports_put_spellings_together():
    found = supports([("Paris", 0.5), ("the paris", 0.7), ("Lyon", 0.2), ("", 0.9)])
    assert list(found) == ["paris", "lyon"]
    assert found["paris"].spelling == "the paris"
    assert found["paris"].agreement == 0.5
    assert found["paris"].probability == pytest.approx(0.3)
    assert found["paris"].lead == 0.25
    assert found["lyon"].lead == -0.25


def test_more_support_is_never_less_confidence():
    sure = Confidence()
    rated = [sure.of(Support("x", share, share * 0.8, 2 * share - 1, 6)) for share in np.linspace(0, 1, 11)]
    assert rated == sorted(rated)
    assert 0 <= rated[0] < 0.2
    assert 0.8 < rated[-1] <= 1


def _relation(rng: np.random.Generator, entities: int, wordings: int) -> list[list[tuple[str, float]]]:
    """Entities that a model knows more or less well: each wording gives the same answer with that probability."""
    made = []
    for entity in range(entities):
        known = rng.choice([0.2, 0.5, 0.95])
        made.append([
            (f"right {entity}", known * rng.uniform(0.6, 1))
            if rng.random() < known
            else (f"wrong {rng.integers(9)}", 0.1)
            for _ in range(wordings)
        ])  # fmt: skip
    return made


def test_confidence_is_how_often_a_new_wording_agrees():
    rng = np.random.default_rng(1)
    sure, bins = fit({name: _relation(rng, 120, 6) for name in "abcd"})
    edges = sum(each.edges for each in bins)
    error = sum(abs(each.confidence - each.observed) * each.edges for each in bins) / edges
    assert error < 0.1
    upper = [each for each in bins if each.confidence >= 0.5]
    assert sum(each.observed * each.edges for each in upper) >= 0.9 * sum(each.edges for each in upper)
    assert 0.5 <= sure.half <= 0.95
    assert PRECISE > 0.9


def test_one_wording_or_none_leaves_what_there_was_before():
    assert fit({}) == (Confidence(), [])
    assert fit({"a": [[("Paris", 0.5)], [("Rome", 0.4)]]}) == (Confidence(), [])


def test_a_few_answers_hardly_move_it():
    few, _ = fit({"a": [[("Paris", 0.9), ("Lyon", 0.9)], [("Rome", 0.9), ("Bari", 0.9)]]})
    assert np.abs(np.array(few.weights) - Confidence().weights).max() < 2.5
    assert few.half == Confidence().half


def test_answers_nobody_could_read():
    sure, bins = fit({"a": [[("", 0.0)] * 4] * 3})
    assert (sure, bins) == (Confidence(), [])
