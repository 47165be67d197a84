"""What a text is: SQL for SQLite as it stands, LQL that becomes SQL, or a command that Python runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from larqldb.dbapi.watch import SPACE
from larqldb.errors import InterfaceError

CACHED = 1024  # statements
LONGEST_CACHED = 16_384  # characters: a program that writes values into its statements must not fill the memory

# Statements that begin with one of these verbs are SQL unless one of the words after it occurs in them: then the LQL
# parser decides. Knowing this much without it saves loading the parser where only SQL is used.
_SQL_VERBS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("SELECT", "WITH", "VALUES", "CREATE"), ("|>", "nearest")),
    **dict.fromkeys(("INSERT", "UPDATE", "DELETE", "REPLACE"), ("|>", "nearest", "edges")),
    **dict.fromkeys(("ALTER", "DROP", "PRAGMA", "ATTACH", "DETACH", "VACUUM", "ANALYZE", "REINDEX"), ()),
    **dict.fromkeys(("COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"), ()),
    "BEGIN": ("patch",),
}
_INFERS = re.compile(r"\b(?:join|,)\s+infer\s*\(", re.IGNORECASE)  # one of a join's tables
_VERB = re.compile(SPACE + r"(\w*)", re.DOTALL)


@dataclass(slots=True)
class Plan:
    """How a statement runs: ``sql`` by SQLite, or ``command``, a node of LQL, by Python.

    ``lowered`` says that ``sql`` is what LQL became, not what the user wrote. ``reads`` is set when it has run once and
    SQLite said that it is one statement which changes nothing and gives rows. ``prompts`` is a query for what it will
    most likely ask infer() for, where that can be foreseen.
    """

    sql: str
    lowered: bool = False
    command: Any = None
    reads: bool = False
    prompts: str | None = None


def plan(text: str) -> Plan:
    """How a statement runs; LQLSyntaxError where it is neither SQL nor LQL. Cached by text."""
    if not isinstance(text, str):
        raise InterfaceError(f"a statement must be text, not {type(text).__name__}")
    return _cached(text) if len(text) <= LONGEST_CACHED else _plan(text)


def to_sql(text: str) -> str:
    """The SQL that SQLite runs for a statement; NotAQuery for a command, which is none."""
    todo = plan(text)
    if todo.command is None:
        return todo.sql
    from larqldb import lql

    return lql.print_sql(todo.command)


def script(text: str) -> Iterator[str]:
    """The statements of a script, split at ``;`` outside quotes, comments and trigger bodies."""
    from larqldb.lql import split

    return split(text)


def is_plainly_sql(text: str) -> bool:
    """Whether a statement can be seen to be SQL without parsing it; False leaves it to the LQL parser."""
    begin, verb = _verb(text)
    if not verb:
        return begin == len(text)  # nothing but comments
    marks = _SQL_VERBS.get(verb)
    if not marks:
        return marks is not None
    folded = text.lower()
    return not any(mark in folded for mark in marks)


def _verb(text: str) -> tuple[int, str]:
    """Where the first word of a statement is, and the word in capitals."""
    found = _VERB.match(text)
    assert found is not None  # every part of the pattern may be empty
    return found.start(1), found.group(1).upper()


def _plan(text: str) -> Plan:
    if is_plainly_sql(text):
        return _sql(text)
    from larqldb import lql

    node = lql.parse(text)
    if isinstance(node, lql.Sql):
        return _sql(text)
    if isinstance(node, lql.Command):
        return Plan("", command=node)
    return Plan(lql.print_sql(node), lowered=True)


def _sql(text: str) -> Plan:
    if not _INFERS.search(text):
        return Plan(text)
    from larqldb.lql.lookahead import upcoming

    return Plan(text, prompts=upcoming(text))


_cached = lru_cache(CACHED)(_plan)
