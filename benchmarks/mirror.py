"""What MLflow costs a user of `dlx train specs/digits/lenet.yaml`: until the prompt, and until it has everything.

    python benchmarks/mirror.py [--rounds N] [--cold]

In turn, each a process of its own: the training without MLflow; the same with it, until the prompt is back; an
identical one started at once, while the mirror delivers the one before. Then all is waited for, outside the clock.
MLflow has a run when its mirror has delivered it, the model included; the pictures come after that, and are a row of
their own. Store and mirror are warm: one mirror serves all trainings of a store; with `--cold` it ends behind
each round, so that each pays the imports of MLflow and torch.

Processor time is that of a command with all threads, and that of the mirror with what it started, of a training from
its beginning to the last picture. Wall ratios want an idle machine: mirror and training run side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from common import ROOT, has_arrived, publish, table

SPEC = str(ROOT / "specs/digits/lenet.yaml")
LONGEST = 600.0


class Round:
    """Commands of one round, with their wall and processor seconds."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = {**os.environ, "DLX_CACHE": str(home / "cache"), "DLX_MIRROR_IDLE": "600"}
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    def train(self, name: str, *more: str) -> tuple[Path, float]:
        """Train, and return the folder of the run and when it began."""
        command = [sys.executable, "-m", "dlx", "train", SPEC, "--json", "--runs", str(self.home / "runs"), *more]
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=self.env)
        self.wall[name] = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.processor[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Path(json.loads(done.stdout)["dir"]), began

    def mirrors(self) -> list[psutil.Process]:
        """Return the processes of the mirror."""
        found = []
        for process in psutil.process_iter():
            try:
                if any(str(self.home / "cache") in word for word in process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def mirror_seconds(self) -> float:
        """Return the processor seconds of the mirror so far, those of what it started included."""
        spent = 0.0
        for process in self.mirrors():
            with suppress(psutil.Error):  # it has ended since
                spent += sum(process.cpu_times()[:4])
        return spent

    def until(self, done: object, what: str, began: float) -> None:
        """Wait until `done()`, and record the time since the beginning."""
        assert callable(done)
        while not done():
            assert time.perf_counter() - began < LONGEST, what
            time.sleep(0.01)
        self.wall[what] = time.perf_counter() - began

    def run(self) -> None:
        """Run the round."""
        spent = self.mirror_seconds()
        self.train("without MLflow", "track.mlflow=false")
        first, began = self.train("with it, until the prompt")
        self.until(lambda: has_arrived(first), "with it, until MLflow has it", began)
        self.until(lambda: not self.requests(), "with it, pictures too", began)
        self.processor["mirror of one training"] = self.mirror_seconds() - spent
        self.train("one before the second")
        second, _ = self.train("a second at once, until the prompt")
        self.until(lambda: has_arrived(second) and not self.requests(), "both", time.perf_counter())
        del self.wall["both"], self.wall["one before the second"], self.processor["one before the second"]

    def requests(self) -> list[Path]:
        """Return what the mirror has still to do."""
        return list((self.home / "cache").glob("mirrors/*/*.json"))

    def end(self) -> None:
        """End the mirror."""
        for process in self.mirrors():
            process.kill()


def main() -> None:
    """Run the rounds, the first of which makes the store and is not counted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="end the mirror behind each round")
    asked = parser.parse_args()
    wall: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="dlx-mirror-") as folder:
        for turn in range(asked.rounds + 1):
            one = Round(Path(folder))
            one.run()
            if turn:
                for times, found in ((wall, one.wall), (processor, one.processor)):
                    for name, seconds in found.items():
                        times.setdefault(name, []).append(seconds)
            if asked.cold or turn == asked.rounds:
                one.end()
    load = os.getloadavg()
    how = "cold" if asked.cold else "warm"
    sections = [
        f"Mirror: {how}. Load of the machine at the end: {load[0]:.1f} (one minute), {load[2]:.1f} (fifteen).",
        "## Wall",
        table(wall, "without MLflow"),
        "## Processor time",
        table(processor, "without MLflow"),
    ]
    publish(f"mirror-{how}", "What MLflow costs a user of `dlx train`", sections)


if __name__ == "__main__":
    main()
