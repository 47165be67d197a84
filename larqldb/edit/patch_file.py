"""Patches as files that travel between vindexes of the same model: ``.vlp``.

A ``.vlp`` is a safetensors file (https://github.com/huggingface/safetensors), so that its vectors can be read by
anything that reads those. Its metadata holds ``format`` ("larqldb patch"), ``version`` ("1") and ``header``, JSON:

    patch, description, created_at     the patch's name, a text or null, and when it was begun (UTC, ISO 8601)
    base                               {"fingerprint", "source"} of the model it belongs to
    sha256                             of the header without this entry (keys sorted, no spaces) and all vectors
    operations                         in the order they act, each with those of these that it has:
        operation                      insert, update, delete, insert_knn
        fact                           the place in this list of the first operation of the same fact
        undoes                         {"entity", "relation", "target"} of a fact of another patch that it takes out
        layer, feature                 a feature is given another number where its own is taken
        entity, relation, target, confidence, probability, least_cosine

The vectors of the operation at place n are the tensors ``n.gate``, ``n.up`` and ``n.down``, float32 [hidden]: those of
a feature, or gate the key and down the value of a row that is looked up. A delete without entity and vectors takes a
feature away.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from larqldb.errors import BadPatch, OutputExists, OutputFailed, PatchNotFound
from larqldb.storage.edits import Operation
from larqldb.storage.new_file import replace_file
from larqldb.storage.outputs import check_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT, VERSION = "larqldb patch", "1"
PLAIN = ("layer", "feature", "entity", "relation", "target", "confidence", "probability", "least_cosine")
VECTORS = ("gate", "up", "down")
KINDS = ("insert", "update", "delete", "insert_knn")
AGAIN = "Save it again from the vindex it was made in"


@dataclass(frozen=True)
class Entry:
    """An operation of a file: ``fact`` is the place of the first of its fact's, ``undoes`` names another fact."""

    operation: Operation
    fact: int
    undoes: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class PatchFile:
    """What a file holds; ``fingerprint`` is that of the model it belongs to."""

    patch: str
    fingerprint: str
    source: str
    created_at: str
    description: str | None
    entries: tuple[Entry, ...]


def write(path: Path, patch: PatchFile) -> int:
    """Write a patch as a whole or not at all, over an earlier file of the same patch; gives the file's bytes.

    Raises OutputExists where something else has the name, NoFolder, OutputFailed where writing fails.
    """
    check_folder(path)
    if path.exists() and not _holds(path, patch.patch):
        raise OutputExists(path=path)
    tensors = {
        f"{place}.{name}": np.ascontiguousarray(vector, np.float32)
        for place, entry in enumerate(patch.entries)
        for name in VECTORS
        if (vector := getattr(entry.operation, name)) is not None
    }
    header = {
        "patch": patch.patch,
        "description": patch.description,
        "created_at": patch.created_at,
        "base": {"fingerprint": patch.fingerprint, "source": patch.source},
        "operations": [_described(entry) for entry in patch.entries],
    }
    header["sha256"] = _digest(header, tensors)
    metadata = {"format": FORMAT, "version": VERSION, "header": json.dumps(header, ensure_ascii=False)}
    data = save(tensors, metadata)
    try:
        replace_file(path, [data])
    except OSError as problem:
        raise OutputFailed(path=path, problem=problem.strerror or str(problem)) from None
    return len(data)


def read(path: Path) -> PatchFile:
    """The patch in a file of larqldb's. Raises PatchNotFound, or BadPatch for one cut short, changed or unknown."""
    return _parse(content(path), path)


def content(path: Path) -> bytes:
    """A file's bytes; PatchNotFound or BadPatch where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PatchNotFound(
            source=path, remedy="SAVE PATCH writes such files; SHOW PATCHES lists those in this one"
        ) from None
    except OSError as problem:
        raise BadPatch(path=path, problem=problem.strerror or str(problem), remedy="Check the path") from None


def _parse(data: bytes, path: Path) -> PatchFile:
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        tensors = load(data)
        found, version, header = metadata["format"], metadata["version"], json.loads(metadata["header"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise BadPatch(path=path, problem="it is no patch file, or cut short", remedy=AGAIN) from None
    if found != FORMAT:
        raise BadPatch(path=path, problem="it is no patch but something else in a safetensors file", remedy=AGAIN)
    if version != VERSION:
        problem = f"its version is {version}, this larqldb knows {VERSION}"
        raise BadPatch(path=path, problem=problem, remedy="Upgrade larqldb to apply it")
    stated = header.pop("sha256", None) if isinstance(header, dict) else None
    if stated != _digest(header, tensors):
        raise BadPatch(path=path, problem="it was changed after it was saved", remedy=AGAIN)
    entries = tuple(_entry(place, described, tensors) for place, described in enumerate(header["operations"]))
    if any(entry.operation.operation not in KINDS for entry in entries):
        raise BadPatch(path=path, problem="it holds an operation this larqldb does not know", remedy="Upgrade larqldb")
    base = header["base"]
    return PatchFile(
        header["patch"], base["fingerprint"], base["source"], header["created_at"], header["description"], entries
    )


def _described(entry: Entry) -> dict[str, Any]:
    plain = {name: value for name in PLAIN if (value := getattr(entry.operation, name)) is not None}
    made = {"operation": entry.operation.operation, "fact": entry.fact, **plain}
    if entry.undoes is not None:
        made["undoes"] = dict(zip(("entity", "relation", "target"), entry.undoes, strict=True))
    return made


def _entry(place: int, described: dict[str, Any], tensors: dict[str, Any]) -> Entry:
    vectors: dict[str, Any] = {name: tensors.get(f"{place}.{name}") for name in VECTORS}
    plain: dict[str, Any] = {name: described.get(name) for name in PLAIN}
    undoes = described.get("undoes")
    operation = Operation(described["operation"], **plain, **vectors)
    return Entry(operation, described["fact"], None if undoes is None else tuple(undoes.values()))


def _digest(header: Any, tensors: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()


def _holds(path: Path, patch: str) -> bool:
    """Whether a file is a saved state of a patch."""
    try:
        return Path(read(path).patch).name == Path(patch).name
    except (BadPatch, PatchNotFound):
        return False


def grouped(operations: Sequence[Operation], names: dict[int, tuple[str, str, str]]) -> tuple[Entry, ...]:
    """The entries of a patch's operations; ``names`` are those of facts of other patches that may be undone."""
    place: dict[int | None, int] = {}
    entries = []
    for number, operation in enumerate(operations):
        first = place.setdefault(operation.fact, number)
        undoes = None if operation.undoes is None else names.get(operation.undoes)
        entries.append(Entry(operation, first, undoes))
    return tuple(entries)
