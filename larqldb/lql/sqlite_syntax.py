"""SQLite as the judge of SQL syntax.

A statement is compiled, never run, on an empty database in memory. SQLite parses a whole statement before it looks up
any name, so what it reports is either a mistake of syntax or a name that is not known there, and the latter is none of
this module's business. That takes about 10 µs, gives SQLite's own verdict and place, and is safe with input of any
size or depth, which a second parser of SQL (sqlglot reads far from all of SQLite's expressions) would not be.
"""

from __future__ import annotations

import difflib
import threading
from typing import TYPE_CHECKING, NamedTuple

import apsw

from larqldb.lql.tokens import Kind, Token, syntax_error, tokenize

if TYPE_CHECKING:
    from larqldb.errors import LQLSyntaxError


class Problem(NamedTuple):
    """What SQLite cannot read in a statement."""

    position: int  # in characters, from 0
    message: str
    hint: str | None


# What may follow a word or operator, for messages.
_EXPECTED = {
    "SELECT": "a result column or *",
    "DISTINCT": "a result column or *",
    "FROM": "a table",
    "JOIN": "a table",
    "INTO": "a table",
    "UPDATE": "a table",
    "SET": "a column",
    "LIMIT": "a number",
    "OFFSET": "a number",
    "AS": "a name",
    "GROUP": "BY",
    "ORDER": "BY",
    "INSERT": "INTO",
    "DELETE": "FROM",
    "VALUES": "( and the values of a row",
    "UNION": "SELECT",
    "EXCEPT": "SELECT",
    "INTERSECT": "SELECT",
}
# fmt: off
BEFORE_EXPRESSION = frozenset({
    "WHERE", "ON", "HAVING", "AND", "OR", "NOT", "BY", "BETWEEN", "IN", "LIKE", "GLOB", "REGEXP", "MATCH", "IS",
    "ESCAPE", "CASE", "WHEN", "THEN", "ELSE", "(", ",", "=", "==", "!=", "<>", "<", ">", "<=", ">=", "+", "-", "*",
    "/", "%", "||", "->", "->>", "&", "|", "<<", ">>", "~",
})
# fmt: on
# fmt: off
_KEYWORDS = (
    "SELECT", "DISTINCT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "BETWEEN", "LIMIT", "OFFSET", "JOIN", "LEFT",
    "INNER", "CROSS", "UNION", "VALUES", "INSERT", "INTO", "UPDATE", "DELETE",
)
# fmt: on

# One connection, never written to; apsw refuses to have it used by two threads at once.
_lock = threading.Lock()
_scratch = apsw.Connection(":memory:")
_scratch.exec_trace = lambda _cursor, _statement, _bindings: False  # compile, then stop


def find_problem(sql: str) -> Problem | None:
    """The syntax error in the first statement of a text, or None."""
    try:
        with _lock:
            _scratch.execute(sql, can_cache=False)
    except apsw.SQLError as error:
        return _problem(sql, str(error), getattr(error, "error_offset", -1))
    except (apsw.ExecTraceAbort, apsw.BindingsError):
        return None  # it compiled
    except apsw.Error:
        return None  # too long, out of memory: running it says so
    return None


def sql_error(sql: str, message: str, offset: int) -> LQLSyntaxError | None:
    """SQLite's report about a statement as a syntax error with a place; None where it is about something else.

    ``message`` and ``offset`` (in bytes, -1 where unknown) are those of the `apsw.SQLError`.
    """
    problem = _problem(sql, message, offset)
    return None if problem is None else syntax_error(sql, problem.position, problem.message, problem.hint)


def _problem(sql: str, message: str, offset: int) -> Problem | None:
    position = len(sql.encode()[:offset].decode(errors="ignore")) if offset >= 0 else -1
    if message == "no tables specified":
        return _star_without_table(sql)
    if message == "incomplete input":
        tokens = tokenize(sql)
        return Problem(tokens[-1].start, _unexpected(tokens, len(tokens) - 1), _suggestion(tokens, len(tokens) - 1))
    if position < 0:
        return None
    if message.startswith("unrecognized token"):
        token = next((token for token in tokenize(sql) if token.start == position), None)
        bad = token is not None and token.kind is Kind.BAD
        return Problem(position, token.value if token is not None and bad else f"SQLite reports: {message}", None)
    if message.endswith(": syntax error"):
        tokens = tokenize(sql)
        index = next((i for i, token in enumerate(tokens) if token.start >= position), len(tokens) - 1)
        return Problem(position, _unexpected(tokens, index), _suggestion(tokens, index))
    return None


def _unexpected(tokens: list[Token], index: int) -> str:
    token = tokens[index]
    found = "the end of the statement" if token.kind is Kind.END else _shorten(token.text)
    if not index:
        return f"a statement cannot begin with {found}"
    before = tokens[index - 1]
    expected = _EXPECTED.get(before.value) or ("an expression" if before.value in BEFORE_EXPRESSION else None)
    after = _shorten(before.text)
    return f"expected {expected} after {after}, found {found}" if expected else f"unexpected {found} after {after}"


def _suggestion(tokens: list[Token], index: int) -> str | None:
    for token in tokens[max(0, index - 1) : index + 1]:
        if token.kind is Kind.WORD and token.value not in _KEYWORDS and len(token.value) < 20:
            close = difflib.get_close_matches(token.value, _KEYWORDS, 1, 0.75)
            if close:
                return f"did you mean {close[0]}?"
    return None


def _star_without_table(sql: str) -> Problem:
    tokens = tokenize(sql)
    selects = (i for i, token in enumerate(tokens[:-1]) if token.is_word("SELECT") and tokens[i + 1].text == "*")
    index = next((i for i in selects if not tokens[i + 2].is_word("FROM")), None)
    place = tokens[-1] if index is None else tokens[index + 2]
    return Problem(place.start, "expected FROM and a table: SELECT * has no table to take columns from", None)


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
