"""Nielsen's ladder, chapter 6, on 4,000 of MNIST's 10,000 test digits: is each rung better than the one below?

    python benchmarks/ladder.py ../mnist                  # the folder with t10k-images-idx3-ubyte.gz and its labels
    python benchmarks/ladder.py ../mnist --seeds 1        # quicker, and less sure
    python benchmarks/ladder.py ../mnist --only 1 2 3     # some rungs

A run that `--runs` holds already is not repeated, so a ladder that was stopped goes on; what it holds of further
seeds counts too, and so the five that vote are seeds of the rung below. The networks, their recipe and what they are
to reach stand in specs/nielsen/ladder. With less than a tenth of the book's digits to train on, the errors are not
the book's; what is compared is the order.

A difference between two rungs is taken digit by digit: each digit has a part of the seeds that read it wrongly. Its
interval has both sorts of chance in it, which 5,000 digits there are and which seeds: the variance of the mean over
the digits, and for several seeds that of the mean over the seeds. It is Student's, with Welch's degrees of freedom.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import ROOT, publish
from scipy.special import stdtrit
from torch import Tensor
from trained import results

from dlx.objectives import Supervised
from dlx.objectives.ensemble import combined
from dlx.runs.folder import RunFolder
from dlx.spec import load, objective_of
from dlx.training.checkpoints.checkpoint import restore

SPECS = ROOT / "specs/nielsen/ladder"


@dataclass(frozen=True)
class Rung:
    """A network of the ladder, and the accuracy in % that the book gives it, with 50,000 digits to train on."""

    spec: str
    what: str
    book: float


LADDER = (
    Rung("1-shallow", "100 hidden sigmoids", 97.80),
    Rung("2-conv", "one convolution and pooling, sigmoid", 97.8),
    Rung("3-conv-dense", "and 100 hidden sigmoids behind it", 98.78),
    Rung("4-two-stages", "two convolutions with pooling", 99.06),
    Rung("5-relu", "ReLU", 99.23),
    Rung("6-expanded", "expanded: moved by up to one pixel", 99.37),
    Rung("7-dense", "one more hidden layer of 100", 99.43),
    Rung("8-dropout", "1,000 and 1,000 hidden units, dropout", 99.60),
    Rung("9-vote", "five of these vote", 99.67),
)


@dataclass(frozen=True)
class Measured:
    """The digits that each seed of a rung reads wrongly (seeds, digits), and the seconds a seed took."""

    wrong: np.ndarray
    seconds: float

    @property
    def errors(self) -> list[float]:
        return [100 * float(row.mean()) for row in self.wrong]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.errors)

    def variance(self) -> float:
        """Of the mean over the seeds, in %^2; nothing is known of it from one seed."""
        return statistics.variance(self.errors) / len(self.errors) if len(self.errors) > 1 else 0.0


def below(lower: Measured, upper: Measured) -> tuple[float, float]:
    """By how many % the upper rung errs less, and half the 95 % interval of that."""
    gain = 100 * (lower.wrong.mean(0) - upper.wrong.mean(0))
    parts = [(float(gain.var(ddof=1)) / len(gain), len(gain) - 1)]
    parts += [(each.variance(), len(each.errors) - 1) for each in (lower, upper) if len(each.errors) > 1]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / free for part, free in parts)
    return float(gain.mean()), float(stdtrit(freedom, 0.975)) * math.sqrt(variance)


def changes(data: Path) -> list[str]:
    """Where the digits are."""
    files = {"images": "t10k-images-idx3-ubyte.gz", "labels": "t10k-labels-idx1-ubyte.gz"}
    return ["+data=mnist-10k", *(f"data.idx.{field}={(data / name).absolute()}" for field, name in files.items())]


def climb(rung: Rung, data: Path, seeds: int, folder: Path) -> Measured:
    """Train a rung once for each seed, and read the test digits with each."""
    asked = load(SPECS / f"{rung.spec}.yaml", changes(data))
    assert asked.data is not None
    assert asked.train is not None
    seeds = seeds if asked.train.ensemble is None else 1
    found = results(SPECS / f"{rung.spec}.yaml", changes(data), seeds, folder).results
    test = asked.data.load().test
    assert test is not None
    wrong = [_predictions(one.run, torch.from_numpy(test.x), objective_of(asked)) != test.y for one in found]
    return Measured(np.array(wrong), statistics.fmean(one.seconds for one in found))


def _predictions(run: RunFolder, x: Tensor, objective: Supervised) -> np.ndarray:
    """The class that each digit is given, by a network or by what several say together."""
    together = run.read_json("ensemble.json")
    if not together:
        return _outputs(run, x).argmax(1).numpy()
    outputs = torch.stack([_outputs(RunFolder(run.root / key), x) for key in together["members"]])
    return combined(objective, outputs, together["combine"]).argmax(1).numpy()


def _outputs(run: RunFolder, x: Tensor) -> Tensor:
    network, _ = restore(run.dir)
    with torch.inference_mode():
        return torch.cat([network(part) for part in x.split(1000)])


def rows(measured: dict[int, Measured]) -> list[str]:
    """A Markdown table: the book's error, ours over the seeds, and what a rung gains on the one below."""
    table = [
        "| rung | what is new | error in the book, % | ours, % (seeds) | less than the rung below by, % | s a seed |",
        "|---|---|---|---|---|---|",
    ]
    for number, found in measured.items():
        rung = LADDER[number - 1]
        spread = f" ({', '.join(f'{e:.2f}' for e in found.errors)})" if len(found.errors) > 1 else " (1)"
        gain = ""
        if number - 1 in measured:
            by, half = below(measured[number - 1], found)
            verdict = "better" if by > half else "worse" if by < -half else "not to be told apart"
            gain = f"{by:+.2f} +- {half:.2f}: {verdict}"
        cells = (
            number,
            rung.what,
            f"{100 - rung.book:.2f}",
            f"{found.mean:.2f}{spread}",
            gain,
            f"{found.seconds:.0f}",
        )
        table.append(f"| {' | '.join(map(str, cells))} |")
    return table


def main() -> None:
    """Climb, and keep the page."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("data", type=Path, help="folder with t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--only", type=int, nargs="+", default=list(range(1, len(LADDER) + 1)), metavar="RUNG")
    asked.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = asked.parse_args()
    down = sorted(arguments.only, reverse=True)  # those that vote are trained first, and found again below
    measured = {n: climb(LADDER[n - 1], arguments.data, arguments.seeds, arguments.runs) for n in down}
    publish("ladder", "Nielsen's ladder on 4,000 digits", ["\n".join(rows(dict(sorted(measured.items()))))])


if __name__ == "__main__":
    main()
