"""The type objects and constructors of PEP 249.

A column's ``type_code`` is its declared type, as SQLite reports it: 'INTEGER', 'TEXT', 'varchar(20)', or None for an
expression, whose values may be of any type. A type object equals every declared type of its kind, so
``cursor.description[0][1] == larqldb.NUMBER`` works as PEP 249 means it.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = memoryview


def DateFromTicks(ticks: float) -> datetime.date:  # noqa: N802 - the name is PEP 249's
    """The local date of a number of seconds since the epoch."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:  # noqa: N802
    """The local time of day of a number of seconds since the epoch."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:  # noqa: N802
    """The local date and time of a number of seconds since the epoch."""
    return Timestamp(*time.localtime(ticks)[:6])


class TypeObject:
    """Equal to every declared type of one kind."""

    def __init__(self, name: str, matches: Callable[[str], bool]) -> None:
        self.name = name
        self._matches = matches

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TypeObject):
            return self is other
        return isinstance(other, str) and self._matches(other.upper())

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name


def _affinity(declared: str) -> str:
    """SQLite's type affinity of a declared type (https://www.sqlite.org/datatype3.html, section 3.1)."""
    for affinity, words in (("INTEGER", ("INT",)), ("TEXT", ("CHAR", "CLOB", "TEXT")), ("BLOB", ("BLOB",))):
        if any(word in declared for word in words):
            return affinity
    return "NUMERIC"  # REAL included: both are numbers


def _is_moment(declared: str) -> bool:
    return "DATE" in declared or "TIME" in declared


def _is_number(declared: str) -> bool:
    return _affinity(declared) in ("INTEGER", "NUMERIC") and not _is_moment(declared)


STRING = TypeObject("STRING", lambda declared: _affinity(declared) == "TEXT")
BINARY = TypeObject("BINARY", lambda declared: _affinity(declared) == "BLOB")
NUMBER = TypeObject(
    "NUMBER", lambda declared: _affinity(declared) in ("INTEGER", "NUMERIC") and not _is_moment(declared)
)
DATETIME = TypeObject("DATETIME", _is_moment)
ROWID = TypeObject("ROWID", lambda declared: declared == "INTEGER")
