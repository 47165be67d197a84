"""What SQLite reports → the classes of PEP 249, with the place in the statement and a suggestion where there is one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import apsw

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
)

CLASSES: dict[type[Exception], type[Error]] = {
    apsw.SQLError: ProgrammingError,
    apsw.BindingsError: ProgrammingError,
    apsw.CursorClosedError: ProgrammingError,
    apsw.ConnectionClosedError: ProgrammingError,
    apsw.ThreadingViolationError: ProgrammingError,
    apsw.ForkingViolationError: ProgrammingError,
    apsw.MisuseError: InterfaceError,
    apsw.RangeError: InterfaceError,
    apsw.ConstraintError: IntegrityError,
    apsw.MismatchError: IntegrityError,
    apsw.TooBigError: DataError,
    apsw.InternalError: InternalError,
    apsw.NotFoundError: InternalError,
    apsw.NoLFSError: NotSupportedError,
    apsw.CorruptError: DatabaseError,
    apsw.NotADBError: DatabaseError,
}  # everything else is an OperationalError: busy, locked, full, input/output, permissions, interrupted …

# SQLite's SQLITE_ERROR covers mistakes in a statement and failures while it runs; these are the latter.
_WHILE_RUNNING = re.compile(
    r"(no such savepoint|cannot (start|commit|rollback)|integer overflow|malformed|.*is locked)"
)
_ADVICE = {
    apsw.ReadOnlyError: "it was opened read_only, or the file may not be written",
    apsw.BusyError: "another connection is writing; try again when it has committed",
    apsw.FullError: "make room and try again; what was not committed is not in the file",
    apsw.ThreadingViolationError: "a connection serves one thread at a time; open one for each",
}
_UNKNOWN = re.compile(r"no such (table|column|function|module): (.+)")


def translate(problem: Exception, text: str, db: apsw.Connection | None = None, *, lowered: bool = False) -> Error:
    """The PEP 249 exception for what apsw raised while running the statement ``text`` (empty where there is none).

    Errors of larqldb's own functions come back as they are. The result keeps ``sqlite_errorcode`` (extended) and
    ``sqlite_errorname``; with ``db`` near misses of table, column and function names are suggested. ``lowered`` says
    that SQLite saw not ``text`` but what it became.
    """
    if isinstance(problem, Error):
        return problem
    if not isinstance(problem, apsw.Error):
        return InternalError(f"{type(problem).__name__}: {problem}")
    kind = next((error for known, error in CLASSES.items() if isinstance(problem, known)), OperationalError)
    message = str(problem)
    if isinstance(problem, apsw.SQLError) and not _WHILE_RUNNING.match(message):
        error = _located(message, getattr(problem, "error_offset", -1), text, db, lowered)
    else:
        if isinstance(problem, apsw.SQLError):
            kind = OperationalError
        advice = next((words for known, words in _ADVICE.items() if isinstance(problem, known)), "")
        error = kind(f"{message}: {advice}" if advice else message)
    code = getattr(problem, "extendedresult", None)
    if code is not None:
        error.sqlite_errorcode = code
        names = apsw.mapping_extended_result_codes if code > 0xFF else apsw.mapping_result_codes
        error.sqlite_errorname = str(names.get(code, "SQLITE_ERROR"))
    return error


def one_statement_at_a_time(rest: str) -> ProgrammingError:
    """The error for a second statement in one ``execute``."""
    words = " ".join(rest.split())
    shown = words if len(words) <= 40 else words[:39] + "…"
    return ProgrammingError(f"one statement at a time: {shown!r} follows the first; use executescript for several")


def syntax_error(problem: str, sql: str, position: int, hint: str | None = None) -> LQLSyntaxError:
    """An error at a character of a statement, shown with its line, column and a caret."""
    start = sql.rfind("\n", 0, position) + 1
    end = sql.find("\n", position)
    line = sql[start : end if end >= 0 else len(sql)]
    return LQLSyntaxError(
        problem, line=sql.count("\n", 0, position) + 1, column=position - start + 1, text=line, hint=hint
    )


def _located(message: str, offset: int, text: str, db: apsw.Connection | None, lowered: bool) -> Error:
    """A mistake in a statement, with its place where SQLite or a look at the text can tell it."""
    hint = _hint(message, db)
    unknown = _UNKNOWN.match(message)
    name = unknown.group(2) if unknown else ""
    position = _whole_word(name, text) if name else -1
    if text and not lowered:
        from larqldb.lql import sql_error

        explained = sql_error(text, message, offset)
        if explained is not None:
            return explained
        if offset >= 0:
            place = len(text.encode()[:offset].decode(errors="replace"))  # SQLite counts bytes of UTF-8
            if position < 0 or text.startswith(name, place):
                position = place  # else SQLite saw a part of the statement
    if position >= 0:
        return syntax_error(message, text, position, hint)
    if lowered and unknown:
        verb = text.split(maxsplit=1)[0].upper()
        return NotSupportedError(f"{verb} needs the {unknown.group(1)} {unknown.group(2)}, which this version lacks")
    return ProgrammingError(f"{message}. {hint}" if hint else message)


def _whole_word(name: str, sql: str) -> int:
    found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sql, re.IGNORECASE)
    return found.start() if found else -1


def _hint(text: str, db: apsw.Connection | None) -> str | None:
    unknown = _UNKNOWN.match(text)
    if unknown is None or db is None:
        return None
    kind, name = unknown.groups()
    near = closest(name.rpartition(".")[2], _names(kind, db))
    return f"Did you mean {near}?" if near else None


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like one that was not found, or None."""
    spellings = {spelling.lower(): spelling for spelling in known}
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    return spellings[near[0]] if near else None


def _names(kind: str, db: apsw.Connection) -> list[str]:
    queries = {
        "table": "SELECT name FROM pragma_table_list UNION SELECT name FROM pragma_module_list",
        "module": "SELECT name FROM pragma_module_list",
        "column": "SELECT c.name FROM pragma_table_list AS t JOIN pragma_table_info(t.name) AS c",
        "function": "SELECT DISTINCT name FROM pragma_function_list UNION SELECT name FROM pragma_module_list",
    }
    try:
        return [name for (name,) in db.execute(queries[kind])]
    except apsw.Error:  # the suggestion is a courtesy: a database that cannot answer gets none
        return []
