"""Which first words begin LQL, which begin SQL.

LQL is a superset of SQLite's SQL: a statement that begins with one of SQL's verbs is SQL, unless its next words are
LQL's own (``BEGIN PATCH``, ``INSERT INTO EDGES``). Every other first word is LQL's, or a mistake that LQL reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# fmt: off
SQL_VERBS = frozenset({
    "ALTER", "ANALYZE", "ATTACH", "BEGIN", "COMMIT", "CREATE", "DELETE", "DETACH", "DROP", "END", "EXPLAIN", "INSERT",
    "PRAGMA", "REINDEX", "RELEASE", "REPLACE", "ROLLBACK", "SAVEPOINT", "SELECT", "UPDATE", "VACUUM", "VALUES",
    "WITH",
})
# fmt: on

# LQL statements whose first word is one of SQL's verbs.
SHARED_VERBS = (
    ("BEGIN", "PATCH"),
    ("DELETE", "FROM", "EDGES"),
    ("EXPLAIN", "INFER"),
    ("EXPLAIN", "WALK"),
    ("INSERT", "INTO", "EDGES"),
    ("UPDATE", "EDGES"),
)


def speaks_lql(words: Sequence[str]) -> bool | None:
    """Whether a statement with these first (upper-case) words is LQL; None while that is open."""
    if not words or words[0] not in SQL_VERBS:
        return bool(words) or None
    for verb in SHARED_VERBS:
        if tuple(words[: len(verb)]) == verb[: len(words)]:
            return True if len(words) >= len(verb) else None
    return False
