"""The table of families: from Hugging Face config.json to a Network and the tensors it is made of.

A family is a class whose tables say what it adds to the one it derives from. To add one, derive a class, name what
differs, enter it in FAMILIES and record a small model of it with tools/record_golden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from larqldb.errors import UnsupportedModel
from larqldb.model.config import MOST, ConfigReader, shown
from larqldb.model.network import Attention, Network, Rotary, TensorSlot
from larqldb.model.rotary_settings import PHI3_SCALINGS, SCALINGS, read_rotary

__all__ = ["FAMILIES", "Attention", "Network", "Rotary", "TensorSlot", "resolve", "tensors"]

ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
}
BEFORE = ("embed", "positions")  # the roles outside layers that come first
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
    # what the family calls keys that others share
    SPELLINGS: ClassVar[dict[str, str]] = {}
    # role → tensor name; a tensor that holds several roles, one below the other, has them all, joined by "+"
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
    TRANSPOSED: ClassVar[frozenset[str]] = frozenset()  # the tensors that are kept [in, out]
    ACTIVATION_KEY: ClassVar[str] = "hidden_act"
    GATED: ClassVar[bool] = True
    NORM_OFFSET: ClassVar[float] = 0.0
    LAYER_NORM: ClassVar[bool] = False
    LEARNED_POSITIONS: ClassVar[bool] = False
    PARTIAL_ROTARY: ClassVar[bool] = False
    SCALINGS: ClassVar[dict[str, str]] = SCALINGS
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
                config.wrong(
                    "hidden_size", f"is {hidden}, not a multiple of {config.name('num_attention_heads')} = {heads}"
                )
            head_dim = hidden // heads
        context = config.integer("max_position_embeddings", 1, MOST)
        attention = cls.attention(config, layers, context, head_dim)
        network = Network(
            family=family,
            layers=layers,
            hidden=hidden,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            ffn=cls.features(config, hidden),
            vocab=config.integer("vocab_size", 1, MOST),
            context=min([context, *(each.rotary.context for each in attention if each.rotary and each.rotary.factors)]),
            norm_eps=config.number("rms_norm_eps", 0.0, 1.0),
            norm_offset=cls.NORM_OFFSET,
            layer_norm=cls.LAYER_NORM,
            activation=config.choice(cls.ACTIVATION_KEY, ACTIVATIONS),
            gated=cls.GATED,
            tied=config.flag("tie_word_embeddings"),
            embed_scale=math.sqrt(hidden) if cls.SCALED_EMBEDDINGS else 1.0,
            attention_scale=cls.attention_scale(config, head_dim),
            attention=attention,
            attention_softcap=cls.attention_softcap(config),
            final_softcap=cls.final_softcap(config),
            learned_positions=cls.LEARNED_POSITIONS,
            qk_norm=cls.QK_NORM,
            post_norms=cls.POST_NORMS,
            biases=frozenset(
                role for key, roles in cls.BIASES.items() if key is None or config.flag(key) for role in roles
            ),
        )
        config.refuse_unread()
        return network

    @classmethod
    def features(cls, config: ConfigReader, hidden: int) -> int:
        """The features of a layer."""
        return config.integer("intermediate_size", 1, 1 << 20)

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
    def attention(cls, config: ConfigReader, layers: int, context: int, head_dim: int) -> tuple[Attention, ...]:
        """The attention of each layer."""
        scaling, parameters = config.section("rope_scaling"), config.section("rope_parameters")
        rotary = cls.rotary(config, scaling or parameters, "rope_theta", context, head_dim)
        return tuple(Attention(window, rotary) for window in cls.windows(config, layers))

    @classmethod
    def rotary(
        cls, config: ConfigReader, parameters: ConfigReader | None, base: str, context: int, head_dim: int
    ) -> Rotary:
        """Rotary settings: those in ``parameters``, the base where they are silent under the key ``base``."""
        if head_dim % 2:
            config.wrong("head_dim", f"is {head_dim}; rotary positions need an even number")
        theta = config.number(base, 0.0, 1e12)
        return read_rotary(
            config, parameters, theta, context, head_dim, partial=cls.PARTIAL_ROTARY, scalings=cls.SCALINGS
        )


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
    def attention(cls, config: ConfigReader, layers: int, context: int, head_dim: int) -> tuple[Attention, ...]:
        """Full layers use ``rope_theta`` and ``rope_scaling``, sliding layers ``rope_local_base_freq``.

        Newer files have both under ``rope_parameters``, by kind of layer.
        """
        parameters = config.section("rope_parameters") or ConfigReader({})
        scaling, full = config.section("rope_scaling"), parameters.section("full_attention")
        if scaling and full:
            scaling.values = {**full.values, **scaling.values}
        sliding = parameters.section("sliding_attention")
        rotary = {
            False: cls.rotary(config, scaling or full, "rope_theta", context, head_dim),
            True: cls.rotary(config, sliding, "rope_local_base_freq", context, head_dim),
        }
        parameters.refuse_unread()
        return tuple(Attention(window, rotary[window is not None]) for window in cls.windows(config, layers))


class Phi3(Llama):
    """Phi-3, 3.5 and 4: Llama with fused q, k, v and gate, up; a window, parts of heads turned, LongRoPE."""

    ARCHITECTURE = "Phi3ForCausalLM"
    DEFAULTS: ClassVar[dict[str, Any]] = {
        **Llama.DEFAULTS,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    }
    TENSORS: ClassVar[dict[str, str]] = {
        **{role: name for role, name in Llama.TENSORS.items() if role not in (*ATTENTION[:3], "gate", "up")},
        "attn_q+attn_k+attn_v": "model.layers.{layer}.self_attn.qkv_proj.weight",
        "gate+up": "model.layers.{layer}.mlp.gate_up_proj.weight",
    }
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {}
    PARTIAL_ROTARY = True
    SCALINGS: ClassVar[dict[str, str]] = PHI3_SCALINGS

    @classmethod
    def network(cls, family: str, config: ConfigReader) -> Network:
        """As the base; Phi-4-mini's files say what its own code did before transformers had it."""
        for key in ("full_attn_mod", "interpolate_factor"):
            if config.get(key) not in (None, 1):
                config.unsupported(key, "larqldb implements 1")
        return super().network(family, config)

    @classmethod
    def windows(cls, config: ConfigReader, layers: int) -> tuple[int | None, ...]:
        """The same window in every layer, none where the key is null or missing."""
        return (config.optional_integer("sliding_window", 1, MOST),) * layers


class GPT2(Llama):
    """GPT-2 and DistilGPT-2: layer norms, learned positions, biases everywhere, matrices kept [in, out], no gates.

    A feature's row of ``c_fc`` is what it answers to, its gate; there is no up.
    """

    ARCHITECTURE = "GPT2LMHeadModel"
    SPELLINGS: ClassVar[dict[str, str]] = {
        "num_hidden_layers": "n_layer",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "intermediate_size": "n_inner",
        "max_position_embeddings": "n_positions",
        "rms_norm_eps": "layer_norm_epsilon",
        "hidden_act": "activation_function",
    }
    DEFAULTS: ClassVar[dict[str, Any]] = {
        "n_positions": 1024,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "scale_attn_weights": True,
        "tie_word_embeddings": True,
    }
    TENSORS: ClassVar[dict[str, str]] = {
        "embed": "transformer.wte.weight",
        "positions": "transformer.wpe.weight",
        "attn_norm": "transformer.h.{layer}.ln_1.weight",
        "attn_q+attn_k+attn_v": "transformer.h.{layer}.attn.c_attn.weight",
        "attn_o": "transformer.h.{layer}.attn.c_proj.weight",
        "ffn_norm": "transformer.h.{layer}.ln_2.weight",
        "gate": "transformer.h.{layer}.mlp.c_fc.weight",
        "down": "transformer.h.{layer}.mlp.c_proj.weight",
        "final_norm": "transformer.ln_f.weight",
        "head": "lm_head.weight",
    }
    BIASES: ClassVar[dict[str | None, tuple[str, ...]]] = {
        None: (*ATTENTION, "gate", "down", "attn_norm", "ffn_norm", "final_norm")
    }
    TRANSPOSED = frozenset({"attn_q+attn_k+attn_v", "attn_o", "gate", "down"})
    GATED = False
    LAYER_NORM = True
    LEARNED_POSITIONS = True
    # about training and about heads for other tasks; n_ctx repeats n_positions
    HARMLESS: ClassVar[tuple[str, ...]] = (
        *("n_ctx", "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout"),
        *("summary_proj_to_labels", "summary_type", "summary_use_proj"),
    )

    @classmethod
    def network(cls, family: str, config: ConfigReader) -> Network:
        """As the base, knowing GPT-2's own harmless keys."""
        for key in cls.HARMLESS:
            config.get(key)
        return super().network(family, config)

    @classmethod
    def features(cls, config: ConfigReader, hidden: int) -> int:
        """Four times the width unless the config says otherwise."""
        return config.optional_integer("intermediate_size", 1, 1 << 20) or 4 * hidden

    @classmethod
    def attention_scale(cls, config: ConfigReader, head_dim: int) -> float:
        """As the base, or none at all."""
        return super().attention_scale(config, head_dim) if config.flag("scale_attn_weights") else 1.0

    @classmethod
    def attention(cls, config: ConfigReader, layers: int, context: int, head_dim: int) -> tuple[Attention, ...]:
        """Every layer sees everything; positions are in the embeddings."""
        return (Attention(None, None),) * layers


# model_type → family
FAMILIES: dict[str, type[Llama]] = {
    "llama": Llama,
    "mistral": Mistral,
    "qwen2": Qwen2,
    "qwen3": Qwen3,
    "gemma2": Gemma2,
    "gemma3_text": Gemma3,
    "phi3": Phi3,
    "gpt2": GPT2,
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
    reader = ConfigReader(config, family.DEFAULTS, spellings=family.SPELLINGS)
    names = reader.get("architectures")
    if names and names != [family.ARCHITECTURE]:
        reader.unsupported("architectures", f"of model_type {model_type} larqldb runs {family.ARCHITECTURE}")
    _own_code(reader, family.ARCHITECTURE)
    return family.network(model_type, reader)


def tensors(network: Network) -> tuple[TensorSlot, ...]:
    """Every tensor a model of this network must have, layer by layer, in the order the forward pass uses them."""
    family = FAMILIES[network.family]
    inside: list[tuple[str, str]] = []
    first: list[tuple[str, str]] = []
    last: list[tuple[str, str]] = []
    for role, name in (*family.TENSORS.items(), *_biases(family.TENSORS)):
        roles = role.split("+")
        if all(network.has(each) for each in roles):
            (inside if "{layer}" in name else first if role in BEFORE else last).append((role, name))

    def slot(role: str, name: str, layer: int | None) -> TensorSlot:
        shapes = [network.shape(each) for each in role.split("+")]
        rows = tuple(shape[0] for shape in shapes)
        shape = (sum(rows), *shapes[0][1:])
        transposed = role in family.TRANSPOSED
        return TensorSlot(
            name.format(layer=layer), role, layer, shape[::-1] if transposed else shape,
            rows if len(rows) > 1 else (), transposed,
        )  # fmt: skip

    return (
        *(slot(role, name, None) for role, name in first),
        *(slot(role, name, layer) for layer in range(network.layers) for role, name in inside),
        *(slot(role, name, None) for role, name in last),
    )


def _biases(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """The biases that may stand beside the tensors of a table, by role and name."""
    return [
        ("+".join(f"{each}_bias" for each in role.split("+")), f"{name.removesuffix('weight')}bias")
        for role, name in names.items()
    ]


def _own_code(config: ConfigReader, architecture: str) -> None:
    """Refuse a config that names code of its own, unless what that defines is what transformers has by that name."""
    named = config.section("auto_map")
    for key, value in named.values.items() if named else ():
        if key.startswith("AutoModel") and str(value).rpartition(".")[2] != architecture:
            config.unsupported("auto_map", f"larqldb runs {architecture}, not code that comes with a model")


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
