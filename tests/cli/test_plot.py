"""`larqldb trace` and `larqldb bands`."""

from __future__ import annotations

import io
import json
import sys
from contextlib import closing
from pathlib import Path

import pytest

import larqldb
from larqldb.cli import plot
from larqldb.cli.app import main
from larqldb.errors import NotSupportedError

PROMPT = "The capital of France is"


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize(
    ("share", "cells"),
    [(0, ""), (1, "█" * 24), (0.5, "█" * 12), (1 / 192, "▏"), (7 / 192, "▉"), (2, "█" * 24), (-1, "")],
)
def test_bars(share, cells):
    assert plot.bar(share) == cells.ljust(24)


def test_the_picture_has_a_line_a_layer():
    out = io.StringIO()
    plot.as_text(" Paris", [(0, 1000, 0.0, "."), (1, 1, 0.75, " Paris")], 1000, out)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[2].split() == ["0", "1,000", "0.0000", "'.'"]
    assert lines[3].count("█") == 24 + 18


def test_trace(tiny_vindex, capsys):
    assert run("trace", tiny_vindex, PROMPT, "--for", "Paris", "--layers", "1-3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Paris" in lines[0]
    assert [int(line.split()[0]) for line in lines[2:]] == [1, 2, 3]


def test_trace_as_rows(tiny_vindex, capsys):
    assert run("trace", tiny_vindex, PROMPT, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["layer"] for row in rows] == list(range(5))
    assert all(row["attn"] is not None for row in rows)


def test_a_picture_needs_matplotlib(tiny_vindex, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("trace", tiny_vindex, PROMPT, "--png", tmp_path / "out.png") == 1
    assert "pip install 'larqldb[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(NotSupportedError):
        plot.as_png("a", "b", [(0, 1, 0.5, "c")], Path("never.png"))


def test_bands_are_stored_and_shown(tiny_vindex, capsys, monkeypatch):
    rows = [(layer, "output", 1.0, None) for layer in range(5)]
    monkeypatch.setattr("larqldb.functions.layer_roles.layer_roles", lambda session: rows)
    assert run("bands", tiny_vindex, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    with closing(larqldb.connect(tiny_vindex)) as connection:
        stored = connection.execute("SELECT layer, band, answers_read, knockout FROM layers ORDER BY layer").fetchall()
    assert stored == [tuple(row.values()) for row in shown] == rows
