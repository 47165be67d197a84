from __future__ import annotations

import contextlib

import pytest

from larqldb.errors import LQLSyntaxError
from larqldb.lql import nodes, parse
from larqldb.lql.grammar import FORMS
from larqldb.lql.nodes import Fragment, Layers, Nearest, Parameter
from larqldb.lql.reader import TokenReader
from larqldb.lql.tokens import tokenize


def test_accept_list_parses(accepted: str) -> None:
    assert isinstance(parse(accepted), nodes.Statement)


def test_reject_list_is_refused_with_a_place(rejected: str) -> None:
    with pytest.raises(LQLSyntaxError) as caught:
        parse(rejected)
    error = caught.value
    assert error.line == 1
    assert 1 <= error.column <= len(rejected) + 1
    assert error.text == rejected
    caret = str(error).splitlines()[2]
    assert caret.strip() == "^"


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_examples_of_help_parse(form) -> None:  # type: ignore[no-untyped-def]
    assert isinstance(parse(form.example), form.node)


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ('walk "x" mode pure top 5', nodes.Walk("x", top=5, mode="pure")),
        ('WALK "x" LAYERS 3-7 COMPARE', nodes.Walk("x", layers=Layers(3, 7), compare=True)),
        ('WALK "x" LAYERS ALL', nodes.Walk("x")),
        ("WALK ? LAYERS ?-? TOP ?", nodes.Walk(Parameter(1), Parameter(4), Layers(Parameter(2), Parameter(3)))),
        ("WALK :p TOP :n", nodes.Walk(Parameter("p"), Parameter("n"))),
        ('INFER "x" GENERATE 20', nodes.Infer("x", generate=20)),
        ('DESCRIBE "x" RAW SYNTAX', nodes.Describe("x", band="syntax", detail="raw")),
        ('DESCRIBE "x" ALL LAYERS', nodes.Describe("x", band="all")),
        ('EXPLAIN WALK "x" WITH ATTENTION', nodes.ExplainWalk("x", attention=True)),
        ('TRACE "x" POSITIONS', nodes.Trace("x", positions="all")),
        ('TRACE "x" POSITIONS LAST', nodes.Trace("x")),
        ('TRACE "x" SAVE "f" FOR "y"', nodes.TraceSave("x", "f", answer="y")),
        ("SHOW ENTITIES 3 LIMIT 5", nodes.ShowEntities(3, 5)),
        ("SHOW ENTITIES AT LAYER 3", nodes.ShowEntities(3)),
        ("SHOW LAYERS RANGE 1-2", nodes.ShowLayers(Layers(1, 2))),
        ("SHOW COMPACT STATUS", nodes.ShowCompactStatus()),
        ("SHOW FEATURES 3 LIMIT 2 WHERE a=1", nodes.ShowFeatures(3, Fragment("a=1"), 2)),
        ('STATS "other.vindex"', nodes.Stats("other.vindex")),
        ('DIFF CURRENT "b" RELATIONS "r"', nodes.Diff(None, "b", relation="r")),
        ('DIFF "a" "b" INTO PATCH "p" LAYER 3', nodes.DiffIntoPatch("a", "b", "p", layer=3)),
        ('USE MODEL "m" AUTO_EXTRACT', nodes.UseModel("m", True)),
        ('COMPILE "v" INTO MODEL "m" FORMAT gguf', nodes.Compile("v", "model", "m", format="gguf")),
        ("COMPACT MAJOR ALL", nodes.CompactMajor(full=True)),
        ("REBALANCE CEILING = .9 FLOOR .3 MAX 4", nodes.Rebalance(False, 4, 0.3, 0.9)),
        ("SAVE PATCH", nodes.SavePatch()),
        ('SAVE PATCH "p"', nodes.SavePatch("p")),
        ('UPDATE EDGES SET target = "x", confidence = -1 WHERE 1',
         nodes.Update((("target", "x"), ("confidence", -1)), Fragment("1"))),
        ("UPDATE EDGES SET confidence = confidence * 2 WHERE 1",
         nodes.Update((("confidence", Fragment("confidence * 2")),), Fragment("1"))),
        ("UPDATE EDGES SET target = entity, confidence = ? WHERE layer = ?",
         nodes.Update((("target", Fragment("entity")), ("confidence", Parameter(1))), Fragment("layer = ?2"))),
        ("delete from `edges` where entity in (select 'a')", nodes.Delete(Fragment("entity in (select 'a')"))),
        ("DELETE FROM EDGES WHERE a --c\n = /* d */ 1", nodes.Delete(Fragment("a = 1"))),
        ('INSERT INTO "edges" (target, entity, relation) VALUES ("t", "e", "r"), (?, ?, ?) ALPHA 2 MODE = KNN',
         nodes.Insert((("e", "r", "t"), (Parameter(2), Parameter(3), Parameter(1))), alpha=2, mode="knn")),
        ("INSERT INTO EDGES (entity, relation, target) SELECT a, b, mode FROM t WHERE at = 1 AT LAYER 3 MODE KNN",
         nodes.Insert(Fragment("SELECT a, b, mode FROM t WHERE at = 1"), layer=3, mode="knn")),
        ('SELECT * FROM EDGES NEAREST TO "M" AT LAYER 26 AS e WHERE e.layer = ?',
         nodes.Select(("SELECT * FROM ", Nearest("edges", "M", 26, "e"), " WHERE e.layer = ?1"))),
        ("STATS |> SELECT count(*) FROM _ |> SELECT * FROM _;",
         nodes.Pipe((nodes.Stats(), nodes.Sql("SELECT count(*) FROM _"), nodes.Sql("SELECT * FROM _")))),
    ],
)  # fmt: skip
def test_nodes(text: str, node: nodes.Statement) -> None:
    assert parse(text) == node


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        'select "a|>b" -- |> nearest\n;',
        "SELECT nearest FROM nearest",
        "BEGIN",
        "BEGIN IMMEDIATE;",
        "EXPLAIN QUERY PLAN SELECT 1",
        "INSERT INTO edges_copy VALUES (1)",
        "INSERT INTO main.edges VALUES (1)",
        "UPDATE edge_records SET score = 1",
        "DELETE FROM relations",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;",
        "PRAGMA user_version",
        "WITH a AS (SELECT 1) SELECT * FROM a WHERE x = ?",
        "SELECT '\\' AS backslash",
        "SELECT * FROM no_such_table WHERE no_such_function(x)",
        "SELECT 1; SELECT 2",
        "",
        "  -- nothing\n",
        ";",
    ],
)
def test_sql_is_left_alone(text: str) -> None:
    assert parse(text) == nodes.Sql(text)


@pytest.mark.parametrize(
    ("text", "problem", "column"),
    [
        ('WALK "x" TOP 5 TOP 6', "TOP is given twice", 16),
        ('WALK "x" TOP 0', "TOP takes a whole number from 1 up, not 0", 14),
        ('WALK "x" TOP -1', "TOP takes a whole number from 1 up, not -1", 14),
        ('WALK "x" TOP 1.5', "TOP takes a whole number from 1 up, not 1.5", 14),
        ('WALK "x" TOP 99999999999999999999', "this number is out of range", 14),
        ('WALK "x" LAYERS 7', "layers take a range such as 0-5, found the end of the statement", 18),
        ('WALK "x" LAYERS 7-3', "a range goes up: 3-7, not 7-3", 17),
        ('DESCRIBE "x" AT LAYER -1', "AT LAYER takes a whole number from 0 up, not -1", 23),
        ('DESCRIBE "x" AT LAYER 1 ALL LAYERS', "ALL LAYERS and AT LAYER contradict each other", 25),
        ('DESCRIBE "x" SYNTAX OUTPUT', "SYNTAX and OUTPUT exclude each other", 21),
        ('INFER "x" TOP 2 GENERATE 3', "GENERATE and TOP contradict each other", 17),
        ('EXPLAIN INFER "x" ALL LAYERS LAYERS 1-2', "ALL LAYERS and LAYERS contradict each other", 30),
        ('COMPILE CURRENT INTO MODEL "m" ON CONFLICT FAIL', "ON CONFLICT is for COMPILE … INTO VINDEX only", 32),
        ('COMPILE CURRENT INTO VINDEX "m" FORMAT GGUF', "FORMAT is for COMPILE … INTO MODEL only", 33),
        ('EXTRACT MODEL "m" INTO "o" COMPONENTS FFN_UP, FFN_UP', "FFN_UP is given twice", 47),
        ("DELETE FROM EDGES", "expected WHERE after EDGES, found the end of the statement", 18),
        ("DELETE FROM EDGES WHERE", "expected a condition after WHERE, found the end of the statement", 24),
        ("DELETE FROM EDGES WHERE a = AND b", "expected an expression after =, found AND", 29),
        ("DELETE FROM EDGES WHERE a = 1 AND", "expected an expression after AND, found the end of the statement", 34),
        ("DELETE FROM EDGES WHERE a = 1) OR (1", "this ) closes nothing", 30),
        ("DELETE FROM EDGES WHERE (a = 1", "expected ) before the end, found the end of the statement", 31),
        ("DELETE FROM EDGES WHERE 1, 2", "a condition is one expression, without a comma", 26),
        ("DELETE FROM EDGES WHERE a = 1 LIMIT 5", "unexpected LIMIT after 1", 31),
        ("UPDATE EDGES SET target = 'a', target = 'b' WHERE 1", "target is set twice", 32),
        ("UPDATE EDGES SET target = WHERE 1", "expected a value for target, found WHERE", 27),
        ('INSERT INTO EDGES (entity, relation, target) VALUES ("a", "b")', "expected , after \"b\", found )", 62),
        ('INSERT INTO EDGES VALUES ("a", "b", "c")', "expected (entity, relation, target), found VALUES", 19),
        ("WALK ? TOP :n", "a statement's parameters are all ? or all :name", 12),
        ("WALK ?0", "parameters are numbered from ?1 to ?32766", 6),
        ("STATS; STATS", "one statement at a time", 8),
        ('USE "a" |> STATS', "the left side of |> must be a query; this is a command", 9),
        ('STATS |> USE "a"', "the right side of |> must be a query; this is a command", 10),
        ("STATS |> PRAGMA x", "the right side of |> must be a statement that can read rows", 10),
        ("STATS |>", "expected a statement after |>, found the end of the statement", 9),
        ("|> STATS", "expected a statement, found |>", 1),
        ("SELECT 1 |> SELECT FROM _", "expected a result column or * after SELECT, found FROM", 20),
        ("SELECT 1 NEAREST TO 'x' AT LAYER 1", "NEAREST TO must follow EDGES, FEATURES or ENTITIES in FROM", 10),
        ("SELECT 'a", "this ' is never closed", 8),
        ("SELECT 1 +", "expected an expression after +, found the end of the statement", 11),
        ("SELECT 1 WHERE x = 'a\0b'", "SQL cannot hold a NUL", 22),
        ('WALK "\ud800"', "half of a surrogate pair is not text", 7),
        (r'WALK "a\d"', r"unknown escape \d in a string; write \\ for a backslash", 8),
    ],
)  # fmt: skip
def test_problems(text: str, problem: str, column: int) -> None:
    with pytest.raises(LQLSyntaxError) as caught:
        parse(text)
    assert problem in caught.value.problem
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('DESCRBE "x"', "did you mean DESCRIBE?"),
        ("SELCT 1", "did you mean SELECT?"),
        ('WALK "x" MODE PUR', "did you mean PURE?"),
        ('WALK "x" LAYER 1-2', "did you mean LAYERS?"),
        ('DESCRIBE "x" VERBOS', "did you mean VERBOSE?"),
        ("SHOW FEATRES 3", "did you mean FEATURES?"),
        ('EXPLAIN WLAK "x"', "did you mean WALK?"),
        ('BEGIN PACTH "x"', "did you mean PATCH?"),
        ('DESCRIBE "x" RELATIONS ONYL', "did you mean ONLY?"),
        ("UPDATE EDGES SET confidense = 1 WHERE 1", "did you mean CONFIDENCE?"),
        ("STATS | STATS", "a pipe is written |>"),
        ("WALK “x”", 'use straight quotes: "…"'),
        ("WALK @x", "parameters are ? or :name"),
        ("APPLY PATCH fix.vlp", 'strings stand in quotes: "…"'),
        ("SELECT a FORM, b FRON t", "did you mean FROM?"),
        ('WALK "x" LAYERS 7', "one layer is written 7-7"),
    ],
)
def test_hints(text: str, hint: str) -> None:
    with pytest.raises(LQLSyntaxError) as caught:
        parse(text)
    assert caught.value.hint == hint


def test_places_are_lines_and_columns_in_characters() -> None:
    with pytest.raises(LQLSyntaxError) as caught:
        parse('WALK "日本"\r\n  TOP 𝟙')
    error = caught.value
    assert (error.line, error.column, error.text) == (2, 7, "  TOP 𝟙")
    with pytest.raises(LQLSyntaxError) as caught:
        parse("SELECT '日本',\n  é FROM WHERE")
    assert (caught.value.line, caught.value.column) == (2, 10)


@pytest.mark.parametrize(
    "text",
    [
        'WALK "x" ' + "TOP 5 " * 2000,
        "DELETE FROM EDGES WHERE " + " OR ".join(["a = 'b'"] * 2000),
        "DELETE FROM EDGES WHERE " + "(" * 2000 + "1" + ")" * 2000,
        "INSERT INTO EDGES (entity, relation, target) VALUES " + ", ".join(["('a', 'b', 'c')"] * 2000),
        "INSERT INTO EDGES (entity, relation, target) SELECT " + "at layer, " * 2000 + "1",
        "UPDATE EDGES SET confidence = " + "1 + " * 2000 + "1 WHERE 1",
        "SELECT * FROM " + "edges NEAREST TO 'x' AT LAYER 1 a, " * 2000 + "t",
        "STATS " + "|> STATS " * 2000,
        "SHOW " * 2000,
    ],
)
def test_work_is_proportional_to_the_tokens(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is passed more than three times, whatever the outcome."""
    steps = 0
    advance = TokenReader.advance

    def counting(self: TokenReader) -> object:
        nonlocal steps
        steps += 1
        return advance(self)

    monkeypatch.setattr(TokenReader, "advance", counting)
    with contextlib.suppress(LQLSyntaxError):
        parse(text)
    assert steps <= 3 * len(tokenize(text))
