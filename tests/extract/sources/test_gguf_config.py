"""config.json from GGUF metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources import open_source

if TYPE_CHECKING:
    from collections.abc import Callable

Config = dict[str, Any]


@pytest.fixture
def config_of(write_gguf: Callable[..., Path], tmp_path: Path) -> Callable[..., Config]:
    def build(architecture: str = "llama", tensors: dict[str, Any] | None = None, **metadata: Any) -> Config:
        named = {f"{architecture}.{key.replace('__', '.')}": value for key, value in metadata.items()}
        path = write_gguf(tmp_path / "x.gguf", architecture=architecture, metadata=named, tensors=tensors)
        return open_source(path).config

    return build


def test_llama(config_of: Callable[..., Config]) -> None:
    assert config_of() == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "vocab_size": 101,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def test_an_own_head_is_not_tied(config_of: Callable[..., Config]) -> None:
    assert config_of(tensors={"output.weight": np.ones((101, 32), np.float32)})["tie_word_embeddings"] is False


def test_gemma3(config_of: Callable[..., Config]) -> None:
    config = config_of("gemma3", block_count=7, attention__key_length=8, attention__sliding_window=16)
    assert config["model_type"] == "gemma3_text"
    assert config["hidden_activation"] == "gelu_pytorch_tanh"
    assert config["query_pre_attn_scalar"] == 8
    assert config["rope_local_base_freq"] == 10000.0
    assert config["sliding_window"] == 16
    assert config["layer_types"] == ["sliding_attention"] * 5 + ["full_attention", "sliding_attention"]


def norms(layers: int) -> dict[str, Any]:
    return {f"blk.{layer}.attn_norm.weight": np.ones(32, np.float32) for layer in range(layers)}


def test_the_largest_gemma_scales_queries_otherwise(config_of: Callable[..., Config]) -> None:
    config = config_of("gemma3", norms(62), block_count=62, attention__key_length=16, attention__sliding_window=16)
    assert (config["head_dim"], config["query_pre_attn_scalar"]) == (16, 8)


def test_gemma2(config_of: Callable[..., Config]) -> None:
    config = config_of("gemma2", block_count=3, attention__sliding_window=16, attn_logit_softcapping=25.0)
    assert config["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]
    assert (config["attn_logit_softcapping"], config["final_logit_softcapping"]) == (25.0, 30.0)


def test_a_pattern_of_windows_by_layer(config_of: Callable[..., Config]) -> None:
    pattern = [True, False, False]
    config = config_of("gemma3", block_count=3, attention__sliding_window=16, attention__sliding_window_pattern=pattern)
    assert config["layer_types"] == ["sliding_attention", "full_attention", "full_attention"]


def test_qwen(config_of: Callable[..., Config]) -> None:
    assert "head_dim" not in config_of("qwen2")
    assert config_of("qwen2", attention__key_length=16, attention__value_length=16)["head_dim"] == 16
    assert config_of("qwen3", attention__key_length=16, attention__value_length=16)["head_dim"] == 16


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"rope__scaling__type": "none"}, None),
        ({"rope__scale_linear": 1.0}, None),
        ({"rope__scale_linear": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        (
            {"rope__scaling__type": "linear", "rope__scaling__factor": 8.0},
            {"rope_type": "linear", "factor": 8.0},
        ),
        (
            {
                "rope__scaling__type": "yarn",
                "rope__scaling__factor": 4.0,
                "rope__scaling__original_context_length": 64,
            },
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
        ),
    ],
)
def test_rope_scaling(config_of: Callable[..., Config], metadata: Config, expected: Config | None) -> None:
    assert config_of(**metadata)["rope_scaling"] == expected


def llama3_factors(theta: float, head_dim: int, factor: float) -> np.ndarray:
    """As convert_hf_to_gguf writes them, for Llama 3.1's and 3.2's constants."""
    factors = []
    for frequency in (1 / theta ** (i / head_dim) for i in range(0, head_dim, 2)):
        wavelength = 2 * np.pi / frequency
        if wavelength < 8192 / 4:
            factors.append(1.0)
        elif wavelength > 8192 / 1:
            factors.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama3_scaling_is_recognised(config_of: Callable[..., Config], factor: float) -> None:
    heads = {"attention__key_length": 64, "attention__value_length": 64, "rope__freq_base": 500000.0}
    config = config_of(tensors={"rope_freqs.weight": llama3_factors(500000.0, 64, factor)}, **heads)
    assert config["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


def test_factors_of_one_are_none(config_of: Callable[..., Config]) -> None:
    assert config_of(tensors={"rope_freqs.weight": np.ones(4, np.float32)})["rope_scaling"] is None


def test_other_factors_are_refused(config_of: Callable[..., Config]) -> None:
    for factors in (np.arange(1, 5), np.full(3, 2), np.zeros(4), np.full(4, np.nan), np.full((2, 2), 2)):
        with pytest.raises(UnsupportedModel, match=r"tensor rope_freqs\.weight"):
            config_of(tensors={"rope_freqs.weight": factors.astype(np.float32)})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"expert_count": 8}, r"llama\.expert_count = 8"),
        ({"attention__clamp_kqv": 8.0}, r"llama\.attention\.clamp_kqv = 8\.0"),
        ({"logit_scale": 0.5}, r"llama\.logit_scale = 0\.5"),
        ({"rope__dimension_count": 4}, r"llama\.rope\.dimension_count = 4"),
        ({"attention__value_length": 4}, r"llama\.attention\.value_length = 4"),
        ({"expert_count": [8, 8]}, r"llama\.expert_count = array"),
        ({"feed_forward_length": [64, 32]}, "feed_forward_length is not supported: it differs by layer"),
        ({"rope__scaling__type": "longrope", "rope__scaling__factor": 2.0}, "rope scaling longrope"),
    ],
)
def test_what_changes_the_maths_is_refused_by_name(
    config_of: Callable[..., Config], metadata: Config, message: str
) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        config_of(**metadata)


def test_what_does_not_is_accepted(config_of: Callable[..., Config]) -> None:
    plain = config_of()
    assert config_of(expert_count=0, vocab_size=7, tensor_data_layout="Meta AI original pth") == plain
    assert config_of(feed_forward_length=[64, 64], attention__causal=True) == plain


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"block_count": None}, r"llama\.block_count is missing"),
        ({"block_count": 0}, r"llama\.block_count is 0"),
        ({"block_count": -3.5}, r"llama\.block_count is -3\.5"),
        ({"block_count": 4_000_000_000}, "promises 4,000,000,000 layers and holds 11 tensors"),
        ({"rope__scaling__type": 3}, r"rope\.scaling\.type is 3"),
        ({"embedding_length": "big"}, r"llama\.embedding_length is 'big'"),
        ({"attention__layer_norm_rms_epsilon": float("nan")}, "epsilon is nan"),
        ({"rope__freq_base": 0.0}, r"rope\.freq_base is 0\.0"),
    ],
)
def test_senseless_settings(config_of: Callable[..., Config], metadata: Config, message: str) -> None:
    with pytest.raises(BadModelFile, match=message):
        config_of(**metadata)


def test_an_unknown_architecture(config_of: Callable[..., Config]) -> None:
    with pytest.raises(UnsupportedModel, match=r"GGUF architecture mamba .* llama, qwen2, qwen3, gemma2, gemma3"):
        config_of("mamba")


def test_no_embedding(config_of: Callable[..., Config]) -> None:
    with pytest.raises(BadModelFile, match="no token embedding"):
        config_of(tensors={"token_embd.weight": None})


def test_smollm2(smollm2_gguf: Path) -> None:
    config = json.loads(open_source(smollm2_gguf).files["config.json"])
    # https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct/blob/main/config.json
    expected = {
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
        "rope_scaling": None,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "attention_bias": False,
        "mlp_bias": False,
    }
    assert {key: config[key] for key in expected} == expected


def test_gemma3_270m(gemma3_gguf: Path) -> None:
    config = open_source(gemma3_gguf).config
    # https://huggingface.co/google/gemma-3-270m/blob/main/config.json
    expected = {
        "model_type": "gemma3_text",
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window": 512,
        "vocab_size": 262144,
        "query_pre_attn_scalar": 256,
        "max_position_embeddings": 32768,
        "rope_scaling": None,
        "hidden_activation": "gelu_pytorch_tanh",
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "attention_bias": False,
    }
    assert {key: config[key] for key in expected} == expected
    assert [i for i, kind in enumerate(config["layer_types"]) if kind == "full_attention"] == [5, 11, 17]
