"""Tensors in pieces are those that the store reads, and so are its errors."""

from __future__ import annotations

from contextlib import closing
from itertools import chain

import pytest

from larqldb.errors import DamagedVindex
from larqldb.storage import pieces as module
from larqldb.storage.database import open_database
from larqldb.storage.pieces import pieces
from larqldb.storage.tensors import TensorStore


@pytest.mark.parametrize("together", [1, 7, 512])
def test_pieces_are_what_the_store_reads(tiny_extracted, monkeypatch, together):
    monkeypatch.setattr(module, "FEATURES", together)
    with closing(open_database(tiny_extracted, read_only=True)) as db:
        store = TensorStore(db)
        for tensor in store.tensors():
            assert b"".join(pieces(store, tensor)) == store.read(tensor).tobytes(), tensor.name


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM feature_vectors WHERE layer = 2 AND feature = 5",
        "UPDATE feature_vectors SET up = NULL WHERE layer = 2 AND feature = 5",
        "UPDATE feature_vectors SET up = x'00' WHERE layer = 2 AND feature = 5",
        "UPDATE feature_vectors SET down = x'00' WHERE layer = 2 AND feature = 5",
        "UPDATE tensor_chunks SET data = x'00' WHERE tensor LIKE '%q_proj%'",
        "DELETE FROM tensor_chunks WHERE tensor LIKE '%q_proj%'",
    ],
)
def test_missing_bytes_are_noticed(tiny_vindex, damage):
    with closing(open_database(tiny_vindex)) as db:
        db.execute(damage)
        store = TensorStore(db)
        with pytest.raises(DamagedVindex):
            list(chain.from_iterable(pieces(store, tensor) for tensor in store.tensors()))
