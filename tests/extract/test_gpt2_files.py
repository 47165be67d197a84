"""GPT-2 as it was published: names without a prefix, masks beside the weights."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import larqldb
from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.storage.checksums import verify
from larqldb.storage.database import fetch, open_database
from larqldb.storage.tensors import TensorStore
from tests.tiny import write_tiny


def published(folder: Path, mask: Any = np.float32, prefix: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """A tiny GPT-2 as its files are on the hub; what is in its safetensors file."""
    write_tiny(folder, family="gpt2", dtype=np.float32)
    tensors = {
        name.replace("transformer.", prefix): array for name, array in load_file(folder / "model.safetensors").items()
    }
    for layer in range(5):
        tensors[f"{prefix}h.{layer}.attn.bias"] = np.tril(np.ones((1, 1, 128, 128))).astype(mask)
        tensors[f"{prefix}h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
    save_file(tensors, folder / "model.safetensors")
    return tensors


@pytest.mark.parametrize("mask", [np.float32, np.uint8, np.bool_])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_it_comes_back_byte_for_byte(tmp_path: Path, mask: Any, prefix: str) -> None:
    original = published(tmp_path / "model", mask, prefix)
    larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")
    with closing(open_database(tmp_path / "m.vindex")) as db:
        assert list(verify(db)) == []
        store = TensorStore(db)
        stored = {tensor.name: store.read(tensor) for tensor in store.tensors()}
    assert stored.keys() == original.keys()
    for name, array in original.items():
        assert (stored[name].dtype, stored[name].shape) == (array.dtype, array.shape)
        assert np.ascontiguousarray(stored[name]).tobytes() == array.tobytes(), name


def test_names_change_nothing(tmp_path: Path) -> None:
    published(tmp_path / "bare")
    write_tiny(tmp_path / "prefixed", family="gpt2", dtype=np.float32)
    answers = []
    for name in ("bare", "prefixed"):
        larqldb.extract(tmp_path / name, tmp_path / f"{name}.vindex", level="inference")
        with closing(larqldb.connect(tmp_path / f"{name}.vindex")) as conn:
            answers.append(conn.execute('INFER "The capital of France is" TOP 5').fetchall())
    assert answers[0] == answers[1]


def test_masks_are_left_out_where_nothing_needs_them(tmp_path: Path) -> None:
    published(tmp_path / "model", np.uint8)
    larqldb.extract(tmp_path / "model", tmp_path / "m.vindex", level="inference", dtype="float16")
    with closing(open_database(tmp_path / "m.vindex")) as db:
        kinds = fetch(db, "SELECT DISTINCT dtype, storage FROM tensors WHERE name LIKE '%.attn.bias'")
        sizes = fetch(db, "SELECT DISTINCT length(gate), up, length(down) FROM feature_vectors")
    assert kinds == [("U8", "absent")]
    assert sizes == [(40 * 2, None, 40 * 2)]


def test_weights_in_bytes_are_refused(tmp_path: Path) -> None:
    original = published(tmp_path / "model")
    original["h.2.mlp.c_fc.weight"] = np.zeros((40, 67), np.uint8)
    save_file(original, tmp_path / "model" / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"tensor h\.2\.mlp\.c_fc\.weight of dtype U8"):
        larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")


def test_cross_attention_is_refused_by_its_tensors(tmp_path: Path) -> None:
    original = published(tmp_path / "model")
    original["h.0.crossattention.c_attn.weight"] = np.zeros((40, 80), np.float32)
    save_file(original, tmp_path / "model" / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=r"tensor h\.0\.crossattention\.c_attn\.weight"):
        larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")


def test_a_missing_bias_is_named(tmp_path: Path) -> None:
    original = published(tmp_path / "model")
    del original["h.3.ln_2.bias"]
    save_file(original, tmp_path / "model" / "model.safetensors")
    with pytest.raises(BadModelFile, match=r"no tensor h\.3\.ln_2\.bias"):
        larqldb.extract(tmp_path / "model", tmp_path / "m.vindex")
