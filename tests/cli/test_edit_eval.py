from __future__ import annotations

import hashlib
import json

import pytest

from larqldb.cli.edit_eval import COLUMNS
from tests.edit.conftest import plain_methods  # noqa: F401 - a fixture: a model of random weights needs it

FACTS = "Atlantis\tcapital\tRome\nGondor\tcapital\tParis\nNarnia\tliege lord\tBerlin\n"


@pytest.fixture
def facts(tmp_path):
    path = tmp_path / "facts.tsv"
    path.write_text(FACTS)
    return path


def test_the_file_stays_as_it_is(larqldb, tiny_vindex, facts, tmp_path):
    before, there = hashlib.sha256(tiny_vindex.read_bytes()).digest(), sorted(tmp_path.iterdir())
    whole = tmp_path / "whole.json"
    options = ("--facts", facts, "--count", 2, "--batch", 3, "--sequential", 3, "--json", "-o", whole)
    done = larqldb("edit-eval", tiny_vindex, *options)
    assert (done.code, done.err) == (0, "")
    rows = json.loads(done.out)
    runs = ["single", "3 together", "3 one after the other", "3, then COMPACT MAJOR"]
    assert [row["run"] for row in rows] == runs
    assert all(tuple(row) == COLUMNS for row in rows)
    assert hashlib.sha256(tiny_vindex.read_bytes()).digest() == before
    assert sorted(tmp_path.iterdir()) == sorted([*there, whole])
    found = json.loads(whole.read_text())
    assert found["results"][0]["details"][0].items() >= {"entity": "Atlantis", "target": "Rome"}.items()
    assert found["first_edit_seconds"] > 0
    assert isinstance(found["first_of_relation_seconds"], list)


def test_built_in_facts_by_key(larqldb, tiny_vindex):
    options = ("--count", 2, "--batch", 2, "--sequential", 0, "--mode", "knn", "--csv")
    done = larqldb("edit-eval", tiny_vindex, *options)
    assert done.code == 0
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["run", "single", "2 together"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--facts", "nowhere.tsv"), 1, "nowhere.tsv"),
        (("--mode", "rome"), 2, "rome"),
        (("--count", "-1"), 2, "--count"),
    ],
)
def test_what_cannot_be_done(larqldb, tiny_vindex, options, code, words):
    done = larqldb("edit-eval", tiny_vindex, *options)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "mistake in larqldb" not in done.err


def test_a_file_that_is_no_vindex(larqldb, facts):
    assert "not a vindex" in larqldb("edit-eval", facts).err


def test_output_that_cannot_be_written(larqldb, tiny_vindex, facts, tmp_path):
    options = ("--facts", facts, "--count", 1, "--batch", 5, "--sequential", 0, "-o", tmp_path / "no" / "x.json")
    done = larqldb("edit-eval", tiny_vindex, *options)
    assert (done.code, done.out) == (1, "")
    assert "could not write" in done.err


def test_interrupting_leaves_nothing(larqldb, tiny_vindex, facts, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("larqldb.edit.evaluate.Evaluation.run", interrupt)
    before = tiny_vindex.read_bytes(), sorted(tmp_path.iterdir())
    done = larqldb("edit-eval", tiny_vindex, "--facts", facts)
    assert (done.code, done.out) == (130, "")
    assert (tiny_vindex.read_bytes(), sorted(tmp_path.iterdir())) == before
