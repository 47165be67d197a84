"""TRACE … SAVE: into the file's tables, and into files beside it."""

from __future__ import annotations

import csv
import json
from contextlib import closing

import numpy as np
import pytest

import larqldb
from larqldb.errors import InterfaceError, OutputExists, OutputFailed, ProgrammingError

PROMPT = "The capital of France is"


@pytest.fixture
def conn(tiny_vindex):
    with closing(larqldb.connect(tiny_vindex)) as connection:
        yield connection


def test_a_name_saves_into_the_tables(conn, tiny_vindex):
    saved = conn.execute(f'TRACE "{PROMPT}" FOR "Paris" DECOMPOSE SAVE "paris"').fetchall()
    assert saved == [("trace", "paris", 5, None)]
    conn.commit()
    with closing(larqldb.connect(tiny_vindex)) as other:
        rows = other.execute(
            "SELECT layer, position, token, rank, probability, attn, ffn, residual, who FROM trace_layers "
            "WHERE trace = 'paris' ORDER BY layer"
        ).fetchall()
        about = other.execute("SELECT prompt, answer, positions, fingerprint FROM traces").fetchall()
    assert rows == conn.execute(f'TRACE "{PROMPT}" FOR "Paris" DECOMPOSE').fetchall()
    assert about == [(PROMPT, "Paris", "last", conn.session.model["fingerprint"])]


def test_saving_is_part_of_the_transaction(conn):
    conn.execute(f'TRACE "{PROMPT}" SAVE "gone"')
    conn.rollback()
    assert conn.execute("SELECT count(*) FROM trace_layers").fetchall() == [(0,)]


def test_a_name_is_not_overwritten_and_can_be_deleted(conn):
    conn.execute(f'TRACE "{PROMPT}" LAYERS 1-2 POSITIONS ALL SAVE "one"')
    with pytest.raises(ProgrammingError, match="there is a trace 'one' already: DELETE FROM traces"):
        conn.execute(f'TRACE "{PROMPT}" SAVE "one"')
    conn.execute("DELETE FROM traces WHERE trace = 'one'")
    assert conn.execute("SELECT count(*) FROM trace_layers").fetchall() == [(0,)]
    assert conn.execute("TRACE ? SAVE ?", (PROMPT, "one")).fetchall() == [("trace", "one", 5, None)]


@pytest.mark.parametrize("kind", ["json", "csv", "npz"])
def test_a_path_is_written_as_its_ending_says(conn, tmp_path, kind):
    path = tmp_path / f"trace.{kind}"
    ((what, where, rows, size),) = conn.execute("TRACE ? POSITIONS ALL SAVE ?", (PROMPT, str(path))).fetchall()
    assert (what, where, size) == ("file", str(path), path.stat().st_size)
    if kind == "npz":
        with np.load(path) as arrays:
            read = list(zip(arrays["layer"].tolist(), arrays["rank"].tolist(), arrays["token"].tolist(), strict=True))
            assert np.isnan(arrays["attn"]).all()
    elif kind == "json":
        read = [(row["layer"], row["rank"], row["token"]) for row in json.loads(path.read_text())]
    else:
        with open(path, newline="") as file:
            read = [(int(row["layer"]), int(row["rank"]), row["token"]) for row in csv.DictReader(file)]
    expected = conn.execute(
        "SELECT layer, rank, token FROM trace(?, NULL, 0, NULL, NULL, 'all') ORDER BY layer, position", (PROMPT,)
    ).fetchall()
    assert read == expected
    assert rows == len(expected)
    with pytest.raises(OutputExists):
        conn.execute("TRACE ? SAVE ?", (PROMPT, str(path)))


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("a/b", ProgrammingError, "a name without slashes"),
        ("", InterfaceError, "needs a name"),
        (7, InterfaceError, "needs a name"),
        ("/nowhere/at/all.json", OutputFailed, "no folder /nowhere/at. Make it first"),
    ],
)
def test_refusals(conn, target, error, words):
    with pytest.raises(error, match=words):
        conn.execute("TRACE ? SAVE ?", (PROMPT, target))


def test_a_failed_trace_leaves_nothing(conn, tmp_path):
    with pytest.raises(ProgrammingError, match="there is no layer 9"):
        conn.execute(f'TRACE "{PROMPT}" LAYERS 2-9 SAVE "{tmp_path}/x.json"')
    assert not list(tmp_path.glob("x.json"))
