"""Pipes: where in an SQL statement the rows of the query before it go in, as the table ``_``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from larqldb.lql.tokens import Token, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

QUERY_VERBS = ("SELECT", "VALUES", "WITH")
_WITH_MAY_PRECEDE = (*QUERY_VERBS, "DELETE", "INSERT", "REPLACE", "UPDATE")


def entrance(tokens: Sequence[Token]) -> int | None:
    """The index of the token before which a WITH clause may stand (or of the WITH there is); None where nowhere."""
    index = 0
    if tokens[index].is_word("EXPLAIN"):
        index = 3 if len(tokens) > 1 and tokens[1].is_word("QUERY") else 1
    if index < len(tokens) and tokens[index].is_word("CREATE"):
        while index < len(tokens) and not tokens[index].is_word("AS"):
            index += 1
        index += 1
        return index if index < len(tokens) and tokens[index].is_word(*QUERY_VERBS) else None
    return index if index < len(tokens) and tokens[index].is_word(*_WITH_MAY_PRECEDE) else None


def feed(left: str, right: str) -> str:
    """The SQL of ``left |> right``; both are SQL, and `entrance` has found a place in the right one."""
    tokens = list(scan(right))
    index = entrance(tokens)
    assert index is not None  # the parser lets no other statement follow a pipe
    if not tokens[index].is_word("WITH"):
        place = tokens[index].start
        return f"{right[:place]}WITH _ AS (\n{left}\n)\n{right[place:]}"
    recursive = tokens[index + 1 : index + 2] and tokens[index + 1].is_word("RECURSIVE")
    place = tokens[index + 1 if recursive else index].end
    return f"{right[:place]} _ AS (\n{left}\n),{right[place:]}"
