import threading

import apsw
import pytest

import larqldb
from larqldb.storage.database import create_database


@pytest.fixture
def pair(empty_vindex):
    first, second = larqldb.connect(empty_vindex), larqldb.connect(empty_vindex)
    yield first, second
    first.close()
    second.close()


def relations(connection):
    return [name for (name,) in connection.execute("SELECT name FROM relations ORDER BY name")]


INSERT = "INSERT INTO relations (name) VALUES (?)"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO relations (name) VALUES ('a')",
        "  /* why */ insert into relations (name) values ('a')",
        "REPLACE INTO relations (name) VALUES ('a')",
        "UPDATE relations SET description = 'x'",
        "DELETE FROM relations",
        "WITH x AS (SELECT 'a') INSERT INTO relations (name) SELECT * FROM x",
    ],
)
def test_a_change_begins_a_transaction(conn, statement):
    conn.execute(statement)
    assert conn.in_transaction
    conn.commit()
    assert not conn.in_transaction


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "CREATE TABLE t (x)",
        "PRAGMA cache_size = 100",
        "EXPLAIN DELETE FROM relations",
        "EXPLAIN QUERY PLAN DELETE FROM relations",
    ],
)
def test_nothing_else_does(conn, statement):
    conn.execute(statement)
    assert not conn.in_transaction


def test_others_see_what_is_committed(pair):
    first, second = pair
    first.execute(INSERT, ("capital",))
    assert relations(first) == ["capital"]
    assert relations(second) == []
    first.commit()
    assert relations(second) == ["capital"]


def test_rollback(conn):
    conn.execute(INSERT, ("capital",))
    conn.rollback()
    assert relations(conn) == []


def test_closing_rolls_back(pair):
    first, second = pair
    first.execute(INSERT, ("capital",))
    first.close()
    assert relations(second) == []


def test_with_commits_and_stays_open(conn):
    with conn as same:
        assert same is conn
        conn.execute(INSERT, ("capital",))
    assert not conn.in_transaction
    assert relations(conn) == ["capital"]


def test_with_rolls_back_on_an_exception(conn):
    def fail():
        with conn:
            conn.execute(INSERT, ("capital",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert relations(conn) == []


def test_commit_and_rollback_without_a_transaction_do_nothing(conn):
    conn.commit()
    conn.rollback()
    assert not conn.in_transaction


def test_a_written_out_transaction(conn):
    conn.execute("BEGIN IMMEDIATE")
    conn.execute(INSERT, ("a",))
    conn.execute("ROLLBACK")
    assert relations(conn) == []
    conn.execute("BEGIN")
    conn.execute(INSERT, ("a",))
    conn.execute("COMMIT")
    assert relations(conn) == ["a"]


def test_savepoints(conn):
    conn.execute(INSERT, ("a",))
    conn.execute("SAVEPOINT s")
    conn.execute(INSERT, ("b",))
    conn.execute("ROLLBACK TO s")
    conn.execute("RELEASE s")
    conn.commit()
    assert relations(conn) == ["a"]


def test_a_failed_change_holds_no_lock(pair):
    first, second = pair
    first.execute(INSERT, ("a",))
    first.commit()
    with pytest.raises(larqldb.IntegrityError):
        first.execute(INSERT, ("a",))
    assert not first.in_transaction
    second.execute(INSERT, ("b",))
    second.commit()
    assert relations(first) == ["a", "b"]


def test_a_failed_change_leaves_earlier_ones_pending(conn):
    conn.execute(INSERT, ("a",))
    with pytest.raises(larqldb.IntegrityError):
        conn.execute(INSERT, ("a",))
    assert conn.in_transaction
    conn.commit()
    assert relations(conn) == ["a"]


def test_a_change_that_fails_half_way_keeps_its_rows_pending(conn):
    with pytest.raises(larqldb.IntegrityError):
        conn.execute("INSERT OR FAIL INTO relations (name) VALUES ('a'), ('b'), ('a')")
    assert conn.in_transaction
    conn.rollback()
    assert relations(conn) == []


def test_a_read_only_connection_says_so(empty_vindex):
    connection = larqldb.connect(empty_vindex, read_only=True)
    with pytest.raises(
        larqldb.OperationalError, match="attempt to write a readonly database: it was opened read_only"
    ) as e:
        connection.execute(INSERT, ("a",))
    assert e.value.sqlite_errorname == "SQLITE_READONLY"
    assert not connection.in_transaction
    assert relations(connection) == []
    connection.close()


def test_a_locked_file(pair):
    first, second = pair
    second.database.set_busy_timeout(1)
    first.execute(INSERT, ("a",))
    with pytest.raises(larqldb.OperationalError, match="another connection is writing") as e:
        second.execute(INSERT, ("b",))
    assert e.value.sqlite_errorname == "SQLITE_BUSY"
    assert not second.in_transaction


def test_a_closed_connection(empty_vindex):
    connection = larqldb.connect(empty_vindex)
    reading = connection.execute("SELECT name FROM migrations")
    buffered = connection.execute("INSERT INTO relations (name) VALUES ('a') RETURNING name")
    connection.close()
    connection.close()
    for use in (
        lambda: connection.execute("SELECT 1"),
        connection.cursor,
        connection.commit,
        connection.rollback,
        connection.interrupt,
        connection.__enter__,
        lambda: connection.in_transaction,
        lambda: connection.to_sql("SELECT 1"),
        lambda: reading.execute("SELECT 1"),
        reading.fetchone,
        reading.fetchall,
        buffered.fetchone,
        lambda: list(buffered),
    ):
        with pytest.raises(larqldb.ProgrammingError, match="the connection is closed"):
            use()
    assert "closed" in repr(connection)


def test_another_thread_may_use_it_when_nobody_else_does(conn):
    found = []
    thread = threading.Thread(target=lambda: found.extend(conn.execute("SELECT 7").fetchall()))
    thread.start()
    thread.join()
    assert found == [(7,)]


def test_interrupt_ends_a_long_statement(conn):
    cursor = conn.execute("WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r")
    cursor.fetchone()
    conn.interrupt()
    with pytest.raises(larqldb.OperationalError, match="interrupted") as e:
        cursor.fetchall()
    assert e.value.sqlite_errorname == "SQLITE_INTERRUPT"


def test_the_file_at_rest_is_alone(tmp_path):
    path = tmp_path / "x.vindex"
    create_database(path).close()
    connection = larqldb.connect(path)
    connection.execute(INSERT, ("a",))
    connection.commit()
    connection.close()
    assert [file.name for file in tmp_path.iterdir()] == ["x.vindex"]


def test_a_forgotten_connection_frees_its_file(empty_vindex):
    before = len(apsw.connections())
    connection = larqldb.connect(empty_vindex)
    connection.execute("SELECT count(*) FROM features").fetchall()
    assert len(apsw.connections()) == before + 1
    del connection
    assert len(apsw.connections()) == before
