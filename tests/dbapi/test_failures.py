import pytest

import larqldb
from larqldb.dbapi.failures import syntax_error


def failure(connection, statement, *parameters):
    with pytest.raises(larqldb.Error) as caught:
        connection.execute(statement, *parameters).fetchall()
    return caught.value


@pytest.mark.parametrize(
    ("statement", "message", "line", "column", "hint"),
    [
        ("SELECT * FROM edgez", "no such table: edgez", 1, 15, "Did you mean edges?"),
        ("SELECT 'é', zzzz FROM features", "no such column: zzzz", 1, 13, None),
        ("SELECT enttiy\nFROM edges", "no such column: enttiy", 1, 8, "Did you mean entity?"),
        ("SELECT entity\n  FROM edges\n WHERE a..b", "unexpected", 3, 10, None),
        ("SELECT coalesc(1, 2)", "no such function: coalesc", 1, 8, "Did you mean coalesce?"),
        ("SELECT 1 WHERE (", "expected", 1, 17, None),
        ("SELECT * FORM edges", "expected an expression", 1, 10, "did you mean FROM?"),
        ("SELECT 'abc", "this ' is never closed", 1, 8, None),
        ("DELETE FROM EDGES WHERE entty = 'x'", "no such column: entty", 1, 25, "Did you mean entity?"),
    ],
)
def test_a_mistake_is_shown_where_it_is(conn, statement, message, line, column, hint):
    error = failure(conn, statement)
    assert isinstance(error, larqldb.LQLSyntaxError)
    assert error.problem.startswith(message)
    assert (error.line, error.column, error.hint) == (line, column, hint)
    shown, caret = str(error).splitlines()[1:3]
    assert shown.strip() == error.text.strip()
    assert caret.index("^") == column + 1
    assert (error.sqlite_errorcode, error.sqlite_errorname) == (1, "SQLITE_ERROR")


@pytest.mark.parametrize(
    ("statement", "kind", "name"),
    [
        ("INSERT INTO layers (layer) VALUES (1)", larqldb.IntegrityError, "SQLITE_CONSTRAINT_NOTNULL"),
        ("INSERT INTO relation_templates VALUES ('r', 'no place')", larqldb.IntegrityError, "SQLITE_CONSTRAINT_CHECK"),
        ("INSERT INTO tokens (token_id) VALUES ('x')", larqldb.IntegrityError, "SQLITE_MISMATCH"),
        ("INSERT INTO files VALUES (1)", larqldb.ProgrammingError, "SQLITE_ERROR"),
        ("ROLLBACK", larqldb.OperationalError, "SQLITE_ERROR"),
        ("RELEASE x", larqldb.OperationalError, "SQLITE_ERROR"),
        ("SELECT abs(-9223372036854775807 - 1)", larqldb.OperationalError, "SQLITE_ERROR"),
        ("SELECT zeroblob(2000000000)", larqldb.DataError, "SQLITE_TOOBIG"),
        ("ATTACH '/nowhere/at/all' AS x", larqldb.OperationalError, "SQLITE_CANTOPEN"),
    ],
)
def test_classes_and_codes(conn, statement, kind, name):
    error = failure(conn, statement)
    assert isinstance(error, kind)
    assert error.sqlite_errorname.startswith(name)
    assert isinstance(error.sqlite_errorcode, int)


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        (b"SELECT 1", larqldb.InterfaceError, "must be text, not bytes"),
        (None, larqldb.InterfaceError, "must be text, not NoneType"),
        ("SELECT 1\0; DROP TABLE features", larqldb.ProgrammingError, "NUL character at position 9"),
        ("SELECT '\ud800'", larqldb.ProgrammingError, "surrogate"),
    ],
)
def test_statements_that_are_not_text(conn, statement, kind, message):
    error = failure(conn, statement)
    assert isinstance(error, kind)
    assert message in str(error)


def test_what_a_function_raises_comes_through(conn):
    def fail(what):
        raise larqldb.OperationalError("the model is asleep") if what else ValueError("half")

    conn.database.create_scalar_function("fail", fail, 1)
    with pytest.raises(larqldb.OperationalError, match=r"^the model is asleep$"):
        conn.execute("SELECT fail(1)")
    with pytest.raises(larqldb.InternalError, match="ValueError: half"):
        conn.execute("SELECT fail(0)")


def test_a_failure_between_rows(conn):
    cursor = conn.execute("SELECT abs(column1) FROM (VALUES (1), (-9223372036854775807 - 1))")
    assert cursor.fetchone() == (1,)
    with pytest.raises(larqldb.OperationalError, match="integer overflow"):
        cursor.fetchone()


def test_a_long_line_is_shown_around_the_mistake():
    error = syntax_error("mistake", "SELECT " + "x, " * 1000 + "!" + "y" * 1000, 3007)
    assert all(len(line) < 120 for line in str(error).splitlines())


def test_a_statement_of_a_megabyte(conn):
    assert conn.execute(f"SELECT length('{'x' * 1_000_000}')").fetchone() == (1_000_000,)
