"""Tensors of GGUF files: block formats, names, the order of rotary rows, Gemma's norms; and the real models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from larqldb.errors import BadModelFile, BadTensor, UnsupportedModel
from larqldb.extract.sources import open_source
from larqldb.extract.sources.gguf_names import NAMINGS, stored_rows

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
GATE = "model.layers.0.mlp.gate_proj.weight"


# --- block formats, against their definitions in ggml (ggml-common.h, ggml-quants.c), number by number in float64


def half(block: bytes, at: int) -> float:
    return float(np.frombuffer(block, np.float16, 1, at)[0])


def q4_0(b: bytes) -> list[float]:
    return [half(b, 0) * ((b[2 + i % 16] >> (4 * (i // 16)) & 15) - 8) for i in range(32)]


def q4_1(b: bytes) -> list[float]:
    return [half(b, 0) * (b[4 + i % 16] >> (4 * (i // 16)) & 15) + half(b, 2) for i in range(32)]


def q5_0(b: bytes) -> list[float]:
    high = int.from_bytes(b[2:6], "little")
    return [half(b, 0) * ((b[6 + i % 16] >> (4 * (i // 16)) & 15 | (high >> i & 1) << 4) - 16) for i in range(32)]


def q5_1(b: bytes) -> list[float]:
    high = int.from_bytes(b[4:8], "little")
    low = [b[8 + i % 16] >> (4 * (i // 16)) & 15 for i in range(32)]
    return [half(b, 0) * (low[i] | (high >> i & 1) << 4) + half(b, 2) for i in range(32)]


def q8_0(b: bytes) -> list[float]:
    return [half(b, 0) * int(q) for q in np.frombuffer(b, np.int8, 32, 2)]


def q2_k(b: bytes) -> list[float]:
    d, least = half(b, 80), half(b, 82)
    values = []
    for i in range(256):
        part, inside = divmod(i, 128)
        quant = b[16 + 32 * part + inside % 32] >> (2 * (inside // 32)) & 3
        scale = b[i // 16]
        values.append(d * (scale & 15) * quant - least * (scale >> 4))
    return values


def q3_k(b: bytes) -> list[float]:
    packed = b[96:108]
    scales = [
        (packed[j % 8] >> (4 * (j // 8)) & 15 | (packed[8 + j % 4] >> (2 * (j // 4)) & 3) << 4) - 32 for j in range(16)
    ]
    values = []
    for i in range(256):
        part, inside = divmod(i, 128)
        quant = b[32 + 32 * part + inside % 32] >> (2 * (inside // 32)) & 3
        has_high = b[i % 32] >> (i // 32) & 1
        values.append(half(b, 108) * scales[i // 16] * (quant - (0 if has_high else 4)))
    return values


def scale_and_least(packed: bytes, j: int) -> tuple[int, int]:
    """The 6-bit pairs of Q4_K and Q5_K."""
    if j < 4:
        return packed[j] & 63, packed[j + 4] & 63
    return packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4


def q4_k(b: bytes) -> list[float]:
    values = []
    for i in range(256):
        scale, least = scale_and_least(b[4:16], i // 32)
        quant = b[16 + 32 * (i // 64) + i % 32] >> (4 * (i // 32 % 2)) & 15
        values.append(half(b, 0) * scale * quant - half(b, 2) * least)
    return values


def q5_k(b: bytes) -> list[float]:
    values = []
    for i in range(256):
        scale, least = scale_and_least(b[4:16], i // 32)
        quant = b[48 + 32 * (i // 64) + i % 32] >> (4 * (i // 32 % 2)) & 15 | (b[16 + i % 32] >> (i // 32) & 1) << 4
        values.append(half(b, 0) * scale * quant - half(b, 2) * least)
    return values


def q6_k(b: bytes) -> list[float]:
    scales = np.frombuffer(b, np.int8, 16, 192)
    values = []
    for i in range(256):
        part, inside = divmod(i, 128)
        low = b[64 * part + inside % 64] >> (4 * (inside // 64)) & 15
        high = b[128 + 32 * part + inside % 32] >> (2 * (inside // 32)) & 3
        values.append(half(b, 208) * int(scales[i // 16]) * ((low | high << 4) - 32))
    return values


FORMATS = {
    Kind.Q4_0: q4_0,
    Kind.Q4_1: q4_1,
    Kind.Q5_0: q5_0,
    Kind.Q5_1: q5_1,
    Kind.Q8_0: q8_0,
    Kind.Q2_K: q2_k,
    Kind.Q3_K: q3_k,
    Kind.Q4_K: q4_k,
    Kind.Q5_K: q5_k,
    Kind.Q6_K: q6_k,
}
# Where the float16 scales of a block are; elsewhere any byte will do.
HALVES = {
    Kind.Q4_0: (0,),
    Kind.Q4_1: (0, 2),
    Kind.Q5_0: (0,),
    Kind.Q5_1: (0, 2),
    Kind.Q8_0: (0,),
    Kind.Q2_K: (80, 82),
    Kind.Q3_K: (108,),
    Kind.Q4_K: (0, 2),
    Kind.Q5_K: (0, 2),
    Kind.Q6_K: (208,),
}


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_block_formats(write_gguf: Callable[..., Path], tmp_path: Path, kind: Kind) -> None:
    random = np.random.default_rng(int(kind))
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = random.integers(0, 256, (10 * 512 // block, size), np.uint8)
    for at in HALVES[kind]:
        raw[:, at : at + 2] = random.normal(0, 0.1, len(raw)).astype(np.float16).view(np.uint8).reshape(-1, 2)
    path = write_gguf(tmp_path / "x.gguf", tensors={"blk.0.ffn_gate.weight": (kind, raw.reshape(10, -1))})
    source = open_source(path)
    info = source.tensors[GATE]
    assert (info.dtype, info.shape, info.quantisation) == ("F32", (10, 512), kind.name)
    expected = np.array([FORMATS[kind](b.tobytes()) for b in raw]).reshape(10, 512)
    found = source.read(GATE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_array_equal(source.read(GATE, 3, 7), found[3:7])


@pytest.mark.parametrize("name", ["IQ4_NL", "IQ4_XS", "IQ2_XXS", "IQ3_S", "IQ1_M", "TQ1_0", "TQ2_0", "MXFP4"])
def test_rarer_formats_are_read(write_gguf: Callable[..., Path], tmp_path: Path, name: str) -> None:
    kind = Kind[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = np.full((4, 256 // block * size), 0x11, np.uint8)
    path = write_gguf(tmp_path / "x.gguf", tensors={"blk.0.ffn_gate.weight": (kind, raw)})
    source = open_source(path)
    assert source.tensors[GATE].quantisation == name
    np.testing.assert_array_equal(source.read(GATE), gguf.dequantize(raw, kind))


def test_a_slab_ends_within_a_large_tensor(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    numbers = np.random.default_rng(5).standard_normal((1500, 512)).astype(np.float32)
    raw = gguf.quants.quantize(numbers, Kind.Q8_0)
    path = write_gguf(tmp_path / "x.gguf", tensors={"blk.0.ffn_gate.weight": (Kind.Q8_0, raw)})
    source = open_source(path)
    expected = gguf.dequantize(raw, Kind.Q8_0)
    np.testing.assert_array_equal(source.read(GATE), expected)
    np.testing.assert_array_equal(source.read(GATE, 511, 1025), expected[511:1025])


def test_floats_keep_their_dtype(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    halves = np.random.default_rng(6).standard_normal((8, 32)).astype(np.float16)
    bfloats = np.random.default_rng(7).standard_normal((8, 32)).astype(ml_dtypes.bfloat16)
    tensors = {
        "blk.0.ffn_gate.weight": halves,
        "blk.0.ffn_up.weight": (Kind.BF16, bfloats.view(np.uint8)),
    }
    source = open_source(write_gguf(tmp_path / "x.gguf", tensors=tensors))
    assert source.tensors[GATE].dtype == "F16"
    assert source.tensors[GATE].quantisation is None
    assert source.read(GATE).tobytes() == halves.tobytes()
    up = source.read("model.layers.0.mlp.up_proj.weight")
    assert up.dtype == ml_dtypes.bfloat16
    assert up.tobytes() == bfloats.tobytes()


@pytest.mark.parametrize("kind", [Kind.I8, Kind.I32, Kind.F64, Kind.Q8_1, Kind.Q8_K], ids=lambda kind: kind.name)
def test_other_types_are_refused_by_name(write_gguf: Callable[..., Path], tmp_path: Path, kind: Kind) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    raw = np.zeros((2, 256 // block * size), np.uint8)
    path = write_gguf(tmp_path / "x.gguf", tensors={"blk.0.ffn_gate.weight": (kind, raw)})
    with pytest.raises(UnsupportedModel, match=rf"tensor blk\.0\.ffn_gate\.weight of type {kind.name}"):
        open_source(path)


def test_scales_that_are_no_numbers(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    raw = gguf.quants.quantize(np.ones((64, 32), np.float32), Kind.Q4_0)
    raw[9, :2] = np.frombuffer(np.float16(np.nan).tobytes(), np.uint8)
    path = write_gguf(tmp_path / "x.gguf", tensors={"blk.0.ffn_gate.weight": (Kind.Q4_0, raw)})
    with pytest.raises(BadTensor, match=r"gate_proj\.weight: it holds nan at \[9, 0\]"):
        open_source(path).read(GATE)


# --- names and what the converter did to the numbers


@pytest.mark.parametrize("architecture", NAMINGS)
def test_names_are_those_of_llama_cpp(architecture: str) -> None:
    arch = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    theirs = gguf.get_tensor_name_map(arch, 3)
    naming = NAMINGS[architecture]
    outside = (f"{part}.weight" for part in naming.outside if part != "output")  # not all name the head
    for name in (*outside, *(f"blk.2.{part}.weight" for part in naming.parts)):
        ours = naming.hugging_face(name, 3)
        assert ours is not None
        assert theirs.get_name(ours, try_suffixes=(".weight",)) == name
    inside = naming.hugging_face("blk.0.attn_output.weight", 1)
    assert naming.hugging_face("blk.0.attn_output.bias", 1) == inside.removesuffix("weight") + "bias"
    assert naming.hugging_face("blk.0.ffn_gate_exps.weight", 1) is None
    assert naming.hugging_face("output.weight", 1) == "lm_head.weight"


@pytest.mark.parametrize("name", ["blk.1.attn_q.weight", "blk.00.attn_q.weight", "blk.٠.attn_q.weight", "blk.0.attn_q"])
def test_names_of_no_layer(name: str) -> None:
    assert NAMINGS["llama"].hugging_face(name, 1) is None


def to_gguf_rows(weights: np.ndarray, heads: int) -> np.ndarray:
    """What converters do to Llama's q and k: https://github.com/ggml-org/llama.cpp, LlamaModel.permute."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weights.shape)


def test_rotary_rows_are_put_back(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    q, k = (random.standard_normal((rows, 32)).astype(np.float32) for rows in (32, 16))
    bias = random.standard_normal(32).astype(np.float32)
    tensors = {
        "blk.0.attn_q.weight": to_gguf_rows(q, 4),
        "blk.0.attn_k.weight": (Kind.Q8_0, gguf.quants.quantize(to_gguf_rows(k, 2), Kind.Q8_0)),
        "blk.0.attn_q.bias": to_gguf_rows(bias, 4),
    }
    source = open_source(write_gguf(tmp_path / "x.gguf", tensors=tensors))
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.weight"), q)
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.weight", 5, 21), q[5:21])
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.bias"), bias)
    rounded = gguf.dequantize(gguf.quants.quantize(k, Kind.Q8_0), Kind.Q8_0)
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.k_proj.weight"), rounded)
    assert source.config["attention_bias"] is True


def test_only_llama_reorders(
    write_gguf: Callable[..., Path], gguf_tensors: dict[str, np.ndarray], tmp_path: Path
) -> None:
    source = open_source(write_gguf(tmp_path / "x.gguf", architecture="qwen2"))
    expected = gguf_tensors["blk.0.attn_q.weight"]
    np.testing.assert_array_equal(source.read("model.layers.0.self_attn.q_proj.weight"), expected)
    assert stored_rows(8, 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_heads_that_do_not_divide_the_rows(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    tensors = {"blk.0.attn_q.weight": np.ones((31, 32), np.float32)}
    with pytest.raises(BadModelFile, match=r"attn_q\.weight of shape \[31, 32\] does not fit 4 heads"):
        open_source(write_gguf(tmp_path / "x.gguf", tensors=tensors))


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3"])
def test_gemma_norms_lose_the_one(
    write_gguf: Callable[..., Path], gguf_tensors: dict[str, np.ndarray], tmp_path: Path, architecture: str
) -> None:
    more = {"blk.0.post_attention_norm.weight": np.full(32, 3, np.float16)}
    if architecture == "gemma3":
        more["blk.0.attn_q_norm.weight"] = np.full(8, 2, np.float32)
    path = write_gguf(
        tmp_path / "x.gguf",
        architecture=architecture,
        metadata={f"{architecture}.attention.sliding_window": 16},
        tensors=more,
    )
    source = open_source(path)
    layer = "model.layers.0."
    expected = gguf_tensors["blk.0.ffn_norm.weight"] - np.float32(1)
    np.testing.assert_array_equal(source.read(f"{layer}pre_feedforward_layernorm.weight"), expected)
    np.testing.assert_array_equal(source.read("model.norm.weight"), gguf_tensors["output_norm.weight"] - 1)
    assert source.tensors[f"{layer}post_attention_layernorm.weight"].dtype == "F32"
    assert source.read(f"{layer}post_attention_layernorm.weight").tolist() == [2.0] * 32
    np.testing.assert_array_equal(
        source.read("model.layers.0.mlp.down_proj.weight"), gguf_tensors["blk.0.ffn_down.weight"]
    )
    if architecture == "gemma3":
        assert source.read(f"{layer}self_attn.q_norm.weight").tolist() == [1.0] * 8


def test_an_unknown_tensor_is_named(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    tensors = {"blk.0.ffn_gate_exps.weight": np.ones((2, 32), np.float32)}
    with pytest.raises(UnsupportedModel, match=r"tensor blk\.0\.ffn_gate_exps\.weight is not supported"):
        open_source(write_gguf(tmp_path / "x.gguf", tensors=tensors))


def test_a_part_of_a_split_file(write_gguf: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="llama-gguf-split --merge"):
        open_source(write_gguf(tmp_path / "x.gguf", metadata={"split.count": 3}))


# --- real models


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_weights_equal_transformers(request: pytest.FixtureRequest, name: str) -> None:
    """Bit for bit, as float32: what transformers' own GGUF loader makes of two layers and the last norm."""
    source = open_source(request.getfixturevalue(f"{name}_gguf"))
    golden = json.loads((GOLDEN / "gguf_weights.json").read_text())["sha256"][name]
    found = {key: hashlib.sha256(source.read(key).astype(np.float32).tobytes()).hexdigest() for key in golden}
    assert found == golden


def test_the_directory_holds_the_same_model(smollm2_gguf: Path, smollm2_hf: Path) -> None:
    quantised, directory = open_source(smollm2_gguf), open_source(smollm2_hf)
    assert directory.format == "safetensors"
    assert directory.tensors.keys() == quantised.tensors.keys()
    layer = [key for key in quantised.tensors if key.startswith("model.layers.0.")]
    assert len(layer) == 9
    for key in layer:
        assert directory.tensors[key].dtype == "BF16"
        np.testing.assert_array_equal(directory.read(key), quantised.read(key).astype(ml_dtypes.bfloat16))
    assert directory.files["tokenizer.json"] == quantised.files["tokenizer.json"]
    config = dict(directory.config)
    assert config.pop("torch_dtype") == "bfloat16"
    assert config == quantised.config
