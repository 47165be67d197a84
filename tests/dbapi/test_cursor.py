import gc
import weakref

import pytest

import larqldb


def names(cursor: larqldb.Cursor) -> list[str]:
    return [column[0] for column in cursor.description or ()]


def test_description_has_names_and_declared_types(numbers):
    cursor = numbers.execute("SELECT n, word, half AS h, raw, n + 1 FROM numbers")
    assert names(cursor) == ["n", "word", "h", "raw", "n + 1"]
    types = [column[1] for column in cursor.description]
    assert types == [larqldb.NUMBER, larqldb.STRING, larqldb.NUMBER, larqldb.BINARY, None]
    assert all(column[2:] == (None,) * 5 for column in cursor.description)


def test_description_of_an_empty_result(numbers):
    cursor = numbers.execute("SELECT n, word FROM numbers WHERE n > 99")
    assert names(cursor) == ["n", "word"]
    assert cursor.fetchall() == []
    assert names(cursor) == ["n", "word"]


def test_description_stays_after_the_last_row(numbers):
    cursor = numbers.execute("SELECT word FROM numbers")
    cursor.fetchall()
    assert names(cursor) == ["word"]


def test_description_is_reset(numbers):
    cursor = numbers.execute("SELECT word FROM numbers")
    assert cursor.execute("CREATE TEMP TABLE other (x)").description is None


def test_fetching_piecewise(numbers):
    cursor = numbers.execute("SELECT n FROM numbers ORDER BY n")
    assert cursor.fetchone() == (0,)
    assert cursor.fetchmany() == [(1,)]
    cursor.arraysize = 3
    assert cursor.fetchmany() == [(2,), (3,), (4,)]
    assert cursor.fetchmany(2) == [(5,), (6,)]
    assert next(cursor) == (7,)
    assert list(cursor) == [(8,), (9,)]
    assert cursor.fetchone() is None
    assert cursor.fetchmany(5) == []
    assert cursor.fetchall() == []


@pytest.mark.parametrize("fetch", ["fetchone", "fetchmany", "fetchall"])
def test_fetching_without_a_result(conn, fetch):
    cursor = conn.cursor()
    with pytest.raises(larqldb.ProgrammingError, match="no rows to fetch"):
        getattr(cursor, fetch)()
    cursor.execute("CREATE TEMP TABLE t (x)")
    with pytest.raises(larqldb.ProgrammingError, match="no rows to fetch"):
        getattr(cursor, fetch)()


def test_rowcount(numbers):
    cursor = numbers.cursor()
    assert cursor.rowcount == -1
    assert cursor.execute("SELECT n FROM numbers").rowcount == -1
    assert cursor.execute("UPDATE numbers SET half = 0 WHERE n < 4").rowcount == 4
    assert cursor.execute("DELETE FROM numbers WHERE n > 99").rowcount == 0
    assert cursor.execute("WITH x AS (SELECT 20) INSERT INTO numbers (n) SELECT * FROM x").rowcount == 1
    assert cursor.execute("CREATE TEMP TABLE t (x)").rowcount == -1
    assert cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)]).rowcount == 3
    assert cursor.executemany("INSERT INTO t VALUES (?)", []).rowcount == 0


def test_lastrowid(numbers):
    cursor = numbers.cursor()
    assert cursor.lastrowid is None
    assert cursor.execute("INSERT INTO numbers (n) VALUES (77)").lastrowid == 77
    assert cursor.execute("UPDATE numbers SET word = 'x' WHERE n = 1").lastrowid == 77


def test_returning_gives_rows_and_counts_all(numbers):
    cursor = numbers.execute("UPDATE numbers SET half = half + 1 WHERE n < 3 RETURNING n, half")
    assert cursor.rowcount == 3
    assert names(cursor) == ["n", "half"]
    numbers.commit()
    assert cursor.fetchall() == [(0, 1.0), (1, 1.5), (2, 2.0)]


def test_executemany_returning(numbers):
    cursor = numbers.executemany("INSERT INTO numbers (n) VALUES (?) RETURNING n", [(50,), (51,)])
    assert cursor.fetchall() == [(50,), (51,)]
    assert cursor.rowcount == 2


@pytest.mark.parametrize("statement", ["SELECT ?", "CREATE TABLE t (x)", "PRAGMA user_version"])
def test_executemany_is_for_changes(conn, statement):
    with pytest.raises(larqldb.ProgrammingError, match="executemany takes INSERT"):
        conn.executemany(statement, [(1,)] if "?" in statement else [()])


def test_executemany_takes_an_iterator_and_keeps_what_went_before_a_failure(numbers):
    def rows():
        yield (100,)
        yield (101,)
        yield (object(),)

    with pytest.raises(larqldb.InterfaceError, match=r"parameter 1 is of type object"):
        numbers.executemany("INSERT INTO numbers (n) VALUES (?)", rows())
    assert numbers.execute("SELECT count(*) FROM numbers WHERE n >= 100").fetchone() == (2,)
    numbers.rollback()
    assert numbers.execute("SELECT count(*) FROM numbers WHERE n >= 100").fetchone() == (0,)


@pytest.mark.parametrize("statement", ["", "  \n", "-- nothing", "/* nothing */", ";;", "/* open"])
def test_an_empty_statement_gives_nothing(conn, statement):
    assert conn.execute(statement).description is None


@pytest.mark.parametrize("statement", ["SELECT 1;", "SELECT 1 ; -- done", "SELECT 1; /* done */ ;", ";SELECT 1"])
def test_what_may_surround_a_statement(conn, statement):
    cursor = conn.execute(statement)
    assert len(cursor.description) == 1
    assert cursor.fetchall() == [(1,)]


def test_one_statement_at_a_time(numbers):
    with pytest.raises(
        larqldb.ProgrammingError, match=r"one statement at a time: 'DELETE FROM numbers'.*executescript"
    ):
        numbers.execute("UPDATE numbers SET half = 0; DELETE FROM numbers")
    assert numbers.execute("SELECT max(half) FROM numbers").fetchone() == (4.5,)
    assert not numbers.in_transaction


def test_executescript(conn):
    conn.executescript(
        """
        CREATE TEMP TABLE a (x);  -- a table; with a comment
        CREATE TEMP TABLE log (x);
        CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN
            INSERT INTO log VALUES ('semicolon; inside');
            INSERT INTO log VALUES (new.x);
        END;
        INSERT INTO a VALUES (1);
        SELECT * FROM a
        """
    )
    assert not conn.in_transaction
    assert conn.execute("SELECT x FROM log").fetchall() == [("semicolon; inside",), (1,)]


def test_executescript_commits_first_and_stops_at_an_error(numbers):
    numbers.execute("INSERT INTO numbers (n) VALUES (60)")
    with pytest.raises(larqldb.ProgrammingError, match="no such table: nowhere"):
        numbers.executescript("INSERT INTO numbers (n) VALUES (61); SELECT * FROM nowhere; DELETE FROM numbers")
    assert numbers.execute("SELECT count(*) FROM numbers WHERE n >= 60").fetchone() == (2,)


def test_a_script_may_hold_its_own_transaction(numbers):
    numbers.executescript("BEGIN; DELETE FROM numbers; ROLLBACK")
    assert numbers.execute("SELECT count(*) FROM numbers").fetchone() == (10,)


def test_a_closed_cursor(numbers):
    cursor = numbers.execute("SELECT n FROM numbers")
    cursor.close()
    cursor.close()
    for use in (
        lambda: cursor.execute("SELECT 1"),
        lambda: cursor.executemany("DELETE FROM numbers", []),
        lambda: cursor.executescript(""),
        cursor.fetchone,
        cursor.fetchmany,
        cursor.fetchall,
        lambda: list(cursor),
        lambda: cursor.connection,
        lambda: cursor.setinputsizes([]),
        lambda: cursor.setoutputsize(1),
        cursor.__enter__,
    ):
        with pytest.raises(larqldb.ProgrammingError, match="the cursor is closed"):
            use()


def test_a_cursor_closes_at_the_end_of_with(conn):
    with conn.cursor() as cursor:
        assert cursor.connection is conn
        cursor.execute("SELECT 1")
    with pytest.raises(larqldb.ProgrammingError, match="closed"):
        cursor.fetchall()


def test_a_forgotten_cursor_frees_its_statement_at_once(numbers):
    gc.disable()
    try:
        cursor = numbers.execute("SELECT n FROM numbers")
        cursor.fetchone()
        gone = weakref.ref(cursor)
        del cursor
        assert gone() is None
        numbers.execute("DROP TABLE numbers")  # refused while a statement reads the table
    finally:
        gc.enable()


def test_cursors_of_one_connection_do_not_disturb_each_other(numbers):
    first = numbers.execute("SELECT n FROM numbers ORDER BY n")
    second = numbers.execute("SELECT n FROM numbers ORDER BY n DESC")
    assert [first.fetchone(), second.fetchone(), first.fetchone()] == [(0,), (9,), (1,)]


def test_a_result_survives_commit(numbers):
    numbers.execute("INSERT INTO numbers (n) VALUES (70)")
    cursor = numbers.execute("SELECT n FROM numbers ORDER BY n")
    cursor.fetchone()
    numbers.commit()
    assert len(cursor.fetchall()) == 10


def test_text_comes_back_as_it_was(conn):
    for text in ("", "a\0b", "שלום", "\U0001f600", "'\";--", "\u202e", "x" * 100_000):
        assert conn.execute("SELECT ?", (text,)).fetchone() == (text,)
