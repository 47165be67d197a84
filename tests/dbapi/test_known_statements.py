"""Statements that ran before and only read take a shorter way: nothing about them may differ."""

from contextlib import nullcontext, suppress

import pytest

import larqldb


def columns(cursor):
    return [column[:2] for column in cursor.description]


@pytest.fixture
def notes(conn):
    conn.execute("CREATE TABLE notes (n INTEGER, note TEXT)")
    conn.execute("INSERT INTO notes VALUES (1, 'a'), (2, 'b')")
    conn.commit()
    return conn


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT n, note FROM notes",
        "SELECT n, note FROM notes WHERE n > 9",
        "SELECT n, note FROM notes WHERE n > 9; -- a comment",
        "VALUES (1, 2)",
        "WITH x (y) AS (SELECT 1) SELECT y FROM x",
        "PRAGMA table_info(notes)",
        "EXPLAIN QUERY PLAN SELECT * FROM notes",
        "STATS",
        "SHOW RELATIONS",
    ],
)
def test_rows_and_columns(notes, statement):
    runs = []
    for _ in range(3):
        try:
            cursor = notes.execute(statement)
            runs.append((cursor.description, cursor.rowcount, cursor.lastrowid, cursor.fetchall(), cursor.description))
        except larqldb.Error as problem:
            runs.append((type(problem), str(problem)))
    assert runs[0] == runs[1] == runs[2]


@pytest.mark.parametrize(
    ("statement", "good", "bad"),
    [
        ("SELECT ? + 1", (1,), ()),
        ("SELECT ? + 2", (1,), (1, 2)),
        ("SELECT ? + 3", (1,), (1 << 63,)),
        ("SELECT ? + 4", (1,), ("\ud800",)),
        ("SELECT ? + 5", (1,), (object(),)),
        ("SELECT :n + 6", {"n": 1}, {}),
        ("SELECT :n + 7", {"n": 1}, {"m": 1}),
        ("SELECT :n + 8", {"n": 1}, {"n": 1 << 63}),
        ("SELECT ? + 9", (1,), {"n": 1}),
        ("SELECT abs(?) + 10", (1,), (-(1 << 63),)),
        ("SELECT token FROM walk(?, 1)", ("a",), ("",)),
    ],
)
def test_mistakes_mean_the_same(conn, statement, good, bad):
    def fail():
        with pytest.raises(larqldb.Error) as problem:
            conn.execute(statement, bad).fetchall()
        return type(problem.value), str(problem.value), problem.value.sqlite_errorcode

    first = fail()
    with suppress(larqldb.Error) if "walk" in statement else nullcontext():  # it has no model to walk
        conn.execute(statement, good).fetchall()
    assert fail() == first


def test_a_changed_table(notes):
    statement = "SELECT * FROM notes WHERE n = ?"
    for _ in range(2):
        assert columns(notes.execute(statement, (1,))) == [("n", "INTEGER"), ("note", "TEXT")]
    notes.execute("ALTER TABLE notes ADD COLUMN day DATE")
    for value, rows in ((1, [(1, "a", None)]), (9, [])):
        cursor = notes.execute(statement, (value,))
        assert columns(cursor) == [("n", "INTEGER"), ("note", "TEXT"), ("day", "DATE")]
        assert cursor.fetchall() == rows
    notes.execute("DROP TABLE notes")
    with pytest.raises(larqldb.ProgrammingError, match="no such table: notes") as problem:
        notes.execute(statement, (1,))
    assert problem.value.column == 15


def test_a_cursor_that_reads_and_writes_in_turns(notes):
    cursor = notes.cursor()
    for n in (3, 4, 5):
        assert cursor.execute("SELECT count(*) FROM notes").fetchall() == [(n - 1,)]
        assert cursor.rowcount == -1
        cursor.execute("INSERT INTO notes (n) VALUES (?)", (n,))
        assert (cursor.rowcount, cursor.lastrowid, notes.in_transaction) == (1, n, True)
        assert cursor.description is None
        notes.commit()
        with pytest.raises(larqldb.ProgrammingError, match="one statement at a time"):
            cursor.execute("SELECT 1; SELECT 2")


def test_another_file(notes, empty_vindex):
    cursor = notes.cursor()
    for _ in range(2):
        assert cursor.execute("SELECT count(*) FROM migrations").fetchall()
    notes.execute("USE ?", (str(empty_vindex),))
    assert cursor.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
    assert cursor.execute("SELECT count(*) FROM migrations").fetchall()


def test_executemany_still_refuses_them(conn):
    for _ in range(2):
        conn.execute("SELECT ?", (1,))
    with pytest.raises(larqldb.ProgrammingError, match="executemany takes"):
        conn.executemany("SELECT ?", [(1,)])
