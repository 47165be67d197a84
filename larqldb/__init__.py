"""larqldb: a transformer language model as one SQLite file, queried with SQL and LQL."""

from larqldb.build import build_info
from larqldb.dbapi import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    Connection,
    Cursor,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    apilevel,
    connect,
    paramstyle,
    threadsafety,
)
from larqldb.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    LQLSyntaxError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - the name is PEP 249's
)
from larqldb.extract import ExtractReport, extract

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - in the order of sorted()
    "BINARY",
    "Binary",
    "Connection",
    "Cursor",
    "DATETIME",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "ExtractReport",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LQLSyntaxError",
    "NUMBER",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "ROWID",
    "STRING",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "build_info",
    "connect",
    "extract",
    "paramstyle",
    "threadsafety",
]
