"""What several tests share."""

from __future__ import annotations

import gc
import os
import signal
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import settings
from order import unit_of

# before torch is imported: idle threads sleep soon, for tests run beside each other
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
if "PYTEST_XDIST_WORKER" in os.environ:  # and those of several processes do not wait for each other's
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# what a training takes where the spec leaves it open is not theirs to say
os.environ.setdefault("DLX_THREADS", str(len(os.sched_getaffinity(0))))

# how long an example takes is the machine's affair
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# tests keep all cores busy, which would leave a mirror of the lowest priority no time
os.environ["DLX_MIRROR_PRIORITY"] = "normal"
os.environ["DLX_MIRROR_IDLE"] = "0"  # a mirror of its own for each training
os.environ["DLX_MIRROR_FIGURES"] = "none"  # tests of pictures ask for them


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory) -> None:
    """What is kept to be used again is kept for these tests alone."""
    os.environ["DLX_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_ends_commands() -> None:
    """Undo that Ctrl-C is ignored, as it is behind `make test &`: commands would inherit that and go on for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _no_waits_for_the_disk():
    """Let no file wait for the disk here: a process that is killed loses nothing by it, only a power cut would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that does not travel with the project; without it, the test is skipped."""
    folder = Path(os.environ.get("DLX_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}: set DLX_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """An SQLite store of MLflow with its tables, to copy: making them takes seconds."""
    from dlx.track import store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.connect(f"sqlite:///{path}")._tracking_client.store.engine.dispose()
    return path


@pytest.fixture
def copied_trainings(monkeypatch) -> None:
    """Let the trainings of `dlx prove-resume` be copies of one process: none of them imports torch."""
    import commands

    def started(runs: Path, *more: str) -> commands.Started:
        return commands.started("train", *more, "--runs", runs, "--json", cwd=Path.cwd())

    monkeypatch.setattr("dlx.trained.prove_resume.started", started)


@pytest.fixture
def copied_workers(monkeypatch) -> list[int]:
    """Let the workers of sweeps be copies of one process; their process ids, as they are started."""
    import commands

    started: list[int] = []

    def start_worker(pack: int, log, environment) -> commands.Started:
        module = "dlx.sweeps.workers.worker_main"
        worker = commands.piped(pack, module=module, log=log, env=environment)
        started.append(worker.pid)
        return worker

    monkeypatch.setattr("dlx.sweeps.workers.process_pool.start_worker", start_worker)
    return started


@pytest.fixture
def copied_mirrors(monkeypatch) -> None:
    """Let the mirrors that a test or its commands start be copies of one process, which has imported MLflow."""
    import commands

    monkeypatch.setattr("dlx.track.mirror.subprocess", commands.mirrors_of())
    monkeypatch.setattr(commands, "mirrors_are_copies", True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let each process take whole files, where several share the tests.

    Marks of groups come to nothing with pytest 9.2 and pytest-xdist 3.8, and nothing says so (pytest-xdist#1386).
    """
    if config.getvalue("dist") not in {"loadfile", "loadgroup"}:
        return None
    from xdist.scheduler import LoadFileScheduling

    class Files(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    return Files(config, log)


gc.disable()  # while thousands of tests are collected, none of which is garbage


def pytest_collection_finish() -> None:
    """Spare the garbage collector the tests, which stay to the end."""
    gc.collect()
    gc.freeze()
    gc.enable()


MISSING = ("could not import", "no chromium")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail a test that skips for a missing package or browser in continuous integration, which installs them."""
    report = yield
    if report.skipped and os.environ.get("CI") and any(word in str(report.longrepr) for word in MISSING):
        report.outcome = "failed"
    return report
