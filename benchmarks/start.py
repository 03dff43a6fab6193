"""`dlx --help` and `dlx inspect`, whole processes, against `python -c "import torch"`; and the trace alone.

Bytecode is kept, as an installed package has it. Wall seconds, and seconds of the processor, which a machine that has
other work to do disturbs less.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from common import ROOT, interleaved, publish, table

from dlx.graph import trace
from dlx.spec import load

SPEC = str(ROOT / "specs/cs231n/resnet152.yaml")
DLX = [sys.executable, "-m", "dlx"]
SPECS = {"three layers": "udl/shallow-1-3-1", "resnet152": "cs231n/resnet152", "resnet1001": "udl/resnet1001"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Processes:
    """Runs whole processes; keeps their seconds of the processor by name."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}

    def seconds(self, name: str, command: Sequence[str]) -> float:
        """Wall seconds of a process that succeeds."""
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        self.cpu.setdefault(name, []).append(used.ru_utime + used.ru_stime)
        return wall


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
        **{f"dlx inspect {name}": [*DLX, "inspect", f"specs/{path}.yaml"] for name, path in SPECS.items()},
        "dlx inspect resnet152 --json": [*DLX, "inspect", SPEC, "--json"],
    }
    processes = Processes()
    jobs = {name: (lambda n=name, c=command: processes.seconds(n, c)) for name, command in commands.items()}
    rounds = 9
    times = interleaved(jobs, rounds)
    inside = tracing()
    publish(
        "start",
        "Start-up: whole processes against importing torch",
        [
            table(times, "import torch"),
            "Seconds of the processor:",
            table({name: cpu[-rounds:] for name, cpu in processes.cpu.items()}, "import torch"),
            f"Tracing in process: median {1e3 * statistics.median(inside):.1f} ms, first {1e3 * inside[0]:.1f} ms.",
        ],
    )


if __name__ == "__main__":
    main()
