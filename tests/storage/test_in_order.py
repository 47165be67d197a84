"""Tensors read one after the other are those that the store reads, and so are its errors."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from larqldb.errors import DamagedVindex
from larqldb.storage.database import open_database
from larqldb.storage.in_order import InOrder
from larqldb.storage.tensors import TensorStore


def test_it_reads_what_the_store_reads(tiny_extracted):
    with closing(open_database(tiny_extracted, read_only=True)) as db:
        store = TensorStore(db)
        reader = InOrder(store)
        for tensor in store.tensors():
            assert np.array_equal(reader.read(tensor), store.read(tensor)), tensor.name
            if tensor.storage == "chunks":
                size = store.read(tensor).nbytes
                assert b"".join(reader.chunks(tensor, size)) == store.read(tensor).tobytes()


def read_all(store, reader):
    for tensor in store.tensors():
        if tensor.storage == "chunks":
            list(reader.chunks(tensor, int(np.prod(tensor.shape)) * 2))
        else:
            reader.read(tensor)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM feature_vectors WHERE layer = 2 AND feature = 5",
        "UPDATE feature_vectors SET up = NULL WHERE layer = 2 AND feature = 5",
        "UPDATE feature_vectors SET up = x'00' WHERE layer = 2 AND feature = 5",
        "UPDATE tensor_chunks SET data = x'00' WHERE tensor LIKE '%q_proj%'",
    ],
)
def test_missing_bytes_are_noticed(tiny_vindex, damage):
    with closing(open_database(tiny_vindex)) as db:
        db.execute(damage)
        store = TensorStore(db)
        reader = InOrder(store)
        with pytest.raises(DamagedVindex):
            read_all(store, reader)
