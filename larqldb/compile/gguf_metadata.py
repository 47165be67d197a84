"""What a GGUF file says of a network, and what llama.cpp takes for granted of each architecture.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Whatever the format cannot say and llama.cpp would
compute otherwise is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from larqldb.errors import CannotCompile
from larqldb.model.network import Network, Rotary

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REMEDY = "Compile it with FORMAT SAFETENSORS"
_QKV = frozenset({"attn_q", "attn_k", "attn_v"})
_FFN = frozenset({"gate", "up", "down"})
_LARGE_GEMMAS = {
    "gemma2": 46,
    "gemma3": 62,
}  # layers of those that scale queries by hidden / heads
_LOCAL_BASE = 10_000.0  # of rotary positions in Gemma 3's sliding layers, unless the file says otherwise
_EXACT = 1e-6  # relative: settings go through decimals


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp computes for an architecture whatever the file says.

    ``biases`` are the roles that may have one; ``pattern``: every which layer attends to everything, 0 where there are
    no windows.
    """

    name: str
    activation: str = "silu"
    biases: frozenset[str] = frozenset()
    pattern: int = 0


ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture("llama", biases=_QKV | _FFN | {"attn_o"}),
    "mistral": Architecture("llama"),
    "qwen2": Architecture("qwen2", biases=_QKV),
    "qwen3": Architecture("qwen3"),
    "gemma2": Architecture("gemma2", "gelu_tanh", pattern=2),
    "gemma3_text": Architecture("gemma3", "gelu_tanh", pattern=6),
    "phi3": Architecture("phi3"),
    "gpt2": Architecture(
        "gpt2", "gelu_tanh", frozenset({*_QKV, "attn_o", "gate", "down", "attn_norm", "ffn_norm", "final_norm"})
    ),
}


def architecture(network: Network) -> Architecture:
    """The architecture that runs a network. Raises CannotCompile for a setting that it does not have."""
    known = ARCHITECTURES[network.family]
    if network.activation != known.activation:
        raise _cannot(f"activation {network.activation}", f"llama.cpp computes {known.activation} for {known.name}")
    if extra := network.biases - known.biases:
        raise _cannot(f"a bias of {min(extra)}", f"llama.cpp's {known.name} has none there")
    large = network.layers == _LARGE_GEMMAS.get(known.name)
    scale = 1 / math.sqrt(network.hidden / network.heads if large else network.head_dim)
    if not math.isclose(network.attention_scale, scale, rel_tol=_EXACT):
        raise _cannot(
            f"attention scaled by {network.attention_scale:.6g}", f"llama.cpp scales {known.name}'s by {scale:.6g}"
        )
    if known.name == "gemma3" and network.final_softcap is not None:
        raise _cannot("a softcap of logits", "llama.cpp's gemma3 has none")
    windows = [attention.window for attention in network.attention]
    if known.pattern:
        sliding = next((window for window in windows if window is not None), None)
        wanted = [None if (layer + 1) % known.pattern == 0 else sliding for layer in range(network.layers)]
        if windows != wanted or sliding is None:
            what = f"llama.cpp's {known.name} attends to everything in each {known.pattern}th layer, else to a window"
            raise _cannot("its pattern of sliding windows", what)
    return known


def differences(network: Network) -> list[str]:
    """What llama.cpp is known to compute otherwise all the same, as sentences."""
    known = ARCHITECTURES[network.family]
    windows = [attention.window for attention in network.attention if attention.window is not None]
    if known.pattern or not windows or min(windows) >= network.context:
        return []
    return [f"llama.cpp attends to all positions: beyond {min(windows):,} tokens its answers differ."]


def add_network(writer: gguf.GGUFWriter, network: Network, config: Mapping[str, Any]) -> None:
    """Write a network's sizes and settings; ``config`` is the config.json they came from."""
    context = config.get("max_position_embeddings") or network.context
    writer.add_context_length(context if network.rotaries else network.context)
    writer.add_embedding_length(network.hidden)
    writer.add_block_count(network.layers)
    writer.add_feed_forward_length(network.ffn)
    writer.add_head_count(network.heads)
    writer.add_vocab_size(network.vocab)
    if network.layer_norm:
        writer.add_layer_norm_eps(network.norm_eps)
        return
    writer.add_layer_norm_rms_eps(network.norm_eps)
    writer.add_head_count_kv(network.kv_heads)
    writer.add_key_length(network.head_dim)
    writer.add_value_length(network.head_dim)
    if network.attention_softcap is not None:
        writer.add_attn_logit_softcapping(network.attention_softcap)
    if network.final_softcap is not None:
        writer.add_final_logit_softcapping(network.final_softcap)
    name = ARCHITECTURES[network.family].name
    windows = [attention.window for attention in network.attention if attention.window is not None]
    if name in ("gemma2", "gemma3"):
        writer.add_sliding_window(windows[0])
    elif name == "phi3":
        writer.add_sliding_window(windows[0] if windows else 0)
        (rotary, *_) = network.rotaries
        original = rotary.context if rotary.factors else config.get("original_max_position_embeddings")
        writer.add_rope_scaling_orig_ctx_len(original or context)
    _add_rotary(writer, network)


def factors(network: Network, config: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
    """The tensors that rotary frequencies are divided by: float32 [half the numbers of a head that are turned]."""
    (rotary, *_) = network.rotaries or (None,)
    if rotary is None:
        return {}
    if rotary.scaling == "llama3":
        return {"rope_freqs.weight": _llama3_factors(rotary, network.head_dim)}
    if rotary.scaling == "longrope":
        scaling = config.get("rope_scaling") or config["rope_parameters"]
        return {
            f"rope_factors_{which}.weight": np.array(scaling[f"{which}_factor"], np.float32)
            for which in ("long", "short")
        }
    return {}


def _add_rotary(writer: gguf.GGUFWriter, network: Network) -> None:
    is_gemma3 = ARCHITECTURES[network.family].name == "gemma3"
    sliding = {each.rotary for each in network.attention if is_gemma3 and each.window is not None}
    everywhere = {each.rotary for each in network.attention if not is_gemma3 or each.window is None} or sliding
    rotary, local = next(iter(everywhere)), next(iter(sliding), None)
    assert rotary is not None
    if max(len(everywhere), len(sliding)) > 1 or (local and (local.scaling, local.width) != ("default", rotary.width)):
        raise _cannot("rotary positions that differ by layer", "the format has one setting for all")
    writer.add_rope_dimension_count(rotary.width or network.head_dim)
    writer.add_rope_freq_base(rotary.theta)
    if local and local.theta != _LOCAL_BASE:
        writer.add_float32("gemma3.rope.freq_base_swa", local.theta)
    if rotary.scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rotary.factor)
    elif rotary.scaling == "longrope":
        writer.add_rope_scaling_attn_factors(rotary.magnitude)


def _llama3_factors(rotary: Rotary, head_dim: int) -> NDArray[np.float32]:
    """Long waves are slowed by the whole factor, short ones not at all, those between by a blend.

    transformers, ``_compute_llama3_parameters``.
    """
    half = (rotary.width or head_dim) // 2
    wavelengths = 2 * np.pi * rotary.theta ** (np.arange(half) / half)
    turns = rotary.context / wavelengths
    blend = np.clip((turns - rotary.low_frequency) / (rotary.high_frequency - rotary.low_frequency), 0, 1)
    made: NDArray[np.float32] = (1 / ((1 - blend) / rotary.factor + blend)).astype(np.float32)
    return made


def _cannot(what: str, why: str) -> CannotCompile:
    return CannotCompile(what=f"{what} as GGUF", why=why, remedy=_REMEDY)
