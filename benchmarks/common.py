"""Shared by the benchmarks: the machine in words, medians, and results as a dated page beside this file."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent


def machine() -> str:
    """Processor, cores and versions, in a line."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    found = {name: _version(name) for name in ("torch", "mlflow", "lightning", "keras", "skorch")}
    packages = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def has_arrived(run: Path) -> bool:
    """Whether the mirror of a run that has ended has delivered all of it to MLflow; its pictures come after that."""
    try:
        return bool(json.loads((run / "mlflow.json").read_text())["delivered_by"])
    except (OSError, ValueError, LookupError):
        return False


def process_seconds(command: Sequence[str]) -> float:
    """Wall seconds of a whole process that succeeds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def loop(name: str, threads: int, *options: str, figure: str = "wall") -> float:
    """A figure of a hand-written loop of `loops/`, in a process of its own: seconds by default."""
    command = [sys.executable, str(HERE / "loops" / f"{name}.py"), "--threads", str(threads), *options]
    completed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return float(json.loads(completed.stdout.splitlines()[-1])[figure])


def best_way(
    name: str, *options: str, formats: Sequence[str] = ("",), counts: Sequence[int] | None = None
) -> tuple[int, tuple[str, ...]]:
    """Threads and options by which a loop is quickest here: one thread or all, and each of some memory formats."""
    counts = counts or sorted({1, len(os.sched_getaffinity(0))})
    ways = [(n, (*([form] if form else []), *options)) for n in counts for form in formats]
    return min(ways, key=lambda way: loop(name, way[0], *way[1], figure="step"))


def interleaved(jobs: dict[str, Callable[[], float]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Each job once a round, in turn, so that a machine that drifts drifts for all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(warm_up + rounds):
        for name, job in jobs.items():
            seconds = job()
            if turn >= warm_up:
                times[name].append(seconds)
    return times


def ratios(times: dict[str, list[float]], base: str) -> dict[str, float]:
    """The median over the rounds of each job's time against the base's in the same round."""
    return {
        name: statistics.median(a / b for a, b in zip(values, times[base], strict=True))
        for name, values in times.items()
    }


def table(times: dict[str, list[float]], base: str, unit: float = 1.0, label: str = "s") -> str:
    """A Markdown table: median, least, most and ratio."""
    against = ratios(times, base)
    rows = [f"| what | median {label} | min | max | of {base} |", "|---|---|---|---|---|"]
    for name, values in times.items():
        scaled = [v / unit for v in values]
        middle = statistics.median(scaled)
        rows.append(f"| {name} | {middle:.3g} | {min(scaled):.3g} | {max(scaled):.3g} | {against[name]:.3f} |")
    return "\n".join(rows)


def publish(name: str, title: str, sections: Sequence[str]) -> None:
    """Print the page, and keep it as benchmarks/results/<date>-<name>.md."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    command = " ".join(["python", *(str(Path(a).name) if i == 0 else a for i, a in enumerate(sys.argv))])
    page = "\n\n".join(
        [f"# {title}", f"{today}. {machine()}.", f"`{command.replace('python ', 'python benchmarks/')}`", *sections]
    )
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{today}-{name}.md").write_text(page + "\n")
    sys.stdout.write(page + "\n")
