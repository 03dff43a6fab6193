"""The view of a training on a terminal against `--quiet`: whole processes of `dlx train` on a terminal, in turns.

    python benchmarks/live.py [--pairs N] [--steps N]

Steps are small, so that there is little between two of them. The time is that of the process on the CPU, all threads
together, without its start: a training of a few steps is taken off. Which of the three goes first changes from pair
to pair. The interval is Student's, of the mean of the logarithms. A broken twin draws without a pause. Beside that,
the seconds of the thread that draws and of the callback, to which other work does not add.
"""

from __future__ import annotations

import argparse
import functools
import os
import pty
import statistics
import sys
import tempfile
from pathlib import Path

from common import publish
from paired import interval

SPEC = """\
dlx: 1
name: small
data: {digits: {valid: 0.2, test: 0.2}}
network: {layers: [flatten, {linear: 16}, relu, {linear: 10}]}
train: {batch_size: 16, evaluate_every: 500, device: cpu, optimizer: {sgd: 1e-2}}
track: {mlflow: false}
"""
START = "import sys; sys.argv[0] = 'dlx'; from dlx.__main__ import main; {before}; main()"
BUSY = "import dlx.show.live as live; live.SOONEST, live.SHARE = 1e-4, 1e9"
COUNTED = """
import time, atexit
import dlx.show.live as live
spent, began = [], []
def counted(call, draws):
    def measured(*given):
        before = time.thread_time()
        try:
            return call(*given)
        finally:
            spent.append(time.thread_time() - before)
            if draws and not began:  # the first picture imports what it needs
                began.append(time.process_time())
                spent.clear()
    return measured
from rich.live import Live
Live.refresh = counted(Live.refresh, True)
live.TrainingStates.add = counted(live.TrainingStates.add, False)
atexit.register(lambda: open("share", "w").write(str(sum(spent) / (time.process_time() - began[0]))))
"""


def cpu_seconds(folder: Path, *argv: str, before: str = "pass") -> float:
    """Seconds of the processor of `dlx ARGV` on a terminal, all its threads together."""
    code = START.replace("{before}; ", f"exec({before!r}); ")
    command = [sys.executable, "-c", code, *argv]
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", OMP_NUM_THREADS="1", COLUMNS="100")
        os.environ.pop("CI", None)
        os.chdir(folder)
        os.execv(command[0], command)  # noqa: S606 - no shell is wanted
    output = b""
    try:
        while part := os.read(master, 65536):
            output += part
    except OSError:  # the other end is closed
        pass
    _, status, used = os.wait4(pid, 0)
    os.close(master)
    assert status == 0, output.decode()
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints, and writes as a page, the ratios of the view and of its broken twin to `--quiet`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40_000)
    asked = parser.parse_args()
    length = f"train.steps={asked.steps}"
    ways = {"view": ((), "pass"), "--quiet": (("--quiet",), "pass"), "without a pause": ((), BUSY)}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    shares = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "s.yaml").write_text(SPEC)
        train = functools.partial(cpu_seconds, folder, "train", "s.yaml")
        start = {way: min(train("train.steps=20", *argv) for _ in range(3)) for way, (argv, _) in ways.items()}
        for pair in range(asked.pairs):
            for way in sorted(ways, reverse=bool(pair % 2)):
                argv, before = ways[way]
                spent[way].append(train(length, *argv, before=before) - start[way])
            if pair < 3:
                train(length, before=COUNTED)
                shares.append(float((folder / "share").read_text()))
            print(pair, {way: round(each[-1], 3) for way, each in spent.items()}, shares, file=sys.stderr, flush=True)
    rows = ["| what | of --quiet | 95 % | median | least to least |", "|---|---|---|---|---|"]
    for way in ("view", "without a pause"):
        ratios = [a / b for a, b in zip(spent[way], spent["--quiet"], strict=True)]
        mean, low, high = interval(ratios)
        figures = mean, f"{low:.4f} to {high:.4f}", statistics.median(ratios), min(spent[way]) / min(spent["--quiet"])
        rows.append(f"| {way} | {' | '.join(one if isinstance(one, str) else f'{one:.4f}' for one in figures)} |")
    measured = ", ".join(f"{share:.2%}" for share in shares)
    step = statistics.median(spent["--quiet"]) / asked.steps
    what = f"{asked.pairs} pairs of {asked.steps:,} steps, an evaluation every 500"
    what += f"; a step takes {1e6 * step:.0f} microseconds of the processor."
    said = f"Drawing and callback, of all seconds of the processor after the first picture: {measured}."
    publish("live", "The view of a training", [what, "\n".join(rows), said])


if __name__ == "__main__":
    main()
