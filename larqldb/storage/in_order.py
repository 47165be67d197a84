"""Reading all tensors of a model one after the other: a layer's feature vectors in one pass over its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY
from larqldb.storage.tensors import DIRECTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from larqldb.storage.tensors import StoredTensor, TensorStore


class InOrder:
    """Reads tensors as ``TensorStore`` does, quickest where those of a layer follow each other."""

    def __init__(self, store: TensorStore) -> None:
        self._store = store
        self._layer: int | None = None
        self._columns: dict[str, Sequence[Any]] = {}

    def read(self, tensor: StoredTensor) -> NDArray[Any]:
        """What ``TensorStore.read`` gives, and its errors."""
        if tensor.storage != "features":
            return self._store.read(tensor)
        if tensor.layer != self._layer:
            rows = fetch(
                self._store.db, "SELECT gate, up, down FROM feature_vectors WHERE layer = ? ORDER BY feature",
                (tensor.layer,),
            )  # fmt: skip
            self._layer, self._columns = tensor.layer, dict(zip(DIRECTIONS, zip(*rows, strict=True), strict=False))
        layout, dtype = tensor.layout, NUMPY[tensor.dtype]
        parts = {}
        for role in layout.roles:
            shape = layout.shape(role, tensor.shape)
            count, width = shape[::-1] if role == "down" else shape
            vectors = self._columns.get(role, ())
            if len(vectors) != count or {None if one is None else len(one) for one in vectors} != {
                width * dtype.itemsize
            }:
                return self._store.read(tensor)  # which says what is wrong
            matrix = np.frombuffer(b"".join(vectors), dtype).reshape(count, width)
            parts[role] = matrix.T if role == "down" else matrix
        return layout.join(parts)

    def chunks(self, tensor: StoredTensor, size: int) -> Iterator[bytes]:
        """The bytes of a tensor that is stored whole, a few MB at a time; DamagedVindex unless they are ``size``."""
        found = 0
        for (data,) in self._store.db.execute(
            "SELECT data FROM tensor_chunks WHERE tensor = ? ORDER BY chunk", (tensor.name,)
        ):
            found += len(data)
            yield data
        if found != size:
            problem = f"tensor {tensor.name} holds {found} of its {size} bytes"
            raise DamagedVindex(path=self._store.db.filename or "the database", problem=problem)
