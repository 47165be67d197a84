"""Reading a matrix without having all of it in memory: rows of features by a bounded cache, others in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.model.memory import give_back
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY

if TYPE_CHECKING:
    import apsw
    from numpy.typing import NDArray

    from larqldb.storage.tensors import TensorStore

LEAST = 64  # rows the cache has room for, however small it is asked to be
MANY = 256  # rows pulled at once that leave enough freed memory behind to be worth giving back
HALVE = 16  # times its capacity a cache is asked for rows until what was asked for before counts half

# The list of features drives the join, so that only their rows are read.
_PULL = """
SELECT v.feature, v.down FROM json_each(?) AS wanted CROSS JOIN feature_vectors AS v
  ON v.layer = ? AND v.feature = wanted.value
"""


class RowCache:
    """The down vectors asked for most often, in one array; others are pulled by SQL when they are asked for.

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
        self._used: NDArray[np.float32] = np.zeros(capacity, np.float32)  # how often it was asked for, lately
        self._asked = 0
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
        place = self._place[layer]
        found = place[features]
        missing = np.sort(features[found < 0])
        if len(missing):
            self._pull(layer, missing, found[found >= 0])
            found = place[features]
        self._used[found] += 1
        self._asked += len(found)
        if self._asked > HALVE * self.capacity:
            self._asked = 0
            self._used /= 2
        return found

    def _pull(self, layer: int, features: NDArray[np.int64], kept: NDArray[np.int64]) -> None:
        """Read rows from the file over those that were asked for least, but not over those in the places ``kept``.

        A layer's turn comes once for each token: going by when a row was last asked for, as caches commonly do, would
        throw out just those that come next.
        """
        places = self._make_room(len(features), kept)
        dtype = self._dtypes[layer]
        size = self.rows.shape[1] * dtype.itemsize
        found: list[tuple[int, Any]] = fetch(self._db, _PULL, (json.dumps(features.tolist()), layer))
        for feature, data in found:
            if data is None or len(data) != size:
                raise self._damaged(f"down of layer {layer} feature {feature} is not {size} bytes")
        order = np.array([feature for feature, _ in found], np.int64)
        if len(order) < len(features):
            raise self._damaged(f"layer {layer} has no feature {np.setdiff1d(features, order)[0]}")
        read = np.frombuffer(b"".join(data for _, data in found), dtype).reshape(len(found), -1)
        at = places[np.searchsorted(features, order)]
        self.rows[at] = read.view(self.rows.dtype) if dtype == self.dtype else read
        self.bytes_read += size * len(features)
        if len(features) >= MANY:
            give_back()
        self._place[layer][features] = places
        self._owner[places, 0], self._owner[places, 1] = layer, features

    def _make_room(self, count: int, kept: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places to write to: free ones, then those asked for least, whose features are forgotten."""
        free = np.arange(self._filled, min(self._filled + count, self.capacity))
        self._filled += len(free)
        short = count - len(free)
        if not short:
            return free
        used = self._used.copy()
        used[free] = used[kept] = np.inf
        least = np.argpartition(used, short - 1)[:short]
        for layer in np.unique(self._owner[least, 0]).tolist():
            if layer >= 0:
                mine = least[self._owner[least, 0] == layer]
                self._place[layer][self._owner[mine, 1]] = -1
        self._owner[least] = -1
        self._used[least] = 0
        return np.concatenate([free, least])

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
        store.weights(role, None)  # says what is missing
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
