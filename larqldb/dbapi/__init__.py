"""PEP 249 over apsw: the module's constants, ``connect``, Connection, Cursor, type objects and constructors.

apsw objects are held, not subclassed. SQL reaches SQLite byte for byte; LQL is lowered to SQL first, or run by Python
where it is a command.
"""

import apsw

from larqldb.dbapi.connection import Connection, connect
from larqldb.dbapi.cursor import Cursor
from larqldb.dbapi.types import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
)

apilevel = "2.0"
paramstyle = "qmark"  # ":name" with a mapping is accepted too
threadsafety = 1  # threads may share the module, not a connection

# Of the SQLite underneath, as the standard library's sqlite3 has them.
sqlite_version = apsw.sqlite_lib_version()
sqlite_version_info = tuple(map(int, sqlite_version.split(".")))

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "Date",
    "DateFromTicks",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "apilevel",
    "connect",
    "paramstyle",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]
