"""Tensors as rows: bytes come back as they went in, and every flipped byte is found."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from larqldb.errors import DamagedVindex, Error, MissingPart
from larqldb.storage import tensors as module
from larqldb.storage.checksums import verify
from larqldb.storage.database import fetch, open_database
from larqldb.storage.dtypes import NUMPY, as_float32, name_of
from larqldb.storage.tensors import StoredTensor, TensorStore, sha256

DTYPES = st.sampled_from(sorted(NUMPY))


def random_bits(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """Every bit pattern, NaNs and infinities among them: storage must not care."""
    size = int(np.prod(shape)) * NUMPY[dtype].itemsize
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8).view(NUMPY[dtype]).reshape(shape)


@settings(max_examples=60, deadline=None)
@given(DTYPES, st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(0, 99), st.integers(1, 300))
def test_chunks_round_trip(dtype: str, shape: list[int], seed: int, chunk_bytes: int) -> None:
    array = random_bits(dtype, tuple(shape), seed)
    with pytest.MonkeyPatch.context() as patch, closing(open_database(":memory:")) as db:
        patch.setattr(module, "CHUNK_BYTES", chunk_bytes)
        store = TensorStore(db)
        tensor = StoredTensor("t", dtype, tuple(shape), None, "embed", "chunks", sha256(array))
        store.add(tensor)
        store.write_chunks("t", array)
        assert store.read(tensor).tobytes() == array.tobytes()
        if len(shape) == 2:
            rows = [shape[0] - 1, 0, shape[0] // 2]
            assert store.read_rows("embed", rows).tobytes() == array[rows].tobytes()


@settings(max_examples=40, deadline=None)
@given(DTYPES, st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_features_round_trip(dtype: str, features: int, hidden: int, seed: int) -> None:
    gate, up, down = (random_bits(dtype, (features, hidden), seed + i) for i in range(3))
    with closing(open_database(":memory:")) as db:
        store = TensorStore(db)
        store.write_features(3, {"gate": gate, "up": up, "down": down})
        for role, array in (("gate", gate), ("up", up), ("down", down)):
            source = array.T if role == "down" else array  # as Hugging Face has it: [out, in]
            tensor = StoredTensor(role, dtype, source.shape, 3, role, "features", sha256(source))
            store.add(tensor)
            assert store.read(tensor).tobytes() == source.tobytes()
            assert store.weights(role, 3).tobytes() == array.tobytes()
            assert sha256(store.read(tensor)) == tensor.sha256


@settings(max_examples=40, deadline=None)
@given(
    DTYPES, st.lists(st.integers(1, 20), min_size=1, max_size=3), st.integers(1, 30), st.booleans(), st.integers(0, 99)
)
def test_fused_and_transposed_chunks_round_trip(
    dtype: str, rows: list[int], width: int, transposed: bool, seed: int
) -> None:
    roles = ["attn_q", "attn_k", "attn_v"][: len(rows)]
    parts = {
        role: random_bits(dtype, (n, width), seed + i) for i, (role, n) in enumerate(zip(roles, rows, strict=True))
    }
    whole = np.concatenate(list(parts.values()))
    whole = np.ascontiguousarray(whole.T if transposed else whole)
    sizes = tuple(rows) if len(rows) > 1 else ()
    with pytest.MonkeyPatch.context() as patch, closing(open_database(":memory:")) as db:
        patch.setattr(module, "CHUNK_BYTES", 37)
        store = TensorStore(db)
        tensor = StoredTensor(
            "t", dtype, whole.shape, 1, "+".join(roles), "chunks", sha256(whole), rows=sizes, transposed=transposed
        )
        store.add(tensor)
        store.write_chunks("t", whole)
        assert list(store.tensors()) == [tensor]
        assert store.read(tensor).tobytes() == whole.tobytes()
        for role, part in parts.items():
            found = store.find(role, 1)
            assert found is not None
            assert found.shape == part.shape
            assert store.weights(role, 1).tobytes() == part.tobytes()
        assert store.find("attn", 1) is None
        assert store.find("attn_q", 2) is None


@settings(max_examples=40, deadline=None)
@given(DTYPES, st.integers(1, 30), st.integers(1, 30), st.booleans(), st.integers(0, 99))
def test_fused_and_transposed_features_round_trip(
    dtype: str, features: int, hidden: int, transposed: bool, seed: int
) -> None:
    gate, up, down = (random_bits(dtype, (features, hidden), seed + i) for i in range(3))
    fused = np.concatenate([gate, up])
    sources = {"gate+up": fused.T if transposed else fused, "down": down if transposed else down.T}
    with closing(open_database(":memory:")) as db:
        store = TensorStore(db)
        store.write_features(3, {"gate": gate, "up": up, "down": down})
        for role, source in sources.items():
            rows = (features, features) if "+" in role else ()
            tensor = StoredTensor(
                role, dtype, source.shape, 3, role, "features", sha256(source), rows=rows, transposed=transposed
            )
            store.add(tensor)
            assert store.read(tensor).tobytes() == source.tobytes()
            assert sha256(store.read(tensor)) == tensor.sha256
        for role, array in (("gate", gate), ("up", up), ("down", down)):
            assert store.weights(role, 3).tobytes() == array.tobytes()
            found = store.find(role, 3)
            assert found is not None
            assert found.shape == (array.shape[::-1] if role == "down" else array.shape)


def test_absent_parts_are_named() -> None:
    with closing(open_database(":memory:")) as db:
        store = TensorStore(db)
        store.add(StoredTensor("model.x.weight", "F16", (2, 2), 0, "attn_q", "absent", ""))
        with pytest.raises(MissingPart, match=r"model\.x\.weight.*larqldb extract"):
            store.weights("attn_q", 0)
        with pytest.raises(KeyError):
            store.weights("attn_q", 1)
        store.add(StoredTensor("model.y.weight", "F16", (4, 2), 0, "gate+up", "absent", "", rows=(2, 2)))
        with pytest.raises(MissingPart, match=r"model\.y\.weight"):
            store.weights("up", 0)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM tensor_chunks WHERE tensor LIKE '%embed%'",
        "UPDATE tensor_chunks SET data = CAST(data || x'00' AS BLOB) WHERE tensor LIKE '%embed%'",
        "DELETE FROM feature_vectors WHERE layer = 2 AND feature = 66",
        "UPDATE feature_vectors SET gate = substr(gate, 2) WHERE layer = 2 AND feature = 3",
        "UPDATE feature_vectors SET up = NULL WHERE layer = 2 AND feature = 3",
    ],
)
def test_missing_bytes_are_damage(tiny_vindex: Path, damage: str) -> None:
    with closing(open_database(tiny_vindex)) as db:
        db.execute(damage)
        store = TensorStore(db)
        tensors = list(store.tensors())
        with pytest.raises(DamagedVindex):
            [store.read(tensor) for tensor in tensors]


def test_verify_finds_nothing_wrong(tiny_vindex: Path) -> None:
    seen: list[str] = []
    with closing(open_database(tiny_vindex, read_only=True)) as db:
        assert list(verify(db, seen.append)) == []
        assert {name for (name,) in fetch(db, "SELECT name FROM tensors")} < set(seen)


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True))
def test_verify_finds_any_flipped_bit(tiny_vindex: Path, where: float) -> None:
    at = int(where * tiny_vindex.stat().st_size)
    flip(tiny_vindex, at)
    try:
        with closing(open_database(tiny_vindex, read_only=True)) as db:
            found = list(verify(db))
    except Error as problem:  # so badly that it cannot be opened
        found = [("open", str(problem))]
    flip(tiny_vindex, at)
    assert found


@pytest.mark.parametrize("table", ["tensor_chunks", "feature_vectors"])
def test_verify_finds_a_flipped_bit_after_the_file_was_written_to(tiny_vindex: Path, table: str) -> None:
    column = "data" if table == "tensor_chunks" else "down"
    with closing(open_database(tiny_vindex)) as db:
        db.execute("CREATE TABLE notes (note TEXT)")
        assert list(verify(db)) == []
        db.execute(f"UPDATE {table} SET {column} = CAST(x'00' || substr({column}, 2) AS BLOB) WHERE rowid = 7")
        problems = list(verify(db))
    assert len(problems) == 1
    assert "sha256" in problems[0][1]


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE files SET content = '{}' WHERE name = 'config.json'", "fingerprint"),
        ("UPDATE tensors SET dtype = 'F16' WHERE role = 'final_norm'", "fingerprint"),
        ("UPDATE model SET value = 'x' WHERE key = 'fingerprint'", "fingerprint"),
        ("UPDATE migrations SET sha256 = 'x' WHERE version = 2", "migrations"),
    ],
)
def test_verify_finds_changed_records(tiny_vindex: Path, sql: str, what: str) -> None:
    with closing(open_database(tiny_vindex)) as db:
        db.execute(sql)
        assert what in [found for found, _ in verify(db)]


@given(st.integers(0, 0xFFFF))
def test_bfloat16_is_read_exactly(bits: int) -> None:
    value = np.array([bits], np.uint16).view(ml_dtypes.bfloat16)
    assert as_float32(value).tobytes() == (np.array([bits], np.uint32) << 16).tobytes()


def test_dtype_names() -> None:
    assert [name_of(dtype) for dtype in ("<f4", "<f2", ml_dtypes.bfloat16)] == ["F32", "F16", "BF16"]
