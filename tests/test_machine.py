"""What this machine is: asked without torch, and matched against profiles by the device's own name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.hardware import GIB, HardwareProfile, load_profile
from workbench.machine import Gpu, Machine, describe

PROFILES = Path(__file__).parents[1] / "hardware_profiles"
HOST = Machine(cpu="AMD EPYC", cores=2, memory_bytes=int(23.5 * GIB), system="Linux 6.1 x86_64")


def with_gpu(name: str, devices: tuple[str, ...] = ("cuda", "cpu")) -> Machine:
    gpus = (Gpu(name, 24 * GIB),)
    return Machine(HOST.cpu, HOST.cores, HOST.memory_bytes, HOST.system, gpus=gpus, devices=devices)


def apple(chip: str) -> Machine:
    return Machine(chip, 12, 64 * GIB, "Darwin 25 arm64", apple_chip=chip, devices=("mps", "cpu"))


def matching(machine: Machine) -> set[str]:
    profiles: list[HardwareProfile] = [load_profile(path) for path in PROFILES.glob("*.yaml")]
    return {profile.name for profile in profiles if machine.matches(profile)} - {"cpu"}


def test_labels() -> None:
    assert HOST.label == "AMD EPYC, 2 cores, 23 GiB"
    assert apple("Apple M2 Max").label == "Apple M2 Max, 12 cores, 64 GiB"
    assert with_gpu("NVIDIA GeForce RTX 4090").label == "NVIDIA GeForce RTX 4090, 24 GiB; AMD EPYC, 2 cores, 23 GiB"
    assert Machine("VIA", 1, GIB, "Linux", gpus=(Gpu("GB10", None),)).label == "GB10; VIA, 1 core, 1 GiB"


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        (HOST, set()),
        (with_gpu("NVIDIA A100-SXM4-40GB"), {"a100-40gb"}),
        (with_gpu("NVIDIA A100-PCIE-40GB"), {"a100-40gb"}),
        (with_gpu("A100-SXM4-40GB"), {"a100-40gb"}),  # drivers before 2021 leave the vendor out
        (with_gpu("NVIDIA A100 80GB PCIe"), {"a100-80gb"}),
        (with_gpu("NVIDIA A100-SXM4-80GB"), {"a100-80gb"}),
        (with_gpu("NVIDIA GeForce RTX 4090"), {"rtx4090"}),
        (with_gpu("NVIDIA GeForce RTX 4090 Laptop GPU"), set()),
        (with_gpu("NVIDIA GeForce RTX 4090 D"), set()),
        (with_gpu("NVIDIA GeForce RTX 3090"), {"rtx3090"}),
        (with_gpu("NVIDIA GeForce RTX 3090 Ti"), set()),
        (with_gpu("NVIDIA GeForce RTX 3090", ("cpu",)), set()),  # a GPU that torch cannot use measures nothing
        (apple("Apple M2 Pro"), {"m2-pro"}),
        (apple("Apple M2 Max"), {"m2-max"}),
        (apple("Apple M2 Ultra"), {"m2-ultra"}),
        (apple("Apple M2"), set()),
    ],
)
def test_a_machine_matches_its_own_profile_only(machine: Machine, names: set[str]) -> None:
    assert matching(machine) == names
    assert machine.matches(load_profile(PROFILES / "cpu.yaml"))


def test_describe_this_machine() -> None:
    machine = describe(quick=True)
    assert machine.cpu
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory_bytes > 0
    assert machine.devices[-1] == "cpu"
    assert machine.best_device == machine.devices[0]


def test_torch_and_the_quick_look_agree_here() -> None:
    assert describe(quick=False).devices == describe(quick=True).devices


def test_the_quick_look_loads_nothing_heavy() -> None:
    code = "import sys; from workbench.machine import describe; describe(quick=True); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        (
            'echo "NVIDIA A100-SXM4-40GB, 40960"; echo "NVIDIA, odd name, 1024"',
            (Gpu("NVIDIA A100-SXM4-40GB", 40 * GIB), Gpu("NVIDIA, odd name", GIB)),
        ),
        ('echo "NVIDIA GB10, [N/A]"', (Gpu("NVIDIA GB10", None),)),
        ('echo "No devices were found"', ()),
        ('echo "NVIDIA-SMI has failed, since it could not talk to the driver"; exit 9', ()),
    ],
)
def test_what_nvidia_smi_says(
    script: str, gpus: tuple[Gpu, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert describe(quick=True).gpus == gpus
