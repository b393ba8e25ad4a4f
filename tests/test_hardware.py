"""Hardware profiles: every shipped file is whole and sourced; faults are reported together."""

from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import ConfigError, WorkbenchError
from workbench.hardware import GIB, HardwareProfile, load_profile

PROFILES = Path(__file__).parents[1] / "hardware_profiles"
SHIPPED = sorted(PROFILES.glob("*.yaml"))
WANTED = {"a100-40gb", "a100-80gb", "rtx4090", "rtx3090", "m2-pro", "m2-max", "m2-ultra", "cpu"}


def document(name: str = "rtx4090") -> dict[str, Any]:
    return yaml.safe_load((PROFILES / f"{name}.yaml").read_text())


def write(folder: Path, content: dict[str, Any], stem: str = "rtx4090") -> Path:
    path = folder / f"{stem}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_machines_users_have_are_there() -> None:
    assert {path.stem for path in SHIPPED} >= WANTED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_profile_loads_and_names_its_sources(path: Path) -> None:
    profile = load_profile(path)
    figures = [profile.bandwidth_gb_per_s, profile.fp16_tflops, profile.int8_tops, profile.tdp_w]
    for source in [profile.memory.source, profile.memory.usable_source, *(figure.source for figure in figures)]:
        assert len(source.split()) >= 5, f"{source!r} names no source"
    if profile.backend != "cpu":  # the cpu profile is assumptions and the operating system's own figures
        assert "https://" in profile.memory.source
        assert "https://" in profile.bandwidth_gb_per_s.source
        assert profile.detect
        assert profile.capability
    assert profile.bandwidth_gb_per_s.value
    assert profile.fp16_tflops.value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_unknown_figures_say_so(path: Path) -> None:
    profile = load_profile(path)
    for figure in (profile.int8_tops, profile.tdp_w):
        if figure.value is None:
            assert "no" in figure.source.lower().split() or "not" in figure.source.lower().split()


@pytest.mark.parametrize(
    ("name", "bandwidth", "fp16", "int8"),
    [
        ("a100-40gb", 1555, 312, 624),
        ("a100-80gb", 2039, 312, 624),
        ("rtx4090", 1008, 165.2, 660.6),
        ("rtx3090", 936, 71, 284),
        ("m2-pro", 200, 6.8, None),
        ("m2-max", 400, 13.6, None),
        ("m2-ultra", 800, 27.2, None),
    ],
)
def test_vendor_figures(name: str, bandwidth: float, fp16: float, int8: float | None) -> None:
    profile = load_profile(PROFILES / f"{name}.yaml")
    assert profile.bandwidth_gb_per_s.value == bandwidth
    assert profile.fp16_tflops.value == fp16
    assert profile.int8_tops.value == int8


def test_default_memory_is_the_first_size() -> None:
    profile = load_profile(PROFILES / "m2-max.yaml")
    assert profile.memory.sizes_gib == (32, 64, 96)
    assert profile.memory_bytes == 32 * GIB


def test_small_macs_give_metal_a_smaller_share() -> None:
    profile = load_profile(PROFILES / "m2-max.yaml")
    # Metal reports 21,845.34 MB of 32 GB and 48 GB of 64 GB as recommendedMaxWorkingSetSize.
    assert profile.usable_bytes <= 21_845.34 * 1024**2
    assert profile.with_memory(64).usable_bytes == 48 * GIB
    assert profile.usable_bytes / profile.memory_bytes == pytest.approx(0.66)


def test_another_size_is_chosen_and_an_unsold_one_refused() -> None:
    profile = load_profile(PROFILES / "m2-ultra.yaml")
    assert profile.with_memory(192).memory_bytes == 192 * GIB
    with pytest.raises(WorkbenchError, match="64, 128, 192 GiB of memory, not 100"):
        profile.with_memory(100)


def test_cpu_has_this_machines_memory() -> None:
    profile = load_profile(PROFILES / "cpu.yaml")
    assert profile.memory_bytes == pytest.approx(psutil.virtual_memory().total, rel=1e-6)
    with pytest.raises(WorkbenchError, match="what it has"):
        profile.with_memory(64)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    content = document()
    content["backend"] = "rocm"
    content["colour"] = "green"
    del content["memory"]["source"]
    content["bandwidth_gb_per_s"]["value"] = -1
    content["name"] = "other"
    content["chosen_gib"] = 48
    with pytest.raises(ConfigError) as caught:
        load_profile(write(tmp_path, content))
    keys = {fault.split(":")[0] for fault in caught.value.faults}
    assert keys == {"backend", "colour", "memory.source", "bandwidth_gb_per_s.value", "name", "chosen_gib"}
    assert "6 faults" in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rtx4090.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_profile(path)


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_profile(tmp_path / "none.yaml")


@settings(deadline=None)
@given(value=st.floats(max_value=0) | st.sampled_from([float("inf"), float("nan")]))
def test_no_figure_is_zero_negative_or_endless(value: float) -> None:
    content = document()
    content["bandwidth_gb_per_s"]["value"] = value
    with pytest.raises(ValueError, match="bandwidth_gb_per_s"):
        HardwareProfile.model_validate(content)


@settings(deadline=None)
@given(size=st.floats(min_value=0.5, max_value=4096), share=st.floats(min_value=0.01, max_value=1))
def test_usable_never_exceeds_the_memory(size: float, share: float) -> None:
    content = document()
    content["memory"] |= {"sizes_gib": [size], "usable_share": share}
    profile = HardwareProfile.model_validate(content)
    assert 0 < profile.usable_bytes <= profile.memory_bytes
