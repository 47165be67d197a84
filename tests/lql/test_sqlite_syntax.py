from __future__ import annotations

import apsw
import pytest

from larqldb.lql import sql_error
from larqldb.lql.sqlite_syntax import find_problem


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1", "SELECT * FROM unknown", "SELECT ?, :a", "", "SELECT unknown(1)", "SELECT " + "(" * 100_000],
)
def test_no_problem_of_syntax(sql: str) -> None:
    assert find_problem(sql) is None


@pytest.mark.parametrize(
    ("sql", "position", "message"),
    [
        ("SELECT * FROM t WHERE;", 21, "expected an expression after WHERE, found ;"),
        ("SELECT 'é' FROM;", 15, "expected a table after FROM, found ;"),
        ("SELECT (1", 9, "unexpected the end of the statement after 1"),
        ("SELECT *", 8, "expected FROM and a table: SELECT * has no table to take columns from"),
        ("SELECT 1x", 7, "a number runs into a name"),
        ("SELECT a b c", 11, "unexpected c after b"),
    ],
)
def test_problems(sql: str, position: int, message: str) -> None:
    problem = find_problem(sql)
    assert problem is not None
    assert (problem.position, problem.message) == (position, message)


@pytest.mark.parametrize(("sql", "column"), [("INSERT INTO t VALUE (1)", 15), ("DROP TABEL t", 6)])
def test_errors_of_running_get_their_place(sql: str, column: int) -> None:
    with pytest.raises(apsw.SQLError) as caught:
        apsw.Connection(":memory:").execute(sql)
    error = sql_error(sql, str(caught.value), caught.value.error_offset)  # type: ignore[attr-defined]
    assert error is not None
    assert error.column == column


def test_other_errors_are_not_of_syntax() -> None:
    assert sql_error("SELECT * FROM t", "no such table: t", -1) is None
