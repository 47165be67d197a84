"""Small models written for these tests, as Hugging Face directories and as GGUF files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

HIDDEN, FFN, HEADS, KV_HEADS = 32, 64, 4, 2
# GPT-2's printable stand-ins for bytes come first in most vocabularies; ASCII is enough here.
LETTERS = [chr(code) for code in range(33, 127)]
TOKENS = ["<s>", "</s>", "Ġ", *LETTERS, "he", "ll", "hell", "hello"]
MERGES = ["h e", "l l", "he ll", "hell o"]
TOKENIZER: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 3] + [1] * (len(TOKENS) - 2),
    "tokenizer.ggml.merges": MERGES,
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 1,
}


def safetensors_bytes(tensors: Mapping[str, tuple[str, list[int], bytes]], **header: Any) -> bytes:
    """A safetensors file; ``header`` overrides entries, so that it can lie."""
    entries: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, content) in tensors.items():
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(entries | header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.fixture
def hf_directory(tmp_path: Path) -> Path:
    """A Hugging Face directory with everything but weights."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "llama", "hidden_size": 4}')
    (directory / "tokenizer.json").write_text('{"version": "1.0"}')
    return directory


@pytest.fixture(scope="session")
def write_gguf() -> Callable[..., Path]:
    """Write a one-layer GGUF model: ``write_gguf(path, metadata={…}, tensors={…}, architecture="llama")``.

    ``metadata`` and ``tensors`` replace what is there by default; None leaves it out. A tensor is an array, or
    (quantisation type, raw uint8 rows).
    """

    def write(
        path: Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        tensors: Mapping[str, Any] | None = None,
        architecture: str = "llama",
    ) -> Path:
        writer = gguf.GGUFWriter(path, architecture)
        defaults: dict[str, Any] = {
            f"{architecture}.block_count": 1,
            f"{architecture}.context_length": 128,
            f"{architecture}.embedding_length": HIDDEN,
            f"{architecture}.feed_forward_length": FFN,
            f"{architecture}.attention.head_count": HEADS,
            f"{architecture}.attention.head_count_kv": KV_HEADS,
            f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
            **TOKENIZER,
        }
        add: dict[type, Callable[[str, Any], None]] = {
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
            str: writer.add_string,
            list: writer.add_array,
        }
        for key, value in (defaults | dict(metadata or {})).items():
            if value is not None:
                add[type(value)](key, value)
        for name, value in (default_tensors() | dict(tensors or {})).items():
            if isinstance(value, tuple):
                writer.add_tensor(name, value[1], raw_dtype=value[0])
            elif value is not None:
                writer.add_tensor(name, value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


def default_tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(20)
    kv = HIDDEN // HEADS * KV_HEADS
    shapes = {
        "token_embd.weight": (len(TOKENS), HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.attn_q.weight": (HIDDEN, HIDDEN),
        "blk.0.attn_k.weight": (kv, HIDDEN),
        "blk.0.attn_v.weight": (kv, HIDDEN),
        "blk.0.attn_output.weight": (HIDDEN, HIDDEN),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        "blk.0.ffn_gate.weight": (FFN, HIDDEN),
        "blk.0.ffn_up.weight": (FFN, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, FFN),
    }
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def safetensors_file() -> Callable[..., bytes]:
    return safetensors_bytes


@pytest.fixture(scope="session")
def gguf_tensors() -> dict[str, np.ndarray]:
    """What ``write_gguf`` puts into a file unless told otherwise, by GGUF name."""
    return default_tensors()
