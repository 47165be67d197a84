"""config.json of published checkpoints: what they say besides the network must not stand in the way."""

from __future__ import annotations

import math

import pytest

from larqldb.errors import BadModelFile, UnsupportedModel
from larqldb.model.architectures import resolve, tensors

LLAMA3_2_1B = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009],
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.45.0.dev0",
    "use_cache": True,
    "vocab_size": 128256,
}
TINYLLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 5632,
    "max_position_embeddings": 2048,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.35.0",
    "use_cache": True,
    "vocab_size": 32000,
}
MISTRAL_7B_V3 = {
    "architectures": ["MistralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mistral",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.42.0.dev0",
    "use_cache": True,
    "vocab_size": 32768,
}
QWEN2_5_HALF_B = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "hidden_act": "silu",
    "hidden_size": 896,
    "initializer_range": 0.02,
    "intermediate_size": 4864,
    "max_position_embeddings": 32768,
    "max_window_layers": 21,
    "model_type": "qwen2",
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.43.1",
    "use_cache": True,
    "use_mrope": False,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
QWEN3_0_6B = {
    **{key: value for key, value in QWEN2_5_HALF_B.items() if key != "use_mrope"},
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rope_scaling": None,
    "sliding_window": None,
}
GEMMA3_1B = {
    "architectures": ["Gemma3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attn_logit_softcapping": None,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": [1, 106],
    "final_logit_softcapping": None,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size": 1152,
    "initializer_range": 0.02,
    "intermediate_size": 6912,
    "max_position_embeddings": 32768,
    "model_type": "gemma3_text",
    "num_attention_heads": 4,
    "num_hidden_layers": 26,
    "num_key_value_heads": 1,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": 512,
    "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.50.0.dev0",
    "use_cache": True,
    "vocab_size": 262144,
}
PHI3_MINI_4K = {
    "_name_or_path": "Phi-3-mini-4k-instruct",
    "architectures": ["Phi3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_phi3.Phi3Config",
        "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
    },
    "bos_token_id": 1,
    "embd_pdrop": 0.0,
    "eos_token_id": 32000,
    "hidden_act": "silu",
    "hidden_size": 3072,
    "initializer_range": 0.02,
    "intermediate_size": 8192,
    "max_position_embeddings": 4096,
    "model_type": "phi3",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 32,
    "original_max_position_embeddings": 4096,
    "pad_token_id": 32000,
    "resid_pdrop": 0.0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "sliding_window": 2047,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.2",
    "use_cache": True,
    "vocab_size": 32064,
}
PHI4_MINI = {
    **PHI3_MINI_4K,
    "auto_map": {
        "AutoConfig": "configuration_phi3.Phi3Config",
        "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM",
        "AutoTokenizer": "Xenova/gpt-4o",
    },
    "full_attn_mod": 1,
    "interpolate_factor": 1,
    "lm_head_bias": False,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "partial_rotary_factor": 0.75,
    "rope_scaling": {"long_factor": [32.0] * 48, "short_factor": [1.0] * 48, "type": "longrope"},
    "sliding_window": 262144,
    "tie_word_embeddings": True,
    "vocab_size": 200064,
}
GPT2 = {
    "activation_function": "gelu_new",
    "architectures": ["GPT2LMHeadModel"],
    "attn_pdrop": 0.1,
    "bos_token_id": 50256,
    "embd_pdrop": 0.1,
    "eos_token_id": 50256,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-05,
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_layer": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
    "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
    "vocab_size": 50257,
}
DISTILGPT2 = {
    **GPT2,
    "_name_or_path": "distilgpt2",
    "_num_labels": 1,
    "gradient_checkpointing": False,
    "id2label": {"0": "LABEL_0"},
    "is_decoder": True,
    "label2id": {"LABEL_0": 0},
    "n_inner": None,
    "n_layer": 6,
    "output_past": True,
    "reorder_and_upcast_attn": False,
    "scale_attn_by_inverse_layer_idx": False,
    "scale_attn_weights": True,
}


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (LLAMA3_2_1B, 1_235_814_400),
        (TINYLLAMA, 1_100_048_384),
        (MISTRAL_7B_V3, 7_248_023_552),
        (QWEN2_5_HALF_B, 494_032_768),
        (QWEN3_0_6B, 596_049_920),
        (GEMMA3_1B, 999_885_952),
        (PHI3_MINI_4K, 3_821_079_552),
        (PHI4_MINI, 3_836_021_760),
        (GPT2, 124_439_808),
        (DISTILGPT2, 81_912_576),
    ],
    ids=["llama", "tinyllama", "mistral", "qwen2.5", "qwen3", "gemma3", "phi3", "phi4", "gpt2", "distilgpt2"],
)
def test_the_numbers_of_parameters_are_those_on_the_model_cards(config, parameters):
    assert sum(math.prod(slot.shape) for slot in tensors(resolve(config))) == parameters


def test_gemma3_1b_may_be_nested():
    text = {key: value for key, value in GEMMA3_1B.items() if key != "architectures"}
    outer = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text}
    assert resolve(outer) == resolve(GEMMA3_1B)


def test_phi3_mini():
    network = resolve(PHI3_MINI_4K)
    assert {attention.window for attention in network.attention} == {2047}
    assert (network.context, network.head_dim, network.rotaries[0].width) == (4096, 96, None)


def test_phi4_mini_reads_as_far_as_its_short_factors_hold():
    network = resolve(PHI4_MINI)
    (rotary,) = network.rotaries
    assert network.context == 4096
    assert (rotary.scaling, rotary.width, rotary.factors) == ("longrope", 96, (1.0,) * 48)
    assert rotary.magnitude == pytest.approx(math.sqrt(1 + math.log(32) / math.log(4096)))


@pytest.mark.parametrize("name", ["su", "longrope", "yarn"])
def test_names_of_longrope(name):
    scaling = {**PHI4_MINI["rope_scaling"], "type": name}
    assert resolve({**PHI4_MINI, "rope_scaling": scaling}) == resolve(PHI4_MINI)


def test_newer_spelling_of_longrope():
    older = ("rope_scaling", "rope_theta", "partial_rotary_factor")
    parameters = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.75,
        "original_max_position_embeddings": 4096,
        "long_factor": [32.0] * 48,
        "short_factor": [1.0] * 48,
    }
    newer = {key: value for key, value in PHI4_MINI.items() if key not in older} | {"rope_parameters": parameters}
    assert resolve(newer) == resolve(PHI4_MINI)


def test_gpt2():
    network = resolve(GPT2)
    assert (network.family, network.layers, network.hidden, network.heads, network.ffn) == ("gpt2", 12, 768, 12, 3072)
    assert (network.context, network.norm_eps, network.activation) == (1024, 1e-5, "gelu_tanh")
    assert network.tied
    assert network.layer_norm
    assert network.learned_positions
    assert not network.gated
    assert network.rotaries == ()
    named = {slot.name: slot for slot in tensors(network)}
    attention = named["transformer.h.11.attn.c_attn.weight"]
    assert (attention.role, attention.shape) == ("attn_q+attn_k+attn_v", (768, 2304))
    assert (attention.rows, attention.transposed) == ((768, 768, 768), True)
    assert named["transformer.h.0.mlp.c_fc.weight"].shape == (768, 3072)
    assert named["transformer.h.0.mlp.c_proj.bias"].shape == (768,)


def test_gpt2_by_the_names_that_others_use():
    named = {"n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers"}
    assert resolve({named.get(key, key): value for key, value in GPT2.items()}) == resolve(GPT2)
    assert resolve({**GPT2, "hidden_size": 768}) == resolve(GPT2)
    with pytest.raises(BadModelFile, match="n_embd is 768, and hidden_size, which is the same, is 1024"):
        resolve({**GPT2, "hidden_size": 1024})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**GPT2, "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ({**GPT2, "add_cross_attention": True}, "add_cross_attention = True"),
        ({**GPT2, "activation_function": "swiglu"}, "activation_function = 'swiglu'"),
        ({**GPT2, "architectures": ["GPT2DoubleHeadsModel"]}, "architectures"),
        ({**GPT2, "rope_theta": 10000.0}, "rope_theta = 10000.0"),
        ({**PHI3_MINI_4K, "attention_bias": True}, "attention_bias = True"),
        ({**PHI3_MINI_4K, "full_attn_mod": 2}, "full_attn_mod = 2"),
        ({**PHI3_MINI_4K, "interpolate_factor": 4}, "interpolate_factor = 4"),
        ({**PHI3_MINI_4K, "lm_head_bias": True}, "lm_head_bias = True"),
        ({**PHI3_MINI_4K, "auto_map": {"AutoModelForCausalLM": "other.MyModel"}}, "auto_map"),
        ({**PHI3_MINI_4K, "model_type": "phi3small"}, "model_type = 'phi3small'"),
        ({**PHI3_MINI_4K, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling.type = 'linear'"),
        ({**PHI4_MINI, "rope_scaling": {**PHI4_MINI["rope_scaling"], "short_mscale": 1.1}}, "short_mscale = 1.1"),
        ({**LLAMA3_2_1B, "partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    ],
)
def test_what_changes_the_maths_is_refused_by_name(config, message):
    with pytest.raises(UnsupportedModel) as caught:
        resolve(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**GPT2, "n_layer": None}, "n_layer is missing"),
        ({**GPT2, "n_inner": 0}, "n_inner is 0"),
        ({**GPT2, "n_head": 7}, "n_embd is 768, not a multiple of n_head = 7"),
        ({**PHI3_MINI_4K, "partial_rotary_factor": 1.5}, "partial_rotary_factor is 1.5"),
        ({**PHI3_MINI_4K, "partial_rotary_factor": 0.01}, "partial_rotary_factor is 0.01"),
        ({**PHI4_MINI, "rope_scaling": {"type": "longrope"}}, "rope_scaling.long_factor is missing"),
        (
            {**PHI4_MINI, "rope_scaling": {**PHI4_MINI["rope_scaling"], "short_factor": [1.0] * 7}},
            "short_factor is [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], not a list of 48 numbers",
        ),
        (
            {**PHI4_MINI, "rope_scaling": {**PHI4_MINI["rope_scaling"], "short_factor": [1.0] * 47 + [0]}},
            "rope_scaling.short_factor[47] is 0, not a number above 0",
        ),
    ],
)
def test_values_that_cannot_be_are_bad_files(config, message):
    with pytest.raises(BadModelFile) as caught:
        resolve(config)
    assert message in str(caught.value)
