import pytest

from workbench.errors import CheckpointError
from workbench.shape import model_shape

SQLCODER = {"model_type": "gpt_bigcode", "n_layer": 40, "n_embd": 6144, "n_head": 48, "n_inner": 24576,
            "vocab_size": 49152, "n_positions": 8192, "multi_query": True}  # fmt: skip
MISTRAL = {"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
           "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32000,
           "max_position_embeddings": 32768}  # fmt: skip


def test_sqlcoder_15b_cache_is_20480_bytes_a_token():
    shape = model_shape(SQLCODER)
    assert (shape.kv_heads, shape.head_dim, shape.ffn) == (1, 128, 24576)
    assert shape.kv_cache_bytes(1) == 20480
    assert shape.kv_cache_bytes(8192) == 160 * 1024**2


def test_no_inner_width_means_four_times_the_width():
    assert model_shape({**SQLCODER, "n_inner": None}).ffn == 24576


def test_grouped_query_attention():
    assert model_shape(MISTRAL).kv_heads == 8
    assert model_shape({**MISTRAL, "num_key_value_heads": None}).kv_heads == 32


@pytest.mark.parametrize(("model_type", "heads"), [("mistral", 8), ("llama", 32)])
def test_key_value_heads_left_out_are_as_transformers_assumes(model_type, heads):
    from transformers import AutoConfig

    config = {k: v for k, v in MISTRAL.items() if k != "num_key_value_heads"} | {"model_type": model_type}
    assert AutoConfig.for_model(**config).num_key_value_heads == model_shape(config).kv_heads == heads


# The family: layers, width, heads, key/value heads, inner width, vocabulary, context; bytes of cache per token.
FAMILY = {
    "sqlcoder-7b-2": ((32, 4096, 32, 32, 11008, 32016, 16384), 524_288),
    "sqlcoder-34b-alpha": ((48, 8192, 64, 8, 22016, 32000, 16384), 196_608),
    "sqlcoder-70b-alpha": ((80, 8192, 64, 8, 28672, 32016, 4096), 327_680),
    "llama-3-sqlcoder-8b": ((32, 4096, 32, 8, 14336, 128256, 8192), 131_072),
    "DeciCoder-1b": ((20, 2048, 32, 4, 5888, 49152, 2048), 20_480),
}
LLAMA_KEYS = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "intermediate_size",
    "vocab_size", "max_position_embeddings",
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILY)
def test_the_llama_shaped_members(name):
    sizes, cache = FAMILY[name]
    shape = model_shape(dict(zip(LLAMA_KEYS, sizes, strict=True)) | {"head_dim": None, "sliding_window": None})
    assert (shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.ffn, shape.vocab, shape.context) == sizes
    assert shape.kv_cache_bytes(1) == cache


def test_a_head_may_be_wider_than_its_share():
    assert model_shape({**MISTRAL, "head_dim": 256}).head_dim == 256


@pytest.mark.parametrize("key", ["n_layer", "n_head", "vocab_size", "n_positions"])
def test_a_missing_size_is_named(key):
    with pytest.raises(CheckpointError, match=key):
        model_shape({k: v for k, v in SQLCODER.items() if k != key})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"n_layer": 0}, "n_layer"),
        ({"n_layer": -40}, "n_layer"),
        ({"n_layer": "40"}, "n_layer"),
        ({"n_layer": True}, "n_layer"),
        ({"n_layer": 10**9}, "n_layer"),
        ({"n_embd": 6144.0}, "n_embd"),
        ({"n_embd": None}, "n_embd"),
        ({"vocab_size": 10**5000}, "a huge number"),
        ({"vocab_size": ["x"] * 1000}, "vocab_size"),
        ({"n_inner": -1}, "n_inner"),
        ({"n_head": 47}, "which its 47 heads do not divide"),
    ],
)
def test_sizes_that_make_no_sense_are_named(changes, named):
    with pytest.raises(CheckpointError, match=named) as told:
        model_shape({**SQLCODER, **changes})
    assert len(str(told.value)) < 200


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"num_key_value_heads": 5}, "do not divide them"),
        ({"num_key_value_heads": 64}, "do not divide them"),
        ({"num_key_value_heads": "8"}, "num_key_value_heads"),
        ({"head_dim": 0}, "head_dim"),
        ({"hidden_size": 4100}, "which its 32 heads do not divide"),
    ],
)
def test_heads_that_make_no_sense_are_named(changes, named):
    with pytest.raises(CheckpointError, match=named):
        model_shape({**MISTRAL, **changes})
