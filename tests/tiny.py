"""Small random models as Hugging Face directories: odd sizes, real tokenizers, no meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from larqldb.model.architectures import resolve, tensors

CORPUS = [
    "The capital of France is Paris. The capital of Germany is Berlin. The capital of Italy is Rome.",
    "Mozart was born in Salzburg. The Eiffel Tower is in Paris. New York is a city. Atlantis is a legend.",
    "La capitale de la France est Paris. 東京は日本の首都です。 Москва столица России.",
]

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 40,
    "intermediate_size": 67,
    "num_hidden_layers": 5,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 400,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}

_GEMMA3 = {
    **LLAMA,
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 24,
    "rope_local_base_freq": 10000.0,
    "sliding_window": 9,
}

# A config of every family, and of what differs most inside one
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "llama_biases": {**LLAMA, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
    "mistral": {**LLAMA, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 7},
    "qwen2": {**LLAMA, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "qwen3": {**LLAMA, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "gemma2": {
        **{key: value for key, value in _GEMMA3.items() if key != "rope_local_base_freq"},
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 30.0,
    },
    "gemma3": _GEMMA3,
    "phi3": {
        **LLAMA,
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "num_attention_heads": 5,
        "num_key_value_heads": 5,
        "partial_rotary_factor": 0.75,
        "sliding_window": 7,
        "original_max_position_embeddings": 128,
        "tie_word_embeddings": False,
    },
    "gpt2": {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": 40,
        "n_inner": 67,
        "n_layer": 5,
        "n_head": 5,
        "n_positions": 128,
        "n_ctx": 128,
        "vocab_size": 400,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
    },
}


def tokenizer() -> Tokenizer:
    """A byte-level BPE tokenizer trained on a few sentences: the same every time."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=390,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def weights(config: dict[str, Any], dtype: Any, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Random tensors for every slot of a config's network."""
    rng = np.random.default_rng(seed)
    made = {}
    for slot in tensors(resolve(config)):
        array = rng.standard_normal(slot.shape).astype(np.float32) * (0.3 if len(slot.shape) > 1 else 0.1)
        is_norm = "norm" in slot.role and not slot.role.endswith("_bias")
        made[slot.name] = (array + (1 if is_norm else 0)).astype(dtype)
    return made


def write_tiny(
    folder: Path, *, family: str = "llama", dtype: Any = ml_dtypes.bfloat16, seed: int = 0, **changes: Any
) -> Path:
    """Write a tiny model of a family as a Hugging Face directory; ``changes`` go over its config."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**FAMILIES[family], **changes}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False, "eos_token": "<|endoftext|>"}))
    save_file(weights(config, dtype, seed), folder / "model.safetensors")
    return folder
