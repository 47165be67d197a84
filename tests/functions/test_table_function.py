from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import pytest

from larqldb.errors import ProgrammingError
from larqldb.functions.table_function import TableFunction, register

LAYERS = range(10)


class Recorder:
    """Rows (layer, name, times) for every layer that a WHERE clause leaves, and what the function was called with."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self, name: str, times: int = 2, mode: str = "x", within: tuple[int, int] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        self.calls.append({"name": name, "times": times, "mode": mode, "within": within})
        first, last = within or (0, 99)
        for layer in LAYERS:
            if first <= layer <= last:
                for _ in range(times):
                    yield layer, name.upper(), mode


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def db(recorder: Recorder) -> Iterator[apsw.Connection]:
    db = apsw.Connection(":memory:")
    columns = ("layer INTEGER", "shout TEXT", "mode TEXT")
    register(db, TableFunction("rows", columns, ("name", "times", "mode"), 1, recorder, by_layer=True))
    db.execute("CREATE TABLE names (name TEXT, times INTEGER); INSERT INTO names VALUES ('a', 1), ('b', 2), (NULL, 1)")
    db.execute("CREATE TABLE layers (layer INTEGER PRIMARY KEY, band TEXT)")
    db.executemany("INSERT INTO layers VALUES (?, ?)", ((layer, "low" if layer < 5 else "high") for layer in LAYERS))
    yield db
    db.close()


def layers(db: apsw.Connection, where: str) -> list[int]:
    return [layer for (layer,) in db.execute(f"SELECT layer FROM rows('a', 1) WHERE {where}")]


@pytest.mark.parametrize(
    ("where", "within"),
    [
        ("layer = 3", (3, 3)),
        ("3 = layer", (3, 3)),
        ("layer == 3", (3, 3)),
        ("layer > 3", (4, 1 << 60)),
        ("layer >= 3", (3, 1 << 60)),
        ("layer < 3", (0, 2)),
        ("layer <= 3", (0, 3)),
        ("3 > layer", (0, 2)),
        ("layer BETWEEN 2 AND 4", (2, 4)),
        ("layer > 2 AND layer < 6 AND layer >= 4", (4, 5)),
        ("layer > 5 AND layer < 4", (6, 3)),
        ("layer = 99", (99, 99)),
        ("layer < -5", (0, -6)),
        ("layer > 9223372036854775807", (1 << 63, 1 << 60)),
    ],
)
def test_comparisons_of_the_layer_narrow_the_work(
    db: apsw.Connection, recorder: Recorder, where: str, within: tuple[int, int]
) -> None:
    expected = [layer for (layer,) in db.execute(f"SELECT layer FROM layers WHERE {where} ORDER BY layer")]
    assert layers(db, where) == expected
    assert recorder.calls == [{"name": "a", "times": 1, "mode": "x", "within": within}]


@pytest.mark.parametrize("where", ["layer IN (2, 7, 2)", "layer = 2 OR layer = 7"])
def test_several_layers_are_asked_for_one_by_one_or_filtered(
    db: apsw.Connection, recorder: Recorder, where: str
) -> None:
    assert sorted(layers(db, where)) == [2, 7]
    assert all(call["within"] in ((2, 2), (7, 7), None) for call in recorder.calls)


@pytest.mark.parametrize(
    "where",
    [
        "layer > 2.5",
        "layer = 3.0",
        "layer = '3'",
        "layer < 'x'",
        "layer = NULL",
        "layer IS NULL",
        "layer IS 3",
        "layer <> 3",
        "NOT layer > 3",
        "layer LIKE '1%'",
        "layer % 2 = 0",
        "abs(layer) = 4",
        "layer = 3 OR shout = 'A'",
        "layer IN (SELECT layer FROM layers WHERE band = 'low')",
        "layer NOT BETWEEN 2 AND 8",
    ],
)
def test_other_conditions_mean_what_they_mean_on_a_table(db: apsw.Connection, where: str) -> None:
    db.execute("CREATE TABLE plain AS SELECT * FROM rows('a', 1)")
    expected = [layer for (layer,) in db.execute(f"SELECT layer FROM plain WHERE {where} ORDER BY layer")]
    assert sorted(layers(db, where)) == expected


def test_a_function_without_layers_is_told_nothing(db: apsw.Connection, recorder: Recorder) -> None:
    register(db, TableFunction("flat", ("layer INTEGER", "s TEXT", "m TEXT"), ("name",), 1, recorder))
    assert len(db.execute("SELECT * FROM flat('a') WHERE layer = 3").fetchall()) == 2
    assert recorder.calls[0]["within"] is None


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("rows('a')", {"name": "a", "times": 2, "mode": "x"}),
        ("rows('a', 1)", {"name": "a", "times": 1, "mode": "x"}),
        ("rows('a', NULL, 'y')", {"name": "a", "times": 2, "mode": "y"}),
        ("rows('a', NULL, NULL)", {"name": "a", "times": 2, "mode": "x"}),
        ("rows WHERE name = 'a' AND times = 1", {"name": "a", "times": 1, "mode": "x"}),
        ("rows WHERE mode_ = 'y' AND name = 'a'", {"name": "a", "times": 2, "mode": "y"}),
        ("rows('a') WHERE times = 1", {"name": "a", "times": 1, "mode": "x"}),
    ],
)
def test_arguments_left_out_or_null_take_the_default(
    db: apsw.Connection, recorder: Recorder, call: str, expected: dict[str, Any]
) -> None:
    assert db.execute(f"SELECT * FROM {call}").fetchall()
    assert recorder.calls == [{**expected, "within": None}]


def test_a_required_argument_that_is_null_gives_no_rows(db: apsw.Connection, recorder: Recorder) -> None:
    assert db.execute("SELECT * FROM rows(NULL)").fetchall() == []
    assert recorder.calls == []


@pytest.mark.parametrize("sql", ["SELECT * FROM rows", "SELECT * FROM rows()", "SELECT * FROM rows WHERE times = 1"])
def test_a_required_argument_left_out_is_named(db: apsw.Connection, sql: str) -> None:
    with pytest.raises(ProgrammingError, match=r"rows\(\) needs name\. Call it as rows\(name, times, mode\)"):
        db.execute(sql)


def test_too_many_arguments_are_refused(db: apsw.Connection) -> None:
    with pytest.raises(apsw.SQLError, match=r"too many arguments on rows\(\) - max 3"):
        db.execute("SELECT * FROM rows('a', 1, 'x', 4)")


def test_arguments_can_be_selected_and_compared(db: apsw.Connection) -> None:
    assert db.execute("SELECT DISTINCT name, times, mode FROM rows('a', 1, 'y')").fetchall() == [("a", 1, "y")]
    assert db.execute("SELECT * FROM rows('a') WHERE name = 'b'").fetchall() == []
    assert len(db.execute("SELECT * FROM rows('a', 1) WHERE name IN ('a', 'c')").fetchall()) == 10


def test_arguments_are_hidden_from_a_star(db: apsw.Connection) -> None:
    cursor = db.execute("SELECT * FROM rows('a')")
    assert [name for name, _ in cursor.get_description()] == ["layer", "shout", "mode"]


def test_a_lateral_join_calls_it_for_each_row(db: apsw.Connection, recorder: Recorder) -> None:
    found = db.execute(
        "SELECT n.name, r.layer, r.shout FROM names AS n JOIN rows(n.name, n.times) AS r WHERE r.layer = 4"
    ).fetchall()
    assert found == [("a", 4, "A"), ("b", 4, "B"), ("b", 4, "B")]
    assert [(call["name"], call["within"]) for call in recorder.calls] == [("a", (4, 4)), ("b", (4, 4))]


def test_a_left_join_keeps_rows_without_any(db: apsw.Connection) -> None:
    found = db.execute(
        "SELECT n.name, count(r.layer) FROM names AS n LEFT JOIN rows(n.name, n.times) AS r GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert found == [(None, 0), ("a", 10), ("b", 20)]


def test_a_join_with_a_table_written_either_way_round(db: apsw.Connection) -> None:
    for tables in ("layers AS l JOIN rows('a', 1) AS r", "rows('a', 1) AS r JOIN layers AS l"):
        found = db.execute(f"SELECT count(*) FROM {tables} USING (layer) WHERE l.band = 'low'").get
        assert found == 5


def test_two_calls_in_one_statement_do_not_mix(db: apsw.Connection) -> None:
    found = db.execute(
        "SELECT a.shout, b.shout FROM rows('a', 1) AS a JOIN rows('b', 1) AS b USING (layer) WHERE layer = 2"
    ).fetchall()
    assert found == [("A", "B")]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WITH w AS (SELECT * FROM rows('a')) SELECT count(*) FROM w", 20),
        ("WITH w AS MATERIALIZED (SELECT * FROM rows('a')) SELECT count(*) FROM w AS x JOIN w AS y USING (layer)", 40),
        ("SELECT max(layer) FROM rows('a')", 9),
        ("SELECT count(*) FROM (SELECT shout FROM rows('a') GROUP BY layer HAVING count(*) = 2)", 10),
        ("SELECT (SELECT count(*) FROM rows(n.name, 1)) FROM names AS n WHERE name = 'b'", 10),
        ("SELECT count(*) FROM layers WHERE layer IN (SELECT layer FROM rows('a') WHERE layer < 3)", 3),
        ("SELECT EXISTS (SELECT 1 FROM rows('a') WHERE layer = 50)", 0),
        ("SELECT count(*) FROM (SELECT * FROM rows('a') UNION SELECT * FROM rows('b'))", 20),
        ("SELECT layer FROM rows('a') ORDER BY layer DESC LIMIT 1 OFFSET 2", 8),
        ("SELECT rank FROM (SELECT row_number() OVER (ORDER BY layer) AS rank FROM rows('a')) ORDER BY 1 DESC", 20),
    ],
)
def test_it_works_inside_any_sql(db: apsw.Connection, sql: str, expected: int) -> None:
    assert db.execute(sql).fetchall()[0][0] == expected


def test_create_table_as_and_views(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE kept AS SELECT layer, shout FROM rows('a', 1)")
    db.execute("CREATE TEMP VIEW seen AS SELECT layer FROM rows('b', 1)")
    assert db.execute("SELECT count(*) FROM kept JOIN seen USING (layer)").get == 10


def test_the_query_plan_shows_what_is_pushed_down(db: apsw.Connection) -> None:
    plan = db.execute("EXPLAIN QUERY PLAN SELECT * FROM rows('a') WHERE layer = 3").fetchall()
    assert [detail for *_, detail in plan] == [
        f"SCAN rows VIRTUAL TABLE INDEX 0:operator {apsw.SQLITE_INDEX_CONSTRAINT_EQ},argument 0"
    ]


def test_rows_are_made_as_they_are_read(db: apsw.Connection) -> None:
    made: list[int] = []

    def counted(name: str) -> Iterator[tuple[int]]:
        for number in range(1000):
            made.append(number)
            yield (number,)

    register(db, TableFunction("counted", ("n INTEGER",), ("name",), 1, counted))
    assert db.execute("SELECT n FROM counted('a') LIMIT 3").fetchall() == [(0,), (1,), (2,)]
    assert len(made) <= 4


def test_an_error_in_the_function_ends_the_statement(db: apsw.Connection) -> None:
    def failing(name: str) -> Iterator[tuple[int]]:
        yield (1,)
        raise ProgrammingError("two is too many")

    register(db, TableFunction("failing", ("n INTEGER",), ("name",), 1, failing))
    with pytest.raises(ProgrammingError, match="two is too many"):
        db.execute("SELECT * FROM failing('a')").fetchall()
    assert db.execute("SELECT 1").get == 1


@pytest.mark.parametrize(
    "sql", ["INSERT INTO rows VALUES (1, 'a', 'b')", "DELETE FROM rows", "UPDATE rows SET layer = 1"]
)
def test_it_cannot_be_written(db: apsw.Connection, sql: str) -> None:
    with pytest.raises((apsw.SQLError, ProgrammingError)):
        db.execute(sql)
