"""Tensors as rows: whole ones in chunks, feed-forward ones as a BLOB per feature and direction.

``gate``, ``up`` and ``down`` are feature-major in the file (down transposed), so one feature is three contiguous
BLOBs. A tensor may hold several roles, or be kept [in, out] (``larqldb.model.network.Layout``): it is stored once, and
comes back whole or a role at a time. Its checksum is that of its bytes as the source had them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex, MissingPart
from larqldb.model.network import Layout
from larqldb.storage.dtypes import NUMPY
from larqldb.storage.parts import part_of, remedy

if TYPE_CHECKING:
    import apsw

CHUNK_BYTES = 1 << 22
DIRECTIONS = ("gate", "up", "down")

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A row of ``tensors``: shape as in the source, ``storage`` one of chunks, features, absent.

    ``role``, ``rows`` and ``transposed`` are those of its ``Layout``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    layer: int | None
    role: str
    storage: str
    sha256: str
    quantisation: str | None = None
    rounding: float | None = None
    rows: tuple[int, ...] = ()
    transposed: bool = False

    @property
    def layout(self) -> Layout:
        """How it holds what its roles stand for."""
        return Layout(self.role, self.rows, self.transposed)


@dataclass(frozen=True, slots=True)
class StoredRole:
    """What plays a role in a layer: ``shape`` is [out, in], or [out] of a vector; ``tensor`` is what it is in."""

    tensor: StoredTensor
    role: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name of the tensor."""
        return self.tensor.name

    @property
    def dtype(self) -> str:
        """The dtype it is stored in."""
        return self.tensor.dtype

    @property
    def layer(self) -> int | None:
        """Its layer; None outside layers."""
        return self.tensor.layer

    @property
    def storage(self) -> str:
        """How the tensor is stored."""
        return self.tensor.storage


_COLUMNS = "name, dtype, shape, layer, role, storage, sha256, quantisation, rounding, rows, transposed"


class TensorStore:
    """Reads and writes the tensors of one open database."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db

    def tensors(self) -> Iterator[StoredTensor]:
        """All tensors, by name."""
        for row in self.db.execute(f"SELECT {_COLUMNS} FROM tensors ORDER BY name"):
            yield _tensor(row)

    def find(self, role: str, layer: int | None) -> StoredRole | None:
        """What plays a role in a layer, if the model has it."""
        alone = f"SELECT {_COLUMNS} FROM tensors WHERE role = ?1 AND layer IS ?2"
        fused = f"SELECT {_COLUMNS} FROM tensors WHERE layer IS ?2 AND '+' || role || '+' LIKE '%+' || ?1 || '+%'"
        row = self.db.execute(alone, (role, layer)).fetchone() or self.db.execute(fused, (role, layer)).fetchone()
        if row is None:
            return None
        tensor = _tensor(row)
        return StoredRole(tensor, role, tensor.layout.shape(role, tensor.shape))

    def read(self, tensor: StoredTensor) -> Array:
        """A tensor's numbers in its dtype and its source's shape; may be a transposed view.

        Raises MissingPart where the vindex was extracted without it and DamagedVindex where bytes are missing.
        """
        if tensor.storage == "absent":
            raise self._missing(tensor)
        if tensor.storage == "features":
            vectors = {role: self._directions(tensor, role) for role in tensor.layout.roles}
            return tensor.layout.join({role: v.T if role == "down" else v for role, v in vectors.items()})
        size = int(np.prod(tensor.shape, dtype=np.int64)) * NUMPY[tensor.dtype].itemsize
        buffer, filled = np.empty(size, np.uint8), 0
        for (data,) in self.db.execute(
            "SELECT data FROM tensor_chunks WHERE tensor = ? ORDER BY chunk", (tensor.name,)
        ):
            if filled + len(data) > size:
                raise self._damaged(f"tensor {tensor.name} holds more than its {size} bytes")
            buffer[filled : filled + len(data)] = np.frombuffer(data, np.uint8)
            filled += len(data)
        if filled != size:
            raise self._damaged(f"tensor {tensor.name} holds {filled} of its {size} bytes")
        return buffer.view(NUMPY[tensor.dtype]).reshape(tensor.shape)

    def _directions(self, tensor: StoredTensor, role: str) -> Array:
        """The gate, up or down vectors of a layer's features, [features, hidden], in the stored dtype."""
        if role not in DIRECTIONS:
            raise ValueError(role)
        shape = tensor.layout.shape(role, tensor.shape)
        features, hidden = shape[::-1] if role == "down" else shape
        dtype = NUMPY[tensor.dtype]
        width = hidden * dtype.itemsize
        rows: list[tuple[Any, ...]] = self.db.execute(
            f"SELECT {role} FROM feature_vectors WHERE layer = ? AND feature < ? ORDER BY feature",
            (tensor.layer, features),
        ).fetchall()
        if len(rows) != features:
            raise self._damaged(f"layer {tensor.layer} has {len(rows)} of its {features} features")
        for feature, (data,) in enumerate(rows):
            if data is None or len(data) != width:
                raise self._damaged(f"{role} of layer {tensor.layer} feature {feature} is not {width} bytes")
        buffer = b"".join([data for (data,) in rows])
        return np.frombuffer(buffer, dtype).reshape(features, hidden)

    def weights(self, role: str, layer: int | None) -> Array:
        """The array of a role in a layer as the network wants it: [out, in], ``down`` feature-major [features, hidden].

        Raises MissingPart where this vindex does not hold it, KeyError where the model has no such tensor.
        """
        found = self.find(role, layer)
        if found is None:
            raise KeyError((role, layer))
        tensor = found.tensor
        if tensor.storage == "features":
            return self._directions(tensor, role)
        if tensor.storage == "chunks" and tensor.rows and not tensor.transposed:
            start, stop = tensor.layout.place(role, tensor.shape)
            return self._read_some(tensor, start, stop)
        return np.ascontiguousarray(tensor.layout.part(self.read(tensor), role))

    def read_rows(self, role: str, rows: Sequence[int]) -> Array:
        """Rows of a whole matrix outside the layers, such as the embeddings: [rows, width] in its dtype.

        Reads only their bytes. Raises MissingPart, DamagedVindex, or KeyError where the model has no such tensor.
        """
        tensor = self.find(role, None)
        if tensor is None:
            raise KeyError(role)
        if tensor.storage != "chunks":
            raise self._missing(tensor.tensor)
        dtype, width = NUMPY[tensor.dtype], tensor.shape[1]
        out = np.empty((len(rows), width), dtype)
        for i, row in enumerate(rows):
            out[i] = np.frombuffer(
                self._read_bytes(tensor.name, row * width * dtype.itemsize, width * dtype.itemsize), dtype
            )
        return out

    def _read_some(self, tensor: StoredTensor, start: int, stop: int) -> Array:
        """Rows of a chunked tensor, [stop - start, …] in its dtype, reading only their bytes."""
        dtype, shape = NUMPY[tensor.dtype], (stop - start, *tensor.shape[1:])
        row = int(np.prod(tensor.shape[1:], dtype=np.int64)) * dtype.itemsize
        return np.frombuffer(self._read_bytes(tensor.name, start * row, (stop - start) * row), dtype).reshape(shape)

    def _read_bytes(self, name: str, start: int, size: int) -> bytearray:
        """Some of a chunked tensor's bytes, which may span chunks."""
        found = bytearray()
        while len(found) < size:
            chunk, offset = divmod(start + len(found), CHUNK_BYTES)
            rowid = self.db.execute("SELECT rowid FROM tensor_chunks WHERE tensor = ? AND chunk = ?", (name, chunk)).get
            part = b""
            if rowid is not None:
                with self.db.blob_open("main", "tensor_chunks", "data", int(rowid), False) as blob:
                    blob.seek(min(offset, blob.length()))
                    part = blob.read(size - len(found))
            if not part:
                raise self._damaged(f"tensor {name} ends before byte {start + size}")
            found += part
        return found

    def write_chunks(self, name: str, array: Array) -> None:
        """Store a whole tensor's bytes; its row in ``tensors`` must exist."""
        view, starts = as_bytes(array), range(0, array.nbytes, CHUNK_BYTES)
        rows = ((name, chunk, view[start : start + CHUNK_BYTES]) for chunk, start in enumerate(starts))
        self.db.executemany("INSERT INTO tensor_chunks VALUES (?, ?, ?)", rows)

    def write_features(self, layer: int, directions: Mapping[str, Array | None]) -> None:
        """Store a layer's feature vectors: gate, up, down, each [features, hidden] contiguous or None."""
        count = max(len(a) for a in directions.values() if a is not None)
        columns = [_rows(directions.get(name), count) for name in DIRECTIONS]
        self.db.executemany(
            "INSERT INTO feature_vectors (layer, feature, gate, up, down) VALUES (?, ?, ?, ?, ?)",
            ((layer, i, *vectors) for i, vectors in enumerate(zip(*columns, strict=True))),
        )

    def add(self, tensor: StoredTensor) -> None:
        """Write a tensor's row."""
        self.db.execute(
            f"INSERT INTO tensors ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                tensor.name,
                tensor.dtype,
                json.dumps(tensor.shape),
                tensor.layer,
                tensor.role,
                tensor.storage,
                tensor.sha256,
                tensor.quantisation,
                tensor.rounding,
                json.dumps(tensor.rows) if tensor.rows else None,
                int(tensor.transposed),
            ),
        )

    def _missing(self, tensor: StoredTensor) -> MissingPart:
        return MissingPart(
            statement="this",
            part=f"tensor {tensor.name}",
            remedy=remedy(self.db, (part_of(tensor.layout.roles[0])[-1],))
            or "Extract the model again with --level all (larqldb extract SOURCE -o NAME.vindex)",
        )

    def _damaged(self, problem: str) -> DamagedVindex:
        return DamagedVindex(path=self.db.filename or "the database", problem=problem)


def _tensor(row: tuple[Any, ...]) -> StoredTensor:
    """A row with the columns ``_COLUMNS``."""
    name, dtype, shape, layer, role, storage, digest, quantisation, rounding, rows, transposed = row
    return StoredTensor(
        name, dtype, tuple(json.loads(shape)), layer, role, storage, digest, quantisation, rounding,
        tuple(json.loads(rows)) if rows else (), bool(transposed),
    )  # fmt: skip


def sha256(array: Array) -> str:
    """Checksum of an array's bytes in row-major order, hexadecimal."""
    return hashlib.sha256(as_bytes(array)).hexdigest()


def as_bytes(array: Array) -> memoryview:
    """An array's bytes in row-major order, without a copy where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _rows(matrix: Array | None, count: int) -> Iterator[bytes | memoryview | None]:
    """Each row's bytes, without copying; None for every row of an absent matrix."""
    if matrix is None:
        yield from (None for _ in range(count))
        return
    view = as_bytes(matrix)
    width = len(view) // count
    for start in range(0, len(view), width):
        yield view[start : start + width]
