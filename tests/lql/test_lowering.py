from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from larqldb import errors
from larqldb.lql import lower, nodes, parse, print_sql, to_sql
from larqldb.lql.fragments import fragment_sql
from larqldb.lql.grammar import FORMS
from larqldb.lql.tokens import quote_lql

if TYPE_CHECKING:
    from tests.lql.conftest import Vindex

COLUMNS = {
    nodes.Walk: "layer rank feature gate activation contribution token also relation",
    nodes.ExplainWalk: "layer rank feature gate activation contribution token also relation",
    nodes.ExplainInfer: "layer rank feature gate activation contribution token also relation",
    nodes.Describe: "relation target score layer feature layers hits also band confidence source",
    nodes.Infer: "rank token token_id probability mode",
    nodes.Trace: "layer position token rank probability attn ffn residual who",
    nodes.ShowRelations: "relation features edges layers source examples",
    nodes.ShowLayers: "layer band features labelled gate_norm down_norm",
    nodes.ShowFeatures: "layer feature token also relation score source",
    nodes.ShowEntities: "entity features edges score",
    nodes.ShowPatches: "patch operations active created_at",
    nodes.Stats: "property value",
    nodes.Diff: "what where how_many bytes",
}


def line(text: str) -> str:
    """The SQL of a statement on one line."""
    return " ".join(to_sql(text).split())


def columns(vindex: Vindex, sql: str) -> list[str]:
    found: list[str] = []

    def keep(cursor: Any, _sql: str, _bindings: Any) -> bool:
        found.extend(name for name, _ in cursor.get_description())
        return True

    cursor = vindex.db.cursor()
    cursor.exec_trace = keep
    list(cursor.execute(sql))
    return found


def test_queries_of_the_accept_list_run_and_give_their_columns(accepted: str, vindex: Vindex) -> None:
    node = parse(accepted)
    if isinstance(node, nodes.Command):
        with pytest.raises(errors.NotAQuery, match="is a command"):
            to_sql(accepted)
        return
    given = columns(vindex, to_sql(accepted))
    expected = COLUMNS.get(type(node), "").split()
    assert given[: len(expected)] == expected


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_query_form_lowers_to_a_select(form: Any) -> None:
    node = parse(form.example)
    if isinstance(node, nodes.Query):
        assert isinstance(lower(node), exp.Select)
    else:
        with pytest.raises(errors.NotAQuery):
            lower(node)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ('WALK "x"', "walk('x')"),
        ('WALK "x" TOP 5 MODE DENSE LAYERS 2-3', "walk('x', 5, 'dense', 2, 3)"),
        ('WALK "x" LAYERS 2-3', "walk('x', NULL, NULL, 2, 3)"),
        ('WALK "x" COMPARE MODE PURE', "SELECT 'pure' AS mode UNION ALL SELECT 'dense'"),
        ('WALK "x" COMPARE MODE DENSE', "SELECT 'hybrid' AS mode UNION ALL SELECT 'dense'"),
        ("WALK ? TOP ?", "walk(?, ?)"),
        ("WALK ? LAYERS ?-? TOP ?", "walk(?1, ?4, NULL, ?2, ?3)"),
        ("WALK :p TOP :n", "walk(:p, :n)"),
        ('INFER "x" TOP 3', "infer('x', 3)"),
        ('INFER "x" COMPARE', "infer('x', NULL, modes.mode, 1) AS i"),
        ('INFER "x" GENERATE 9', "generate('x', 9)"),
        ('INFER "x" GENERATE 9 COMPARE', "generate('x', 9, modes.mode) AS g"),
        ("DESCRIBE ? AT LAYER ?", "describe(?1, ?2, ?2)"),
        ('DESCRIBE "x" RELATIONS ONLY RAW OUTPUT', "describe('x', NULL, NULL, 'output', 1, 'raw')"),
        ('DESCRIBE "x" ALL LAYERS', "describe('x', NULL, NULL, 'all')"),
        ('EXPLAIN WALK "x" RELATIONS ONLY', "walk('x', NULL, NULL, NULL, NULL, 1)"),
        ('EXPLAIN INFER "x" TOP 2 LAYERS 1-2', "explain_infer('x', 2, 1, 2)"),
        ('EXPLAIN INFER "x" OUTPUT', "WHERE l.band = 'output'"),
        ('EXPLAIN INFER "x" WITH ATTENTION LAYERS 1-2', "JOIN attention('x', 1, 2) AS a ON a.layer = w.layer"),
        ('EXPLAIN WALK "x" VERBOSE', "COALESCE(f.label_source, n.source) AS source"),
        ('TRACE "x" FOR "y" POSITIONS', "trace('x', 'y', NULL, NULL, NULL, 'all')"),
        ('TRACE "x" DECOMPOSE', "trace('x', NULL, 1)"),
        ('TRACE "x"', "FROM trace('x') ORDER BY layer, position, rank"),
        ("SHOW LAYERS 1-2", "WHERE layer BETWEEN 1 AND 2 ORDER BY layer"),
        ("SHOW FEATURES 3 WHERE a = 1 OR b LIMIT 2", "WHERE layer = 3 AND (a = 1 OR b) ORDER BY feature LIMIT 2"),
        ('SHOW FEATURES 3 WHERE "token" = "layer 1"', """AND ("token" = 'layer 1')"""),
        ("SHOW ENTITIES 3 LIMIT 5", "WHERE layer = 3 ORDER BY edges DESC, features DESC, entity LIMIT 5"),
        ("SHOW RELATIONS BRIEF", "LIMIT 20"),
        ("SHOW RELATIONS AT LAYER ?", "AND layer = ?1"),
        ('STATS "v"', "stats('v')"),
        ('DIFF CURRENT "b" LAYER 3 LIMIT 2', "FROM diff(NULL, 'b') WHERE layer = 3"),
        ("SELECT e.target FROM EDGES NEAREST TO ? AT LAYER ? AS e WHERE x = ?",
         'FROM gate_match(?, NULL, ?) AS g JOIN edges USING (layer, feature) ORDER BY distance, feature, target) '
         'AS "e" WHERE x = ?'),
        ("STATS |> SELECT * FROM _", "ORDER BY property ) SELECT * FROM _"),
        ("STATS |> WITH a AS (SELECT 1) SELECT 2", "ORDER BY property ), a AS (SELECT 1) SELECT 2"),
        ("VALUES (1) |> WITH RECURSIVE a AS (SELECT 1) SELECT 2", "WITH RECURSIVE _ AS ( VALUES (1) ), a AS"),
        ("VALUES (1) |> CREATE TABLE t AS SELECT * FROM _", "CREATE TABLE t AS WITH _ AS ( VALUES (1) ) SELECT"),
        ("VALUES (1) |> EXPLAIN QUERY PLAN SELECT * FROM _", "EXPLAIN QUERY PLAN WITH _ AS ( VALUES (1) ) SELECT"),
        ("VALUES (1) |> INSERT INTO t SELECT * FROM _", "WITH _ AS ( VALUES (1) ) INSERT INTO t SELECT * FROM _"),
        ("VALUES (?) |> SELECT ? |> SELECT ?3, ?1", "WITH _ AS ( WITH _ AS ( VALUES (?1) ) SELECT ?2 ) SELECT ?3, ?1"),
    ],
)  # fmt: skip
def test_sql(text: str, call: str) -> None:
    assert call in line(text)


def test_sql_goes_through_byte_for_byte() -> None:
    for text in ("SELECT  1 -- x\n;", "PRAGMA user_version;", "select \"a\" from t where b = '\\'"):
        assert to_sql(text) == text


def test_lowered_statements_may_be_changed_without_changing_later_ones() -> None:
    lower(parse("SHOW LAYERS")).limit(1, copy=False)
    assert "LIMIT" not in to_sql("SHOW LAYERS")


def test_wide_pipes(vindex: Vindex) -> None:
    text = "VALUES (1)" + " |> SELECT column1 + 1 AS column1 FROM _" * 49
    assert vindex.run(to_sql(text)) == [(50,)]


@settings(deadline=None)
@given(value=st.text())
def test_any_string_reaches_the_function(value: str, shared_vindex: Vindex) -> None:
    shared_vindex.run(to_sql(f"DESCRIBE {quote_lql(value)} AT LAYER 3"))
    assert shared_vindex.calls[0][:4] == ("describe", value, 3, 3)


@settings(deadline=None)
@given(value=st.text())
def test_any_string_reaches_the_condition(value: str, shared_vindex: Vindex) -> None:
    node = parse(f"DELETE FROM EDGES WHERE {quote_lql(value, chr(39))}")
    assert isinstance(node, nodes.Delete)
    assert shared_vindex.run(f"SELECT {fragment_sql(node.where)}") == [(value,)]


@settings(deadline=None)
@given(value=st.text())
def test_any_string_reaches_nearest_to(value: str, shared_vindex: Vindex) -> None:
    shared_vindex.run(to_sql(f"SELECT * FROM EDGES NEAREST TO {quote_lql(value)} AT LAYER 3"))
    assert shared_vindex.calls[0] == ("gate_match", value, None, 3)


@pytest.mark.parametrize(
    ("condition", "sql"),
    [
        ('entity = "France"', "entity = 'France'"),
        ('"entity" = "France"', "\"entity\" = 'France'"),
        ('"edges"."entity" = 1', '"edges"."entity" = 1'),
        ('"lower"(entity) = "x"', "\"lower\"(entity) = 'x'"),
        ('entity = "a" COLLATE "nocase"', "entity = 'a' COLLATE \"nocase\""),
        ('entity IN (SELECT "name" FROM t)', 'entity IN (SELECT "name" FROM t)'),
        (r'entity = "it\'s \"so\""', "entity = 'it''s \"so\"'"),
        (r"entity = 'a\\b'", r"entity = 'a\b'"),
        (r"entity = 'a\nb'", "entity = CAST(x'610a62' AS TEXT)"),
        ("a\n=\t1 -- c", "a = 1"),
    ],
)
def test_conditions(condition: str, sql: str) -> None:
    node = parse(f"DELETE FROM EDGES WHERE {condition}")
    assert isinstance(node, nodes.Delete)
    assert fragment_sql(node.where) == sql


def test_rows_over_real_tables(vindex: Vindex) -> None:
    vindex.db.execute(
        """
        INSERT INTO tokens VALUES (0, ' Paris', 'x', 0), (1, ' Rome', 'y', 0);
        INSERT INTO features VALUES (3, 0, NULL, ' Paris', 0, 2.5, 1, 1, 1, 'capital', 'probe'),
                                    (3, 1, NULL, ' Rome', 1, 1.5, 1, 1, 1, NULL, NULL);
        INSERT INTO feature_tokens VALUES (3, 0, 1, 0, 2.5), (3, 0, 2, 1, 1.0), (3, 1, 1, 1, 1.5);
        INSERT INTO relations VALUES ('capital', NULL, 'probe');
        INSERT INTO edge_records (entity, relation, target, layer, feature, score, confidence, source)
        VALUES ('France', 'capital', 'Paris', 3, 0, 2.5, 0.9, 'probe');
        """
    )
    expected = [(3, 0, " Paris", '[" Rome"]', "capital", 2.5, "probe")]
    assert vindex.run(to_sql("SHOW FEATURES ? WHERE source = ? LIMIT ?"), (3, "probe", 5)) == expected
    assert vindex.run(to_sql('SHOW FEATURES 3 WHERE also LIKE "%Rome%"')) == expected
    facts = [("capital", 1, 1, "[3]", "probe", '["France → Paris"]')]
    for text in (
        "SHOW RELATIONS WITH EXAMPLES",
        "SHOW RELATIONS AT LAYER 3 WITH EXAMPLES",
        "SHOW RELATIONS RAW WITH EXAMPLES",
    ):
        assert vindex.run(to_sql(text)) == facts
    assert vindex.run(to_sql("SHOW RELATIONS AT LAYER 4")) == []
    vindex.db.execute("INSERT INTO features VALUES (4, 7, NULL, ' of', 2, 1.5, 1, 1, 1, 'capital', 'probe')")
    elsewhere = vindex.run(to_sql("SHOW RELATIONS AT LAYER 4 WITH EXAMPLES"))
    assert elsewhere == [("capital", 1, 0, "[4]", "probe", '["France → Paris"]')]
    assert vindex.run(to_sql("SHOW RELATIONS VERBOSE"))[0][6:] == (None, "[]", 0.9)


def test_relations_without_facts_show_tokens_as_examples(vindex: Vindex) -> None:
    vindex.db.execute(
        """
        INSERT INTO features VALUES (3, 0, NULL, ' 1987', 0, 2.5, 1, 1, 1, 'pattern:year', 'pattern'),
                                    (4, 1, NULL, ' 1987', 0, 1.5, 1, 1, 1, 'pattern:year', 'pattern'),
                                    (4, 2, NULL, ' 1990', 1, 3.5, 1, 1, 1, 'pattern:year', 'pattern');
        INSERT INTO relations VALUES ('pattern:year', 'years', 'pattern');
        """
    )
    shown = [("pattern:year", 3, 0, "[3,4]", "pattern", '[" 1990"," 1987"]')]
    assert vindex.run(to_sql("SHOW RELATIONS WITH EXAMPLES")) == shown
    at_layer = vindex.run(to_sql("SHOW RELATIONS AT LAYER 3 WITH EXAMPLES"))
    assert at_layer == [("pattern:year", 1, 0, "[3]", "pattern", '[" 1987"]')]
    assert vindex.run(to_sql("SHOW RELATIONS"))[0][5] is None


def test_nearest_to_gives_its_columns_and_distance(vindex: Vindex) -> None:
    for table, first in (("edges", "entity"), ("features", "layer"), ("entities", "entity")):
        names = columns(vindex, to_sql(f"SELECT * FROM {table} NEAREST TO 'x' AT LAYER 3 LIMIT 2"))
        assert (names[0], names[-1]) == (first, "distance")


def test_print_sql_of_commands_names_them() -> None:
    for name, text in (
        ("INSERT INTO EDGES", "INSERT INTO EDGES (entity, relation, target) VALUES ('a', 'b', 'c')"),
        ("DIFF INTO PATCH", "DIFF 'a' 'b' INTO PATCH 'p'"),
        ("TRACE SAVE", "TRACE 'a' SAVE 'f'"),
    ):
        with pytest.raises(errors.NotAQuery, match=f"{name} is a command"):
            print_sql(parse(text))
