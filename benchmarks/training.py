"""Networks trained as their sources say, or the same in small, against what the sources print.

    python benchmarks/training.py ../cifar10          # the folder of cifar10-train.parquet and cifar10-test.parquet
    python benchmarks/training.py --only mnist1d      # what generates its data by itself

Every row is a claim of a spec, judged by the mean over its seeds, as `dlx verify --train` does it. A run that
`--runs` holds already is not repeated.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from common import ROOT, publish
from trained import results

from dlx.graph.expect import claimed, claims, judged
from dlx.spec import load

GROUPS = {
    "mnist1d": (
        "MNIST-1D",
        "",
        (
            "udl/mnist1d-conv.yaml",
            "udl/mnist1d-dense.toml",
            *(f"mnist1d/{net}{how}.yaml" for how in ("", "-shuffled") for net in ("logistic", "mlp", "cnn")),
        ),
    ),
    "degradation": (
        "Depth with and without residual connections, on CIFAR-10 at 16x16",
        "cifar10-16",
        tuple(f"udl/degradation-{net}.yaml" for net in ("plain-20", "plain-56", "resnet20", "resnet56")),
    ),
    "cifar10": ("CIFAR-10, a small ResNet for a few epochs", "cifar10", ("udl/resnet8-cifar10.yaml",)),
}
HEAD = (
    "| spec | claim | source | dlx, and half its 95 % interval | seeds | verdict | s a seed |",
    "|---|---|---|---|---|---|---|",
)


def changes(data: str, folder: Path) -> list[str]:
    """Where the pictures are."""
    paths = {"path": "cifar10-train.parquet", "test_path": "cifar10-test.parquet"}
    given = [f"data.images.{field}={(folder / name).absolute()}" for field, name in paths.items()]
    return [f"+data={data}", *given] if data else []


def rows(spec: str, changed: list[str], seeds: int | None, folder: Path) -> list[str]:
    """A row for each claim about the training of a spec."""
    asked = load(ROOT / "specs" / spec, changed)
    assert asked.train is not None
    found = results(ROOT / "specs" / spec, changed, seeds or asked.train.seeds, folder)
    seconds = statistics.fmean(one.seconds for one in found.results)
    told = []
    for claim in (c for c in claims(asked) if c.trained):
        ours = found.metrics[claim.quantity]
        half = f" +- {found.intervals[claim.quantity]:.4f}" if found.intervals else ""
        verdict = judged(claim, ours).verdict
        book = f"{claim.figures['book']} printed, " if "book" in claim.figures else ""
        cells = (spec, f"{claim.title}: {book}{claimed(claim)}", claim.source, f"{ours:.4f}{half}")
        told.append(f"| {' | '.join(cells)} | {len(found.results)} | {verdict} | {seconds:.0f} |")
    return told


def main() -> None:
    """Train what is not trained yet, and keep the page."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("data", type=Path, nargs="?", default=Path("cifar10"), help="folder of the parquet files")
    asked.add_argument("--seeds", type=int, help="else as the specs say")
    asked.add_argument("--only", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    asked.add_argument("--runs", type=Path, default=Path("runs"))
    given = asked.parse_args()
    sections = []
    for title, data, specs in (GROUPS[name] for name in given.only):
        table = [row for spec in specs for row in rows(spec, changes(data, given.data), given.seeds, given.runs)]
        sections += [f"## {title}", "\n".join((*HEAD, *table))]
    publish("training", "Training on real data", sections)


if __name__ == "__main__":
    main()
