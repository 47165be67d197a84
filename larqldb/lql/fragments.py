"""SQL inside LQL statements: conditions, values and SELECTs.

LQL's strings have backslash escapes and SQLite's do not, so a fragment is kept token by token in LQL's spelling and
printed in SQLite's. A double-quoted token is a name where it names a column in scope or stands where only a name can,
else a string; printing it as one or the other keeps the SQL right in tools that do not read "…" as a string at all.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from larqldb.lql.nodes import Fragment
from larqldb.lql.sqlite_syntax import find_problem
from larqldb.lql.tokens import Kind, Token, quote_lql, syntax_error, tokenize

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

EDGE_COLUMNS = ("entity", "relation", "target", "layer", "feature", "score", "confidence", "source")
FEATURE_COLUMNS = (
    *("layer", "feature", "token", "also", "relation", "score", "source"),
    *("expert", "token_id", "gate_norm", "up_norm", "down_norm", "label_source"),
)
_BEFORE_NAMES = ("AS", "COLLATE", "FROM", "JOIN", "OVER")


def make_fragment(tokens: Sequence[Token]) -> Fragment:
    """The fragment these tokens of an LQL statement are; ``?`` must be numbered already."""
    pieces: list[str] = []
    for index, token in enumerate(tokens):
        if index and tokens[index - 1].end < token.start:
            pieces.append(" ")
        pieces.append(quote_lql(token.value, token.text[0]) if token.kind in (Kind.STRING, Kind.QUOTED) else token.text)
    return Fragment("".join(pieces))


def fragment_sql(fragment: Fragment, columns: Collection[str] = EDGE_COLUMNS) -> str:
    """A fragment as SQLite reads it, on one line; ``columns`` are those in scope."""
    return "".join(text for _, text in _print(tokenize(fragment.text, fragment=True)[:-1], columns))


def check_condition(text: str, tokens: Sequence[Token], columns: Collection[str], what: str) -> None:
    """Raise LQLSyntaxError, placed in ``text``, unless SQLite can read these tokens as one expression."""
    depth = 0
    for token in tokens:
        depth += token.is_operator("(") - token.is_operator(")")
        if depth < 0:
            raise syntax_error(text, token.start, "this ) closes nothing")
        if depth == 0 and token.is_operator(","):
            raise syntax_error(text, token.start, f"{what} is one expression, without a comma")
    if tokens[0].is_word("SELECT", "VALUES", "WITH"):
        raise syntax_error(text, tokens[0].start, f"{what} is an expression; put a query into parentheses")
    _check(text, tokens, columns, "SELECT (", ")")


def check_query(text: str, tokens: Sequence[Token]) -> None:
    """Raise LQLSyntaxError, placed in ``text``, unless SQLite can read these tokens as a query."""
    _check(text, tokens, (), "", "")


def sql_string(value: str) -> str:
    """A string as an SQL expression on one line, whatever characters it holds.

    NUL would end the statement and a line break would be lost on printing, so such strings go as hexadecimal.
    """
    if "\0" in value or "\n" in value or "\r" in value:
        return f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return "'" + value.replace("'", "''") + "'"


def _print(tokens: Sequence[Token], columns: Collection[str]) -> list[tuple[Token, str]]:
    nested = any(token.is_word("SELECT", "VALUES", "WITH") for token in tokens)
    pieces: list[tuple[Token, str]] = []
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        gap = " " if before is not None and before.end < token.start else ""
        text = token.text
        if token.kind is Kind.STRING:
            text = sql_string(token.value)
        elif token.kind is Kind.QUOTED:
            is_name = "\0" not in token.value and (
                nested  # names of tables this module knows nothing of: SQLite decides
                or token.value.lower() in columns
                or (before is not None and (before.is_operator(".") or before.is_word(*_BEFORE_NAMES)))
                or (after is not None and after.is_operator(".", "("))
            )
            text = '"' + token.value.replace('"', '""') + '"' if is_name else sql_string(token.value)
        pieces.append((token, gap + text))
    return pieces


def _check(text: str, tokens: Sequence[Token], columns: Collection[str], before: str, after: str) -> None:
    for token in tokens:
        if token.kind is Kind.BAD:
            raise syntax_error(text, token.start, token.value)
    pieces = _print(tokens, columns)
    sql = before + "".join(piece for _, piece in pieces)
    problem = find_problem(sql + after)
    if problem is None:
        return
    starts, length = [], len(before)
    for _, piece in pieces:
        starts.append(length)
        length += len(piece)
    if problem.position >= length:
        problem = find_problem(sql) or problem  # what is missing there, not what it was put in front of
        place = tokens[-1].end
    else:
        place = tokens[max(0, bisect_right(starts, problem.position) - 1)].start
    raise syntax_error(text, place, problem.message, problem.hint)
