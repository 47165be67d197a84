"""What happens between SQLite's preparing a statement and running it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import apsw

from larqldb.dbapi.failures import one_statement_at_a_time
from larqldb.errors import ProgrammingError
from larqldb.storage.parts import missing

SPACE = r"(?:[\s;]|--[^\n]*(?:\n|\Z)|/\*(?:.*?\*/|.*\Z))*+"
_BLANK = re.compile(SPACE + r"\Z", re.DOTALL)
_CHANGES_ROWS = re.compile(SPACE + r"(INSERT|UPDATE|DELETE|REPLACE|WITH)\b", re.DOTALL | re.IGNORECASE)

Description = tuple[tuple[str, str | None, None, None, None, None, None], ...]


class Watch:
    """An apsw execution tracer: keeps the description, refuses a second statement, opens transactions.

    It runs after SQLite prepared a statement and its parameters were bound, and before the first step. The description
    must be taken here: apsw has none left once a statement gave no row or its last one. An implicit BEGIN is made here
    because only SQLite's own compiler knows that a statement writes.

    One belongs to each run of a statement; it holds no reference to the cursor, so that a cursor that goes out of scope
    frees its statement, and SQLite's locks, at once.
    """

    __slots__ = (
        "autocommit",
        "before",
        "began",
        "changes",
        "db",
        "description",
        "inserts",
        "many",
        "reads",
        "started",
        "text",
        "writes",
    )

    def __init__(self, db: apsw.Connection, text: str, *, autocommit: bool, many: bool = False) -> None:
        """Get ready for a statement; ``many`` when it will run once per row of parameters."""
        self.db = db
        self.text = text
        self.autocommit = autocommit
        self.many = many
        self.description: Description | None = None
        self.started = self.reads = self.writes = self.inserts = self.began = False
        self.changes = self.before = 0

    def __call__(self, cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        """Called by apsw for each statement it is about to run; what is raised here ends it unrun."""
        if self.started:
            if self.many:
                self.changes += self.db.changes()
            return True  # the same statement's next row, or the comment after it
        if len(sql) != len(self.text) and not _BLANK.match(self.text, len(sql)):
            raise one_statement_at_a_time(self.text[len(sql) :])
        self.started = True
        self.description = cursor.description or None
        if cursor.is_readonly:
            self.reads = self.description is not None
        elif not cursor.is_explain:
            verb = _CHANGES_ROWS.match(sql)
            if verb:
                self.writes, self.inserts = True, verb.group(1).upper() in ("INSERT", "REPLACE", "WITH")
                if not self.autocommit and not self.db.in_transaction:
                    self.before = self.db.total_changes()
                    self.db.execute("BEGIN")
                    self.began = True
        if self.many and not self.writes:
            raise ProgrammingError("executemany takes INSERT, UPDATE, DELETE and REPLACE only; use execute")
        return True

    def row_count(self) -> int:
        """Rows changed by a finished statement that changes rows."""
        return self.changes + self.db.changes() if self.started else 0

    def give_up(self) -> None:
        """End the transaction that a failed statement began, unless it changed rows: it need not hold a lock."""
        if self.began and self.db.in_transaction and self.db.total_changes() == self.before:
            self.db.execute("ROLLBACK")
        self.began = False


def describe(db: apsw.Connection, sql: str, bindings: Any) -> Description | None:
    """A statement's columns, by preparing and binding it without running it; raises what these two raise."""
    found: Description | None = None

    def stop(cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        nonlocal found
        found = cursor.description or None
        return False

    cursor = db.cursor()
    cursor.exec_trace = stop
    with suppress(apsw.ExecTraceAbort):
        cursor.execute(sql, bindings)
    return found


def check_parts(db: apsw.Connection, sql: str, bindings: Any, text: str, lacking: Mapping[str, frozenset[str]]) -> None:
    """Raise MissingPart where a statement reads tables or functions whose parts a slice lacks; see ``parts.lacking``.

    ``text`` is the statement as the user wrote it.
    """
    needed: set[str] = set()

    def note(operation: int, name: str | None, *_: str | None) -> int:
        if operation == apsw.SQLITE_READ and name is not None:
            needed.update(lacking.get(name.lower(), ()))
        return apsw.SQLITE_OK

    db.authorizer = note
    try:
        with suppress(apsw.Error):  # a mistake in the statement is said when it runs
            describe(db, sql, bindings)
    finally:
        db.authorizer = None
    if needed:
        raise missing(db, " ".join(text.split()[:1]).upper(), needed)
