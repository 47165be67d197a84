from __future__ import annotations

import json
from contextlib import closing

import pytest

from larqldb import connect

TEMPLATE = "x\nThe capital of {entity} is"


def asked(path):
    with closing(connect(path, read_only=True)) as connection:
        return connection.execute("SELECT DISTINCT relation, entity FROM probes ORDER BY 2").fetchall()


def test_a_relation_of_ones_own(larqldb, tiny_vindex, tmp_path):
    facts, more = tmp_path / "facts.tsv", tmp_path / "more.txt"
    facts.write_text("France\tParis\nItaly\tRome\n")
    more.write_text("Spain\n\n Peru \n")
    options = ("--relation", "capital", "--facts", facts, "--template", TEMPLATE, "--entities", more, "--json")
    done = larqldb("probe", tiny_vindex, *options)
    assert done.code == 0
    (row,) = json.loads(done.out)
    assert row | {"edges": 0, "right": 0} == {
        "relation": "capital", "entities": 4, "wordings": 1, "asked": 4, "edges": 0, "stated": 2, "right": 0,
    }  # fmt: skip
    assert asked(tiny_vindex) == [("capital", name) for name in ("France", "Italy", "Peru", "Spain")]
    assert (
        json.loads(larqldb("probe", tiny_vindex, "--relation", "capital", "--json", *options[2:4]).out)[0]["asked"] == 0
    )


def test_a_file_of_facts_may_name_its_relation(larqldb, tiny_vindex, tmp_path):
    facts = tmp_path / "facts.tsv"
    facts.write_text(
        "# relation: tongue\n# wording: People in {entity} speak\n# example: Chile\tSpanish\nFrance\tFrench\n"
    )
    assert larqldb("probe", tiny_vindex, "--facts", facts).code == 0
    assert asked(tiny_vindex) == [("tongue", "France")]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--relation", "a", "--relation", "a"), 1, "named twice"),
        (("--relation", "nothing such"), 1, "has no templates"),
        (("--template", TEMPLATE), 2, "give one --relation NAME"),
        (("--relation", "a", "--relation", "b", "--template", TEMPLATE), 2, "give one --relation NAME"),
        (("--relation", "a", "--template", "The capital is"), 1, "does not hold {entity}"),
        (("--relation", "a", "--template", TEMPLATE), 1, "nobody to ask about"),
        (("--relation", "a", "--template", TEMPLATE, "--facts", "nowhere.tsv"), 1, "No such file"),
        (("--relation", "a", "--template", TEMPLATE, "--entities", "nowhere.txt"), 2, "No such file"),
    ],
)
def test_what_cannot_be_done(larqldb, tiny_vindex, options, code, words):
    done = larqldb("probe", tiny_vindex, *options)
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "mistake in larqldb" not in done.err


def test_interrupting_says_so_by_its_code(larqldb, tiny_vindex, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("larqldb.knowledge.probe.Prober._ask", interrupt)
    (tmp_path / "f.tsv").write_text("France\tParis\n")
    done = larqldb("probe", tiny_vindex, "--relation", "a", "--facts", tmp_path / "f.tsv", "--template", TEMPLATE)
    assert (done.code, done.out, done.err.strip()) == (130, "", "")
