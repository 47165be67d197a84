"""The bytes of a tensor in the order its source had them, a few MB at a time: quicker than all at once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from larqldb.errors import DamagedVindex
from larqldb.storage.database import fetch
from larqldb.storage.dtypes import NUMPY
from larqldb.storage.tensors import as_bytes

if TYPE_CHECKING:
    from larqldb.storage.tensors import StoredTensor, TensorStore

    Buffer = bytes | memoryview

FEATURES = 512  # vectors joined at a time: few enough to stay in a core's cache until they are written


def pieces(store: TensorStore, tensor: StoredTensor) -> Iterator[Buffer]:
    """What ``store.read`` gives, as bytes, and its errors, which may come after some bytes."""
    layout = tensor.layout
    if tensor.storage == "chunks":
        yield from _chunks(store, tensor)
    elif tensor.storage == "absent" or tensor.transposed or "down" in layout.roles:  # not as rows stand in the file
        yield as_bytes(store.read(tensor))
    else:
        for role in layout.roles:
            yield from _vectors(store, tensor, role)


def _chunks(store: TensorStore, tensor: StoredTensor) -> Iterator[Buffer]:
    size, found = prod(tensor.shape) * NUMPY[tensor.dtype].itemsize, 0
    for (row,) in fetch(store.db, "SELECT rowid FROM tensor_chunks WHERE tensor = ? ORDER BY chunk", (tensor.name,)):
        with store.db.blob_open("main", "tensor_chunks", "data", row, False) as blob:
            data = np.empty(blob.length(), np.uint8).data  # a value of a row would be copied twice
            blob.read_into(data)
        found += len(data)
        yield data
    if found != size:
        raise _damaged(store, f"tensor {tensor.name} holds {found} of its {size} bytes")


def _vectors(store: TensorStore, tensor: StoredTensor, role: str) -> Iterator[Buffer]:
    """The gate or up vectors of a layer's features, one after the other."""
    count, width = tensor.layout.shape(role, tensor.shape)
    size, found = width * NUMPY[tensor.dtype].itemsize, 0
    rows = store.db.execute(
        f"SELECT {role} FROM feature_vectors WHERE layer = ? AND feature < ? ORDER BY feature", (tensor.layer, count)
    )
    while some := [data or b"" for data in chain.from_iterable(islice(rows, FEATURES))]:
        if set(map(len, some)) != {size}:
            raise _damaged(store, f"{role} of layer {tensor.layer} has a feature that is not {size} bytes")
        found += len(some)
        yield b"".join(some)
    if found != count:
        raise _damaged(store, f"layer {tensor.layer} has {found} of its {count} features")


def _damaged(store: TensorStore, problem: str) -> DamagedVindex:
    return DamagedVindex(path=store.db.filename or "the database", problem=problem)
