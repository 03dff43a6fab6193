"""Does TPE with ASHA reach the best accuracy of a grid in at most a quarter of the grid's epochs?

    python benchmarks/search.py                 # on MNIST-1D, which dlx generates
    python benchmarks/search.py ../mnist        # on MNIST too: a folder with t10k-images-idx3-ubyte.gz and its labels

The reference is a grid over learning rate, width and depth. The searches have the same widths and depths, and rates
from the grid's least to its greatest. Five studies with different seeds search with TPE and ASHA, as `sampler: tpe`
and `scheduler: asha` have them, and five with random points that are all trained to their end. A study goes on, a
generation of 8 trials at a time, until its best trial has reached the best accuracy of the grid, or until it has
spent as many epochs as the grid.

What counts is the accuracy on the validation part of trials that were trained to their end. Epochs are those of all
trials, stopped ones too, and a generation counts whole. All trainings have the same seed. Trials that differ in
numbers alone are trained as one, which changes no epoch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from common import publish

from dlx.sweeps.plan import plan
from dlx.sweeps.run import SweepOptions, run
from dlx.sweeps.study import Study

RATES = (1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.56e-2)
WIDTHS = (16, 32, 64, 128)
DEPTHS = (1, 2, 3)
SEEDS = (1, 2, 3, 4, 5)
GENERATION, BATCH, PACK = 8, 100, 64
CLOSE = 0.005
"""How far an accuracy may be below the grid's best to be reported as close to it."""
RATE = "train.optimizer.adam.lr"
SEARCHES = {"TPE with ASHA": ["++sweep.sampler=tpe", "++sweep.scheduler=asha"], "random": ["++sweep.sampler=random"]}


@dataclass(frozen=True)
class Task:
    """What is learned, and for how long: the section `data`, the examples to train on, and the epochs of a trial."""

    title: str
    data: str
    train: int
    epochs: int

    def spec(self) -> str:
        return f"""\
dlx: 1
name: search
data: {self.data}
vars: {{width: {WIDTHS[0]}, depth: {DEPTHS[0]}}}
network:
  layers:
    - flatten
    - repeat: {{times: "${{depth}}", layers: [{{linear: "${{width}}"}}, relu]}}
    - linear: 10
init: he_normal
train: {{epochs: {self.epochs}, batch_size: {BATCH}, optimizer: {{adam: {{lr: {RATES[0]}}}}}}}
track: {{mlflow: false}}
sweep:
  metric: valid/accuracy
  space:
    {RATE}: {list(RATES)}
    vars.width: {list(WIDTHS)}
    vars.depth: {list(DEPTHS)}
"""


def tasks(folder: Path | None, epochs: int | None) -> Iterator[Task]:
    """MNIST-1D, and MNIST's 10,000 test digits where they are."""
    generated = "{mnist1d: {train: 4000, valid: 1000, test: 10, seed: 42}}"
    yield Task("MNIST-1D, 3,000 signals", generated, 3000, epochs or 32)
    if folder is not None:
        files = {"images": "t10k-images-idx3-ubyte.gz", "labels": "t10k-labels-idx1-ubyte.gz"}
        paths_of = ", ".join(f'{key}: "{(folder / name).absolute()}"' for key, name in files.items())
        digits = f"{{idx: {{{paths_of}, train: 7000, valid: 2000, test: 1000, stratify: true}}}}"
        yield Task("MNIST, 7,000 digits", digits, 7000, epochs or 16)


@dataclass(frozen=True)
class Found:
    """What a study came to, a generation after the other: the epochs spent by then, and the best accuracy."""

    history: tuple[tuple[float, float], ...]
    trials: int
    seconds: float

    @property
    def epochs(self) -> float:
        return self.history[-1][0]

    @property
    def best(self) -> float:
        return self.history[-1][1]

    def until(self, accuracy: float) -> float:
        """Epochs until so much was reached; infinite where it was not."""
        return next((epochs for epochs, best in self.history if best >= accuracy), inf)


def spent(study: Study, task: Task) -> float:
    """Epochs that all trials of a study were trained."""
    return sum(sum(trial.steps.values()) for trial in study.trials) * BATCH / task.train


def best(study: Study) -> float:
    """The accuracy of the best trial that was trained to its end; 0 where there is none."""
    found = study.best()
    return (found.value("valid/accuracy") if found else None) or 0.0


def searched(task: Task, how: Sequence[str], size: int, accuracy: float = inf, epochs: float = inf) -> Found:
    """A study that goes on, a generation of this size at a time, until it has reached or spent so much."""
    started, history, trials = time.perf_counter(), [(0.0, 0.0)], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "search.yaml"
        path.write_text(task.spec())
        while history[-1][1] < accuracy and history[-1][0] < epochs:
            wanted = trials + size
            changes = [*how, f"++sweep.generation={size}"]
            study = run(plan(path, changes, Path(folder) / "runs", wanted), SweepOptions(pack=PACK)).study
            trials = len(study.trials)
            history.append((spent(study, task), best(study)))
            if trials < wanted or not epochs < inf:
                break
    return Found(tuple(history), trials, time.perf_counter() - started)


def share(value: float, of: float) -> str:
    """Epochs, and which part of the grid's they are."""
    return f"{value:,.0f} ({value / of:.3f})" if value < inf else f"not within {of:,.0f}"


def row(name: str, found: Found, grid: Found) -> str:
    epochs_until, close = found.until(grid.best), found.until(grid.best - CLOSE)
    cells = (
        name,
        found.trials,
        f"{found.epochs:,.0f}",
        f"{100 * found.best:.1f}",
        share(epochs_until, grid.epochs),
        share(close, grid.epochs),
        f"{found.seconds:.0f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def section(task: Task, seeds: Sequence[int]) -> str:
    """A task's table: the grid, each study, and the median of each way to search."""
    size = len(RATES) * len(WIDTHS) * len(DEPTHS)
    grid = searched(task, ["++sweep.sampler=grid"], size)
    heads = [
        "study",
        "trials",
        "epochs",
        "best accuracy, %",
        "epochs until the grid's best (of the grid's)",
        f"until {100 * CLOSE:.1f} % below it",
        "seconds",
    ]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", row(f"grid of {size}", grid, grid)]
    between = f"{RATE}=tag(log,interval({RATES[0]},{RATES[-1]}))"
    verdicts = []
    for name, how in SEARCHES.items():
        studies = []
        for seed in seeds:
            studies.append(
                searched(task, [*how, between, f"++sweep.seed={seed}"], GENERATION, grid.best, grid.epochs)
            )
            rows.append(row(f"{name}, seed {seed}", studies[-1], grid))
            print(rows[-1], flush=True)
        middles = [statistics.median(s.until(a) for s in studies) for a in (grid.best, grid.best - CLOSE)]
        epochs_until, close = (share(middle, grid.epochs) for middle in middles)
        verdicts.append(
            f"{name}, median of {len(studies)}: epochs until the grid's best {epochs_until}, until close {close}."
        )
    about = f"Each trial for {task.epochs} epochs at most. The aim for TPE with ASHA: at most 0.25."
    return "\n\n".join((f"## {task.title}", about, "\n".join(rows), "\n".join(f"- {v}" for v in verdicts)))


def main() -> None:
    """Every task, and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder of MNIST's test digits, to search on them too")
    parser.add_argument("--epochs", type=int, help="of a trial; else 32 on MNIST-1D and 16 on MNIST")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="studies of each way to search")
    asked = parser.parse_args()
    sections = [section(task, SEEDS[: asked.seeds]) for task in tasks(asked.data, asked.epochs)]
    publish("search", "Epochs of a search against those of a grid", sections)


if __name__ == "__main__":
    main()
