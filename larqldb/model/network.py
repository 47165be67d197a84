"""A network as numbers: what the forward pass needs to know, whatever the family; and the tensors it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

NORMS = frozenset({"attn_norm", "post_attn_norm", "ffn_norm", "post_ffn_norm", "final_norm", "q_norm", "k_norm"})


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding: angle of pair i at position p is p · f(theta^(-2i / width)).

    ``width`` counts the numbers at a head's beginning that are turned; None for all of them. ``scaling`` is "default"
    (f is the identity), "linear" (divided by ``factor``), "llama3": wavelengths longer than ``context`` /
    ``low_frequency`` are divided by ``factor``, those shorter than ``context`` / ``high_frequency`` stay, those between
    are blended; or "longrope": pair i is divided by ``factors[i]``. ``context`` counts positions; "longrope" is good
    for no more. Turned numbers grow by ``magnitude``.
    """

    theta: float
    scaling: str = "default"
    factor: float = 1.0
    low_frequency: float = 1.0
    high_frequency: float = 1.0
    context: int = 0
    width: int | None = None
    factors: tuple[float, ...] = ()
    magnitude: float = 1.0


@dataclass(frozen=True)
class Attention:
    """What differs from layer to layer in attention.

    ``window``: how many positions a token sees, itself included; None for all before it. ``rotary`` is None where
    positions are learned and added to the embeddings.
    """

    window: int | None
    rotary: Rotary | None


@dataclass(frozen=True)
class Network:
    """A decoder-only transformer.

    Sizes count numbers: ``hidden`` is the residual's width, ``ffn`` the features of a layer, ``context`` the positions
    the model was made for. Norms are root-mean-square norms, or with ``layer_norm`` subtract the mean first; their
    weight is used as ``norm_offset`` + weight. ``activation`` is "silu", "gelu", "gelu_tanh" or "relu"; a feature is
    act(gate·x) · (up·x), or where the FFN is not ``gated`` act(gate·x). ``embed_scale`` multiplies embeddings,
    ``attention_scale`` q·k. ``learned_positions``: a vector for each position is added to the embeddings. A softcap c
    turns x into c·tanh(x / c). ``qk_norm`` norms each head's q and k before rotation; ``post_norms`` norms what
    attention and FFN add to the residual. ``biases`` holds the roles that come with a bias.
    """

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    context: int
    norm_eps: float
    norm_offset: float
    layer_norm: bool
    activation: str
    gated: bool
    tied: bool
    embed_scale: float
    attention_scale: float
    attention: tuple[Attention, ...]  # one per layer
    attention_softcap: float | None
    final_softcap: float | None
    learned_positions: bool
    qk_norm: bool
    post_norms: bool
    biases: frozenset[str]

    @property
    def rotaries(self) -> tuple[Rotary, ...]:
        """The distinct rotary embeddings, in order of first use."""
        return tuple(dict.fromkeys(attention.rotary for attention in self.attention if attention.rotary is not None))

    def shape(self, role: str) -> tuple[int, ...]:
        """The shape of a role's tensor in Hugging Face orientation: [out, in], norms and biases [out]."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if role.endswith("_bias"):
            return self.shape(role.removesuffix("_bias"))[:1]
        if role in ("q_norm", "k_norm"):
            return (self.head_dim,)
        if role in NORMS:
            return (self.hidden,)
        return {
            "embed": (self.vocab, self.hidden),
            "positions": (self.context, self.hidden),
            "head": (self.vocab, self.hidden),
            "attn_q": (q, self.hidden),
            "attn_k": (kv, self.hidden),
            "attn_v": (kv, self.hidden),
            "attn_o": (self.hidden, q),
            "gate": (self.ffn, self.hidden),
            "up": (self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
        }[role]

    def has(self, role: str) -> bool:
        """Whether the network uses a tensor of this role."""
        if role.endswith("_bias"):
            return role.removesuffix("_bias") in self.biases
        optional = {
            "positions": self.learned_positions,
            "head": not self.tied,
            "up": self.gated,
            "q_norm": self.qk_norm,
            "k_norm": self.qk_norm,
            "post_attn_norm": self.post_norms,
            "post_ffn_norm": self.post_norms,
        }
        return optional.get(role, True)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor holds what its roles stand for.

    ``role`` names them in order, joined by "+" ("gate+up"). Their matrices [out, in] (or vectors [out]) stand one below
    the other, ``rows`` of each, which is empty for a single role. Where ``transposed``, the whole is kept [in, out].
    """

    role: str
    rows: tuple[int, ...] = ()
    transposed: bool = False

    @property
    def roles(self) -> tuple[str, ...]:
        """The single roles."""
        return tuple(self.role.split("+"))

    def place(self, role: str, shape: tuple[int, ...]) -> tuple[int, int]:
        """The first of a role's rows and the one after its last in a tensor of ``shape``, transposed back."""
        if not self.rows:
            return 0, shape[-1 if self.transposed else 0]
        number = self.roles.index(role)
        start = sum(self.rows[:number])
        return start, start + self.rows[number]

    def shape(self, role: str, whole: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a role's matrix [out, in] or vector in a tensor of shape ``whole``."""
        start, stop = self.place(role, whole)
        return (stop - start, *(whole[::-1] if self.transposed else whole)[1:])

    def part(self, whole: Array, role: str) -> Array:
        """A role's matrix [out, in] or vector in a tensor of this layout: a view."""
        start, stop = self.place(role, whole.shape)
        return (whole.T if self.transposed else whole)[start:stop]

    def join(self, parts: Mapping[str, Array]) -> Array:
        """The tensor that holds these matrices or vectors by role; a view where there is one role."""
        joined = [parts[role] for role in self.roles]
        whole = joined[0] if len(joined) == 1 else np.concatenate(joined)
        return whole.T if self.transposed else whole


@dataclass(frozen=True)
class TensorSlot:
    """A tensor the model must have: its Hugging Face name, role, layer (None outside layers) and shape as it comes.

    ``role``, ``rows`` and ``transposed`` are those of its ``Layout``.
    """

    name: str
    role: str
    layer: int | None
    shape: tuple[int, ...]
    rows: tuple[int, ...] = ()
    transposed: bool = False

    @property
    def layout(self) -> Layout:
        """How it holds what its roles stand for."""
        return Layout(self.role, self.rows, self.transposed)
