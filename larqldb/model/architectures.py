"""The table of families: from Hugging Face config.json to a Network and the tensors it is made of.

A family is a class whose tables say what it adds to the one it derives from. To add one, derive a class, name what
differs, enter it in FAMILIES and record a small model of it with tools/record_golden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from larqldb.errors import UnsupportedModel
from larqldb.model.config import ConfigReader, shown
from larqldb.model.network import Attention, Network, Rotary, TensorSlot

__all__ = ["FAMILIES", "Attention", "Network", "Rotary", "TensorSlot", "resolve", "tensors"]

MOST = 1 << 24  # no vocabulary or context is larger; a bound that keeps damaged configs from allocating

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
}
SCALINGS = {"default": "default", "linear": "linear", "llama3": "llama3"}
ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_o")


class Llama:
    """Llama 1 to 3, SmolLM, TinyLlama …: RMS norms before attention and FFN, SwiGLU, rotary positions."""

    ARCHITECTURE: ClassVar[str] = "LlamaForCausalLM"
    # what transformers assumes where config.json is silent; sizes are required
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "rope_theta": 10000.0,
    }
    # role → tensor name
    TENSORS: ClassVar[dict[str, str]] = {
        "embed": "model.embed_tokens.weight",
        "attn_norm": "model.layers.{layer}.input_layernorm.weight",
        "attn_q": "model.layers.{layer}.self_attn.q_proj.weight",
        "attn_k": "model.layers.{layer}.self_attn.k_proj.weight",
        "attn_v": "model.layers.{layer}.self_attn.v_proj.weight",
        "attn_o": "model.layers.{layer}.self_attn.o_proj.weight",
        "ffn_norm": "model.layers.{layer}.post_attention_layernorm.weight",
        "gate": "model.layers.{layer}.mlp.gate_proj.weight",
        "up": "model.layers.{layer}.mlp.up_proj.weight",
        "down": "model.layers.{layer}.mlp.down_proj.weight",
        "final_norm": "model.norm.weight",
        "head": "lm_head.weight",
    }
    # config key (None: whatever the config says) → the roles that have a bias when it is true
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {
        "attention_bias": ATTENTION,
        "mlp_bias": ("gate", "up", "down"),
    }
    ACTIVATION_KEY: ClassVar[str] = "hidden_act"
    NORM_OFFSET: ClassVar[float] = 0.0
    QK_NORM: ClassVar[bool] = False
    POST_NORMS: ClassVar[bool] = False
    SCALED_EMBEDDINGS: ClassVar[bool] = False

    @classmethod
    def network(cls, family: str, config: ConfigReader) -> Network:
        """Read every key of the family and refuse the rest."""
        layers = config.integer("num_hidden_layers", 1, 4096)
        hidden = config.integer("hidden_size", 1, 1 << 17)
        heads = config.integer("num_attention_heads", 1, 4096)
        kv_heads = config.optional_integer("num_key_value_heads", 1, 4096) or heads
        if heads % kv_heads:
            config.wrong("num_attention_heads", f"is {heads}, not a multiple of num_key_value_heads = {kv_heads}")
        head_dim = config.optional_integer("head_dim", 1, 4096)
        if head_dim is None:
            if hidden % heads:
                config.wrong("hidden_size", f"is {hidden}, not a multiple of num_attention_heads = {heads}")
            head_dim = hidden // heads
        if head_dim % 2:
            config.wrong("head_dim", f"is {head_dim}; rotary positions need an even number")
        context = config.integer("max_position_embeddings", 1, MOST)
        if config.get("partial_rotary_factor") not in (None, 1, 1.0):
            config.unsupported("partial_rotary_factor", "larqldb rotates whole heads only")
        network = Network(
            family=family,
            layers=layers,
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            ffn=config.integer("intermediate_size", 1, 1 << 20),
            vocab=config.integer("vocab_size", 1, MOST),
            context=context,
            norm_eps=config.number("rms_norm_eps", 0.0, 1.0),
            norm_offset=cls.NORM_OFFSET,
            activation=config.choice(cls.ACTIVATION_KEY, ACTIVATIONS),
            tied=config.flag("tie_word_embeddings"),
            embed_scale=math.sqrt(hidden) if cls.SCALED_EMBEDDINGS else 1.0,
            attention_scale=cls.attention_scale(config, head_dim),
            attention=cls.attention(config, layers, context),
            attention_softcap=cls.attention_softcap(config),
            final_softcap=cls.final_softcap(config),
            qk_norm=cls.QK_NORM,
            post_norms=cls.POST_NORMS,
            biases=frozenset(
                role for key, roles in cls.BIASES.items() if key is None or config.flag(key) for role in roles
            ),
        )
        config.refuse_unread()
        return network

    @classmethod
    def attention_scale(cls, config: ConfigReader, head_dim: int) -> float:
        """What q·k is multiplied by."""
        return 1 / math.sqrt(head_dim)

    @classmethod
    def attention_softcap(cls, config: ConfigReader) -> float | None:
        """The softcap of attention scores."""
        return None

    @classmethod
    def final_softcap(cls, config: ConfigReader) -> float | None:
        """The softcap of logits."""
        return None

    @classmethod
    def windows(cls, config: ConfigReader, layers: int) -> tuple[int | None, ...]:
        """The sliding window of each layer, None where there is none."""
        return (None,) * layers

    @classmethod
    def attention(cls, config: ConfigReader, layers: int, context: int) -> tuple[Attention, ...]:
        """The attention of each layer."""
        theta = config.number("rope_theta", 0.0, 1e12)
        scaling, parameters = config.section("rope_scaling"), config.section("rope_parameters")
        rotary = _rotary(scaling or parameters, theta, context)
        return tuple(Attention(window, rotary) for window in cls.windows(config, layers))


class Mistral(Llama):
    """Mistral 7B: Llama with a sliding window in every layer."""

    ARCHITECTURE = "MistralForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {**Llama.DEFAULTS, "num_key_value_heads": 8, "max_position_embeddings": 131072}
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {}

    @classmethod
    def windows(cls, config: ConfigReader, layers: int) -> tuple[int | None, ...]:
        """Null turns the window off; transformers assumes 4,096 where the key is missing."""
        missing = "sliding_window" not in config.values
        return (4096 if missing else config.optional_integer("sliding_window", 1, MOST),) * layers


class Qwen2(Llama):
    """Qwen2 and 2.5: Llama with biases on q, k and v; a window in the upper layers if asked for."""

    ARCHITECTURE = "Qwen2ForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        **Llama.DEFAULTS,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    }
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {None: ("attn_q", "attn_k", "attn_v")}

    @classmethod
    def windows(cls, config: ConfigReader, layers: int) -> tuple[int | None, ...]:
        """``use_sliding_window`` switches windows on from ``max_window_layers`` up, or where ``layer_types`` says."""
        on = config.flag("use_sliding_window")
        first = config.integer("max_window_layers", 0, MOST)
        window = config.optional_integer("sliding_window", 1, MOST)
        sliding = _layer_types(config, layers) or tuple(on and layer >= first for layer in range(layers))
        if any(sliding) and not on:
            config.unsupported("layer_types", "sliding layers need use_sliding_window = true")
        return tuple(window if slides else None for slides in sliding)


class Qwen3(Qwen2):
    """Qwen3: QK norms instead of biases."""

    ARCHITECTURE = "Qwen3ForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {**Qwen2.DEFAULTS, "head_dim": 128}
    TENSORS: ClassVar[dict[str, str]] = {
        **Llama.TENSORS,
        "q_norm": "model.layers.{layer}.self_attn.q_norm.weight",
        "k_norm": "model.layers.{layer}.self_attn.k_norm.weight",
    }
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {"attention_bias": ATTENTION}
    QK_NORM = True


class Gemma2(Llama):
    """Gemma 2: norms around both blocks (weight + 1), GeGLU, scaled embeddings, softcaps, every other layer sliding."""

    ARCHITECTURE = "Gemma2ForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "rope_theta": 10000.0,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "vocab_size": 256000,
    }
    TENSORS: ClassVar[dict[str, str]] = {
        **Llama.TENSORS,
        "post_attn_norm": "model.layers.{layer}.post_attention_layernorm.weight",
        "ffn_norm": "model.layers.{layer}.pre_feedforward_layernorm.weight",
        "post_ffn_norm": "model.layers.{layer}.post_feedforward_layernorm.weight",
    }
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {"attention_bias": ATTENTION}
    ACTIVATION_KEY = "hidden_activation"
    NORM_OFFSET = 1.0
    POST_NORMS = True
    SCALED_EMBEDDINGS = True
    SOFTCAPS: ClassVar[tuple[float | None, float | None]] = (50.0, 30.0)  # assumed where the keys are missing

    @classmethod
    def network(cls, family: str, config: ConfigReader) -> Network:
        """As the base; transformers reads ``hidden_activation`` and leaves ``hidden_act`` in the file."""
        config.get("hidden_act")
        return super().network(family, config)

    @classmethod
    def attention_scale(cls, config: ConfigReader, head_dim: int) -> float:
        """A setting of its own, not the width of a head."""
        return 1 / math.sqrt(config.number("query_pre_attn_scalar", 0.0, 1e6))

    @classmethod
    def attention_softcap(cls, config: ConfigReader) -> float | None:
        """Null turns it off."""
        missing = "attn_logit_softcapping" not in config.values
        return cls.SOFTCAPS[0] if missing else config.optional_number("attn_logit_softcapping", 0.0, 1e6)

    @classmethod
    def final_softcap(cls, config: ConfigReader) -> float | None:
        """Null turns it off."""
        missing = "final_logit_softcapping" not in config.values
        return cls.SOFTCAPS[1] if missing else config.optional_number("final_logit_softcapping", 0.0, 1e6)

    @classmethod
    def pattern(cls, config: ConfigReader) -> int:
        """Every which layer sees all positions."""
        return 2

    @classmethod
    def windows(cls, config: ConfigReader, layers: int) -> tuple[int | None, ...]:
        """Sliding except every ``pattern``-th layer, or as ``layer_types`` says."""
        pattern = cls.pattern(config)
        window = config.integer("sliding_window", 1, MOST)
        sliding = _layer_types(config, layers) or tuple((layer + 1) % pattern != 0 for layer in range(layers))
        return tuple(window if slides else None for slides in sliding)


class Gemma3(Gemma2):
    """Gemma 3's language model: QK norms for softcaps, five sliding layers to one full, each with its rotary base."""

    ARCHITECTURE = "Gemma3ForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        **Gemma2.DEFAULTS,
        "max_position_embeddings": 131072,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window_pattern": 6,
        "vocab_size": 262208,
    }
    TENSORS: ClassVar[dict[str, str]] = {
        **Gemma2.TENSORS,
        "q_norm": Qwen3.TENSORS["q_norm"],
        "k_norm": Qwen3.TENSORS["k_norm"],
    }
    QK_NORM = True
    SOFTCAPS = (None, None)

    @classmethod
    def attention_softcap(cls, config: ConfigReader) -> float | None:
        """Transformers keeps the key and does not apply it; other programs do."""
        if config.get("attn_logit_softcapping") is not None:
            config.unsupported("attn_logit_softcapping", "Gemma 3 has none, and programs disagree on its meaning here")
        return None

    @classmethod
    def pattern(cls, config: ConfigReader) -> int:
        """Saved under a private name too, beside the ``layer_types`` that follow from it."""
        config.get("_sliding_window_pattern")
        return config.integer("sliding_window_pattern", 1, MOST)

    @classmethod
    def attention(cls, config: ConfigReader, layers: int, context: int) -> tuple[Attention, ...]:
        """Full layers use ``rope_theta`` and ``rope_scaling``, sliding layers ``rope_local_base_freq``.

        Newer files have both under ``rope_parameters``, by kind of layer.
        """
        parameters = config.section("rope_parameters") or ConfigReader({})
        scaling, full = config.section("rope_scaling"), parameters.section("full_attention")
        if scaling and full:
            scaling.values = {**full.values, **scaling.values}
        rotary = {
            False: _rotary(scaling or full, config.number("rope_theta", 0.0, 1e12), context),
            True: _rotary(
                parameters.section("sliding_attention"), config.number("rope_local_base_freq", 0.0, 1e12), context
            ),
        }
        parameters.refuse_unread()
        return tuple(Attention(window, rotary[window is not None]) for window in cls.windows(config, layers))


# model_type → family
FAMILIES: dict[str, type[Llama]] = {
    "llama": Llama,
    "mistral": Mistral,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
    "gemma2": Gemma2,
    "gemma3_text": Gemma3,
}


def resolve(config: Mapping[str, Any]) -> Network:
    """The network a Hugging Face config.json describes.

    Raises UnsupportedModel, naming the key and its value, for an architecture, a setting or an unknown key that
    larqldb does not implement; BadModelFile for values of the wrong type or size.
    """
    if not isinstance(config, Mapping):
        ConfigReader({}).wrong("the file", f"holds {shown(config)}, not an object")
    if config.get("model_type") == "gemma3":
        config = _language_model(config)
    model_type = config.get("model_type")
    family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
    if family is None or not isinstance(model_type, str):
        raise UnsupportedModel(
            what=f"model_type = {shown(model_type)} in config.json",
            why=f"larqldb knows {', '.join(FAMILIES)}",
            remedy="Use a model of one of these families",
        )
    reader = ConfigReader(config, family.DEFAULTS)
    names = reader.get("architectures")
    if names and names != [family.ARCHITECTURE]:
        reader.unsupported("architectures", f"of model_type {model_type} larqldb runs {family.ARCHITECTURE}")
    return family.network(model_type, reader)


def tensors(network: Network) -> tuple[TensorSlot, ...]:
    """Every tensor a model of this network must have, layer by layer, in the order the forward pass uses them."""
    table = FAMILIES[network.family].TENSORS
    names = {**table, **{f"{role}_bias": name.removesuffix("weight") + "bias" for role, name in table.items()}}
    used = {role: name for role, name in names.items() if network.has(role)}
    inside = {role: name for role, name in used.items() if "{layer}" in name}
    first, last = ("embed",), ("final_norm", "head")

    def slot(role: str, layer: int | None) -> TensorSlot:
        return TensorSlot(used[role].format(layer=layer), role, layer, network.shape(role))

    return (
        *(slot(role, None) for role in first),
        *(slot(role, layer) for layer in range(network.layers) for role in inside),
        *(slot(role, None) for role in last if role in used),
    )


def _language_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text config of Gemma 3's outer config, when there is no vision tower beside it."""
    outer = ConfigReader(config)
    if outer.get("vision_config"):
        outer.unsupported("vision_config", "larqldb holds language models, and this one has a vision tower")
    text = outer.section("text_config")
    if text is None:
        outer.wrong("text_config", "is missing")
    return {"model_type": "gemma3_text", **text.values}


def _layer_types(config: ConfigReader, layers: int) -> tuple[bool, ...] | None:
    """Whether each layer slides, from ``layer_types``; None when the config does not say."""
    kinds = config.get("layer_types")
    if kinds is None:
        return None
    if not isinstance(kinds, list) or len(kinds) != layers:
        config.wrong("layer_types", f"is {shown(kinds)}, not one entry for each of the {layers} layers")
    if not set(map(str, kinds)) <= {"full_attention", "sliding_attention"}:
        config.unsupported("layer_types", "larqldb implements full_attention and sliding_attention")
    return tuple(kind == "sliding_attention" for kind in kinds)


def _rotary(parameters: ConfigReader | None, theta: float, context: int) -> Rotary:
    """Rotary settings from ``rope_scaling`` or ``rope_parameters`` (the same keys), or from ``theta`` alone."""
    if parameters is None:
        return Rotary(theta)
    parameters.defaults = {"rope_theta": theta, "original_max_position_embeddings": context, "rope_type": "default"}
    before = parameters.get("type")  # the key's name in older files; some have both
    scaling = parameters.choice("type" if before and "rope_type" not in parameters.values else "rope_type", SCALINGS)
    theta = parameters.number("rope_theta", 0.0, 1e12)
    original = parameters.integer("original_max_position_embeddings", 1, MOST)
    if parameters.get("partial_rotary_factor") not in (None, 1, 1.0):
        parameters.unsupported("partial_rotary_factor", "larqldb rotates whole heads only")
    rotary = Rotary(theta)
    if scaling == "linear":
        rotary = Rotary(theta, scaling, factor=parameters.number("factor", 0.0, 1e6))
    elif scaling == "llama3":
        low = parameters.number("low_freq_factor", 0.0, 1e6)
        high = parameters.number("high_freq_factor", 0.0, 1e6)
        if high <= low:
            parameters.wrong("high_freq_factor", f"is {high:g}, not above low_freq_factor = {low:g}")
        rotary = Rotary(theta, scaling, parameters.number("factor", 0.0, 1e6), low, high, original)
    parameters.refuse_unread()
    return rotary
