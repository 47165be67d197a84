from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

import larqldb
from larqldb import lql
from larqldb.dbapi.statements import is_plainly_sql, plan

ACCEPTED = [
    line
    for line in (Path(__file__).parents[1] / "lql" / "accept.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
SQL = [
    "SELECT 1",
    "  -- a comment\n select 1",
    "/* one */ /* two */ WITH x AS (SELECT 1) SELECT * FROM x",
    "VALUES (1)",
    "BEGIN IMMEDIATE",
    "INSERT INTO relations VALUES ('a', 'b', 'c')",
    "CREATE TABLE t (x)",
    "PRAGMA table_info(features)",
    "",
    "-- nothing",
]


@pytest.mark.parametrize("statement", SQL)
def test_sql_is_seen_to_be_sql(statement):
    assert is_plainly_sql(statement)


@pytest.mark.parametrize("statement", [*ACCEPTED, *SQL])
def test_what_is_taken_for_sql_is_sql_to_the_parser_too(statement):
    if is_plainly_sql(statement):
        assert lql.parse(statement) == lql.Sql(statement)


WORDS = st.sampled_from(
    [
        *(
            "SELECT",
            "INSERT",
            "INTO",
            "EDGES",
            "UPDATE",
            "DELETE",
            "FROM",
            "BEGIN",
            "PATCH",
            "EXPLAIN",
            "WALK",
            "INFER",
        ),
        *(
            "NEAREST",
            "TO",
            "|>",
            "'x'",
            '"y"',
            ";",
            "--",
            "/*",
            "*/",
            "(",
            ")",
            "a",
            "1",
            "WITH",
            "VALUES",
            "CREATE",
            "\n",
        ),
    ]
)


@given(st.lists(WORDS, max_size=8).map(" ".join))
def test_so_it_is_for_any_words(statement):
    if is_plainly_sql(statement):
        try:
            node = lql.parse(statement)
        except larqldb.LQLSyntaxError:
            return  # SQLite refuses it as well
        assert isinstance(node, lql.Sql)


@given(st.text())
def test_any_text_gives_rows_or_a_pep_249_error(text):
    connection = larqldb.connect(":memory:")
    with suppress(larqldb.Error):
        cursor = connection.execute(text)
        assert cursor.description is None or isinstance(cursor.fetchall(), list)
    connection.close()


def test_sql_reaches_sqlite_byte_for_byte(conn):
    statement = "  SELECT  'a\\b' AS \"x y\" ,1 -- é\n"
    seen = []
    conn.database.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: seen.append(event["sql"]))
    for _ in range(2):  # a statement that is known takes another way
        conn.execute(statement)
    assert seen == [statement, statement]


def test_to_sql(conn):
    assert conn.to_sql("SELECT  1") == "SELECT  1"
    assert conn.to_sql("SHOW LAYERS").startswith("SELECT")
    with pytest.raises(larqldb.NotSupportedError, match="USE is a command"):
        conn.to_sql("USE 'x'")


def test_plans_are_remembered_unless_long():
    assert plan("SHOW LAYERS") is plan("SHOW LAYERS")
    long = f"SELECT '{'x' * 20_000}'"
    assert plan(long) is not plan(long)


def test_a_double_quoted_string(conn):
    assert conn.execute('SELECT "no such column"').fetchone() == ("no such column",)


def test_statements_are_told_apart_by_their_text_alone(conn):
    for _ in range(2):  # the second time from the cache, with another string object
        statement = " ".join(["INSERT INTO relations (name)", "VALUES (?)"])
        assert conn.executemany(statement, [("a",)]).rowcount == 1
        conn.rollback()
        with pytest.raises(larqldb.LQLSyntaxError, match="no such table: nowhere"):
            conn.execute(" ".join(["SELECT 1 FROM", "nowhere"]))
