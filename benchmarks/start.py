"""`dlx --help`, `inspect` and `verify`, whole processes, against `python -c "import torch"`; and the trace alone.

    python benchmarks/start.py [--rounds N]

Bytecode is kept, as an installed package has it. Wall seconds, and seconds of the processor, which a machine that has
other work to do disturbs less. A table of eight rows is inspected twice: for the first time, and known.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, interleaved, publish, table

from dlx.graph import trace
from dlx.spec import load

SPEC = str(ROOT / "specs/cs231n/resnet152.yaml")
DLX = [sys.executable, "-m", "dlx"]
FIRST = "dlx inspect eight rows, for the first time"
SPECS = {"three layers": "udl/shallow-1-3-1", "resnet152": "cs231n/resnet152", "resnet1001": "udl/resnet1001"}
ROWS = """\
rooms,area,city,price
3,70,Rome,210
4,95,Oslo,350
2,45,Rome,150
5,130,Bern,520
3,80,Oslo,300
1,30,Bern,140
4,110,Rome,330
2,55,Oslo,205
"""
TABLE = """\
data: {table: {path: houses.csv, target: price, valid: 0.25}}
network: {layers: [{linear: 8}, relu, {linear: 1}]}
objective: regression
train: {epochs: 3, optimizer: {adam: 1e-2}}
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Processes:
    """Runs whole processes; keeps their seconds of the processor by name."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.cpu: dict[str, list[float]] = {}

    def seconds(self, name: str, command: Sequence[str], fresh: bool = False) -> float:
        """Wall seconds of a process that succeeds; with a `fresh` cache folder it knows nothing of earlier ones."""
        more = {"DLX_CACHE": tempfile.mkdtemp(dir=self.folder) if fresh else self.folder}
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, env=ENVIRONMENT | more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "houses.csv").write_text(ROWS)
        Path(folder, "houses.yaml").write_text(TABLE)
        rows = [*DLX, "inspect", f"{folder}/houses.yaml"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "dlx --help": [*DLX, "--help"],
            **{f"dlx inspect {name}": [*DLX, "inspect", f"specs/{path}.yaml"] for name, path in SPECS.items()},
            "dlx inspect resnet152 --json": [*DLX, "inspect", SPEC, "--json"],
            "dlx inspect resnet152 with an override": [*DLX, "inspect", SPEC, "name=other"],
            "dlx inspect eight rows": rows,
            FIRST: rows,
            "dlx verify resnet152": [*DLX, "verify", SPEC],
        }
        processes = Processes(folder)
        jobs = {
            name: (lambda n=name, c=command: processes.seconds(n, c, n == FIRST))
            for name, command in commands.items()
        }
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
