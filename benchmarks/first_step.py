"""The first step: from the start of `dlx train` to its first gradient, over `import torch`.

    python benchmarks/first_step.py [SPEC ...]

Whole processes in turn: `import torch` alone, and trainings that end once the first gradient is there, before the
optimizer moves. By the clock, and in seconds of the processor, which other work on the machine disturbs less. Nothing
is sent to MLflow: its process stands beside.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, interleaved, publish, table
from start import ENVIRONMENT

ROUNDS = 9
SPECS = ("digits/lenet", "zoo/char-lstm")
WATCHED = """
import os, sys, time
from dlx.training import supervised
made = supervised.gradients_of
def gradients_of(learner):
    gradients = made(learner)
    def first(index):
        gradients(index)
        os.write(1, f"FIRST {time.process_time()}".encode())
        os._exit(0)
    return first
supervised.gradients_of = gradients_of
from dlx.__main__ import run
run()
"""
"""Is `dlx`, and ends at the first gradient with the seconds of the processor until then."""
TORCH = "import torch, time; print('FIRST', time.process_time())"


def first_gradient(command: list[str], cpu: list[float]) -> float:
    """Seconds by the clock until a process has its first gradient; those of the processor are added to `cpu`."""
    started = time.perf_counter()
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=ENVIRONMENT)
    seconds = time.perf_counter() - started
    cpu.append(float(ended.stdout.rpartition("FIRST ")[2]))
    return seconds


def main() -> None:
    """Time them in turn."""
    parser = argparse.ArgumentParser()
    parser.add_argument("specs", nargs="*", default=SPECS)
    specs = [name for name in parser.parse_args().specs if Path(ROOT / f"specs/{name}.yaml").exists()]
    cpu: dict[str, list[float]] = {name: [] for name in ("import torch", *specs)}
    with tempfile.TemporaryDirectory() as runs:
        commands = {"import torch": [sys.executable, "-c", TORCH]} | {
            name: [sys.executable, "-c", WATCHED, "train", f"specs/{name}.yaml", "track.mlflow=false", "--runs", runs]
            for name in specs
        }
        jobs = {name: (lambda n=name, c=command: first_gradient(c, cpu[n])) for name, command in commands.items()}
        wall = interleaved(jobs, ROUNDS)
    cpu = {name: seconds[-ROUNDS:] for name, seconds in cpu.items()}
    over = [
        f"{name}: {_over(wall, name):.2f} s by the clock, {_over(cpu, name):.2f} s of the processor over import torch"
        for name in specs
    ]
    publish(
        "first-step",
        "From the start of `dlx train` to its first gradient",
        [
            "By the clock:",
            table(wall, "import torch"),
            "Seconds of the processor:",
            table(cpu, "import torch"),
            *over,
        ],
    )


def _over(times: dict[str, list[float]], name: str) -> float:
    return statistics.median(a - b for a, b in zip(times[name], times["import torch"], strict=True))


if __name__ == "__main__":
    main()
