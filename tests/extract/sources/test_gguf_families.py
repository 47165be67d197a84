"""GGUF files of families whose tensors are fused or turned round: the same model as its Hugging Face directory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

import larqldb
from larqldb.errors import UnsupportedModel
from larqldb.extract.sources import open_source
from larqldb.model.architectures import resolve, tensors
from larqldb.storage.checksums import verify
from larqldb.storage.database import fetch, open_database
from tests.extract.sources.conftest import TOKENIZER, TOKENS
from tests.tiny import FAMILIES, weights

if TYPE_CHECKING:
    from pathlib import Path

SIZES = {"vocab_size": len(TOKENS)}
PHI3: dict[str, Any] = {**FAMILIES["phi3"], **SIZES}
GPT2: dict[str, Any] = {**FAMILIES["gpt2"], **SIZES}
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.25, 1.5],
    "long_factor": [1.0, 2.0, 4.0],
    "attention_factor": 1.25,
}

# What llama.cpp's converter writes: https://github.com/ggml-org/llama.cpp, Phi3MiniModel and GPT2Model.
METADATA: dict[str, dict[str, Any]] = {
    "phi3": {
        "context_length": 128,
        "rope.scaling.original_context_length": 128,
        "embedding_length": 40,
        "feed_forward_length": 67,
        "block_count": 5,
        "attention.head_count": 5,
        "attention.head_count_kv": 5,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": 6,
        "rope.freq_base": 10000.0,
        "attention.sliding_window": 7,
    },
    "gpt2": {
        "context_length": 128,
        "embedding_length": 40,
        "feed_forward_length": 67,
        "block_count": 5,
        "attention.head_count": 5,
        "attention.layer_norm_epsilon": 1e-5,
    },
}


def write(
    path: Path,
    config: dict[str, Any],
    extra: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    quantised: str = "",
) -> dict[str, np.ndarray]:
    """Write a model as a GGUF file, one tensor quantised; its tensors as a Hugging Face directory would have them."""
    family = config["model_type"]
    made = weights(config, np.float32)
    writer = gguf.GGUFWriter(path, family)
    add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string, list: writer.add_array}
    named = {f"{family}.{key}": value for key, value in (METADATA[family] | (extra or {})).items()}
    for key, value in (named | TOKENIZER).items():
        add[type(value)](key, value)
    names = gguf.get_tensor_name_map({name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[family], 5)
    for slot in tensors(resolve(config)):
        array = made[slot.name]
        theirs = names.get_name(slot.name, try_suffixes=(".weight", ".bias"))
        assert theirs is not None
        array = np.ascontiguousarray(array.T if slot.transposed else array)
        kind = Kind.Q8_0 if theirs == quantised else None
        writer.add_tensor(theirs, array if kind is None else gguf.quants.quantize(array, kind), raw_dtype=kind)
    for name, array in (more or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


@pytest.mark.parametrize("config", [PHI3, GPT2], ids=["phi3", "gpt2"])
def test_the_same_model_as_a_directory(tmp_path: Path, config: dict[str, Any]) -> None:
    made = write(tmp_path / "m.gguf", config)
    source = open_source(tmp_path / "m.gguf")
    assert source.tensors.keys() == made.keys()
    for name, array in made.items():
        assert source.tensors[name].shape == array.shape
        np.testing.assert_array_equal(source.read(name), array, err_msg=name)
        np.testing.assert_array_equal(source.read(name, 3, 7), array[3:7], err_msg=name)
    found, expected = resolve(source.config), resolve(config)
    assert found.norm_eps == pytest.approx(expected.norm_eps)
    assert vars(found) | {"norm_eps": 0} == vars(expected) | {"norm_eps": 0}


def test_extracted_it_runs(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", GPT2)
    larqldb.extract(tmp_path / "m.gguf", tmp_path / "m.vindex")
    with closing(larqldb.connect(tmp_path / "m.vindex")) as conn:
        assert len(conn.execute('INFER "hello hell" TOP 3').fetchall()) == 3
    with closing(open_database(tmp_path / "m.vindex")) as db:
        assert list(verify(db)) == []
        assert fetch(db, "SELECT count(*), count(up) FROM feature_vectors") == [(5 * 67, 0)]


def test_a_head_that_older_converters_wrote_a_second_time(tmp_path: Path) -> None:
    """GPT-2's head is its embedding; as a tensor of its own it may be quantised otherwise."""
    head = np.random.default_rng(3).standard_normal((len(TOKENS), 40)).astype(np.float32)
    write(tmp_path / "m.gguf", GPT2, more={"output.weight": head})
    source = open_source(tmp_path / "m.gguf")
    assert not resolve(source.config).tied
    np.testing.assert_array_equal(source.read("lm_head.weight"), head)


def test_quantised_blocks_are_turned_round_after_they_are_read(tmp_path: Path) -> None:
    """c_proj of the FFN, [out, in] there: its blocks run along the features."""
    name = "transformer.h.0.mlp.c_proj.weight"
    config, extra = {**GPT2, "n_inner": 64}, {"feed_forward_length": 64}
    matrix = write(tmp_path / "m.gguf", config, extra, quantised="blk.0.ffn_down.weight")[name]  # [64, 40]
    source = open_source(tmp_path / "m.gguf")
    rounded = gguf.dequantize(gguf.quants.quantize(np.ascontiguousarray(matrix.T), Kind.Q8_0), Kind.Q8_0).T
    assert source.tensors[name].quantisation == "Q8_0"
    np.testing.assert_array_equal(source.read(name), rounded)
    np.testing.assert_array_equal(source.read(name, 60), rounded[60:])


def test_no_window(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", PHI3, {"attention.sliding_window": 0})
    assert {each.window for each in resolve(open_source(tmp_path / "m.gguf").config).attention} == {None}


def test_longrope(tmp_path: Path) -> None:
    factors = {
        f"rope_factors_{which}.weight": np.array(LONG[f"{which}_factor"], np.float32) for which in ("short", "long")
    }
    extra = {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": 1.25}
    write(tmp_path / "m.gguf", PHI3, extra, factors)
    found = resolve(open_source(tmp_path / "m.gguf").config)
    expected = resolve({**PHI3, "original_max_position_embeddings": 64, "rope_scaling": LONG})
    assert found.rotaries == expected.rotaries
    assert found.context == 64


def test_half_of_longrope_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", PHI3, {}, {"rope_factors_long.weight": np.ones(3, np.float32)})
    with pytest.raises(UnsupportedModel, match="LongRoPE factors"):
        open_source(tmp_path / "m.gguf")
