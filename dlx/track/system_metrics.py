"""Load of the machine beside a training, as MLflow's own monitors measure it: `system.jsonl`, a line a sample.

The mirror writes the lines and delivers them to MLflow, where they are the system metrics of the run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, cast

from filelock import FileLock

from ..errors import DlxError
from ..runs.folder import SYSTEM_METRICS as FILE
from ..runs.folder import RunFolder
from ..runs.records import last_line
from ..utils import files, json_documents
from . import content, store

LOCK = ".system.lock"
PREFIX = "system/"
"""First part of the names, by which MLflow's pages find them."""
INTERVAL, SAMPLES = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"
"""MLflow's environment variables: seconds from one measurement to the next, and how many make a sample."""
SECONDS, SHORTEST = 10.0, 0.1
"""From one measurement to the next, and the least that psutil advises for the use of the processor."""
LOOK = 0.1
GPU = "The load of the GPU is not measured: `pip install nvidia-ml-py` brings what that takes."

Clock = Callable[[], float]


class Monitor(Protocol):
    """One of MLflow's monitors."""

    def collect_metrics(self) -> None: ...

    def aggregate_metrics(self) -> dict[str, float]: ...

    def clear_metrics(self) -> None: ...


class SystemMetrics:
    """The machine's processor, memory, disk, network and GPUs, measured for all runs that one process mirrors.

    Means over `MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING` measurements, one each 10 s unless
    `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` says otherwise. Steps count samples, and go on where a run goes on. A
    training that ends before the first sample gets one at its end.
    """

    def __init__(self, folders: Sequence[Path], clock: Clock = time.monotonic) -> None:
        self.runs = [RunFolder(folder) for folder in folders]
        self.clock = clock
        self.interval, self.samples = seconds_of(os.environ.get(INTERVAL)), count_of(os.environ.get(SAMPLES))
        self.monitors: list[Monitor] = []
        self.measured = self.written = 0
        self.began = 0.0
        """When the monitors began: what the processor did is counted from there on."""
        self.due = clock() + self.interval
        self.code: int | None = None
        """Exit status once all runs have ended; None while more may come."""

    def poll(self, gone: bool) -> float:
        """Measure where it is time, and return the seconds until the next call; `gone` if training has ended."""
        going = [] if gone else [run for run in self.runs if run.end() is None]
        if not self.monitors:
            self.monitors, self.began = monitors(), self.clock()
        if self.clock() < self.began + SHORTEST:  # importing them may have taken longer than the interval
            return LOOK
        if self.clock() >= self.due or (not going and not self.written):
            self.due = self.clock() + self.interval
            for monitor in self.monitors:
                monitor.collect_metrics()
            self.measured += 1
            if self.measured >= self.samples or not going:
                self._write(going or self.runs)
        if not going:
            self.code = 0
        return LOOK

    def _write(self, runs: Sequence[RunFolder]) -> None:
        """Append the means of what was measured; what cannot be written goes to the log."""
        found = {name: value for monitor in self.monitors for name, value in monitor.aggregate_metrics().items()}
        for monitor in self.monitors:
            monitor.clear_metrics()
        self.measured, self.written = 0, self.written + 1
        for run in runs:
            try:
                append(run, found)
            except (DlxError, OSError) as error:
                print(
                    f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {run.dir / FILE} cannot be written: {error}", flush=True
                )


def monitors() -> list[Monitor]:
    """Return MLflow's monitors; that of a GPU where there is one, with the library that asks it."""
    import psutil

    store.quiet()
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
    from mlflow.system_metrics.metrics.rocm_monitor import ROCMMonitor

    psutil.cpu_percent()  # a use since the last call, which the first one has not
    found: list[Any] = [CPUMonitor, DiskMonitor, NetworkMonitor]
    begun = [cast("Monitor", kind()) for kind in found]
    gpus: list[Any] = [GPUMonitor, ROCMMonitor]
    for kind in gpus:
        with suppress(Exception):  # each raises what it likes where its library or its device is missing
            return [*begun, cast("Monitor", kind())]
    return begun


def append(run: RunFolder, metrics: Mapping[str, float]) -> None:
    """Append a sample to a run, behind the last one that is whole."""
    path = run.dir / FILE
    with FileLock(run.dir / LOCK):
        line, end = last_line(path) if path.exists() else (b"", 0)
        step = _parse(line, path)[1] + 1 if line else 0
        sample = {"step": step, "time": time.time(), "metrics": metrics}
        with path.open("ab", buffering=0) as file:
            file.truncate(end)
            file.write(json.dumps(sample, separators=(",", ":")).encode() + b"\n")


def points_from(run: RunFolder, offset: int) -> Iterator[tuple[list[content.Point], int]]:
    """Yield the samples of a run from an offset in bytes on as points of MLflow, each with the offset of its end."""
    path = run.dir / FILE
    if not os.path.lexists(path):
        return
    with files.regular(path).open("rb") as file:
        file.seek(offset)
        for line in file:
            offset += len(line)
            if line.endswith(b"\n"):
                yield points_of(line, path), offset


def points_of(line: bytes, path: Path) -> list[content.Point]:
    """Return the points of a line. DlxError where it is no sample."""
    when, step, metrics = _parse(line, path)
    return [(content.name(f"{PREFIX}{key}"), value, when, step) for key, value in metrics.items()]


def _parse(line: bytes, path: Path) -> tuple[int, int, dict[str, float]]:
    """Return milliseconds of Unix time, step and metrics of a line."""
    try:
        sample: dict[str, Any] = json_documents.loads(line)
        metrics = {str(key): float(value) for key, value in sample["metrics"].items()}
        return content.milliseconds(sample["time"]), int(sample["step"]), metrics
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise DlxError(f"{path} is damaged: a line is no sample", hint=json_documents.ALTERED) from error


def size(run: RunFolder) -> int:
    """Return the bytes of the samples of a run."""
    path = run.dir / FILE
    return path.stat().st_size if path.exists() else 0


def seconds_of(text: str | None) -> float:
    """Return the seconds that a variable says, if they are a positive number; else MLflow's 10."""
    with suppress(ValueError):
        if text and (asked := float(text)) > 0:
            return asked
    return SECONDS


def count_of(text: str | None) -> int:
    """Return the count that a variable says, if it is one; else MLflow's 1."""
    return int(text) if text and text.isdigit() and int(text) else 1


def notes(device: str) -> list[str]:
    """Return what the samples beside a training on a kind of device lack, with the way to get it."""
    return [GPU] if device == "cuda" and find_spec("pynvml") is None else []
