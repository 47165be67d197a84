"""Opening files: what is a vindex, what is not, and what each refusal says."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from larqldb.errors import DamagedVindex, NewerVindex, NotAVindex, OutdatedVindex, SourceNotFound
from larqldb.storage.database import APPLICATION_ID, PAGE_SIZE, fetch, open_database
from larqldb.storage.migrations import migrations, newest


def test_an_empty_vindex_in_memory_has_the_whole_schema() -> None:
    db = open_database(":memory:")
    assert db.pragma("user_version") == newest()
    assert [version for (version,) in fetch(db, "SELECT version FROM migrations")] == [m.version for m in migrations()]
    assert db.pragma("application_id") == APPLICATION_ID


def test_pragmas(tiny_vindex: Path) -> None:
    db = open_database(tiny_vindex)
    assert db.pragma("page_size") == PAGE_SIZE
    assert db.pragma("foreign_keys") == 1
    assert db.pragma("journal_mode") == "delete"
    db.close()
    assert os.listdir(tiny_vindex.parent) == [tiny_vindex.name]


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match=r"no model at .*nothing\.vindex.*larqldb extract"):
        open_database(tmp_path / "nothing.vindex")
    assert not (tmp_path / "nothing.vindex").exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"", "an empty file"), (b"hello, world\n" * 90, "not an SQLite file"), (b"\0" * 5000, "not an SQLite file")],
)
def test_other_files(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "other.vindex"
    path.write_bytes(content)
    with pytest.raises(NotAVindex, match=what):
        open_database(path)
    assert path.read_bytes() == content


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(NotAVindex, match="a directory"):
        open_database(tmp_path)


def test_a_foreign_database(tmp_path: Path) -> None:
    path = tmp_path / "foreign.db"
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('CREATE TABLE t (x)'); c.commit()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    before = path.read_bytes()
    with pytest.raises(NotAVindex, match="another application's SQLite database"):
        open_database(path)
    assert path.read_bytes() == before


def change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


def test_a_newer_schema(tiny_vindex: Path) -> None:
    change(tiny_vindex, f"PRAGMA user_version = {newest() + 3}")
    with pytest.raises(NewerVindex, match=rf"schema version {newest() + 3}; this larqldb knows up to {newest()}"):
        open_database(tiny_vindex)


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "old.vindex"
    db = apsw.Connection(str(path))
    first = migrations()[0]
    db.execute("CREATE TABLE migrations (version INTEGER PRIMARY KEY, name TEXT, sha256 TEXT, applied_at TEXT)")
    db.execute(first.sql)
    db.execute("INSERT INTO migrations VALUES (1, ?, ?, '2026-01-01')", (first.name, first.sha256))
    db.execute("INSERT INTO model VALUES ('kept', 1)")
    db.pragma("application_id", APPLICATION_ID)
    db.pragma("user_version", 1)
    db.close()
    with pytest.raises(OutdatedVindex, match="read-only"):
        open_database(path, read_only=True)
    db = open_database(path)
    assert db.pragma("user_version") == newest()
    assert fetch(db, "SELECT * FROM model") == [("kept", 1)]
    assert len(fetch(db, "SELECT * FROM migrations")) == len(migrations())


def test_a_truncated_vindex(tiny_vindex: Path) -> None:
    size = tiny_vindex.stat().st_size
    for keep in (size // 2, PAGE_SIZE, 200):
        with open(tiny_vindex, "r+b") as file:
            file.truncate(keep)
        with pytest.raises((DamagedVindex, NotAVindex)):
            open_database(tiny_vindex)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_read_only_file_in_a_read_only_folder(tiny_vindex: Path, tmp_path: Path) -> None:
    folder = tmp_path / "media"
    folder.mkdir()
    path = folder / "m.vindex"
    shutil.copy(tiny_vindex, path)
    path.chmod(stat.S_IRUSR)
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        for read_only in (True, False):
            db = open_database(path, read_only=read_only)
            assert db.execute("SELECT count(*) FROM features").get == 5 * 67
            db.close()
        assert os.listdir(folder) == ["m.vindex"]
    finally:
        folder.chmod(stat.S_IRWXU)


def test_the_standard_library_reads_it(tiny_vindex: Path) -> None:
    code = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
names = [n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name")]
print(sum(len(db.execute(f'SELECT * FROM "{n}" LIMIT 5').fetchall()) >= 0 for n in names), len(names))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tiny_vindex)], capture_output=True, text=True, check=True)
    readable, names = map(int, done.stdout.split())
    assert readable == names > 12
