import dataclasses

import pytest

from azr_jax.model.configuration import LinearRopeScaling, Llama3RopeScaling, ModelConfig
from azr_jax.model.sizes import PUBLISHED, published

from .tiny import QWEN

# config.json of Qwen/Qwen2.5-Coder-3B.
QWEN_CODER_3B = {
    "architectures": ["Qwen2ForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "initializer_range": 0.02,
    "intermediate_size": 11008,
    "max_position_embeddings": 32768,
    "max_window_layers": 36,
    "model_type": "qwen2",
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "hidden_act": "silu",
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}


def test_qwen_coder_3b_has_its_published_size():
    config = ModelConfig.from_hf(QWEN_CODER_3B)
    assert (config.heads, config.kv_heads, config.head_dim, config.layers) == (16, 2, 128, 36)
    assert config.tie_embeddings and config.qkv_bias and config.eos_ids == (151643,)
    assert config.parameters == 3_085_938_688  # the published 3.09B


@pytest.mark.parametrize(
    ("layers", "D", "F", "heads", "kv_heads", "vocab_size", "tied", "parameters"),
    [
        (24, 896, 4864, 14, 2, 151936, True, 494_032_768),
        (28, 1536, 8960, 12, 2, 151936, True, 1_543_714_304),
        (28, 3584, 18944, 28, 4, 152064, False, 7_615_616_512),
        (48, 5120, 13824, 40, 8, 152064, False, 14_770_033_664),
        (64, 5120, 27648, 40, 8, 152064, False, 32_763_876_352),
    ],
    ids=["0.5B", "1.5B", "7B", "14B", "32B"],
)
def test_the_other_qwen_coders_have_their_published_sizes(layers, D, F, heads, kv_heads, vocab_size, tied, parameters):
    hf = QWEN_CODER_3B | {
        "num_hidden_layers": layers,
        "hidden_size": D,
        "intermediate_size": F,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab_size,
        "tie_word_embeddings": tied,
    }
    assert ModelConfig.from_hf(hf).parameters == parameters


def test_llama3_scaling_is_read_from_both_formats():
    config = ModelConfig.from_hf(LLAMA)
    assert config.rope_scaling == Llama3RopeScaling(8.0, 1.0, 4.0, 8192)
    assert config.rope_theta == 500000.0
    scaling = dict(LLAMA["rope_parameters"])
    older = {k: v for k, v in LLAMA.items() if k != "rope_parameters"}
    older |= {"rope_theta": scaling.pop("rope_theta"), "rope_scaling": scaling}
    assert ModelConfig.from_hf(older) == config


DEEPSEEK_CODER = {k: v for k, v in LLAMA.items() if k != "rope_parameters"} | {
    "rope_theta": 100000,
    "rope_scaling": {"type": "linear", "factor": 4.0},
}


def test_linear_scaling_is_read_from_both_formats():
    config = ModelConfig.from_hf(DEEPSEEK_CODER)
    assert (config.rope_theta, config.rope_scaling) == (100000.0, LinearRopeScaling(4.0))
    newer = LLAMA | {"rope_parameters": {"rope_type": "linear", "rope_theta": 100000.0, "factor": 4.0}}
    assert ModelConfig.from_hf(newer) == config


# config.json of Qwen/Qwen3-0.6B-Base.
QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151643,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 32768,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def test_qwen3_has_a_head_size_of_its_own_and_norms_and_no_bias():
    config = ModelConfig.from_hf(QWEN3)
    assert config == PUBLISHED["Qwen3-0.6B"]
    assert config.query_key_norms and not config.qkv_bias and config.heads * config.head_dim == 2 * config.embed_dim
    without = {key: value for key, value in QWEN3.items() if key != "head_dim"}
    assert ModelConfig.from_hf(without) == config


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen2.5-0.5B", 0.494),
        ("Qwen2.5-1.5B-Instruct", 1.544),
        ("Qwen3-0.6B-Base", 0.596),
        ("Qwen3-1.7B", 1.721),
        ("Qwen3-4B", 4.022),
        ("Qwen3-8B", 8.191),
        ("Qwen3-14B", 14.768),
        ("Qwen3-32B", 32.762),
        ("SmolLM2-135M-Instruct", 0.1345),
    ],
)
def test_models_known_by_name_have_their_published_sizes(name, billions):
    assert published(name).parameters == pytest.approx(billions * 1e9, abs=1e6)


@pytest.mark.parametrize(
    "hf", [QWEN_CODER_3B, QWEN3, LLAMA, DEEPSEEK_CODER], ids=["qwen2", "qwen3", "llama", "deepseek-coder"]
)
def test_to_hf_and_back(hf):
    config = ModelConfig.from_hf(hf)
    assert ModelConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, ["model_type", "gpt2", "layer norms", "qwen2", "Qwen3 0.6B to 32B", "SmolLM2"]),
        ({"model_type": "qwen3_moe"}, ["model_type", "qwen3_moe", "mixture of experts", "Qwen2.5-Coder"]),
        ({"model_type": ["qwen2"]}, ["model_type", "['qwen2']", "supported are"]),
        ({"architectures": ["Qwen2ForTokenClassification"]}, ["architectures", "Qwen2ForCausalLM"]),
        ({"hidden_act": "gelu"}, ["hidden_act", "gelu", "silu"]),
        ({"use_sliding_window": True}, ["use_sliding_window", "True"]),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, ["rope_scaling", "yarn", "llama3"]),
        ({"rope_scaling": {"type": "linear"}}, ["rope_scaling lacks ['factor']", "linear"]),
        ({"rope_scaling": {"type": "linear", "factor": 0.0}}, ["factor of rope_scaling is 0.0", "above 0"]),
        ({"layer_types": ["sliding_attention"] * 36}, ["layer_types", "full_attention"]),
        ({"quantization_config": {"bits": 4}}, ["quantization_config", "bfloat16"]),
        ({"hidden_size": None}, ["hidden_size", "integer"]),
        ({"num_key_value_heads": 3}, ["kv_heads=3", "[1, 2, 4, 8, 16]"]),
        ({"num_attention_heads": 0}, ["heads is 0", "at least 1"]),
        ({"num_key_value_heads": "2"}, ["num_key_value_heads is '2'", "an integer"]),
        ({"head_dim": 12.5}, ["head_dim is 12.5", "an integer"]),
        ({"hidden_size": True}, ["hidden_size is True", "an integer"]),
        ({"rope_theta": "1e6"}, ["rope_theta is '1e6'", "a number"]),
        ({"rope_scaling": 4}, ["rope_scaling is 4", "an object"]),
        ({"rms_norm_eps": [1e-6]}, ["rms_norm_eps is [1e-06]", "a number"]),
        ({"max_position_embeddings": 10**400}, ["max_position_embeddings is 1000", "an integer"]),
        ({"tie_word_embeddings": "false"}, ["tie_word_embeddings is 'false'", "true or false"]),
        ({"eos_token_id": "<|endoftext|>"}, ["eos_token_id is '<|endoftext|>'", "a token's id"]),
        ({"eos_token_id": [151643, None, -1]}, ["eos_token_id is -1", "a token's id"]),
        ({"bos_token_id": 1.5}, ["bos_token_id is 1.5", "a token's id"]),
        ({"layer_types": [["full_attention"]]}, ["layer_types holds", "full_attention"]),
    ],
)
def test_unsupported_configurations_name_key_value_and_fix(change, words):
    with pytest.raises(ValueError) as error:
        ModelConfig.from_hf(QWEN_CODER_3B | change)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("change", [{"layers": 0}, {"head_dim": 7}, {"family": "bert"}, {"kv_heads": 3}])
def test_impossible_sizes_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(QWEN, **change)


def test_a_null_is_what_is_left_out():
    keys = ("head_dim", "rms_norm_eps", "rope_theta", "max_position_embeddings", "tie_word_embeddings", "bos_token_id")
    left_out = {key: value for key, value in LLAMA.items() if key not in keys}
    assert ModelConfig.from_hf(left_out | dict.fromkeys(keys)) == ModelConfig.from_hf(left_out)
