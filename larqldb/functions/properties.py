"""stats(): what a vindex is and how much is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from larqldb.storage.database import fetch, open_database

if TYPE_CHECKING:
    import apsw

    from larqldb.functions.session import Session

COUNTED = ("features", "tokens", "tensors", "entities", "relations", "edges", "patches")


def stats(session: Session, path: str | None = None) -> Iterator[tuple[str, Any]]:
    """Properties of the model and counts of the tables, of this vindex or of the one at ``path``."""
    if path is None:
        yield from _stats(session.db)
        return
    with closing(open_database(path, read_only=True)) as other:
        yield from list(_stats(other))


def _stats(db: apsw.Connection) -> Iterator[tuple[str, Any]]:
    yield from ((key, value) for key, value in fetch(db, "SELECT key, value FROM model ORDER BY key"))
    yield "size_bytes", db.pragma("page_count") * db.pragma("page_size")
    yield "schema_version", db.pragma("user_version")
    for table in COUNTED:
        yield f"{table}_count", db.execute(f"SELECT count(*) FROM {table}").get
