"""`dlx --help` and `dlx inspect`, whole processes, against `python -c "import torch"`; and the trace alone."""

from __future__ import annotations

import statistics
import sys
import time

from common import ROOT, interleaved, process_seconds, publish, table

from dlx.graph import trace
from dlx.spec import load

SPEC = str(ROOT / "specs/cs231n/resnet152.yaml")
DLX = [sys.executable, "-m", "dlx"]


def tracing(rounds: int = 30) -> list[float]:
    """Seconds of one trace of the 152-layer network, in process."""
    experiment = load(SPEC)
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        graph = trace(experiment)
        seconds.append(time.perf_counter() - started)
    assert graph.params == 60_192_808
    return seconds


def main() -> None:
    """Time the commands in turn."""
    commands = {
        "import torch": [sys.executable, "-c", "import torch"],
        "dlx --help": [*DLX, "--help"],
        "dlx inspect resnet152": [*DLX, "inspect", SPEC],
        "dlx inspect resnet152 --json": [*DLX, "inspect", SPEC, "--json"],
    }
    jobs = {name: (lambda command=command: process_seconds(command)) for name, command in commands.items()}
    times = interleaved(jobs, rounds=9)
    inside = tracing()
    publish(
        "start",
        "Start-up: whole processes against importing torch",
        [
            table(times, "import torch"),
            f"Tracing in process: median {1e3 * statistics.median(inside):.1f} ms, first {1e3 * inside[0]:.1f} ms.",
        ],
    )


if __name__ == "__main__":
    main()
