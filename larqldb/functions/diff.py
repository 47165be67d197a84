"""diff(): what differs between two vindexes, or the current one with its live edits and another."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from larqldb.errors import ProgrammingError
from larqldb.storage import edits
from larqldb.storage.database import fetch, open_database
from larqldb.storage.dtypes import NUMPY

if TYPE_CHECKING:
    import apsw

    from larqldb.functions.session import Session

Row = tuple[Any, ...]


def diff(session: Session, left_path: str | None = None, right_path: str | None = None) -> Iterator[Row]:
    """What the right vindex has apart from the left; NULL is the current one as its open transaction sees it.

    Columns: what (fact added, fact removed, deletion added, deletion removed: by edits; tensor changed, tensor added,
    tensor removed: of the models themselves), where (the fact, feature or tensor's name), how_many (features or rows
    that it takes; of a tensor the features that differ, NULL where it is not made of features), bytes (of vectors, or
    of the tensor), layer, relation. Raises SourceNotFound, NotAVindex … where a file is none.
    """
    with closing(_Opened(session, left_path)) as left, closing(_Opened(session, right_path)) as right:
        yield from list(_edits(left.db, right.db))
        yield from list(tensors(left.db, right.db))


class _Opened:
    """A vindex to compare; the current one stays open."""

    def __init__(self, session: Session, path: str | None) -> None:
        if path is not None and not isinstance(path, str):
            raise ProgrammingError(f"a path must be text, not {type(path).__name__}")
        self._own = path is not None
        self.db = session.db if path is None else open_database(path, read_only=True)

    def close(self) -> None:
        """Close what was opened."""
        if self._own:
            self.db.close()


def _edits(left: apsw.Connection, right: apsw.Connection) -> Iterator[Row]:
    from larqldb.edit.difference import beyond, groups

    before, after = (groups(edits.in_effect(db)) for db in (left, right))
    for which, found in (("added", beyond(after, before)), ("removed", beyond(before, after))):
        for group in found:
            what = f"{'fact' if group.is_fact else 'deletion'} {which}"
            first = group.first
            yield what, str(group), len(group.operations), group.bytes, first.layer, first.relation


def tensors(left: apsw.Connection, right: apsw.Connection) -> Iterator[Row]:
    """Tensors whose checksums, names or shapes differ."""
    columns = "SELECT name, sha256, layer, role, storage, shape, dtype FROM tensors"
    before, after = ({row[0]: row for row in fetch(db, columns)} for db in (left, right))
    for name in sorted(before.keys() | after.keys()):
        mine, theirs = before.get(name), after.get(name)
        if mine is not None and theirs is not None and mine[1] == theirs[1]:
            continue
        what = "tensor changed" if mine and theirs else "tensor added" if theirs else "tensor removed"
        row = theirs or mine
        assert row is not None
        count = None
        if mine and theirs and mine[4] == theirs[4] == "features" and row[3] in ("gate", "up", "down"):
            count = _differing(left, right, row[3], row[2])
        yield what, name, count, _bytes(row[5], row[6]), row[2], None


def _differing(left: apsw.Connection, right: apsw.Connection, role: str, layer: int) -> int:
    """How many features of a layer have other vectors, or are in one file alone."""
    query = f"SELECT feature, {role} FROM feature_vectors WHERE layer = ?"
    before, after = (dict(fetch(db, query, (layer,))) for db in (left, right))
    return sum(before.get(feature) != after.get(feature) for feature in before.keys() | after.keys())


def _bytes(shape: str, dtype: str) -> int:
    return int(math.prod(json.loads(shape))) * int(NUMPY[dtype].itemsize)
