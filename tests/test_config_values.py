"""Values of the wrong kind in a config are named before anything reads them."""

from typing import Any

import pytest

from workbench.config_values import KINDS, check_values
from workbench.errors import CheckpointError

GOOD: dict[str, Any] = {
    "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000, "attention_bias": False,
    "sliding_window": None, "torch_dtype": None, "quantization_config": None,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
}  # fmt: skip


def test_a_right_config_passes() -> None:
    check_values(GOOD, "config.json")
    check_values({}, "config.json")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("value", [["x"], b"x", object()], ids=["a list", "bytes", "an object"])
def test_each_setting_is_checked(kind: Any, value: Any) -> None:
    for key in kind.keys:
        with pytest.raises(CheckpointError, match=f"config.json has {key} .* where {kind.name} belongs"):
            check_values({**GOOD, key: value}, "config.json")
    for key in kind.rope_keys:
        rope = {**GOOD["rope_scaling"], key: value}
        with pytest.raises(CheckpointError, match=f"under rope_scaling, {key} "):
            check_values({**GOOD, "rope_scaling": rope}, "config.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e39, 10**50, True, "1"])
def test_numbers_that_no_file_can_hold(value: Any) -> None:
    with pytest.raises(CheckpointError, match="rms_norm_eps"):
        check_values({**GOOD, "rms_norm_eps": value}, "config.json")


def test_a_long_value_is_not_spelled_out() -> None:
    with pytest.raises(CheckpointError) as told:
        check_values({**GOOD, "hidden_act": "x" * 5000}, "config.json")
    assert len(str(told.value)) < 200


@pytest.mark.parametrize("parent", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_what_is_stretched_needs_a_factor(parent: str, key: str) -> None:
    with pytest.raises(CheckpointError, match="names no factor"):
        check_values({parent: {key: "linear"}}, "config.json")
    check_values({parent: {key: "default"}}, "config.json")
