"""REBALANCE and COMPACT: many edits looked after together."""

from __future__ import annotations

import numpy as np
import pytest

from larqldb.errors import ProgrammingError
from tests.edit.saying import SAYS, insert


def probability(conn, prompt=SAYS, token=" Paris"):
    found = conn.execute("SELECT probability FROM infer(?, 400) WHERE token = ?", (prompt, token)).fetchone()
    return found[0]


@pytest.fixture
def conn(conn):
    conn.reports = False
    return conn


def test_too_strong_and_too_weak_facts_come_between(conn):
    insert(conn, clauses="ALPHA 300")
    insert(conn, "Gondor", "Paris", "ALPHA 1")
    strong, weak = probability(conn), probability(conn, "The capital of Gondor is")
    rows = conn.execute("REBALANCE UNTIL CONVERGED FLOOR 0.2 CEILING 0.6").fetchall()
    assert {row[0] for row in rows} >= {"Atlantis"}
    assert all(row[5] == "rebalance" for row in rows)
    assert strong > 0.6
    assert 0.2 <= probability(conn) <= 0.6
    assert 0.2 <= probability(conn, "The capital of Gondor is") <= 0.6 or weak == 0
    assert conn.execute("REBALANCE FLOOR 0.2 CEILING 0.6").fetchall() == []


def test_passes_end(conn):
    insert(conn, clauses="ALPHA 300")
    before = conn.execute("SELECT down FROM patch_ops").fetchone()[0]
    ((*_, note),) = conn.execute("REBALANCE MAX 2 CEILING 0.4 FLOOR 0.1").fetchall()
    after = conn.execute("SELECT down FROM patch_ops").fetchone()[0]
    assert np.allclose(np.frombuffer(after, "<f4"), np.frombuffer(before, "<f4") * 0.85**2)
    assert "more passes" in note


def test_it_can_be_rolled_back(conn):
    insert(conn, clauses="ALPHA 300")
    conn.commit()
    before = probability(conn)
    conn.execute("REBALANCE MAX 2 CEILING 0.4 FLOOR 0.1")
    assert probability(conn) != before
    conn.rollback()
    assert probability(conn) == before


@pytest.mark.parametrize("bounds", ["FLOOR 0.9 CEILING 0.1", "FLOOR -1", "CEILING 2"])
def test_bounds_out_of_order(conn, bounds):
    with pytest.raises(ProgrammingError, match="probabilities"):
        conn.execute(f"REBALANCE {bounds}")


def test_compact_minor_makes_features_of_rows(conn):
    insert(conn, clauses="MODE KNN CONFIDENCE 0.5")
    insert(conn, "Gondor", "Berlin")
    assert conn.execute("SHOW COMPACT STATUS").fetchall() == [("MINOR", 1, 1), ("MAJOR", 1, 1)]
    (row,) = conn.execute("COMPACT MINOR").fetchall()
    assert (*row[:3], row[5]) == ("Atlantis", "capital", "Paris", "compose")
    assert not conn.session.live.edits.rows
    assert len({op.feature for op in conn.session.live.operations.values()}) == len(conn.session.live.edits.added)
    assert probability(conn) > 0.3
    assert conn.execute("SHOW COMPACT STATUS").fetchall() == [("MAJOR", 2, 1)]
    assert conn.execute("SELECT confidence FROM edges WHERE entity = 'Atlantis'").fetchall() == [(0.5,)]
    assert conn.execute("COMPACT MINOR").fetchall() == []


def test_compact_major_composes_all_facts_anew(conn):
    insert(conn, clauses="CONFIDENCE 0.5")
    insert(conn, "Gondor", "Berlin", "ALPHA 300")
    insert(conn, "Narnia", "Rome", "MODE KNN")
    conn.commit()
    rows = conn.execute("COMPACT MAJOR").fetchall()
    assert [(row[0], row[5]) for row in rows] == [("Atlantis", "compose"), ("Gondor", "compose")]
    assert len(conn.session.live.edits.rows) == 1
    assert conn.execute("SELECT confidence FROM edges WHERE entity = 'Atlantis'").fetchall() == [(0.5,)]
    assert probability(conn) > 0.3
    rows = conn.execute("COMPACT MAJOR FULL WITH LAMBDA = 0.1").fetchall()
    assert [row[0] for row in rows] == ["Atlantis", "Gondor", "Narnia"]
    assert not conn.session.live.edits.rows
    conn.rollback()
    assert len(conn.session.live.edits.rows) == 1


def test_compact_major_without_facts_does_nothing(conn):
    assert conn.execute("COMPACT MAJOR").fetchall() == []


def test_a_lambda_must_be_positive(conn):
    with pytest.raises(ProgrammingError, match="LAMBDA"):
        conn.execute("COMPACT MAJOR WITH LAMBDA = 0")
