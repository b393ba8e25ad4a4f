"""Meters against real processes; and, where this machine lacks the hardware, against stand-ins that say so.

``FakeNvml`` speaks the functions of pynvml that the meters call; the RAPL folder is laid out as Linux lays out sysfs.
"""

import subprocess
import sys
from types import SimpleNamespace

import pytest

import workbench.meters
from workbench import meter_watch, plugins
from workbench.meter_watch import MeterWatch, open_meters
from workbench.meters import nvml, rapl
from workbench.meters.footprint import largest
from workbench.meters.nvml import NvmlMemoryMeter
from workbench.meters.nvml_energy import NvmlEnergyMeter
from workbench.meters.rapl import RaplMeter
from workbench.meters.rss import ResidentMeter, high_water_bytes

HELD = 200 << 20
HOLD = f"import sys, time; held = bytearray({HELD}); print('held', flush=True); sys.stdin.read()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@pytest.fixture
def process():
    started = []

    def start(code):
        one = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(one)
        assert one.stdout.readline() == "held\n"
        return one.pid

    yield start
    for one in started:
        one.stdin.close()
        one.wait(timeout=20)


@pytest.mark.parametrize("code", [HOLD, CHILD], ids=["itself", "its child"])
def test_resident_memory_of_a_tree_of_processes(process, code):
    pid = process(code)
    assert HELD < ResidentMeter.opened(pid).read() < HELD + (100 << 20)


def test_a_process_that_is_gone_has_none():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert ResidentMeter.opened(gone.pid) is None
    assert high_water_bytes(gone.pid) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
def test_the_kernels_high_water_mark(process):
    pid = process(HOLD.replace("print(", "del held; print("))
    assert high_water_bytes(pid) > HELD > ResidentMeter.opened(pid).read()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux keeps the peak")
def test_a_peak_between_two_samples_is_not_missed(process, monkeypatch):
    monkeypatch.setattr(meter_watch, "SAMPLE_S", 60.0)
    pid = process(f"held = bytearray({HELD}); del held; print('held', flush=True); import sys; sys.stdin.readline()")
    watch = MeterWatch(pid, "cpu")
    watch.begin()
    assert watch.end().memory_bytes["rss"] > HELD
    assert watch.stop()["rss"] > HELD
    assert watch.scopes["rss"] == "resident set of the engine's process"


def test_every_meter_can_be_asked_for_on_this_machine(process):
    pid = process(HOLD)
    names = plugins.member_names(workbench.meters)
    assert names == ["footprint", "nvml", "nvml_energy", "powermetrics", "rapl", "rss"]
    for name in names:
        kind = plugins.find_member(workbench.meters, name, "METER")
        assert kind.name == name
        assert kind.quantity in ("memory", "energy")
        meter = kind.opened(pid)  # None where the machine has none: never an error
        if meter is not None:
            assert meter.read() >= 0
            meter.close()
    assert "rss" in [meter.name for meter in open_meters(pid, "cuda")]


class FakeNvml:
    """One card of pynvml: two processes on it, 250 J used so far, 5 more at each look."""

    class NVMLError(Exception):
        pass

    def __init__(self, pid, hidden=False, counter=True):
        self._pid, self._hidden, self._counter = pid, hidden, counter
        self.energy_mj, self.used, self.open, self.asked = 250_000, 3 << 30, 0, None

    def nvmlInit(self):
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, index):
        if index > 1:
            raise self.NVMLError("invalid argument")
        self.asked = index
        return "card"

    def nvmlDeviceGetHandleByUUID(self, uuid):
        self.asked = uuid
        return "card"

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        assert handle == "card"
        if self._hidden:
            return []
        own, other = SimpleNamespace(pid=self._pid, usedGpuMemory=7 << 30), SimpleNamespace(pid=1, usedGpuMemory=9)
        return [own, other]

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(used=self.used)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if not self._counter:
            raise self.NVMLError("not supported")
        self.energy_mj += 5000
        return self.energy_mj


@pytest.fixture
def card(monkeypatch):
    def put(**how):
        fake = FakeNvml(4711, **how)
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        return fake

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return put


def test_the_driver_tells_a_processs_memory(card):
    fake = card()
    meter = NvmlMemoryMeter.opened(4711)
    assert meter.read() == 7 << 30
    meter.close()
    assert fake.open == 0


def test_in_a_container_that_hides_processes_the_cards_growth_stands_in(card):
    fake = card(hidden=True)
    meter = NvmlMemoryMeter.opened(4711)
    assert meter.read() is None
    fake.used += 5 << 30
    assert meter.read() == 5 << 30
    assert "whole GPU" in meter.scope


def test_before_and_after_its_life_a_shown_process_is_still_said_to_be_shown(card, monkeypatch):
    fake = card(hidden=True)
    meter = NvmlMemoryMeter.opened(4711)
    assert meter.read() is None
    shown = card()
    monkeypatch.setattr(fake, "nvmlDeviceGetComputeRunningProcesses", shown.nvmlDeviceGetComputeRunningProcesses)
    assert meter.read() == 7 << 30
    monkeypatch.setattr(fake, "nvmlDeviceGetComputeRunningProcesses", lambda handle: [])
    fake.used += 5 << 30
    assert meter.read() is None
    assert meter.scope == NvmlMemoryMeter.scope


@pytest.mark.parametrize(("visible", "asked"), [("1,0", 1), ("GPU-8a", "GPU-8a"), ("", 0)])
def test_the_card_that_the_process_sees_is_asked(card, monkeypatch, visible, asked):
    fake = card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    NvmlMemoryMeter.opened(4711)
    assert fake.asked == asked


def test_no_such_card(card, monkeypatch):
    fake = card()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert NvmlMemoryMeter.opened(4711) is None
    assert fake.open == 0


def test_joules_of_the_card(card):
    card()
    meter = NvmlEnergyMeter.opened(4711)
    before = meter.read()
    assert meter.read() - before == pytest.approx(5.0)


def test_a_card_without_a_counter_has_no_energy_meter(card):
    fake = card(counter=False)
    assert NvmlEnergyMeter.opened(4711) is None
    assert fake.open == 0


def test_no_library_no_meter(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.open_card() is None


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """Two packages, one with a memory zone and a core zone, and the board's zone; as Linux lays them out."""
    monkeypatch.setattr(rapl, "POWERCAP", tmp_path)
    zones = {"0": "package-0", "0:0": "core", "0:1": "dram", "1": "package-1", "2": "psys"}
    for place, name in zones.items():
        folder = tmp_path / f"intel-rapl:{place}"
        folder.mkdir()
        (folder / "name").write_text(f"{name}\n")
        (folder / "max_energy_range_uj").write_text("1000000000\n")
        (folder / "energy_uj").write_text("900000000\n")
    (tmp_path / "intel-rapl").mkdir()
    return lambda place, joules: (tmp_path / f"intel-rapl:{place}" / "energy_uj").write_text(f"{joules * 1000000}\n")


def test_packages_and_memory_are_added_and_nothing_twice(powercap):
    meter = RaplMeter.opened(1)
    before = meter.read()
    for place in ("0", "0:0", "0:1", "1", "2"):
        powercap(place, 910)
    assert meter.read() - before == pytest.approx(30)


def test_a_counter_that_begins_anew_goes_on(powercap):
    meter = RaplMeter.opened(1)
    before = meter.read()
    powercap("0", 20)  # 100 J to the end of its range and 20 beyond
    assert meter.read() - before == pytest.approx(120)
    powercap("0", 10)
    assert meter.read() - before == pytest.approx(1110)


def test_counters_that_may_not_be_read_or_are_not_there(powercap, tmp_path, monkeypatch):
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert RaplMeter.opened(1) is None
    monkeypatch.setattr(rapl, "POWERCAP", tmp_path / "absent")
    assert RaplMeter.opened(1) is None


def test_what_macs_tool_prints():
    printed = "python3 [123]: 64-bit    Footprint: 1.2 GB\n phys_footprint: 1229 MB\n phys_footprint_peak: 1.5 GB\n"
    assert largest(printed) == 1.5 * (1 << 30)
    assert largest("no such process") is None


def test_energy_of_a_piece_of_work_is_the_difference_of_two_readings(card, process):
    card()
    pid = process(HOLD)
    watch = MeterWatch(pid, "cuda")
    watch.begin()
    assert watch.end().energy_j["nvml_energy"] == pytest.approx(5.0)
    watch.stop()
