"""What systems differ in: with the modules and names of POSIX hidden, dlx imports, plans and trains."""

import subprocess
import sys
import threading

import pytest
import torch

from dlx.errors import DlxError
from dlx.training import device
from dlx.utils import system

HIDDEN = """
import importlib.util, os, signal, subprocess, sys, psutil
for name in ("sched_getaffinity", "sched_setscheduler", "sched_param", "SCHED_IDLE", "SCHED_OTHER", "SCHED_BATCH",
             "fork", "nice", "setpriority", "getpriority", "killpg", "setsid", "setpgid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "setitimer", "ITIMER_REAL", "alarm"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("fcntl", "pwd", "grp", "termios", "resource", "tty", "pty"):
    sys.modules[name] = None
"""
WALK = """
import importlib, pkgutil, dlx
for found in pkgutil.walk_packages(dlx.__path__, "dlx."):
    if "__main__" not in found.name and "worker_main" not in found.name:
        importlib.import_module(found.name)
print("imported")
"""
TRAIN = """
from pathlib import Path
import dlx.spec, dlx.experiment.runner as runner
from dlx.spec import load
from dlx.training import device
from dlx.utils import system
Path("s.yaml").write_text('''
dlx: 1
name: elsewhere
data: {synthetic: {shape: [4], classes: 2, train: 40, valid: 10}}
network: {layers: [{linear: 2}]}
objective: classification
train: {steps: 5, batch_size: 10}
track: {mlflow: false}
''')
assert system.cores() == os.cpu_count()
result = runner.run(load("s.yaml"), Path("runs")).results[0]
assert result.status == "finished", result
with system.folder_lock(Path("runs")):
    assert (Path("runs") / system.LOCK).exists()
print("finished")
"""


def python(code, folder):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_without_posix_all_of_dlx_imports_and_a_spec_trains(tmp_path):
    """The broken twin: a module that needs `fcntl` at its import is found."""
    found = python(HIDDEN + WALK + TRAIN, tmp_path)
    assert found.stdout.split() == ["imported", "finished"], found.stderr[-2000:]
    assert python(HIDDEN + "import fcntl", tmp_path).returncode == 1


def test_one_at_a_time_holds_the_lock_of_a_folder(tmp_path):
    order = []

    def other():
        with system.folder_lock(tmp_path):
            order.append("second")

    with system.folder_lock(tmp_path):
        waiting = threading.Thread(target=other)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


# --- the GPU of a Mac -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "why"), [(False, "was built without Metal"), (True, "finds no GPU of Apple's here")]
)
def test_mps_is_refused_where_torch_has_none(monkeypatch, built, why):
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: built)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DlxError) as error:
        device.pick("mps")

    assert str(error.value.problems[0].message) == f"asked for mps, and torch {torch.__version__} {why}"
    assert error.value.problems[0].hint == "Use `device: auto` or `device: cpu`."


def test_mps_is_taken_where_torch_has_it_but_not_by_auto(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    assert device.pick("mps").type == "mps"
    assert device.pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_on_mps_metrics_are_summed_on_the_host_and_a_note_says_that_it_is_untried():
    """`.cpu()` is asked of every output and field: there is no float64 on mps."""
    from types import SimpleNamespace

    from dlx.data.batch import ONE_EACH, Batch
    from dlx.training.compute import Compute

    class OnDevice:
        def cpu(self):
            return "on the host"

    compute = SimpleNamespace(device=torch.device("mps"))
    batch = Batch({"input": OnDevice(), "target": OnDevice()}, {}, ONE_EACH)
    outputs, moved = Compute.measurable(compute, {"a": OnDevice()}, batch)
    assert (outputs, set(moved.fields.values())) == ({"a": "on the host"}, {"on the host"})
    assert Compute.measurable(SimpleNamespace(device=torch.device("cpu")), 1, batch) == (1, batch)
    (note,) = Compute._about_device(compute)
    assert note == "dlx is untried on mps: hold the first losses against those of `device: cpu`."
