"""macOS's energy meter, by figures of published lists and a stand-in for the tool: this is no Mac."""

import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from powermetrics_stand_in import ENERGIES_MJ, listed

from workbench.meter_watch import MeterWatch
from workbench.meters import powermetrics
from workbench.meters.powermetrics import PowermetricsMeter, Span, energy

STAND_IN = Path(__file__).with_name("powermetrics_stand_in.py")
LIST_J = sum(ENERGIES_MJ.values()) * 1e-3
M1 = 2019178750, {"cpu": 89, "gpu": 31, "ane": 0}, 59.4301  # ns, mJ, combined mW; graelo/pumas, tests/data
M2_ULTRA = 1023721416, {"cpu": 855, "gpu": 72607, "ane": 0}, 71759.8


@pytest.mark.parametrize("published", [M1, M2_ULTRA], ids=["M1", "M2 Ultra"])
@pytest.mark.parametrize("keys", [("energy", "power", "combined"), ("energy",), ("combined",)], ids=len)
def test_energy_of_published_lists_by_either_key(published, keys):
    elapsed_ns, energies_mj, combined_mw = published
    joules, seconds = energy(b"\0" + listed(elapsed_ns, energies_mj, keys))
    assert seconds == pytest.approx(elapsed_ns * 1e-9)
    assert joules == pytest.approx(sum(energies_mj.values()) * 1e-3, rel=1e-5)
    assert joules == pytest.approx(combined_mw * 1e-3 * seconds, rel=1e-5)


def test_without_one_part_the_combined_power_tells():
    two = listed(200_000_000, {"cpu": 100, "gpu": 200}, ("energy", "combined"))
    assert energy(two) == pytest.approx((0.3, 0.2))


@pytest.mark.parametrize(
    "text",
    [
        listed(200_000_000, ENERGIES_MJ, ("power",)),
        listed(200_000_000, {"cpu": 100, "gpu": 200}, ("energy",)),
        listed(200_000_000, ENERGIES_MJ).replace(b"elapsed_ns", b"elapsed"),
        listed(200_000_000, ENERGIES_MJ).replace(b">200000000<", b">0<"),
        listed(200_000_000, ENERGIES_MJ).replace(b"<key>processor", b"<key>package"),
        listed(200_000_000, ENERGIES_MJ).replace(b"<integer>100<", b"<integer>-700<"),
        listed(200_000_000, ENERGIES_MJ).replace(b"<integer>100</integer>", b"<string>100</string>"),
        listed(200_000_000, ENERGIES_MJ, ("combined",)).replace(b"<real>1505<", b"<real>nan<"),
        b"powermetrics must be invoked as the superuser\n</plist>",
    ],
)
def test_a_list_that_tells_no_energy(text):
    assert energy(text) is None


@given(st.integers(0, len(listed(200_000_000, ENERGIES_MJ)) - len("</plist>\n") - 1), st.binary(max_size=20))
def test_a_torn_list_is_none_and_never_an_error(cut, after):
    assert energy(listed(200_000_000, ENERGIES_MJ)[:cut] + after) is None


def test_a_reading_takes_its_part_of_a_list():
    span = Span(joules=3.0, seconds=0.2, until=10.0)
    assert [span.after(moment) for moment in (9.0, 9.8, 9.85, 9.9, 10.0, 11.0)] == pytest.approx(
        [3, 3, 2.25, 1.5, 0, 0]
    )


@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(1e-3, 1)), min_size=1, max_size=20), st.data())
def test_parts_of_lists_add_up_to_all(told, data):
    spans, now = [], 100.0
    for joules, seconds in told:
        now += seconds
        spans.append(Span(joules, seconds, now))
    cuts = [100.0, *sorted(data.draw(st.lists(st.floats(100.0, now), max_size=5))), now]
    used = [sum(s.after(a) for s in spans) - sum(s.after(b) for s in spans) for a, b in pairwise(cuts)]
    assert math.fsum(used) == pytest.approx(math.fsum(joules for joules, _ in told), abs=1e-6)
    assert min(used) >= -1e-9


def executable(file, body):
    file.write_text(f"#!/bin/sh\n# A stand-in, made by a test.\n{body}\n")
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Put a stand-in in the tool's place; what it gives tells the processes that it started."""
    log = tmp_path / "started"
    log.touch()

    def put(mode):
        body = f'exec {sys.executable} {STAND_IN} {mode} {log} "$@"'
        monkeypatch.setattr(powermetrics, "TOOL", executable(tmp_path / "powermetrics", body))
        return lambda: [int(pid) for pid in log.read_text().split()]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(powermetrics, "PATIENCE_S", 20.0)
    return put


@pytest.fixture
def opened():
    meters = []

    def open_one():
        meters.append(PowermetricsMeter.opened(1))
        return meters[-1]

    yield open_one
    for meter in meters:
        if meter is not None:
            meter.close()


def runs(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # an orphan may wait for its new parent
    except psutil.NoSuchProcess:
        return False


def ends(pid):
    deadline = time.monotonic() + 20
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not runs(pid)


def test_lists_add_up_and_the_tool_ends_in_order(tool, opened):
    started = tool("well")
    meter = opened()
    readings = [meter.read() for _ in range(5)]
    assert all(later > earlier >= 0 for earlier, later in pairwise(readings))
    assert meter.read_at(0.0) == pytest.approx(0, abs=1e-9)  # fewer lists came than are kept
    meter.close()
    assert meter.read() is None
    (pid,) = started()
    assert not runs(pid)
    assert meter._process.returncode == 0  # by the signal that ends it in order


def test_a_reading_lies_between_the_whole_lists_around_its_moment(tool, opened):
    tool("well")
    meter = opened()
    meter.read()
    span = meter._recent[-1]
    until_then = sum(one.joules for one in list(meter._recent) if one.until <= span.until)
    assert meter.read_at(span.until) == pytest.approx(until_then)
    between = meter.read_at(span.until - span.seconds / 2)
    assert until_then - 2 * LIST_J < between < until_then


def test_work_is_charged_from_its_beginning_to_its_end_when_the_word_comes_late(tool, monkeypatch):
    tool("well")
    watch = MeterWatch(os.getpid(), "mps")
    try:
        watch.begin()
        watch.end()
        meter = next(meter for meter in watch._energy if meter.name == "powermetrics")
        first, last = meter._recent[1].until, meter._recent[-1].until
        begun, ended = meter.read_at(first), meter.read_at(last)
        watch.begin(first)
        assert watch.end(last).energy_j["powermetrics"] == pytest.approx(ended - begun)
        assert watch.scopes["powermetrics"] == "the Mac's CPU, GPU and Neural Engine, as macOS estimates them"
    finally:
        watch.stop()


@pytest.mark.parametrize("mode", ["user", "keyless"])
def test_no_rights_or_no_such_keys_no_meter_and_nothing_left(tool, opened, mode):
    started = tool(mode)
    assert opened() is None
    assert not any(runs(pid) for pid in started())


def test_no_program_no_meter(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(powermetrics, "TOOL", str(tmp_path / "absent"))
    assert opened() is None


@pytest.mark.parametrize("mode", ["torn", "gap"])
def test_a_torn_last_list_or_one_without_energy_ends_the_readings(tool, mode):
    tool(mode)
    meter = PowermetricsMeter([powermetrics.TOOL, *powermetrics.OPTIONS])
    meter._thread.join(20)
    assert not meter._thread.is_alive()
    assert meter._joules == pytest.approx(2 * LIST_J)
    assert meter.read() is None
    meter.close()


def test_another_user_is_helped_by_a_sudo_that_asks_no_password(tool, opened, monkeypatch, tmp_path):
    started = tool("well")
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    sudo = executable(tmp_path / "sudo", 'test "$1" = -n && shift && exec "$@"')
    monkeypatch.setattr(powermetrics, "SUDO", sudo)
    meter = opened()
    assert meter.read() > 0

    def refused(process, number):
        raise PermissionError("Operation not permitted")  # root's process

    monkeypatch.setattr(subprocess.Popen, "send_signal", refused)
    meter.close()
    assert meter._process.returncode == -signal.SIGPIPE
    (pid,) = started()
    assert not runs(pid)


@pytest.mark.parametrize("sudo", ["sudo: a password is required", None])
def test_a_sudo_that_asks_or_is_not_there(tool, opened, monkeypatch, tmp_path, sudo):
    started = tool("well")
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    file = executable(tmp_path / "sudo", f"echo '{sudo}' >&2; exit 1") if sudo else str(tmp_path / "absent")
    monkeypatch.setattr(powermetrics, "SUDO", file)
    assert opened() is None
    assert started() == []


def test_a_tool_that_hangs_is_ended_by_force(tool, monkeypatch):
    tool("deaf")
    meter = PowermetricsMeter([powermetrics.TOOL, *powermetrics.OPTIONS])
    assert meter.read_at(time.monotonic() - 60) is not None
    monkeypatch.setattr(powermetrics, "PATIENCE_S", 0.3)
    while meter.read() is not None:
        pass
    meter.close()
    assert meter._process.returncode == -signal.SIGKILL


def test_the_tool_ends_when_its_owner_is_killed(tool, tmp_path):
    started = tool("well")
    code = (
        "import os, signal; from workbench.meters import powermetrics as p; os.geteuid = lambda: 0\n"
        f"p.TOOL = {powermetrics.TOOL!r}; assert p.PowermetricsMeter.opened(1)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (pid,) = started()
    assert ends(pid)
