"""A network as numbers: what the forward pass needs to know, whatever the family; and the tensors it is made of."""

from __future__ import annotations

from dataclasses import dataclass

NORMS = frozenset({"attn_norm", "post_attn_norm", "ffn_norm", "post_ffn_norm", "final_norm", "q_norm", "k_norm"})


@dataclass(frozen=True)
class Rotary:
    """Rotary position embedding: angle of pair i at position p is p · f(theta^(-2i / head_dim)).

    ``scaling`` is "default" (f is the identity), "linear" (divided by ``factor``) or "llama3": wavelengths longer than
    ``context`` / ``low_frequency`` are divided by ``factor``, those shorter than ``context`` / ``high_frequency`` stay,
    those between are blended; ``context`` counts positions.
    """

    theta: float
    scaling: str = "default"
    factor: float = 1.0
    low_frequency: float = 1.0
    high_frequency: float = 1.0
    context: int = 0


@dataclass(frozen=True)
class Attention:
    """What differs from layer to layer in attention.

    ``window``: how many positions a token sees, itself included; None for all before it.
    """

    window: int | None
    rotary: Rotary


@dataclass(frozen=True)
class Network:
    """A decoder-only transformer with gated feed-forward layers.

    Sizes count numbers: ``hidden`` is the residual's width, ``ffn`` the features of a layer, ``context`` the positions
    the model was made for. Norms are root-mean-square norms, their weight used as ``norm_offset`` + weight.
    ``activation`` is "silu", "gelu", "gelu_tanh" or "relu". ``embed_scale`` multiplies embeddings, ``attention_scale``
    q·k. A softcap c turns x into c·tanh(x / c). ``qk_norm`` norms each head's q and k before rotation; ``post_norms``
    norms what attention and FFN add to the residual. ``biases`` holds the roles that come with a bias.
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
    activation: str
    tied: bool
    embed_scale: float
    attention_scale: float
    attention: tuple[Attention, ...]  # one per layer
    attention_softcap: float | None
    final_softcap: float | None
    qk_norm: bool
    post_norms: bool
    biases: frozenset[str]

    @property
    def rotaries(self) -> tuple[Rotary, ...]:
        """The distinct rotary embeddings, in order of first use."""
        return tuple(dict.fromkeys(attention.rotary for attention in self.attention))

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
            "head": not self.tied,
            "q_norm": self.qk_norm,
            "k_norm": self.qk_norm,
            "post_attn_norm": self.post_norms,
            "post_ffn_norm": self.post_norms,
        }
        return optional.get(role, True)


@dataclass(frozen=True)
class TensorSlot:
    """A tensor the model must have: its Hugging Face name, role, layer (None outside layers) and shape ([out, in])."""

    name: str
    role: str
    layer: int | None
    shape: tuple[int, ...]
