"""GGUF's names of tensors and Hugging Face's, and what converting to GGUF did to the numbers.

The names are those of llama.cpp's tables (``gguf.constants.MODEL_TENSORS``); a test holds them against these.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

_BLOCK_NAME = re.compile(r"blk\.(?P<block>0|[1-9][0-9]{0,5})\.(?P<part>[a-z_0-9]+)\.(?P<kind>weight|bias)")
_OUTSIDE_NAME = re.compile(r"(?P<part>[a-z_0-9]+)\.(?P<kind>weight|bias)")

_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LLAMA = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_PHI3 = {
    **{part: name for part, name in _LLAMA.items() if not part.startswith(("attn_q", "attn_k", "attn_v", "ffn_gate"))},
    "attn_qkv": "self_attn.qkv_proj",
    "ffn_up": "mlp.gate_up_proj",
}
_GPT2_OUTSIDE = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_GPT2 = {
    "attn_norm": "ln_1",
    "attn_qkv": "attn.c_attn",
    "attn_output": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn_up": "mlp.c_fc",
    "ffn_down": "mlp.c_proj",
}
_QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA2 = {
    **_LLAMA,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True, slots=True)
class Naming:
    """How an architecture's tensors are called, and how GGUF's numbers differ from Hugging Face's.

    ``rotary_interleaved``: rows of q and k are reordered within each head. ``norms_plus_one``: one was added to the
    weights of every norm (Gemma computes with 1 + w; the file holds the sum). ``transposed``: matrices inside layers
    were turned from Hugging Face's [in, out] (Conv1D) to [out, in].
    """

    parts: dict[str, str]
    outside: dict[str, str] = field(default_factory=lambda: _OUTSIDE)
    layer: str = "model.layers"
    rotary_interleaved: bool = False
    norms_plus_one: bool = False
    transposed: bool = False

    def hugging_face(self, name: str, layers: int) -> str | None:
        """The Hugging Face name of a tensor, or None when a model of so many layers has no such tensor."""
        if match := _BLOCK_NAME.fullmatch(name):
            part = self.parts.get(match["part"]) if int(match["block"]) < layers else None
            return part and f"{self.layer}.{match['block']}.{part}.{match['kind']}"
        match = _OUTSIDE_NAME.fullmatch(name)
        part = self.outside.get(match["part"]) if match else None
        return part and match and f"{part}.{match['kind']}"

    def has_norm_offset(self, hugging_face_name: str) -> bool:
        """Whether the file holds this tensor's numbers plus one."""
        return self.norms_plus_one and hugging_face_name.endswith("norm.weight")

    def is_transposed(self, hugging_face_name: str, shape: tuple[int, ...]) -> bool:
        """Whether Hugging Face keeps this tensor the other way round."""
        return self.transposed and hugging_face_name.startswith(self.layer) and len(shape) == 2


NAMINGS: dict[str, Naming] = {
    "llama": Naming(_LLAMA, rotary_interleaved=True),
    "qwen2": Naming(_LLAMA),
    "qwen3": Naming({**_LLAMA, **_QK_NORMS}),
    "gemma2": Naming(_GEMMA2, norms_plus_one=True),
    "gemma3": Naming({**_GEMMA2, **_QK_NORMS}, norms_plus_one=True),
    "phi3": Naming(_PHI3),
    "gpt2": Naming(_GPT2, _GPT2_OUTSIDE, "transformer.h", transposed=True),
}


def stored_rows(rows: int, heads: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """For each row of Hugging Face's q or k, the row of GGUF's that holds it: int [rows].

    Hugging Face rotates element j of a head with element j + d/2; GGUF's llama architecture rotates neighbours, so its
    converter stores row (head, half, j) at (head, j, half). ``rows`` must be a multiple of 2 * heads.
    """
    return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)
