"""A process of the lowest priority that comes to an end: raised, or replaced where that is not allowed."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from dlx.track import keeper

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_IDLE"), reason="this platform has no SCHED_IDLE")

BEGIN = (
    f"KEEPER = {keeper.__file__!r}"
    """
import os, sys, time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
about = spec_from_file_location("keeper", KEEPER)  # without the rest of dlx, which takes its time
keeper = module_from_spec(about)
about.loader.exec_module(keeper)
os.environ.pop("DLX_MIRROR_PRIORITY", None)
keeper.LOOK, keeper.STEPS = 0.05, ((0.1, 10), (1.0, 0))
home = Path(sys.argv[1])
def put(name, text):
    (home / f".{name}").write_text(str(text))
    (home / f".{name}").rename(home / name)
def is_late():
    return (home / "late").exists()
"""
)
RAISED = (
    BEGIN
    + """
def work(ends):
    put("child", os.getpid())
    while not (home / "end").exists():
        time.sleep(0.02)
    return 3
sys.exit(keeper.with_keeper(work, is_late))
"""
)
REPLACED = (
    BEGIN
    + """
keeper._raised = lambda process, nice: False  # as for a user without privileges
def work(ends):
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    put(f"at {nice}" if ends else "child", os.getpid())
    while nice:
        time.sleep(0.02)
    return 4
sys.exit(keeper.with_keeper(work, is_late))
"""
)
ORPHAN = (
    BEGIN
    + """
def work(ends):
    put("child", os.getpid())
    while not keeper.is_orphan():
        time.sleep(0.02)
    put("orphan", 1)
    return 1
sys.exit(keeper.with_keeper(work, is_late))
"""
)


def until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def begin(text, home):
    process = subprocess.Popen([sys.executable, "-c", text, home])
    until((home / "child").exists)
    return process, int((home / "child").read_text())


def policy(pid):
    return os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid)


def may_raise():
    return os.geteuid() == 0


def test_work_that_is_late_is_raised_and_lowered_again(tmp_path):
    if not may_raise():
        pytest.skip("only a privileged process may be raised")
    process, child = begin(RAISED, tmp_path)
    until(lambda: policy(child) == (os.SCHED_IDLE, 19))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert policy(process.pid) == (os.SCHED_OTHER, own)
    (tmp_path / "late").touch()
    until(lambda: policy(child) == (os.SCHED_OTHER, max(10, own)))
    until(lambda: policy(child) == (os.SCHED_OTHER, own))
    (tmp_path / "late").unlink()
    until(lambda: policy(child) == (os.SCHED_IDLE, 19))
    (tmp_path / "end").touch()
    assert process.wait(120) == 3


def test_work_that_may_not_be_raised_is_done_by_another_process_and_the_starved_one_is_gone(tmp_path):
    if os.getpriority(os.PRIO_PROCESS, 0) != 0:
        pytest.skip("this process has another niceness than most")
    process, child = begin(REPLACED, tmp_path)
    time.sleep(0.4)
    assert process.poll() is None  # it is not late yet
    (tmp_path / "late").touch()
    assert process.wait(120) == 4
    others = [int((tmp_path / name).read_text()) for name in ("at 10", "at 0")]
    assert len({process.pid, child, *others}) == 4
    assert not any(map(psutil.pid_exists, (child, *others)))


def test_work_whose_keeper_was_killed_notices(tmp_path):
    process, _ = begin(ORPHAN, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until((tmp_path / "orphan").exists)


def test_an_error_of_the_work_is_an_exit_status_and_a_traceback(tmp_path):
    text = BEGIN + "\nsys.exit(keeper.with_keeper(lambda ends: 1 // 0, is_late))\n"
    done = subprocess.run([sys.executable, "-c", text, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "ZeroDivisionError: integer division or modulo by zero",
    )


def test_who_asks_to_compete_has_no_keeper(monkeypatch):
    monkeypatch.setenv(keeper.PRIORITY, "normal")
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert keeper.with_keeper(lambda ends: 7 if not ends else 0, pytest.fail) == 7
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
