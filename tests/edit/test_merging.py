"""MERGE and DIFF: what two vindexes have apart, and how one takes over the other's edits."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import BadPatch
from tests.edit.saying import insert, logits
from tests.tiny import write_tiny


def edges(conn):
    return conn.execute("SELECT entity, target FROM edges WHERE source = 'insert' ORDER BY 1, 2").fetchall()


@pytest.fixture
def other(tiny_extracted, tmp_path):
    """Another vindex of the same model, with two facts and a removed feature, committed."""
    with closing(larqldb.connect(shutil.copy(tiny_extracted, tmp_path / "medical.vindex"))) as connection:
        connection.reports = False
        insert(connection, clauses="CONFIDENCE 0.5")
        insert(connection, "Gondor", "Berlin")
        connection.execute("DELETE FROM EDGES WHERE layer = 2 AND feature = 5")
        connection.commit()
        yield connection


def test_merged_edits_are_a_patch_that_says_the_same(conn, other):
    before = logits(conn)
    rows = conn.execute("MERGE ?", (other.path,)).fetchall()
    assert [row[:2] for row in rows] == [("patch", "medical")]
    assert np.array_equal(logits(conn), logits(other))
    assert edges(conn) == edges(other)
    assert conn.execute("MERGE ?", (other.path,)).fetchall() == [("patch", "medical-2", 0, None)]
    conn.execute("REMOVE PATCH 'medical'")
    assert np.array_equal(logits(conn), before)


def test_merge_into_another_file(conn, other, tiny_vindex):
    conn.close()
    other.execute("MERGE ? INTO ?", (other.path, str(tiny_vindex)))
    with closing(larqldb.connect(tiny_vindex)) as merged:
        assert np.array_equal(logits(merged), logits(other))


@pytest.mark.parametrize(
    ("clause", "confidence", "kept"),
    [
        ("", 0.9, "Paris"),
        ("ON CONFLICT KEEP_SOURCE", 0.9, "Paris"),
        ("ON CONFLICT KEEP_TARGET", 0.1, "Rome"),
        ("ON CONFLICT HIGHEST_CONFIDENCE", 0.9, "Rome"),
        ("ON CONFLICT HIGHEST_CONFIDENCE", 0.1, "Paris"),
    ],
)
def test_conflicts(conn, other, clause, confidence, kept):
    conn.reports = False
    insert(conn, "Atlantis", "Rome", f"CONFIDENCE {confidence}")
    rows = conn.execute(f"MERGE ? {clause}", (other.path,)).fetchall()
    assert edges(conn) == [("Atlantis", kept), ("Gondor", "Berlin")]
    assert [row[0] for row in rows] == ["patch", "conflict"]
    assert rows[1][1].startswith("Atlantis capital Paris: ")


def test_diff_shows_edits(conn, other):
    rows = conn.execute("DIFF CURRENT ?", (other.path,)).fetchall()
    assert {row[:2] for row in rows} == {
        ("fact added", "Atlantis capital Paris"),
        ("fact added", "Gondor capital Berlin"),
        ("deletion added", "layer 2 feature 5"),
    }
    assert next(row for row in rows if "Paris" in row[1])[2:] == (1, 3 * 40 * 4, 4, "capital")
    back = conn.execute("DIFF ? CURRENT", (other.path,)).fetchall()
    assert {row[0] for row in back} == {"fact removed", "deletion removed"}
    insert(conn)
    assert len(conn.execute("DIFF CURRENT ?", (other.path,)).fetchall()) == 2
    assert [row[1] for row in conn.execute('DIFF CURRENT ? RELATION "capital"', (other.path,))] == [
        "Gondor capital Berlin"
    ]
    assert len(conn.execute("DIFF CURRENT ? LAYER 2", (other.path,)).fetchall()) == 1
    assert conn.execute("DIFF CURRENT CURRENT").fetchall() == []


def test_diff_shows_tensors(conn, tmp_path):
    larqldb.extract(write_tiny(tmp_path / "model", seed=9), tmp_path / "foreign.vindex")
    rows = conn.execute("DIFF CURRENT ?", (str(tmp_path / "foreign.vindex"),)).fetchall()
    assert {row[0] for row in rows} == {"tensor changed"}
    gate = next(row for row in rows if row[1] == "model.layers.3.mlp.gate_proj.weight")
    assert gate[2:] == (67, 67 * 40 * 2, 3, None)
    with pytest.raises(BadPatch, match="not of the same model"):
        conn.execute("DIFF CURRENT ? INTO PATCH ?", (str(tmp_path / "foreign.vindex"), str(tmp_path / "x.vlp")))
    with pytest.raises(BadPatch, match="not of the same model"):
        conn.execute("MERGE ?", (str(tmp_path / "foreign.vindex"),))


def test_a_difference_as_a_patch(conn, other, tmp_path):
    conn.reports = False
    insert(conn, "Narnia", "Rome")
    conn.commit()
    path = str(tmp_path / "difference.vlp")
    ((what, where, count, size),) = conn.execute("DIFF CURRENT ? INTO PATCH ?", (other.path, path)).fetchall()
    assert (what, where) == ("patch", path)
    assert count == 1 + len(other.execute("SELECT 1 FROM patch_ops").fetchall())
    assert size > 0
    conn.execute("APPLY PATCH ?", (path,))
    assert np.array_equal(logits(conn), logits(other))
    assert edges(conn) == edges(other)
