"""Patches of the reference system: one JSON object with the operations, vectors in base64.

    {"version", "base_model", "base_checksum", "created_at", "description", "author", "tags", "operations": [
        {"op": "insert", "layer", "feature", "entity", "relation", "target", "confidence", "gate_vector_b64", …},
        {"op": "update", "layer", "feature", "gate_vector_b64", "up_vector_b64", "down_vector_b64", "down_meta"},
        {"op": "delete", "layer", "feature", "reason"},
        {"op": "insert_knn", "layer", "entity", "relation", "target", "confidence", "key_vector_b64"},
        {"op": "delete_knn", "entity"}]}

Vectors are float32, little-endian. It names no fingerprint, so that only sizes can be checked.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import BadPatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

REMEDY = "Save it again with the program that wrote it"
REQUIRED = {
    "insert": ("layer", "entity", "target"),
    "update": ("layer", "feature"),
    "delete": ("layer", "feature"),
    "insert_knn": ("entity", "relation", "target"),
    "delete_knn": ("entity",),
}


@dataclass(frozen=True, eq=False)
class ReferenceOperation:
    """One operation as it stands; vectors are float32 [hidden], None where the file has none."""

    op: str
    layer: int | None
    feature: int | None
    entity: str | None
    relation: str | None
    target: str | None
    confidence: float | None
    gate: NDArray[np.float32] | None
    up: NDArray[np.float32] | None
    down: NDArray[np.float32] | None


@dataclass(frozen=True)
class ReferencePatch:
    """What such a file holds."""

    base_model: str
    created_at: str
    description: str | None
    operations: tuple[ReferenceOperation, ...]


def is_reference(data: bytes) -> bool:
    """Whether a file's bytes are JSON, as the reference system writes it."""
    return data.lstrip()[:1] == b"{"


def parse(data: bytes, path: Path, hidden: int, layers: int) -> ReferencePatch:
    """Read a patch for a network of this size. Raises BadPatch, naming the operation that cannot be used."""
    try:
        found = json.loads(data)
        operations = found["operations"]
        if not isinstance(operations, list):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BadPatch(path=path, problem="it is no patch file, or cut short", remedy=REMEDY) from None
    read = tuple(_operation(one, place, path, hidden, layers) for place, one in enumerate(operations))
    created = str(found.get("created_at") or "")
    description = found.get("description")
    return ReferencePatch(
        str(found.get("base_model") or ""), created, description if isinstance(description, str) else None, read
    )


def _operation(one: Any, place: int, path: Path, hidden: int, layers: int) -> ReferenceOperation:
    def wrong(problem: str) -> BadPatch:
        return BadPatch(path=path, problem=f"operation {place + 1}: {problem}", remedy=REMEDY)

    if not isinstance(one, dict) or one.get("op") not in REQUIRED:
        raise wrong(f"{one.get('op') if isinstance(one, dict) else one!r} is not one that larqldb knows")
    missing = [name for name in REQUIRED[one["op"]] if one.get(name) is None]
    if missing:
        raise wrong(f"it has no {missing[0]}")
    for name, kind in (("layer", int), ("feature", int), ("entity", str), ("relation", str), ("target", str)):
        if one.get(name) is not None and not isinstance(one[name], kind):
            raise wrong(f"its {name} is {one[name]!r}")
    if one.get("layer") is not None and one["layer"] not in range(layers):
        raise wrong(f"the model has no layer {one['layer']}")
    gate = one.get("gate_vector_b64") or one.get("key_vector_b64")
    vectors = []
    for name, text in (("gate", gate), ("up", one.get("up_vector_b64")), ("down", one.get("down_vector_b64"))):
        try:
            vector = None if text is None else np.frombuffer(base64.b64decode(text, validate=True), "<f4")
        except (ValueError, TypeError):
            raise wrong(f"its {name} vector is not base64 of float32 numbers") from None
        if vector is not None and (len(vector) != hidden or not np.isfinite(vector).all()):
            raise wrong(f"its {name} vector is not {hidden} finite numbers: it was made for another model")
        vectors.append(None if vector is None else vector.astype(np.float32))
    confidence = one.get("confidence")
    sure = float(confidence) if isinstance(confidence, int | float) else None
    gate, up, down = vectors
    return ReferenceOperation(
        one["op"], one.get("layer"), one.get("feature"), one.get("entity"), one.get("relation"), one.get("target"),
        sure, gate, up, down,
    )  # fmt: skip
