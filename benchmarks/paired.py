"""Two checkouts of dlx on one benchmark, in turns: the ratio of their CPU times, with an interval.

    python benchmarks/paired.py OLD NEW [steps | packed] [--pairs N] [--only PART OF A TITLE] [--seconds MOST]

Each checkout has a process of its own, which calls `dlx_run` of its own benchmark once a turn; which of the two goes
first is drawn for each pair. The time is that of the process on the CPU, all threads together, so that other work on
the machine weighs on both alike. MLflow is off. The interval is Student's, of the mean of the logarithms.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORKER = """
import importlib, sys, time, warnings
import torch
warnings.simplefilter("ignore")
module = importlib.import_module(sys.argv[1])
if module.__name__ == "steps":
    torch.set_num_threads(1)
text = module.spec_text
module.spec_text = lambda case: text(case) + ("" if "mlflow" in text(case) else "\\ntrack: {mlflow: false}")
out, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    began = time.process_time()
    module.dlx_run(module.CASES[line.rstrip("\\n")])
    print(time.process_time() - began, file=out, flush=True)
"""


def worker(checkout: Path, benchmark: str) -> subprocess.Popen[str]:
    """A process that takes titles of cases and answers with seconds."""
    paths = os.pathsep.join([str(checkout), str(checkout / "benchmarks")])
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, benchmark],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def seconds(process: subprocess.Popen[str], title: str) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(title + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """The geometric mean and the ends of its 95 % interval."""
    from scipy.stats import t

    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.fmean(logs)
    away = float(t.ppf(0.975, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(middle), math.exp(middle - away), math.exp(middle + away)


def compared(old: Path, new: Path, benchmark: str, title: str, pairs: int, most: float) -> dict[str, Any]:
    """The times of both, pair by pair, after one turn of each that does not count."""
    sides = [worker(old, benchmark), worker(new, benchmark)]
    found: list[list[float]] = [[], []]
    began = time.monotonic()
    try:
        for turn in range(pairs + 1):
            if len(found[1]) > 1 and time.monotonic() - began > most:
                break
            for side in random.sample((0, 1), 2):
                spent = seconds(sides[side], title)
                if turn:
                    found[side].append(spent)
    finally:
        for process in sides:
            process.kill()
            process.wait()
    mean, low, high = interval([b / a for a, b in zip(*found, strict=True)])
    least = min(found[1]) / min(found[0])
    return {"pairs": len(found[0]), "ratio": mean, "low": low, "high": high, "least": least}


def main() -> None:
    """One line a case."""
    parser = argparse.ArgumentParser()
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("benchmark", choices=["steps", "packed"], nargs="?", default="steps")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=math.inf)
    asked = parser.parse_args()
    sys.path.insert(0, str(asked.new.resolve() / "benchmarks"))
    cases = __import__(asked.benchmark).CASES
    for title in (title for title in cases if asked.only in title):
        one = compared(asked.old.resolve(), asked.new.resolve(), asked.benchmark, title, asked.pairs, asked.seconds)
        print(
            f"{title}: {one['ratio']:.3f} ({one['low']:.3f} to {one['high']:.3f}) over {one['pairs']} pairs, "
            f"least to least {one['least']:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
