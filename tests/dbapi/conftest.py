"""Connections for the tests of the DB-API; every one is closed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import larqldb
from larqldb.storage.database import create_database


@pytest.fixture
def conn() -> Iterator[larqldb.Connection]:
    """An empty vindex in memory."""
    connection = larqldb.connect(":memory:")
    yield connection
    connection.close()


@pytest.fixture
def empty_vindex(tmp_path: Path) -> Path:
    """An empty vindex in a file."""
    path = tmp_path / "empty.vindex"
    create_database(path).close()
    return path


@pytest.fixture
def numbers(conn: larqldb.Connection) -> larqldb.Connection:
    """A connection with ten rows in a table of its own."""
    conn.execute("CREATE TEMP TABLE numbers (n INTEGER PRIMARY KEY, word TEXT, half REAL, raw BLOB)")
    conn.executemany("INSERT INTO numbers VALUES (?, ?, ?, ?)", [(i, f"w{i}", i / 2, bytes([i])) for i in range(10)])
    conn.commit()
    return conn
