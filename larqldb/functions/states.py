"""What differs between two states of vindexes, feature by feature and edge by edge.

A state is a file as it is, without some of its patches, or without any: its base. LQL's DIFF says which edits and
tensors differ (``diff``); this says what that comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from larqldb.errors import ProgrammingError
from larqldb.functions import edits as functions_edits
from larqldb.functions.diff import tensors
from larqldb.storage import edits
from larqldb.storage.database import MEMORY, fetch, open_database
from larqldb.storage.dtypes import as_float32
from larqldb.storage.tensors import DIRECTIONS

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    from larqldb.functions.edits import Live
    from larqldb.functions.session import Session

    Floats = NDArray[np.float32]

KINDS = ("features", "edges", "tensors")
NOTABLE = 0.01  # of an edge's confidence: smaller changes are none
_COPIED = ("patches", "patch_ops", "edge_records")


class Change(NamedTuple):
    """A thing that differs: a feature (by its first token), an edge (by its target), a tensor (by dtype and shape).

    ``where`` is the edge's entity or the tensor's name. ``change`` is, of a feature, how far its vectors moved over how
    long they were; of an edge, what its confidence gained.
    """

    what: str
    where: str | None
    layer: int | None
    feature: int | None
    relation: str | None
    before: str | None
    after: str | None
    change: float | None


@dataclass(frozen=True)
class _Feature:
    """A feature of a state: its vectors by role, and the token it promotes most."""

    vectors: dict[str, Floats]
    token: Callable[[], str]


class State:
    """A vindex without some of its patches; ``close`` frees what that took."""

    def __init__(self, session: Session, without: Collection[str] = (), *, base: bool = False) -> None:
        self.session = session
        names = {patch.patch for patch in edits.patches(session.db) if patch.active}
        unknown = [name for name in without if name not in names]
        if unknown:
            known = ", ".join(sorted(names)) or "none at all"
            raise ProgrammingError(f"patch {unknown[0]!r} is not in effect there; in effect are: {known}")
        left_out = names if base else set(without)
        self.db = _copy(session.db, left_out) if left_out else session.db

    def close(self) -> None:
        """Free the copy that the state was worked out in, where there was one."""
        if self.db is not self.session.db:
            self.db.close()

    @cached_property
    def live(self) -> Live:
        """The edits in effect in it."""
        file = self.session.db.filename or "the database"
        return functions_edits.live(self.session.network, edits.in_effect(self.db), file)

    def features(self, layer: int, only: Collection[int] | None = None) -> dict[int, _Feature]:
        """The features of a layer that do something, by number: all, or ``only`` some."""
        session, live = self.session, self.live
        roles = [role for role in DIRECTIONS if self._holds(role, layer)]
        gone = set(live.removed(layer))
        found: dict[int, _Feature] = {}
        if roles and layer in session.layers:
            own = {role: session.matrix(role, layer) for role in roles}
            size = len(own[roles[0]])
            for number in range(size) if only is None else sorted(only):
                if number < size and number not in gone:
                    vectors = {role: own[role][number] for role in roles}
                    if all(vector.any() for vector in vectors.values()):
                        found[number] = _Feature(vectors, partial(self._token, layer, number))
        for place, number in enumerate(live.numbers.get(layer, ())):
            added = {role: live.vectors(role, layer) for role in roles}
            vectors = {role: matrix[place] for role, matrix in added.items() if matrix is not None}
            found[number] = _Feature(vectors, partial(self._promoted, vectors.get("down")))
        return found

    def touched(self, layer: int) -> set[int]:
        """The features of a layer that edits add or take away."""
        return {*self.live.numbers.get(layer, ()), *self.live.removed(layer)}

    def _holds(self, role: str, layer: int) -> bool:
        found = self.session.store.find(role, layer)
        return found is not None and found.storage != "absent"

    def _token(self, layer: int, number: int) -> str:
        rows = fetch(self.session.db, "SELECT token FROM features WHERE layer = ? AND feature = ?", (layer, number))
        return str(rows[0][0]) if rows else ""

    def _promoted(self, down: Floats | None) -> str:
        if down is None:
            return ""
        return self.session.tokenizer.text(int(np.argmax(as_float32(self.session.embeddings) @ down)))

    def edges(self, *, static: bool) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """The edges by what they say: those that something has shown by their names, static ones by place too."""
        rows = fetch(self.db, "SELECT entity, relation, target, layer, feature, confidence, source FROM edges")
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        for entity, relation, target, layer, feature, confidence, source in rows:
            if source != "static":
                known = found.get((entity, relation, target))
                if known is None or (confidence or 0) > (known[2] or 0):
                    found[entity, relation, target] = (layer, feature, confidence)
            elif static:
                found[entity, relation, target, layer, feature] = (layer, feature, None)
        return found


def changes(
    left: State,
    right: State,
    kinds: Collection[str] = KINDS,
    *,
    static: bool = False,
    layer: int | None = None,
    relation: str | None = None,
) -> Iterator[Change]:
    """What the right state has apart from the left: features, then edges, then tensors that are not of features.

    ``static`` includes edges read off the weights. ``layer`` and ``relation`` choose rows. Features are compared by
    their numbers, where both models have vectors of one length; a feature of zeros is none.
    """
    if "features" in kinds:
        for change in _features(left, right, layer):
            if relation is None or change.relation == relation:
                yield change
    if "edges" in kinds:
        for change in _edges(left.edges(static=static), right.edges(static=static)):
            if relation in (None, change.relation) and layer in (None, change.layer):
                yield change
    if "tensors" in kinds and relation is None:
        for what, name, _, _, at, _ in tensors(left.session.db, right.session.db):
            if layer in (None, at):
                yield Change(
                    what, name, at, None, None, _shape(left.session.db, name), _shape(right.session.db, name), None
                )


def _features(left: State, right: State, wanted: int | None) -> Iterator[Change]:
    sessions = left.session, right.session
    if len({session.network.hidden for session in sessions}) > 1:
        return  # vectors of other spaces
    same = len({session.model["fingerprint"] for session in sessions}) == 1
    layers = sorted({layer for session in sessions for layer in session.layers})
    for layer in layers if wanted is None else [wanted]:
        only = left.touched(layer) | right.touched(layer) if same else None
        before, after = left.features(layer, only), right.features(layer, only)
        for number in sorted(before.keys() | after.keys()):
            change = _moved(before.get(number), after.get(number))
            if change is not None:
                what, distance = change
                was, now = (None if one is None else one.token() for one in (before.get(number), after.get(number)))
                yield Change(what, None, layer, number, _relation(right, left, layer, number), was, now, distance)


def _moved(before: _Feature | None, after: _Feature | None) -> tuple[str, float | None] | None:
    """What became of a feature, and how far it moved over how long it was; None where nothing did."""
    if before is None or after is None:
        return ("feature added" if before is None else "feature removed"), None
    roles = before.vectors.keys() & after.vectors.keys()
    moved = sum(float(np.sum((after.vectors[role] - before.vectors[role]).astype(np.float64) ** 2)) for role in roles)
    size = sum(float(np.sum(before.vectors[role].astype(np.float64) ** 2)) for role in roles)
    return ("feature changed", float(np.sqrt(moved / size))) if moved else None


def _relation(right: State, left: State, layer: int, number: int) -> str | None:
    """The relation that a feature serves, after or before."""
    for state in (right, left):
        added = state.live.operations.get((layer, number))
        if added is not None:
            return added.relation
        rows = fetch(state.session.db, "SELECT relation FROM features WHERE layer = ? AND feature = ?", (layer, number))
        if rows and rows[0][0] is not None:
            return str(rows[0][0])
    return None


def _edges(before: dict[tuple[Any, ...], Any], after: dict[tuple[Any, ...], Any]) -> Iterator[Change]:
    gone, come = (sorted(mine.keys() - other.keys(), key=str) for mine, other in ((before, after), (after, before)))
    alone = _alone(gone), _alone(come)
    replaced = {key: new for about, key in alone[0].items() if (new := alone[1].get(about)) is not None}
    for key in gone:
        layer, feature, sure = before[key]
        new = replaced.get(key)
        if new is None:
            yield Change("edge removed", key[0], layer, feature, key[1], key[2], None, None)
        else:
            layer, feature, now = after[new]
            yield Change("edge changed", key[0], layer, feature, key[1], key[2], new[2], _gain(sure, now))
    for key in come:
        if key not in replaced.values():
            layer, feature, _ = after[key]
            yield Change("edge added", key[0], layer, feature, key[1], None, key[2], None)
    for key in sorted(before.keys() & after.keys(), key=str):
        (*_, sure), (layer, feature, now) = before[key], after[key]
        gain = _gain(sure, now)
        if gain is not None and abs(gain) >= NOTABLE:
            yield Change("edge changed", key[0], layer, feature, key[1], key[2], key[2], gain)


def _alone(keys: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, Any], tuple[Any, ...]]:
    """Edges that are the only ones of their entity and relation, by these."""
    found: dict[tuple[Any, Any], list[tuple[Any, ...]]] = {}
    for key in keys:
        if len(key) == 3:  # not a static one
            found.setdefault(key[:2], []).append(key)
    return {about: several[0] for about, several in found.items() if len(several) == 1}


def _gain(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _shape(db: apsw.Connection, name: str) -> str | None:
    rows: Sequence[tuple[str, str]] = fetch(db, "SELECT dtype, shape FROM tensors WHERE name = ?", (name,))
    return f"{rows[0][0]} {rows[0][1]}" if rows else None


def _copy(db: apsw.Connection, left_out: Collection[str]) -> apsw.Connection:
    """A database in memory with a vindex's patches and edges, without some of the patches."""
    memory = open_database(MEMORY)
    for table in _COPIED:
        columns = ", ".join(f'"{name}"' for (name,) in fetch(db, f"SELECT name FROM pragma_table_info('{table}')"))
        marks = ", ".join("?" * (columns.count(",") + 1))
        memory.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})", db.execute(f"SELECT {columns} FROM {table}")
        )
    memory.executemany("UPDATE patches SET active = 0 WHERE patch = ?", ((name,) for name in left_out))
    edits.show(memory)
    return memory
