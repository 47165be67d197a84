from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from larqldb.errors import BadModelFile, Error, UnsupportedModel
from larqldb.model.architectures import FAMILIES, Rotary, resolve, tensors

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-05,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
}
# what SmolLM2's own config.json has besides: nothing that changes the network
SMOLLM2 = {
    **LLAMA,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "initializer_range": 0.041666666666666664,
    "is_llama_config": True,
    "mlp_bias": False,
    "pad_token_id": 2,
    "pretraining_tp": 1,
    "rope_interleaved": False,
    "rope_scaling": None,
    "torch_dtype": "bfloat16",
    "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16"}},
    "transformers_version": "4.42.3",
    "use_cache": True,
}
GEMMA3 = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "vocab_size": 262144,
    "hidden_size": 640,
    "intermediate_size": 2048,
    "num_hidden_layers": 18,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "max_position_embeddings": 32768,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000.0,
    "rope_theta": 1000000.0,
    "sliding_window": 512,
}
QWEN2 = {**LLAMA, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
MISTRAL = {**LLAMA, "model_type": "mistral", "architectures": ["MistralForCausalLM"]}
GEMMA2 = {
    **{key: value for key, value in GEMMA3.items() if key != "rope_local_base_freq"},
    "model_type": "gemma2",
    "architectures": ["Gemma2ForCausalLM"],
    "num_hidden_layers": 4,
}


def without(config, *keys):
    return {key: value for key, value in config.items() if key not in keys}


def test_llama():
    network = resolve(SMOLLM2)
    assert (network.family, network.layers, network.hidden, network.ffn, network.vocab) == (
        "llama",
        30,
        576,
        1536,
        49152,
    )
    assert (network.heads, network.kv_heads, network.head_dim, network.context) == (9, 3, 64, 8192)
    assert network.tied
    assert network.activation == "silu"
    assert network.norm_offset == 0
    assert network.embed_scale == 1
    assert network.attention_scale == 0.125
    assert network.rotaries == (Rotary(100000.0),)
    assert not network.biases


def test_gemma3():
    network = resolve(GEMMA3)
    sliding = [attention.window == 512 for attention in network.attention]
    assert sliding == ([True] * 5 + [False]) * 3
    assert {(a.window, a.rotary.theta) for a in network.attention} == {(512, 10000.0), (None, 1000000.0)}
    assert network.tied
    assert network.qk_norm
    assert network.post_norms
    assert network.norm_offset == 1
    assert network.embed_scale == pytest.approx(640**0.5)
    assert network.attention_scale == 1 / 16
    assert network.activation == "gelu_tanh"
    assert network.final_softcap is None


def test_newer_spelling_of_gemma3_is_the_same_network():
    newer = {
        **without(GEMMA3, "rope_theta", "rope_local_base_freq"),
        "_sliding_window_pattern": 6,
        "dtype": "bfloat16",
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 3,
        "rope_parameters": {
            "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "use_bidirectional_attention": False,
    }
    assert resolve(newer) == resolve(GEMMA3)


def test_rope_parameters_and_rope_theta_are_the_same_network():
    assert resolve(
        {**without(LLAMA, "rope_theta"), "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0}}
    ) == resolve(LLAMA)


def test_gemma3_scales_only_full_layers():
    network = resolve({**GEMMA3, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})
    assert network.attention[5].rotary == Rotary(1000000.0, "linear", 8.0)
    assert network.attention[0].rotary == Rotary(10000.0)


def test_gemma3_inside_an_outer_config():
    text = without(GEMMA3, "architectures")
    assert resolve({"model_type": "gemma3", "text_config": text}) == resolve(GEMMA3)


def test_gemma3_with_a_vision_tower_is_refused():
    with pytest.raises(UnsupportedModel, match="vision_config"):
        resolve({"model_type": "gemma3", "text_config": GEMMA3, "vision_config": {"hidden_size": 1152}})


def test_gemma2_softcaps_and_windows():
    network = resolve(GEMMA2)
    assert (network.attention_softcap, network.final_softcap) == (50.0, 30.0)
    assert [attention.window for attention in network.attention] == [512, None, 512, None]
    without_caps = resolve({**GEMMA2, "attn_logit_softcapping": None, "final_logit_softcapping": None})
    assert (without_caps.attention_softcap, without_caps.final_softcap) == (None, None)


def test_mistral_window():
    assert {attention.window for attention in resolve({**MISTRAL, "sliding_window": 128}).attention} == {128}
    assert {attention.window for attention in resolve({**MISTRAL, "sliding_window": None}).attention} == {None}
    assert {attention.window for attention in resolve(MISTRAL).attention} == {4096}


def test_qwen2_window_is_off_unless_asked_for():
    config = {**QWEN2, "sliding_window": 131072, "max_window_layers": 21, "use_sliding_window": False}
    network = resolve(config)
    assert {attention.window for attention in network.attention} == {None}
    assert network.biases == {"attn_q", "attn_k", "attn_v"}
    on = resolve({**config, "use_sliding_window": True})
    assert [attention.window for attention in on.attention] == [None] * 21 + [131072] * 9


def test_defaults_where_config_is_silent():
    network = resolve(without(LLAMA, "num_key_value_heads", "rope_theta", "tie_word_embeddings", "rms_norm_eps"))
    assert network.kv_heads == 9
    assert network.rotaries == (Rotary(10000.0),)
    assert not network.tied
    assert network.norm_eps == 1e-6


def test_tensors_of_llama():
    slots = tensors(resolve(LLAMA))
    assert len(slots) == 1 + 30 * 9 + 1
    assert slots[0].name == "model.embed_tokens.weight"
    assert slots[-1].name == "model.norm.weight"
    named = {slot.name: slot for slot in slots}
    assert named["model.layers.29.mlp.down_proj.weight"].shape == (576, 1536)
    assert named["model.layers.0.self_attn.k_proj.weight"].shape == (192, 576)
    assert named["model.layers.7.post_attention_layernorm.weight"].role == "ffn_norm"


def test_gemma3_norm_before_the_ffn():
    named = {slot.name: slot for slot in tensors(resolve(GEMMA3))}
    assert named["model.layers.0.pre_feedforward_layernorm.weight"].role == "ffn_norm"
    assert named["model.layers.0.post_attention_layernorm.weight"].role == "post_attn_norm"
    assert named["model.layers.0.self_attn.q_norm.weight"].shape == (256,)


def test_biases_and_untied_head():
    config = {**LLAMA, "tie_word_embeddings": False, "attention_bias": True, "mlp_bias": True}
    named = {slot.name: slot for slot in tensors(resolve(config))}
    assert named["lm_head.weight"].shape == (49152, 576)
    assert named["model.layers.3.self_attn.o_proj.bias"].role == "attn_o_bias"
    assert named["model.layers.3.mlp.gate_proj.bias"].shape == (1536,)


def test_slots_are_unique_and_match_transformers(tiny):
    slots = tensors(tiny.network)
    assert sorted(f"{slot.name} {'x'.join(map(str, slot.shape))}" for slot in slots) == tiny.recorded_tensors
    assert len({(slot.role, slot.layer) for slot in slots}) == len(slots)


LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "model_type = None"),
        ({"model_type": "bloom"}, "model_type = 'bloom'"),
        ({"model_type": ["llama"]}, "model_type"),
        ({**LLAMA, "model_type": "llama4"}, "model_type = 'llama4'"),
        ({**LLAMA, "architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ({**LLAMA, "hidden_act": "xielu"}, "hidden_act = 'xielu'"),
        ({**LLAMA, "hidden_act": 3}, "hidden_act = 3"),
        ({**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling.rope_type = 'yarn'"),
        ({**LLAMA, "rope_scaling": {"type": "dynamic", "factor": 4.0}}, "rope_scaling.type = 'dynamic'"),
        ({**LLAMA, "rope_parameters": {"rope_type": "longrope"}}, "rope_parameters.rope_type = 'longrope'"),
        ({**LLAMA, "rope_parameters": {"rope_theta": 1e4, "mscale": 0.7}}, "rope_parameters.mscale = 0.7"),
        ({**LLAMA, "rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "rope_parameters.full_attention"),
        ({**LLAMA, "partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({**LLAMA, "rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor"),
        ({**LLAMA, "rope_interleaved": True}, "rope_interleaved = True"),
        ({**LLAMA, "attention_multiplier": 0.5}, "attention_multiplier = 0.5"),
        ({**LLAMA, "logits_scaling": 8}, "logits_scaling = 8"),
        ({**LLAMA, "residual_multiplier": 0}, "residual_multiplier = 0"),
        ({**LLAMA, "num_local_experts": 8}, "num_local_experts = 8"),
        ({**LLAMA, "quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({**LLAMA, "auto_map": {"AutoModel": "modeling.Other"}}, "auto_map"),
        ({**LLAMA, "sliding_window": 4096}, "sliding_window = 4096"),
        ({**MISTRAL, "attention_bias": True}, "attention_bias = True"),
        ({**MISTRAL, "layer_types": ["full_attention"] * 30}, "layer_types"),
        ({**QWEN2, "use_mrope": True}, "use_mrope = True"),
        ({**QWEN2, "layer_types": ["sliding_attention"] * 30}, "layer_types"),
        ({**QWEN2, "layer_types": ["chunked_attention"] * 30}, "layer_types"),
        ({**GEMMA3, "attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
        ({**GEMMA3, "use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ({**GEMMA3, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, "rope_parameters.rope_theta"),
    ],
)
def test_what_is_not_implemented_is_refused_by_name(config, message):
    with pytest.raises(UnsupportedModel) as caught:
        resolve(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "holds []"),
        (None, "holds None"),
        (without(LLAMA, "hidden_size"), "hidden_size is missing"),
        ({**LLAMA, "num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({**LLAMA, "num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({**LLAMA, "num_hidden_layers": 30.0}, "num_hidden_layers is 30.0"),
        ({**LLAMA, "num_hidden_layers": True}, "num_hidden_layers is True"),
        ({**LLAMA, "num_hidden_layers": "30"}, "num_hidden_layers is '30'"),
        ({**LLAMA, "num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000"),
        ({**LLAMA, "vocab_size": 1 << 40}, "vocab_size is"),
        ({**LLAMA, "hidden_size": 577}, "hidden_size is 577, not a multiple of num_attention_heads = 9"),
        ({**LLAMA, "num_key_value_heads": 2}, "not a multiple of num_key_value_heads = 2"),
        ({**LLAMA, "head_dim": 7}, "head_dim is 7"),
        ({**LLAMA, "rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({**LLAMA, "rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5'"),
        ({**LLAMA, "rope_theta": -1}, "rope_theta is -1"),
        ({**LLAMA, "rope_theta": float("inf")}, "rope_theta is inf"),
        ({**LLAMA, "rope_scaling": "linear"}, "rope_scaling is 'linear', not an object"),
        ({**LLAMA, "rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor is missing"),
        ({**LLAMA, "rope_scaling": {**LLAMA3_SCALING, "high_freq_factor": 1.0}}, "rope_scaling.high_freq_factor"),
        ({**LLAMA, "tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({**GEMMA3, "layer_types": ["full_attention"]}, "layer_types"),
        ({**GEMMA3, "layer_types": "full_attention"}, "layer_types"),
        ({**GEMMA3, "sliding_window_pattern": 0}, "sliding_window_pattern is 0"),
        ({"model_type": "gemma3"}, "text_config is missing"),
    ],
)
def test_values_that_cannot_be_are_bad_files(config, message):
    with pytest.raises(BadModelFile) as caught:
        resolve(config)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_unknown_keys_that_say_nothing_are_let_through(value):
    assert resolve({**LLAMA, "a_key_of_tomorrow": value}) == resolve(LLAMA)


def test_llama3_scaling():
    assert resolve({**LLAMA, "rope_scaling": LLAMA3_SCALING}).rotaries == (
        Rotary(100000.0, "llama3", 8.0, 1.0, 4.0, 8192),
    )


def test_scaling_may_be_named_twice():
    scaling = {"type": "linear", "rope_type": "linear", "factor": 2}
    assert resolve({**LLAMA, "rope_scaling": scaling}).rotaries == (Rotary(100000.0, "linear", 2.0),)


def test_long_values_are_cut_in_messages():
    with pytest.raises(UnsupportedModel) as caught:
        resolve({**LLAMA, "novelty": list(range(1000))})
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_names_every_tensor_it_uses(family):
    needed = {"embed", "final_norm", "head", "attn_norm", "attn_q", "attn_k", "attn_v", "attn_o", "ffn_norm", "down"}
    named = {role for roles in FAMILIES[family].TENSORS for role in roles.split("+")}
    assert {*needed, "gate", *(["up"] if FAMILIES[family].GATED else [])} <= named


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(FAMILIES)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([LLAMA, QWEN2, MISTRAL, GEMMA2, GEMMA3]), st.data())
def test_any_value_under_any_key_resolves_or_is_refused(config, data):
    key = data.draw(st.sampled_from([*config, "rope_scaling", "rope_parameters", "layer_types", "head_dim"]))
    changed = {**config, key: data.draw(values)}
    try:
        network = resolve(changed)
    except Error as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - success is allowed too
    else:
        assert len(network.attention) == network.layers
        json.dumps([slot.shape for slot in tensors(network)])
