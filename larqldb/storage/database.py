"""Opening vindex files: what SQLite is told, and how other files are recognised.

The file itself is never opened by any other means while SQLite has it open: closing such a handle would drop SQLite's
POSIX locks (https://www.sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw

from larqldb.errors import (
    DamagedVindex,
    NewerVindex,
    NotAVindex,
    OperationalError,
    OutdatedVindex,
    SourceNotFound,
)
from larqldb.storage.migrations import migrate, newest

APPLICATION_ID = int.from_bytes(b"LQDB", "big")
PAGE_SIZE = 16_384  # four features of width 576 to a page; the reading speeds in the design were measured with it
BUSY_MS = 5_000
MEMORY = ":memory:"
EXTRACT_HINT = "Make one with: larqldb extract SOURCE -o NAME.vindex"


def open_database(path: str | os.PathLike[str], *, read_only: bool = False, mapped: bool = True) -> apsw.Connection:
    """Open a vindex for queries; ``:memory:`` gives an empty one.

    ``mapped`` reads through a mapping of the file, which is faster, and counts as the process's memory what was read.
    Raises SourceNotFound, NotAVindex, NewerVindex, OutdatedVindex, DamagedVindex, or OperationalError where the system
    refuses.
    """
    name = os.fspath(path)
    if name == MEMORY:
        memory = apsw.Connection(MEMORY)
        set_file_pragmas(memory)
        migrate(memory)
        set_connection_pragmas(memory)
        return memory
    if not Path(name).exists():
        raise SourceNotFound(source=name, remedy=EXTRACT_HINT)
    if Path(name).is_dir():
        raise NotAVindex(path=name, what="a directory")
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    db: apsw.Connection | None = None
    try:
        db = apsw.Connection(name, flags=flags)
        db.set_busy_timeout(BUSY_MS)
        check(db, name)
        set_connection_pragmas(db)
        db.pragma("mmap_size", 1 << 40 if mapped else 0)  # bytes; SQLite lowers it to its own maximum
    except BaseException as problem:
        if db is not None:
            db.close()
        match problem:
            case apsw.NotADBError():
                raise NotAVindex(path=name, what="not an SQLite file") from None
            case apsw.CorruptError():
                raise DamagedVindex(path=name, problem=str(problem)) from None
            case apsw.CantOpenError():
                raise OperationalError(f"{name} cannot be opened. Check that you may read it and its folder") from None
        raise
    return db


def create_database(path: str | os.PathLike[str]) -> apsw.Connection:
    """Create an empty vindex that this process alone uses, for writing it in one go.

    There is no journal and no syncing: the caller gives the file its real name only when it is whole and on disk.
    """
    db = apsw.Connection(os.fspath(path))
    db.pragma("locking_mode", "exclusive")
    db.pragma("journal_mode", "off")
    db.pragma("synchronous", "off")
    set_file_pragmas(db)
    migrate(db)
    set_connection_pragmas(db)
    return db


def check(db: apsw.Connection, name: str) -> None:
    """Refuse whatever is not a vindex of a schema known here; bring an older schema up to date."""
    application, version = db.pragma("application_id"), db.pragma("user_version")
    if application != APPLICATION_ID:
        what = "another application's SQLite database" if db.pragma("page_count") else "an empty file"
        raise NotAVindex(path=name, what=what)
    if version > newest():
        raise NewerVindex(path=name, version=version, known=newest())
    if version < newest():
        if db.readonly("main"):
            raise OutdatedVindex(path=name, version=version, known=newest())
        migrate(db)


def set_file_pragmas(db: apsw.Connection) -> None:
    """What is written into the file's header: its page size and that it is a vindex."""
    db.pragma("page_size", PAGE_SIZE)
    db.pragma("application_id", APPLICATION_ID)


def set_connection_pragmas(db: apsw.Connection) -> None:
    """Per-connection settings; the journal mode stays SQLite's default, which leaves one file at rest."""
    db.pragma("foreign_keys", True)
    db.config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)  # LQL: "a string" where no column has that name


def fetch(db: apsw.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(sql, parameters).fetchall()
