"""Scripts → statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from larqldb.lql.tokens import Token, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

_TRIGGERS = (("CREATE", "TRIGGER"), ("CREATE", "TEMP", "TRIGGER"), ("CREATE", "TEMPORARY", "TRIGGER"))


def split(script: str) -> Iterator[str]:
    """The statements of a script, in order, without the ``;`` that ends each; never raises.

    A ``;`` inside a string, a comment or the body of a trigger ends nothing (the body ends with ``; END``, the rule of
    SQLite's ``sqlite3_complete``). Empty statements are left out; comments before a statement are not part of it.
    """
    head: list[str] = []  # the statement's first words
    first: Token | None = None
    last = before_last = None
    for token in scan(script):
        if token.is_operator(";") and not (_is_trigger(head) and not _body_ends(before_last, last)):
            if first is not None and last is not None:
                yield script[first.start : last.end]
            head, first, last, before_last = [], None, None, None
            continue
        if len(head) < 3:
            head.append(token.value)
        first = first or token
        before_last, last = last, token
    if first is not None and last is not None:
        yield script[first.start : last.end]


def _is_trigger(head: list[str]) -> bool:
    return any(tuple(head[: len(words)]) == words for words in _TRIGGERS)


def _body_ends(before_last: Token | None, last: Token | None) -> bool:
    if before_last is None or last is None:
        return False
    return before_last.is_operator(";") and last.is_word("END")
