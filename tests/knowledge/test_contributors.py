from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from larqldb.knowledge.contributors import Contributors, contributors, read, write
from larqldb.knowledge.evidence import Parts, Shares
from larqldb.storage.database import MEMORY, open_database

PARTS = Parts(features=10, heads=2, head_dim=4)


def shares(logit: float, adds: dict[int, float]) -> Shares:
    """What a wording showed: parts by number, and what each adds to the logit."""
    sizes = np.array([*adds.values()], np.float32)
    return Shares(logit, 1.0, np.array([*adds], np.int64), sizes, sizes, sizes)


def found(wordings: Sequence[Shares], asked: int) -> dict[tuple[int, int], float]:
    """Layer and feature of contributors, and what each adds."""
    given = contributors(wordings, PARTS, asked)
    places = zip((given.places >> 20).tolist(), (given.places & 0xFFFFF).tolist(), strict=True)
    return dict(zip(places, given.sizes.tolist(), strict=True))


def test_what_two_wordings_show_counts_with_the_mean() -> None:
    wordings = [shares(20, {3: 1.0, 4: 2.0}), shares(20, {3: 3.0}), shares(20, {14: 1.0})]
    assert found(wordings, 3) == {(0, 3): np.float32(4 / 3)}


def test_what_one_wording_alone_shows_is_no_evidence() -> None:
    assert found([shares(20, {3: 1.0})], 5) == {}


def test_where_one_was_asked_it_has_to_do() -> None:
    assert found([shares(20, {3: 1.0})], 1) == {(0, 3): 1.0}


def test_small_shares_and_those_against_the_answer_do_not_count() -> None:
    adds = {0: 0.0299, 1: 0.0301, 2: -5.0}
    assert list(found([shares(10, adds), shares(10, adds)], 2)) == [(0, 1)]


def test_the_logit_may_be_negative() -> None:
    adds = {1: 0.5, 2: -0.5}
    assert found([shares(-10, adds), shares(-10, adds)], 2) == {(0, 1): 0.5}


def test_heads_are_no_features() -> None:
    adds = {9: 1.0, 10: 1.0, 11: 1.0, 12: 1.0, 21: 1.0, 22: 1.0}
    assert list(found([shares(10, adds), shares(10, adds)], 2)) == [(0, 9), (1, 0), (1, 9)]


def test_no_wording_gave_the_answer() -> None:
    assert found([], 3) == {}


def test_they_are_read_as_they_were_written_and_go_with_their_edge() -> None:
    db = open_database(MEMORY)
    db.execute(
        "INSERT INTO edge_records (edge_id, entity, relation, target, source) VALUES (7, 'a', 'b', 'c', 'probe')"
    )
    given = Contributors(np.array([3, (2000 << 20) + 70_000]), np.array([0.5, 1.25], np.float32))
    write(db, 7, given)
    ((edge, again),) = read(db)
    assert edge == 7
    np.testing.assert_array_equal(again.places, given.places)
    np.testing.assert_array_equal(again.sizes, given.sizes)
    db.execute("DELETE FROM edge_records")
    assert list(read(db)) == []
    db.close()
