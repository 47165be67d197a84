"""Edits as rows: patches, their operations, and what is in effect."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.storage.clock import now
from larqldb.storage.database import fetch

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

VECTOR = np.dtype("<f4")
INSERTING = ("insert", "update", "insert_knn")
_PLAIN = (
    *("op_id", "patch", "operation", "fact", "undoes", "layer", "feature", "entity", "relation", "target"),
    *("confidence", "probability", "least_cosine"),
)
_COLUMNS = (*_PLAIN, "gate", "up", "down")


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation, see the table ``patch_ops``; vectors are float32 [hidden]."""

    operation: str
    layer: int | None = None
    feature: int | None = None
    entity: str | None = None
    relation: str | None = None
    target: str | None = None
    confidence: float | None = None
    probability: float | None = None
    least_cosine: float | None = None
    gate: Floats | None = None
    up: Floats | None = None
    down: Floats | None = None
    undoes: int | None = None
    fact: int | None = None
    patch: str = ""
    op_id: int | None = None

    @property
    def is_feature(self) -> bool:
        """Whether it adds a feature to a layer."""
        return self.down is not None and self.operation != "insert_knn"

    @property
    def is_removal(self) -> bool:
        """Whether it takes away one feature by its number."""
        return self.operation == "delete" and self.entity is None


@dataclass(frozen=True)
class Patch:
    """A row of ``patches``."""

    patch: str
    position: int
    active: bool
    description: str | None
    base_fingerprint: str
    created_at: str


@dataclass(frozen=True)
class InsertedFact:
    """A row of ``inserted_facts``."""

    fact: int
    patch: str
    operation: str
    entity: str
    relation: str
    target: str
    layer: int | None
    feature: int | None
    confidence: float | None
    probability: float | None


def stamp(db: apsw.Connection) -> int:
    """A number that differs wherever edits differ; 0 where there never were any."""
    found = db.execute("SELECT stamp FROM edit_state").fetchone()
    return int(found[0]) if found else 0


def show(db: apsw.Connection) -> None:
    """Bring ``edges`` up to date after operations were written."""
    db.execute("UPDATE edit_state SET shown = shown + 1")


def lock(db: apsw.Connection) -> None:
    """Take the file's write lock; busy, read-only and full files are found out before any work is done."""
    db.execute("DELETE FROM patch_ops WHERE 0")


def in_effect(db: apsw.Connection) -> list[Operation]:
    """The operations of active patches that nothing undoes, in order."""
    rows = fetch(db, f"SELECT {', '.join(_COLUMNS)} FROM active_ops ORDER BY position, op_id")
    return [_operation(db, row) for row in rows]


def operations(db: apsw.Connection, patch: str) -> list[Operation]:
    """A patch's operations, in order."""
    rows = fetch(db, f"SELECT {', '.join(_COLUMNS)} FROM patch_ops WHERE patch = ? ORDER BY op_id", (patch,))
    return [_operation(db, row) for row in rows]


def inserted(db: apsw.Connection) -> list[InsertedFact]:
    """The facts that edits inserted, in order."""
    rows = fetch(
        db,
        "SELECT fact, patch, operation, entity, relation, target, layer, feature, confidence, probability "
        "FROM inserted_facts ORDER BY fact",
    )
    return [InsertedFact(*row) for row in rows]


def deleted(db: apsw.Connection, entity: str) -> set[tuple[str, str]]:
    """What the model itself says of an entity that edits in effect deleted: relations and targets."""
    rows = fetch(
        db,
        "SELECT relation, target FROM active_ops WHERE operation = 'delete' AND undoes IS NULL AND entity = ?",
        (entity,),
    )
    return set(rows)


def named(db: apsw.Connection) -> list[InsertedFact]:
    """The facts that any patch inserts, in effect or not, in order."""
    rows = fetch(
        db,
        "SELECT fact, patch, operation, entity, relation, target, layer, feature, confidence, probability "
        "FROM patch_ops WHERE op_id = fact AND entity IS NOT NULL AND undoes IS NULL OR operation IN "
        "('insert', 'update', 'insert_knn') AND op_id = fact ORDER BY fact",
    )
    return [InsertedFact(*row) for row in rows]


def write(db: apsw.Connection, patch: str, group: Sequence[Operation]) -> int:
    """Add the operations of one fact to a patch; gives the fact's number."""
    fact: int | None = None
    for operation in group:
        db.execute(
            f"INSERT INTO patch_ops ({', '.join(_COLUMNS[1:])}) VALUES ({', '.join('?' * (len(_COLUMNS) - 1))})",
            (patch, operation.operation, fact, *_values(operation)),
        )
        if fact is None:
            fact = db.last_insert_rowid()
    assert fact is not None
    return fact


def erase(db: apsw.Connection, facts: Iterable[int]) -> None:
    """Take facts' operations out of their patches."""
    db.execute("DELETE FROM patch_ops WHERE fact IN (SELECT value FROM json_each(?))", (json.dumps(list(facts)),))


def rewrite(db: apsw.Connection, fact: int, group: Sequence[Operation]) -> None:
    """Put other operations in the place of a fact's: its number, patch and place in the order stay."""
    before = fetch(db, "SELECT op_id, patch FROM patch_ops WHERE fact = ? ORDER BY op_id", (fact,))
    patch = before[0][1]
    db.execute("DELETE FROM patch_ops WHERE fact = ?", (fact,))
    numbers = [fact, *(op_id for op_id, _ in before if op_id != fact)]
    for place, operation in enumerate(group):
        number = numbers[place] if place < len(numbers) else None
        db.execute(
            f"INSERT INTO patch_ops ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})",
            (number, patch, operation.operation, fact, *_values(operation)),
        )


def set_confidence(db: apsw.Connection, fact: int, confidence: float | None) -> None:
    """Change what is recorded of a fact."""
    db.execute("UPDATE patch_ops SET confidence = ? WHERE fact = ?", (confidence, fact))


def set_probability(db: apsw.Connection, fact: int, probability: float) -> None:
    """Record how probable a fact's target became."""
    db.execute("UPDATE patch_ops SET probability = ? WHERE fact = ?", (probability, fact))


def next_feature(db: apsw.Connection, layer: int, first: int) -> int:
    """The lowest number from ``first`` up that no feature of a layer has or had, in any patch."""
    found = db.execute("SELECT max(feature) FROM patch_ops WHERE layer = ?", (layer,)).fetchone()
    return max(first, int(found[0]) + 1) if found and found[0] is not None else first


def feature_numbers(db: apsw.Connection, layer: int) -> set[int]:
    """The numbers of features of a layer that any patch adds."""
    rows = fetch(db, "SELECT feature FROM patch_ops WHERE layer = ? AND down IS NOT NULL AND feature NOTNULL", (layer,))
    return {feature for (feature,) in rows}


def patches(db: apsw.Connection) -> list[Patch]:
    """All patches in the order in which they act."""
    rows = fetch(
        db, "SELECT patch, position, active, description, base_fingerprint, created_at FROM patches ORDER BY position"
    )
    return [Patch(name, position, bool(active), *rest) for name, position, active, *rest in rows]


def find_patch(db: apsw.Connection, name: str) -> Patch | None:
    """A patch by its name."""
    return next((patch for patch in patches(db) if patch.patch == name), None)


def add_patch(
    db: apsw.Connection, name: str, fingerprint: str, *, description: str | None = None, created_at: str | None = None
) -> None:
    """Add an active patch, the last in order."""
    db.execute(
        "INSERT INTO patches SELECT ?, coalesce(max(position), 0) + 1, 1, ?, ?, ? FROM patches",
        (name, description, fingerprint, created_at or now()),
    )


def activate(db: apsw.Connection, name: str) -> None:
    """Put a patch into effect, the last in order."""
    db.execute(
        "UPDATE patches SET active = 1, position = (SELECT max(position) + 1 FROM patches) WHERE patch = ?", (name,)
    )


def deactivate(db: apsw.Connection, name: str) -> None:
    """Take a patch out of effect; its operations stay."""
    db.execute("UPDATE patches SET active = 0 WHERE patch = ?", (name,))


def drop_patch(db: apsw.Connection, name: str) -> None:
    """Forget a patch and its operations."""
    db.execute("DELETE FROM patches WHERE patch = ?", (name,))


def numbered(operation: Operation, feature: int) -> Operation:
    """The operation with another number for its feature."""
    return replace(operation, feature=feature)


def _operation(db: apsw.Connection, row: tuple[Any, ...]) -> Operation:
    found = dict(zip(_COLUMNS, row, strict=True))
    for name in ("gate", "up", "down"):
        found[name] = _vector(db, found["op_id"], name, found[name])
    return Operation(**found)


def _vector(db: apsw.Connection, op_id: int, name: str, data: Any) -> Floats | None:
    if data is None:
        return None
    if not isinstance(data, bytes) or len(data) % VECTOR.itemsize:
        raise DamagedVindex(path=db.filename or "the database", problem=f"{name} of operation {op_id} is no vector")
    return np.frombuffer(data, VECTOR).astype(np.float32, copy=False)


def _values(operation: Operation) -> tuple[Any, ...]:
    """An operation's columns from ``undoes`` on."""
    plain = (getattr(operation, name) for name in _PLAIN[4:])
    vectors = (
        None if vector is None else np.ascontiguousarray(vector, VECTOR).tobytes()
        for vector in (operation.gate, operation.up, operation.down)
    )
    return (*plain, *vectors)


class Background(MutableMapping[str, bytes]):
    """What is found out once about a model, by name: rows of ``edit_background``, written by ``store`` alone."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._found: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._found:
            row = self._db.execute("SELECT data FROM edit_background WHERE what = ?", (name,)).fetchone()
            if row is None:
                raise KeyError(name)
            self._found[name] = bytes(row[0])
        return self._found[name]

    def __setitem__(self, name: str, data: bytes) -> None:
        self._found[name] = data

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def store(self) -> None:
        """Write what is not in the file yet."""
        self._db.executemany("INSERT OR IGNORE INTO edit_background VALUES (?, ?)", list(self._found.items()))


@dataclass(frozen=True)
class Match:
    """An edge that a condition names; ``fact`` is that of an edit, None for the model's own. ``values`` were asked."""

    fact: int | None
    entity: str
    relation: str
    target: str
    layer: int | None
    feature: int | None
    confidence: float | None
    source: str
    values: tuple[Any, ...] = ()


def matching(db: apsw.Connection, condition: str, bindings: Any, values: Sequence[str] = ()) -> list[Match]:
    """The edges for which a condition holds, in order, with the value of some expressions over them."""
    rows = fetch(
        db,
        "SELECT edge_id, entity, relation, target, layer, feature, confidence, source"
        f"{''.join(f', ({value})' for value in values)} FROM edge_records "
        f"WHERE edge_id NOT IN hidden_edges AND ({condition}) ORDER BY abs(edge_id)",
        bindings,
    )
    found = []
    for edge_id, entity, relation, target, layer, feature, confidence, source, *asked in rows:
        fact = -edge_id if edge_id < 0 else None
        found.append(Match(fact, entity, relation, target, layer, feature, confidence, source, tuple(asked)))
    return found


def matching_features(db: apsw.Connection, condition: str, bindings: Any) -> list[tuple[int, int]]:
    """The features, the base's own and those in effect, for whose layer and number a condition holds."""
    return fetch(
        db,
        "SELECT layer, feature FROM (SELECT layer, feature FROM features UNION "
        f"SELECT layer, feature FROM active_ops WHERE down IS NOT NULL AND feature IS NOT NULL) WHERE {condition}",
        bindings,
    )
