"""larqldb: a transformer language model as one SQLite file, queried with SQL and LQL."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

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
    sqlite_version,
    sqlite_version_info,
    threadsafety,
)
from larqldb.display import load_ipython_extension
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

if _TYPE_CHECKING:
    from larqldb.knowledge.probe import ProbeReport, probe

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
    "ProbeReport",
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
    "load_ipython_extension",
    "paramstyle",
    "probe",
    "sqlite_version",
    "sqlite_version_info",
    "threadsafety",
]


# Names that wait for their first use: connecting alone does not need what is behind them.
_LATER = {"ProbeReport": "larqldb.knowledge.probe", "probe": "larqldb.knowledge.probe"}


def __getattr__(name: str) -> _Any:
    """``larqldb.lql`` without importing it first, and the names in ``_LATER``."""
    if name == "lql":
        return _import_module("larqldb.lql")
    if name in _LATER:
        return getattr(_import_module(_LATER[name]), name)
    raise AttributeError(f"module 'larqldb' has no attribute {name!r}")
