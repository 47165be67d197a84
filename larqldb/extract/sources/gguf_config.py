"""config.json in Hugging Face's form from the metadata of a GGUF file.

One function per architecture says which key becomes which. A key that none of them has read and that could change the
maths is refused by name. Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.extract.sources.base import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from larqldb.extract.sources.gguf_container import Container

Config = dict[str, Any]
Factors = NDArray[np.float32]

_REMEDY = "Use the model's Hugging Face directory instead"
_AGAIN = "Download or convert the model again"
# Keys nothing here reads, with the values at which they say nothing about the maths (None: any value).
_HARMLESS: dict[str, tuple[Any, ...] | None] = {
    "vocab_size": None,  # the embedding has the last word
    "tensor_data_layout": None,
    "rope.scaling.finetuned": None,
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "rope.scaling.attn_factor": (1.0,),
    "use_parallel_residual": (False,),
}
# Llama 3.1's and 3.2's constants; GGUF keeps only the factors they lead to.
_LLAMA3_SCALING = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
_FACTOR_TOLERANCE = 1e-4  # relative; the factors are float32, computed in float32
_GEMMA_PATTERN = {"gemma2": 2, "gemma3": 6}  # every 2nd or 6th layer attends to everything, the others to a window
# The largest Gemmas scale queries by hidden / heads instead of the head's size; their layer count tells them apart, as
# in llama.cpp (LLM_TYPE_27B).
_GEMMA_27B_LAYERS = {"gemma2": 46, "gemma3": 62}


@dataclass(slots=True)
class _Metadata:
    """The metadata of one architecture; remembers which keys were read, so that the others can be looked at."""

    container: Container
    architecture: str
    read: set[str] = field(default_factory=set)

    def get(self, key: str) -> Any:
        self.read.add(key)
        return self.container.metadata.get(f"{self.architecture}.{key}")

    def integer(self, key: str, default: int | None = None) -> int:
        """A count of at least one. A list, one count per layer, stands for its number when it repeats one."""
        value = self.get(key)
        if isinstance(value, np.ndarray):
            if len(set(value.tolist())) != 1:
                raise UnsupportedModel(what=f"{self.architecture}.{key}", why="it differs by layer", remedy=_REMEDY)
            value = value[0].item()
        if value is None and default is not None:
            return default
        if type(value) is not int or value < 1:
            raise self.bad(key, value)
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key)
        if value is None and default is not None:
            return default
        if type(value) not in (int, float) or not np.isfinite(value) or value <= 0:
            raise self.bad(key, value)
        return float(value)

    def bad(self, key: str, value: object) -> BadModelFile:
        what = "missing" if value is None else repr(value)
        return BadModelFile(
            path=self.container.path, problem=shown(f"its metadata {self.architecture}.{key} is {what}"), remedy=_AGAIN
        )

    def refuse_unread(self) -> None:
        prefix = f"{self.architecture}."
        for name, value in self.container.metadata.items():
            key = name.removeprefix(prefix)
            if not name.startswith(prefix) or key in self.read:
                continue
            if key not in _HARMLESS or ((neutral := _HARMLESS[key]) is not None and not _is_one_of(value, neutral)):
                raise UnsupportedModel(
                    what=shown(f"GGUF metadata {name} = {value!r}"), why="it may change the maths", remedy=_REMEDY
                )


def _is_one_of(value: object, neutral: tuple[Any, ...]) -> bool:
    return not isinstance(value, np.ndarray) and value in neutral


def config_from_gguf(container: Container, *, rope_factors: Mapping[str, Factors] = MappingProxyType({})) -> Config:
    """The config.json the model would have as a Hugging Face directory, special token ids aside.

    ``rope_factors`` are the file's tensors, float32 [half the numbers of a head that are turned], by which each
    frequency is divided: rope_freqs.weight, or rope_factors_short.weight and rope_factors_long.weight.
    Raises UnsupportedModel for an unknown architecture or key, BadModelFile for a missing or senseless one.
    """
    architecture = container.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise BadModelFile(path=container.path, problem="its metadata names no architecture", remedy=_AGAIN)
    build = _ARCHITECTURES.get(architecture)
    if build is None:
        raise UnsupportedModel(
            what=shown(f"GGUF architecture {architecture}"),
            why=f"the known ones are {', '.join(_ARCHITECTURES)}",
            remedy="Use a model of one of these families",
        )
    metadata = _Metadata(container, architecture)
    config = build(metadata)
    if "rope_theta" in config:
        config["rope_scaling"] = _rope_scaling(metadata, config, rope_factors)
    metadata.refuse_unread()
    return config


def _layers(metadata: _Metadata) -> int:
    """How many layers there are, as far as the tensors can bear it out."""
    tensors = metadata.container.tensors
    layers = metadata.integer("block_count")
    if layers > len(tensors):
        raise BadModelFile(
            path=metadata.container.path,
            problem=f"it promises {layers:,} layers and holds {len(tensors):,} tensors",
            remedy=_AGAIN,
        )
    return layers


def _vocabulary(metadata: _Metadata) -> int:
    """How many tokens have an embedding."""
    embedding = metadata.container.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise BadModelFile(
            path=metadata.container.path, problem="it has no token embedding (token_embd.weight)", remedy=_AGAIN
        )
    return embedding.shape[0]


def _common(metadata: _Metadata, *, partial_rotary: bool = False) -> dict[str, Any]:
    """What every architecture with rotary positions has."""
    tensors, layers = metadata.container.tensors, _layers(metadata)
    heads = metadata.integer("attention.head_count")
    hidden = metadata.integer("embedding_length")
    head_dim = metadata.integer("attention.key_length", max(1, hidden // heads))
    for key in ("attention.value_length", *(() if partial_rotary else ("rope.dimension_count",))):
        if (other := metadata.integer(key, head_dim)) != head_dim:
            raise UnsupportedModel(
                what=f"{metadata.architecture}.{key} = {other}", why=f"heads are {head_dim} wide", remedy=_REMEDY
            )
    return {
        "hidden_size": hidden,
        "intermediate_size": metadata.integer("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": metadata.integer("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "max_position_embeddings": metadata.integer("context_length"),
        "vocab_size": _vocabulary(metadata),
        "rms_norm_eps": metadata.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": metadata.number("rope.freq_base", 10_000.0),
        # GGUF leaves the head out when it is the embedding.
        "tie_word_embeddings": "output.weight" not in tensors,
        "attention_bias": "blk.0.attn_q.bias" in tensors,
    }


def _llama(metadata: _Metadata) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **_common(metadata),
        "hidden_act": "silu",
        "mlp_bias": "blk.0.ffn_down.bias" in metadata.container.tensors,
    }


def _qwen2(metadata: _Metadata) -> dict[str, Any]:
    config = _common(metadata)
    del config["attention_bias"]  # Qwen2 always has biases on q, k and v, and no key for it
    if config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
        del config["head_dim"]
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **config,
        "hidden_act": "silu",
        "use_sliding_window": False,
    }


def _qwen3(metadata: _Metadata) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        **_common(metadata),
        "hidden_act": "silu",
        "use_sliding_window": False,
    }


def _gemma(metadata: _Metadata) -> dict[str, Any]:
    """What Gemma 2 and 3 share: layers that attend to a window, and their own scale of queries."""
    config = _common(metadata)
    layers = config["num_hidden_layers"]
    per_head = config["hidden_size"] // config["num_attention_heads"]
    pattern = metadata.get("attention.sliding_window_pattern")
    if isinstance(pattern, np.ndarray):
        windowed = [bool(layer) for layer in pattern.tolist()]
        if len(windowed) != layers:
            raise metadata.bad("attention.sliding_window_pattern", windowed)
    else:
        period = metadata.integer("attention.sliding_window_pattern", _GEMMA_PATTERN[metadata.architecture])
        windowed = [bool((layer + 1) % period) for layer in range(layers)]
    large = layers == _GEMMA_27B_LAYERS[metadata.architecture]
    return {
        **config,
        "hidden_activation": "gelu_pytorch_tanh",
        "sliding_window": metadata.integer("attention.sliding_window"),
        "layer_types": ["sliding_attention" if window else "full_attention" for window in windowed],
        "query_pre_attn_scalar": per_head if large else config["head_dim"],
    }


def _gemma2(metadata: _Metadata) -> dict[str, Any]:
    return {
        "architectures": ["Gemma2ForCausalLM"],
        "model_type": "gemma2",
        **_gemma(metadata),
        "attn_logit_softcapping": metadata.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": metadata.number("final_logit_softcapping", 30.0),
    }


def _gemma3(metadata: _Metadata) -> dict[str, Any]:
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **_gemma(metadata),
        "rope_local_base_freq": metadata.number("rope.freq_base_swa", 10_000.0),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
    }


def _phi3(metadata: _Metadata) -> dict[str, Any]:
    config = _common(metadata, partial_rotary=True)
    del config["attention_bias"]  # Phi-3 has none, and transformers no key for it
    turned = metadata.integer("rope.dimension_count", config["head_dim"])
    window = metadata.get("attention.sliding_window")  # 0 where there is none
    return {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        **config,
        "hidden_act": "silu",
        "partial_rotary_factor": _share(turned, config["head_dim"]),
        "sliding_window": metadata.integer("attention.sliding_window") if window else None,
        "original_max_position_embeddings": metadata.integer(
            "rope.scaling.original_context_length", config["max_position_embeddings"]
        ),
    }


def _share(part: int, whole: int) -> float:
    """The fraction that gives ``part`` again when ``whole`` times it is cut to an integer, as transformers does."""
    share = part / whole
    return share if int(whole * share) == part else math.nextafter(share, 1)


def _gpt2(metadata: _Metadata) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": _layers(metadata),
        "n_embd": metadata.integer("embedding_length"),
        "n_head": metadata.integer("attention.head_count"),
        "n_inner": metadata.integer("feed_forward_length"),
        "n_positions": metadata.integer("context_length"),
        "vocab_size": _vocabulary(metadata),
        "layer_norm_epsilon": metadata.number("attention.layer_norm_epsilon"),
        "activation_function": "gelu_new",
        # older converters wrote the embedding a second time
        "tie_word_embeddings": "output.weight" not in metadata.container.tensors,
    }


_ARCHITECTURES: dict[str, Callable[[_Metadata], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi3": _phi3,
    "gpt2": _gpt2,
}


def _rope_scaling(metadata: _Metadata, config: dict[str, Any], tensors: Mapping[str, Factors]) -> dict[str, Any] | None:
    factors = tensors.get("rope_freqs.weight")
    short, long = (tensors.get(f"rope_factors_{which}.weight") for which in ("short", "long"))
    kind = metadata.get("rope.scaling.type")
    if kind is not None and not isinstance(kind, str):
        raise metadata.bad("rope.scaling.type", kind)
    if factors is not None and not (factors == 1).all():
        if kind not in (None, "none"):
            raise UnsupportedModel(
                what=f"rope_freqs.weight with {kind} scaling", why="one or the other is known", remedy=_REMEDY
            )
        return _llama3_scaling(config, factors)
    if short is not None or long is not None:
        return _longrope(metadata, config, short, long)
    if kind in (None, "none"):
        # Files from before the type was written have a linear factor only; 1 means none.
        old = metadata.number("rope.scale_linear", 1.0)
        return None if old == 1 else {"rope_type": "linear", "factor": old}
    factor = metadata.number("rope.scaling.factor")
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        original = metadata.integer("rope.scaling.original_context_length")
        return {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
    raise UnsupportedModel(what=shown(f"rope scaling {kind}"), why="only linear and yarn are known", remedy=_REMEDY)


def _longrope(
    metadata: _Metadata, config: dict[str, Any], short: Factors | None, long: Factors | None
) -> dict[str, Any]:
    """LongRoPE's settings: its two lists of factors, and what turned numbers grow by."""
    if short is None or long is None or config["model_type"] != "phi3":
        raise UnsupportedModel(what="LongRoPE factors", why="only a phi3 model with both is known", remedy=_REMEDY)
    return {
        "rope_type": "longrope",
        "short_factor": short.tolist(),
        "long_factor": long.tolist(),
        "attention_factor": metadata.number("rope.scaling.attn_factor", 1.0),
    }


def _llama3_scaling(config: dict[str, Any], factors: Factors) -> dict[str, Any]:
    """The settings of Llama 3's frequency scaling that give these factors.

    Long waves are slowed by the whole factor, short ones not at all, those between by a blend: transformers,
    ``_compute_llama3_parameters``.
    """
    scaling = {"rope_type": "llama3", "factor": float(factors.max()), **_LLAMA3_SCALING}
    low, high = _LLAMA3_SCALING["low_freq_factor"], _LLAMA3_SCALING["high_freq_factor"]
    half = len(factors)
    with np.errstate(all="ignore"):  # senseless factors give senseless numbers, which are then not close
        wavelengths = 2 * np.pi * config["rope_theta"] ** (np.arange(half) / half)  # [head_dim / 2]
        turns = _LLAMA3_SCALING["original_max_position_embeddings"] / wavelengths
        blend = np.clip((turns - low) / (high - low), 0, 1)
        expected = 1 / ((1 - blend) / scaling["factor"] + blend)
    if half != config["head_dim"] // 2 or not np.allclose(factors, expected, rtol=_FACTOR_TOLERANCE, atol=0):
        raise UnsupportedModel(
            what="tensor rope_freqs.weight", why="its factors are not Llama 3's frequency scaling", remedy=_REMEDY
        )
    return scaling
