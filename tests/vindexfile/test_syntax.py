"""Vindexfiles as text: what they say, and where they are wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from larqldb.errors import BadVindexfile
from larqldb.lql import nodes
from larqldb.vindexfile.syntax import Edit, Expose, From, Patch, Relations, Stage, Step, Vindexfile, parse

WHOLE = r"""
# A comment, then a blank line

FROM SmolLM2-135M-Instruct   # without quotes
  relations capital, "own relations.tsv"
PATCH "my # patch.vlp"
PATCH v1#2.vlp
INSERT ("Atl # antis", 'capital', "Pos\"eidon") AT LAYER 3 CONFIDENCE 0.9
INSERT INTO EDGES (entity, relation, target) VALUES ("a", "b", "c"), ("d", "e", "f")
DELETE ("France", "capital", "Par'is")  # a fact
DELETE WHERE layer = 3 AND feature = 4
DELETE FROM EDGES WHERE entity = 'x'
EXPOSE Inference

STAGE dev
EXPOSE browse
STAGE "v1.0"
"""


def statements(text):
    return [step.statement for step in parse(text).steps]


def test_everything():
    said = parse(WHOLE)
    assert statements(WHOLE)[:4] == [
        From("SmolLM2-135M-Instruct"),
        Relations(("capital", "own relations.tsv")),
        Patch("my # patch.vlp"),
        Patch("v1#2.vlp"),
    ]
    first, second, fact, feature, condition = [step.statement.node for step in said.steps[4:9]]
    assert first == nodes.Insert((("Atl # antis", "capital", 'Pos"eidon'),), layer=3, confidence=0.9)
    assert second.rows == (("a", "b", "c"), ("d", "e", "f"))
    assert fact == nodes.Delete(nodes.Fragment(fact.where.text))
    assert "'Par\\'is'" in fact.where.text
    assert feature.where.text == "layer = 3 AND feature = 4"
    assert condition.where.text == "entity = 'x'"
    assert said.steps[9].statement == Expose("inference")
    assert said.stages == (Stage("dev", (Step(Expose("browse"), 0),)), Stage("v1.0", ()))
    assert [step.line for step in said.steps] == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert parse(str(said)) == said


def test_the_readmes_example():
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("## Build") : readme.index("## Slices")]
    said = parse(section.split("```")[1])
    assert [type(step.statement).__name__ for step in said.steps] == [
        *("From", "Relations", "Patch", "Edit", "Edit", "Edit"),
    ]
    assert [stage.name for stage in said.stages] == ["lite"]


def test_windows_lines_and_a_byte_order_mark():
    assert parse("\ufeffFROM a\r\nEXPOSE all\r\n") == parse("FROM a\nEXPOSE all")


def test_deleting_a_fact_is_a_condition_on_its_three_names():
    (_, edit) = statements('FROM a\nDELETE ("France", "capital", "Paris")')
    assert edit == Edit(nodes.Delete(nodes.Fragment("entity = 'France' AND relation = 'capital' AND target = 'Paris'")))


@pytest.mark.parametrize(
    ("text", "line", "column", "problem", "hint"),
    [
        ("", 1, 1, "there is no FROM", 'FROM "SmolLM2-135M-Instruct"'),
        ("# nothing\n", 2, 1, "there is no FROM", 'FROM "SmolLM2-135M-Instruct"'),
        ("FRM x", 1, 1, "FRM begins no statement", "Did you mean FROM?"),
        ("FROM a\n  PACH x", 2, 3, "PACH begins no statement", "Did you mean PATCH?"),
        ("FROM a\n(x)", 2, 1, "(x) begins no statement", "A line begins with FROM"),
        ("FROM", 1, 5, "FROM needs a name or path", "For example"),
        ("FROM   # x", 1, 5, "FROM needs a name or path", "For example"),
        ("FROM a b", 1, 8, "FROM takes one name or path", "double quotes"),
        ('FROM "a" b', 1, 10, "FROM takes one name or path", None),
        ('FROM "a', 1, 6, 'this " is never closed', None),
        (r'FROM "a\d"', 1, 8, "unknown escape", None),
        ('FROM ""', 1, 6, "a name or path is empty", None),
        ("FROM a\nFROM b", 2, 1, "there is a FROM already", None),
        ("FROM a\nSTAGE x\nFROM b", 3, 1, "there is a FROM already", None),
        ("PATCH x", 1, 1, "a Vindexfile begins with FROM", None),
        ("STAGE x\nFROM a", 1, 1, "a Vindexfile begins with FROM", None),
        ("FROM a\nSTAGE a b", 2, 9, "STAGE takes one", None),
        ("FROM a\nSTAGE a/b", 2, 7, "a stage's name is made of", None),
        ("FROM a\nSTAGE x\nSTAGE x", 3, 7, "there is a stage x already", None),
        ("FROM a\nRELATIONS a b", 2, 13, "a comma belongs between", None),
        ("FROM a\nRELATIONS a,", 2, 13, "RELATIONS needs a name", None),
        ("FROM a\nRELATIONS ,a", 2, 11, "a name or path is missing", None),
        ("FROM a\nEXPOSE infrence", 2, 8, "infrence is no level", "Did you mean inference?"),
        ("FROM a\nEXPOSE x", 2, 8, "x is no level", "The levels are"),
        ('FROM a\nINSERT ("a", "b")', 2, 17, "expected ,", None),
        ('FROM a\nINSERT ("a", "b", "c") AT LAYR 3', 2, 27, "expected LAYER", "did you mean LAYER?"),
        ('FROM a\nINSERT ("a", "b", ?)', 2, 19, "no parameters", None),
        ('FROM a\nINSERT ("a", "b", "c"); EXPOSE all', 2, 23, "no semicolon", None),
        ('FROM a\nINSERT ("a", "b", "c") MODE KNN', 2, 29, "has no place in a model's own weights", "Leave"),
        ("FROM a\nINSERT INTO EDGES (entity, relation, target) SELECT 1, 2, 3", 2, 8, "written out", None),
        ("FROM a\nINSERT INTO t VALUES (1)", 2, 8, "written out", None),
        ("FROM a\nDELETE x", 2, 8, "expected WHERE", None),
        ("FROM a\nDELETE WHERE entity = :name", 2, 23, "no parameters", None),
        ('FROM a\nDELETE ("a", "b", "c") AT LAYER 3', 2, 8, "DELETE takes a fact", None),
        ('FROM a\nDELETE ("a", "b", "c"), ("d", "e", "f")', 2, 8, "DELETE takes one fact", None),
    ],
)
def test_mistakes(text, line, column, problem, hint):
    with pytest.raises(BadVindexfile) as failure:
        parse(text, "here/Vindexfile")
    found = failure.value
    assert (found.line, found.column) == (line, column)
    assert problem in found.problem
    if hint is not None:
        assert hint in found.hint
    shown = str(found).split("\n")
    assert shown[0].startswith("here/Vindexfile: ")
    assert shown[0].endswith(f"(line {line}, column {column})")
    assert shown[2] == "  " + " " * (column - 1) + "^"


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
FACTS = st.tuples(WORDS, WORDS, WORDS)
INSERTS = st.builds(
    nodes.Insert,
    st.lists(FACTS, min_size=1, max_size=3).map(tuple),
    layer=st.none() | st.integers(0, 99),
    confidence=st.none() | st.floats(0, 1),
    alpha=st.none() | st.floats(0.125, 64),
    mode=st.none() | st.just("compose"),
    regression=st.none() | st.floats(0, 1),
)
DELETES = st.tuples(st.integers(0, 99), st.integers(0, 9999)).map(
    lambda place: nodes.Delete(nodes.Fragment(f"layer = {place[0]} AND feature = {place[1]}"))
)
OTHERS = st.one_of(
    st.builds(Relations, st.lists(WORDS, min_size=1, max_size=3).map(tuple)),
    st.builds(Patch, WORDS),
    st.builds(Edit, INSERTS | DELETES),
    st.builds(Expose, st.sampled_from(["browse", "inference", "all"])),
)
STEPS = st.lists(OTHERS.map(lambda statement: Step(statement, 0)), max_size=4).map(tuple)
NAMES = st.from_regex(r"[A-Za-z0-9_.\-]{1,8}", fullmatch=True)
VINDEXFILES = st.builds(
    lambda source, steps, stages: Vindexfile(
        (Step(From(source), 0), *steps), tuple(Stage(name, several) for name, several in stages.items())
    ),
    WORDS,
    STEPS,
    st.dictionaries(NAMES, STEPS, max_size=3),
)


@settings(deadline=None)
@given(VINDEXFILES)
def test_what_is_printed_reads_the_same_again(said):
    assert parse(str(said)) == said


@settings(deadline=None)
@given(
    VINDEXFILES, st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=9), st.booleans()
)
def test_comments_and_blank_lines_say_nothing(said, comment, windows):
    lines = [f"{line} # {comment}" for line in str(said).split("\n") if line]
    text = ("\r\n" if windows else "\n").join([f"#{comment}", *lines, ""])
    assert parse(text) == said


@settings(deadline=None)
@given(st.text(max_size=80))
@example('FROM a\nINSERT ("')
@example("FROM a\nDELETE WHERE (((")
@example("FROM 'a\\")
@example("\r")
@example("\ufeff")
def test_any_text_is_a_vindexfile_or_a_mistake_with_its_place(text):
    with suppress(BadVindexfile):
        assert parse(text).steps
        return
    with pytest.raises(BadVindexfile) as failure:
        parse(text)
    found = failure.value
    line = text.removeprefix("\ufeff").split("\n")[found.line - 1].rstrip("\r")
    assert found.text == line
    assert 1 <= found.column <= len(line) + 1


@settings(deadline=None)
@given(VINDEXFILES, st.data())
def test_a_piece_of_a_vindexfile_is_one_or_a_mistake(said, data):
    text = str(said)
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, len(text)))
    with suppress(BadVindexfile):
        assert parse(text[:start] + text[stop:]).steps
