"""The row cache: whatever was asked for before, the right rows, from a bounded array."""

from __future__ import annotations

from contextlib import closing

import ml_dtypes
import numpy as np
import pytest

import larqldb
from larqldb.errors import DamagedVindex
from larqldb.storage.database import open_database
from larqldb.storage.rows import LEAST, RowCache, pieces
from larqldb.storage.tensors import TensorStore
from tests.tiny import write_tiny

LAYERS, FEATURES, HIDDEN = range(5), 67, 40


@pytest.fixture
def db(tiny_vindex):
    with closing(open_database(tiny_vindex)) as opened:
        yield opened


def cache(db, limit=0):
    return RowCache(db, TensorStore(db), LAYERS, limit)


def bits(array):
    return np.ascontiguousarray(array).view(np.uint16)


def test_random_questions_get_the_right_rows(db):
    rows, store = cache(db), TensorStore(db)
    assert rows.capacity == LEAST
    down = [bits(store.weights("down", layer)) for layer in LAYERS]
    rng = np.random.default_rng(0)
    for _ in range(200):
        layer = int(rng.integers(len(LAYERS)))
        features = rng.permutation(FEATURES)[: rng.integers(1, LEAST + 1)]
        places = rows.places(layer, features)
        assert len(set(places.tolist())) == len(features)
        assert np.array_equal(rows.rows[places], down[layer][features])


def test_what_is_there_is_not_read_again(db):
    rows = cache(db, 1 << 20)
    assert rows.capacity == len(LAYERS) * FEATURES
    rows.places(1, np.array([3, 5]))
    assert rows.bytes_read == 2 * HIDDEN * 2
    rows.places(1, np.array([5, 3, 8]))
    assert rows.bytes_read == 3 * HIDDEN * 2


def test_the_rows_asked_for_least_go_first(db):
    rows = cache(db)
    rows.places(0, np.arange(40))
    rows.places(1, np.arange(24))
    rows.places(0, np.arange(40))
    rows.places(2, np.arange(24))  # in place of layer 1's
    before = rows.bytes_read
    rows.places(0, np.arange(40))
    assert rows.bytes_read == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "UPDATE feature_vectors SET down = x'00' WHERE layer = 2 AND feature = 9",
            "layer 2 feature 9 is not 80 bytes",
        ),
        ("UPDATE feature_vectors SET down = NULL WHERE layer = 2 AND feature = 9", "layer 2 feature 9 is not 80 bytes"),
        ("DELETE FROM feature_vectors WHERE layer = 2 AND feature = 9", "layer 2 has no feature 9"),
    ],
)
def test_damage_is_named(db, change, problem):
    db.execute(change)
    rows = cache(db)
    with pytest.raises(DamagedVindex, match=problem):
        rows.places(2, np.arange(5, 12))
    others = rows.rows[rows.places(2, np.arange(5))]
    stored = [data for (data,) in db.execute("SELECT down FROM feature_vectors WHERE layer = 2 AND feature < 5")]
    assert [row.tobytes() for row in others] == stored


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_every_stored_dtype(tmp_path, dtype):
    larqldb.extract(write_tiny(tmp_path / "model", dtype=dtype), tmp_path / "tiny.vindex")
    with closing(open_database(tmp_path / "tiny.vindex")) as db:
        rows, down = cache(db), TensorStore(db).weights("down", 3)
        found = rows.rows[rows.places(3, np.array([66, 0]))]
        assert found.tobytes() == np.ascontiguousarray(down[[66, 0]]).tobytes()


def test_pieces_are_the_matrix(db):
    store = TensorStore(db)
    parts = list(pieces(db, store, "embed"))
    assert np.array_equal(np.concatenate(parts), store.weights("embed", None))
    with pytest.raises(KeyError):
        list(pieces(db, store, "head"))


def test_a_cut_matrix_is_damaged(db):
    db.execute("UPDATE tensor_chunks SET data = substr(data, 1, 1001) WHERE tensor = 'model.embed_tokens.weight'")
    with pytest.raises(DamagedVindex, match=r"model.embed_tokens.weight holds 1001 of its 32000 bytes"):
        list(pieces(db, TensorStore(db), "embed"))
