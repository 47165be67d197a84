"""Reading a matrix without having all of it in memory: rows of features by a bounded cache, others in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.storage.dtypes import NUMPY

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    from larqldb.storage.tensors import TensorStore

LEAST = 64  # rows the cache has room for, however small it is asked to be

# The list of features drives the join, so that only their rows are read.
_PULL = """
SELECT v.feature, v.down FROM json_each(?) AS wanted CROSS JOIN feature_vectors AS v
  ON v.layer = ? AND v.feature = wanted.value
"""


class RowCache:
    """The down vectors used most recently, in one array; others are pulled by SQL when they are asked for.

    ``rows`` [capacity, hidden] holds them in their stored dtype (bfloat16 as its bits, uint16), in no order: ``places``
    says where. At most ``limit`` bytes, but at least 64 rows. ``bytes_read`` counts what came from the file. Not for
    several threads at once, as its connection is not.
    """

    def __init__(self, db: apsw.Connection, store: TensorStore, layers: range, limit: int) -> None:
        self._db = db
        tensors = [store.find("down", layer) for layer in layers]
        held = [tensor for tensor in tensors if tensor is not None]
        hidden = held[0].shape[0]
        # Layers of a file may differ in dtype; the widest holds all of them exactly.
        dtypes = {tensor.layer: NUMPY[tensor.dtype] for tensor in held}
        self._dtypes = dtypes
        same = set(dtypes.values())
        self.dtype = same.pop() if len(same) == 1 else NUMPY["F32"]
        memory = np.dtype(np.uint16) if self.dtype == NUMPY["BF16"] else self.dtype
        total = sum(tensor.shape[1] for tensor in held)
        capacity = min(max(limit // (hidden * memory.itemsize), LEAST), total)
        self.rows: NDArray[Any] = np.empty((capacity, hidden), memory)
        self._place = {tensor.layer: np.full(tensor.shape[1], -1, np.int64) for tensor in held}
        self._owner: NDArray[np.int64] = np.full((capacity, 2), -1, np.int64)  # layer, feature of each place
        self._used: NDArray[np.int64] = np.zeros(capacity, np.int64)  # when it was last asked for
        self._clock = 0
        self._filled = 0
        self.bytes_read = 0

    @property
    def capacity(self) -> int:
        """How many rows fit: the most that may be asked for at once."""
        return len(self.rows)

    def places(self, layer: int, features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where in ``rows`` the down vectors of a layer's features are, pulling those that are not there yet.

        ``features`` are distinct and at most ``capacity``. Good until the next call. Raises DamagedVindex, naming layer
        and feature, for a vector that is missing or has the wrong length.
        """
        self._clock += 1
        place = self._place[layer]
        found = place[features]
        missing = features[found < 0]
        if len(missing):
            self._used[found[found >= 0]] = self._clock  # these stay
            self._pull(layer, missing)
            found = place[features]
        self._used[found] = self._clock
        return found

    def _pull(self, layer: int, features: NDArray[np.int64]) -> None:
        """Read rows from the file over those that were not asked for longest."""
        places = self._make_room(len(features))
        place_of = dict(zip(features.tolist(), places.tolist(), strict=True))
        dtype = self._dtypes[layer]
        size = self.rows.shape[1] * dtype.itemsize
        straight = dtype == self.dtype
        for feature, data in self._db.execute(_PULL, (json.dumps(features.tolist()), layer)):
            if data is None or len(data) != size:
                raise self._damaged(f"down of layer {layer} feature {feature} is not {size} bytes")
            numbers = np.frombuffer(data, self.rows.dtype if straight else dtype)
            self.rows[place_of.pop(feature)] = numbers
        if place_of:
            raise self._damaged(f"layer {layer} has no feature {min(place_of)}")
        self.bytes_read += size * len(features)
        self._place[layer][features] = places
        self._owner[places, 0], self._owner[places, 1] = layer, features

    def _make_room(self, count: int) -> NDArray[np.int64]:
        """Places to write to: free ones, then those not asked for longest, whose features are forgotten."""
        free = np.arange(self._filled, min(self._filled + count, self.capacity))
        self._filled += len(free)
        short = count - len(free)
        if not short:
            return free
        used = self._used.copy()
        used[free] = self._clock
        oldest = np.argpartition(used, short - 1)[:short] if short < len(used) else np.arange(len(used))
        for layer in np.unique(self._owner[oldest, 0]).tolist():
            if layer >= 0:
                mine = oldest[self._owner[oldest, 0] == layer]
                self._place[layer][self._owner[mine, 1]] = -1
        self._owner[oldest] = -1
        return np.concatenate([free, oldest])

    def _damaged(self, problem: str) -> DamagedVindex:
        return DamagedVindex(path=self._db.filename or "the database", problem=problem)


def pieces(db: apsw.Connection, store: TensorStore, role: str) -> Iterator[NDArray[Any]]:
    """The rows of a whole matrix outside the layers, in order, a few MB at a time: [n, width] in its dtype.

    Raises KeyError where the model has no such tensor, MissingPart or DamagedVindex as ``TensorStore.read``.
    """
    tensor = store.find(role, None)
    if tensor is None:
        raise KeyError(role)
    if tensor.storage != "chunks":
        store.read(tensor)  # says what is missing
    dtype, (rows, width) = NUMPY[tensor.dtype], tensor.shape
    size, rest, found = width * dtype.itemsize, b"", 0
    for (data,) in db.execute("SELECT data FROM tensor_chunks WHERE tensor = ? ORDER BY chunk", (tensor.name,)):
        held = rest + data
        whole = len(held) // size * size
        piece, rest = np.frombuffer(held[:whole], dtype).reshape(-1, width), held[whole:]
        found += len(piece)
        yield piece
    if found != rows or rest:
        problem = f"tensor {tensor.name} holds {found * size + len(rest)} of its {rows * size} bytes"
        raise DamagedVindex(path=db.filename or "the database", problem=problem)
