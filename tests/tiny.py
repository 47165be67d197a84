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
        made[slot.name] = (array + (1 if "norm" in slot.role else 0)).astype(dtype)
    return made


def write_tiny(folder: Path, *, dtype: Any = ml_dtypes.bfloat16, seed: int = 0, **changes: Any) -> Path:
    """Write a tiny Llama as a Hugging Face directory; ``changes`` go over its config."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**LLAMA, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": False, "eos_token": "<|endoftext|>"}))
    save_file(weights(config, dtype, seed), folder / "model.safetensors")
    return folder
