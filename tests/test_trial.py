"""Trials run real child processes; the engine in them is the mock runtime, which can be told to fail."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from workbench.artifact import Manifest, seal
from workbench.engine_process import EngineProcess
from workbench.errors import WorkbenchError
from workbench.trial import TrialTask, run_trial


@pytest.fixture
def make_artifact_folder(tmp_path):
    def make(**settings):
        (tmp_path / "mock.json").write_text(json.dumps(settings))
        manifest = Manifest("m", "m", "gpt_bigcode", "nano", "mock", {}, {}, (), 1, 1, 8.0, {}, "key")
        seal(tmp_path, manifest)
        return tmp_path

    return make


def task(folder, **changes):
    values = {"artifact": str(folder), "runtime": "mock", "device": "cpu", "context": 64, "threads": 1,
              "prompts": ["a b", "c"], "stop": ["```"], "max_new_tokens": 8, "timed_prompt": "a b c"}  # fmt: skip
    return TrialTask(**{**values, **changes})


def test_answers_timings_and_memory_come_back(make_artifact_folder):
    heard = []
    result = run_trial(task(make_artifact_folder(answer="SELECT 2")), lambda done, total: heard.append((done, total)))
    assert result.answers == ["SELECT 2", "SELECT 2"]
    assert result.tokens == [list(b"SELECT 2"), list(b"SELECT 2")]
    assert heard == [(2, 2)]
    assert len(result.timings) == 7
    assert result.peak_rss_bytes > 5e6
    assert "made up" in result.notes[0]


def test_a_child_that_never_timed_has_no_peak(make_artifact_folder, monkeypatch):
    events = EngineProcess.events
    monkeypatch.setattr(EngineProcess, "events", lambda self: (one for one in events(self) if one["event"] != "timed"))
    result = run_trial(task(make_artifact_folder(answer="SELECT 2")))
    assert result.answers == ["SELECT 2", "SELECT 2"]
    assert (result.peak_rss_bytes, result.device_peak_bytes) == (None, None)


def test_a_prompt_that_is_too_long_ends_nothing(make_artifact_folder):
    result = run_trial(task(make_artifact_folder(answer="SELECT 2", holds=3), timed_prompt=None))
    assert (result.answers, result.unfinished) == (["", "SELECT 2"], 0)
    assert result.unasked == ["too long: 1 tokens more than the context holds", ""]
    assert "1 of 2 questions are too long" in result.notes[-1]


def test_an_unrepresentative_engine_is_not_timed(make_artifact_folder):
    result = run_trial(task(make_artifact_folder(representative=False)))
    assert result.timings == []
    assert not result.representative


def test_a_crashing_engine_is_one_sentence(make_artifact_folder):
    with pytest.raises(WorkbenchError, match=r"died.*exit 9"):
        run_trial(task(make_artifact_folder(crash=True)))


def test_a_refusing_engine_says_why(make_artifact_folder):
    with pytest.raises(WorkbenchError, match="no such tensor"):
        run_trial(task(make_artifact_folder(refuse="no such tensor")))


def test_the_child_ends_with_its_parent(make_artifact_folder):
    folder = make_artifact_folder(sleep_s=60)
    child = subprocess.Popen([sys.executable, "-m", "workbench.trial"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(json.dumps(task(folder).__dict__).encode() + b"\n")
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["event"] == "timed"
    child.stdin.close()  # what the kernel does when the parent is killed
    assert child.wait(timeout=10) == 1


def test_an_interrupt_leaves_no_child_behind(make_artifact_folder):
    folder = make_artifact_folder(sleep_s=60)
    code = f"from workbench.trial import *; run_trial(TrialTask(**{task(folder).__dict__!r}))"
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731 - a background shell ignores it
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, preexec_fn=heed)
    import psutil

    deadline = time.monotonic() + 20
    while not (children := psutil.Process(parent.pid).children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    threading.Timer(0, os.kill, (parent.pid, 2)).start()
    parent.wait(timeout=20)
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
