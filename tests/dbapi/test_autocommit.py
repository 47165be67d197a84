import pytest

import larqldb

INSERT = "INSERT INTO relations (name) VALUES (?)"


@pytest.fixture
def auto(empty_vindex):
    connection = larqldb.connect(empty_vindex)
    connection.autocommit = True
    yield connection
    connection.close()


def names(path):
    with larqldb.connect(path) as other:
        found = [name for (name,) in other.execute("SELECT name FROM relations ORDER BY name")]
    other.close()
    return found


def test_it_is_off_at_first(conn):
    assert conn.autocommit is False


def test_each_statement_is_permanent_at_once(auto, empty_vindex):
    auto.execute(INSERT, ("a",))
    auto.executemany(INSERT, [("b",), ("c",)])
    assert not auto.in_transaction
    assert names(empty_vindex) == ["a", "b", "c"]


def test_a_begin_of_ones_own_still_counts(auto, empty_vindex):
    auto.execute("BEGIN")
    auto.execute(INSERT, ("a",))
    auto.rollback()
    assert names(empty_vindex) == []


def test_cursors_made_before_follow(auto, empty_vindex):
    cursor = auto.cursor()
    auto.autocommit = False
    cursor.execute(INSERT, ("a",))
    assert auto.in_transaction
    auto.rollback()
    auto.autocommit = True
    cursor.execute(INSERT, ("b",))
    assert names(empty_vindex) == ["b"]


def test_a_failing_statement_leaves_no_transaction(auto):
    auto.execute(INSERT, ("a",))
    with pytest.raises(larqldb.IntegrityError):
        auto.execute(INSERT, ("a",))
    assert not auto.in_transaction
