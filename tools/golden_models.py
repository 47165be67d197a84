"""Small random models of awkward sizes: a config and a rule that makes every weight from its name.

``tools/record_golden`` gives these weights to transformers, the tests give them to larqldb; no weight file is needed.
Sizes are chosen to trip kernels: nothing is a multiple of 32, heads are uneven, windows are shorter than the prompt.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

POSITIONS = 60

_LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 101,
    "hidden_size": 42,
    "intermediate_size": 50,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
_QWEN2 = {**_LLAMA, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "rms_norm_eps": 1e-6}
_QWEN3 = {**_QWEN2, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 10}
_MISTRAL = {**_LLAMA, "model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 11}
_GEMMA3: dict[str, Any] = {
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "vocab_size": 103,
    "hidden_size": 36,
    "intermediate_size": 44,
    "num_hidden_layers": 7,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "head_dim": 20,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "query_pre_attn_scalar": 24,
    "sliding_window": 9,
}
_GEMMA2 = {
    **{key: value for key, value in _GEMMA3.items() if key != "rope_local_base_freq"},
    "model_type": "gemma2",
    "architectures": ["Gemma2ForCausalLM"],
    "hidden_act": "gelu_pytorch_tanh",
    "num_hidden_layers": 3,
    "rope_theta": 10000.0,
    "attn_logit_softcapping": 5.0,
    "final_logit_softcapping": 3.0,
}
_PHI3 = {
    **_LLAMA,
    "model_type": "phi3",
    "architectures": ["Phi3ForCausalLM"],
    "sliding_window": 11,
    "original_max_position_embeddings": 128,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "pad_token_id": 0,
}
_GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 97,
    "n_embd": 42,
    "n_head": 3,
    "n_layer": 3,
    "n_positions": 128,
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}

# name → config.json, in spellings of several transformers versions
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": _LLAMA,
    "llama_head_dim": {
        **{key: value for key, value in _LLAMA.items() if key not in ("num_key_value_heads", "rope_theta")},
        "hidden_size": 40,
        "num_attention_heads": 5,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0},
    },
    "llama_biases": {
        **_LLAMA,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "attention_bias": True,
        "mlp_bias": True,
        "head_dim": 6,
    },
    "llama_llama3": {
        **_LLAMA,
        "rope_theta": 500000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "llama_linear": {**_LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}, "hidden_act": "gelu"},
    "gemma3": _GEMMA3,
    "gemma3_nested": {
        **{key: value for key, value in _GEMMA3.items() if not key.startswith("rope")},
        "num_hidden_layers": 3,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
        },
        "attention_bias": True,
        "final_logit_softcapping": 4.0,
        "tie_word_embeddings": False,
    },
    "gemma2": _GEMMA2,
    "qwen2": _QWEN2,
    "qwen2_windows": {
        **_QWEN2,
        "use_sliding_window": True,
        "sliding_window": 9,
        "max_window_layers": 1,
        "tie_word_embeddings": True,
    },
    "qwen3": _QWEN3,
    "qwen3_biases": {**_QWEN3, "attention_bias": True, "hidden_act": "relu"},
    "mistral": _MISTRAL,
    "mistral_full": {**_MISTRAL, "sliding_window": None, "head_dim": 18},
    "phi3": _PHI3,
    "phi3_partial": {
        **_PHI3,
        "hidden_size": 60,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "partial_rotary_factor": 0.6,
        "sliding_window": None,
        "tie_word_embeddings": True,
    },
    "phi3_longrope": {
        **_PHI3,
        "hidden_size": 48,
        "num_attention_heads": 3,
        "partial_rotary_factor": 0.75,
        "original_max_position_embeddings": 64,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.05, 1.1, 1.3, 1.7, 2.0],
            "long_factor": [1.0, 1.5, 2.0, 3.0, 5.0, 8.0],
        },
    },
    "gpt2": _GPT2,
    "gpt2_odd": {
        **_GPT2,
        "n_head": 6,
        "n_inner": 50,
        "activation_function": "gelu",
        "scale_attn_weights": False,
        "tie_word_embeddings": False,
    },
}


def token_ids(name: str) -> list[int]:
    """The prompt of a small model: POSITIONS token ids."""
    return np.random.default_rng(zlib.crc32(name.encode())).integers(0, CONFIGS[name]["vocab_size"], POSITIONS).tolist()


def weight(name: str, tensor: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 weight of ``tensor`` in the small model ``name``, a pure function of both names and the shape."""
    noise = np.random.default_rng(zlib.crc32(f"{name}/{tensor}".encode())).standard_normal(shape).astype(np.float32)
    if "norm" in tensor or (".ln_" in tensor and tensor.endswith("weight")):
        centre = np.float32(0 if name.startswith("gemma") else 1)  # Gemma multiplies by (1 + weight)
        return centre + np.float32(0.2) * noise
    if tensor.endswith(".bias"):
        return np.float32(0.3) * noise
    if "embed_tokens" in tensor or ".wte." in tensor or ".wpe." in tensor:
        return np.float32(0.8) * noise
    return np.float32(1.5 / shape[0 if ".c_" in tensor else 1] ** 0.5) * noise  # GPT-2 keeps matrices [in, out]
