"""Networks trained as their sources say, or the same in small, against what the sources print.

    python benchmarks/training.py ../cifar10          # the folder of cifar10-train.parquet and cifar10-test.parquet
    python benchmarks/training.py --only mnist1d      # what generates its data by itself
    python benchmarks/training.py --seeds 1           # quicker, and less sure

Every row is a claim of a spec, judged by the mean over the seeds, as `dlx verify --train` does it. A run that
`--runs` holds already is not repeated, and what it holds of further seeds counts too.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from common import ROOT, publish
from scipy.stats import ttest_ind
from trained import results

from dlx.experiment.results import Results
from dlx.graph.expect import claims, format_claim, judge
from dlx.spec import Experiment, load

GROUPS = {
    "mnist1d": (
        "MNIST-1D",
        "",
        (
            "udl/mnist1d-conv.yaml",
            "udl/mnist1d-dense.toml",
            *(f"mnist1d/{net}{how}.yaml" for how in ("", "-shuffled") for net in ("logistic", "mlp", "cnn", "gru")),
        ),
    ),
    "degradation": (
        "Depth with and without residual connections, on CIFAR-10 at 16x16",
        "cifar10-16",
        tuple(f"udl/degradation-{net}.yaml" for net in ("plain-20", "plain-56", "resnet20", "resnet56")),
    ),
    "cifar10": ("CIFAR-10, a small ResNet for a few epochs", "cifar10", ("udl/resnet8-cifar10.yaml",)),
}
COMPARED = {
    "degradation": (
        "train/error",
        (("plain-56", "plain-20"), ("resnet56", "resnet20"), ("resnet56", "plain-20"), ("resnet56", "plain-56")),
    )
}
"""Which networks of a group are held against each other, and by what."""
HEAD = (
    "| spec | claim | source | dlx, and half its 95 % interval | seeds | verdict | s a seed |",
    "|---|---|---|---|---|---|---|",
)


def changes(data: str, folder: Path) -> list[str]:
    """Where the pictures are."""
    paths = {"path": "cifar10-train.parquet", "test_path": "cifar10-test.parquet"}
    arguments = [f"data.images.{field}={(folder / name).absolute()}" for field, name in paths.items()]
    return [f"+data={data}", *arguments] if data else []


def rows(spec: str, asked: Experiment, found: Results) -> list[str]:
    """A row for each claim about the training of a spec."""
    seconds = statistics.fmean(one.seconds for one in found.results)
    rows = []
    for claim in (c for c in [*claims(asked), *claims(asked, "recorded")] if c.trained):
        ours = found.metrics[claim.quantity]
        half = f" +- {found.intervals[claim.quantity]:.4f}" if found.intervals else ""
        verdict = judge(claim, ours).verdict
        book = f"{claim.figures['book']} printed, " if "book" in claim.figures else ""
        cells = (spec, f"{claim.title}: {book}{format_claim(claim)}", claim.source, f"{ours:.4f}{half}")
        rows.append(f"| {' | '.join(cells)} | {len(found.results)} | {verdict} | {seconds:.0f} |")
    return rows


def differences(group: str, found: dict[str, Results]) -> list[str]:
    """By how much one network's figure is above another's, and whether that could be chance: Welch's t over seeds."""
    metric, pairs = COMPARED[group]
    rows = [f"| {metric} of | above that of | by, and half its 95 % interval | verdict |", "|---|---|---|---|"]
    for one, other in pairs:
        above, below = (
            [seed.metrics[metric] for seed in found[f"udl/{group}-{net}.yaml"].results] for net in (one, other)
        )
        low, high = ttest_ind(above, below, equal_var=False).confidence_interval(0.95)
        verdict = "apart" if low > 0 or high < 0 else "not to be told apart"
        rows.append(f"| {one} | {other} | {(low + high) / 2:+.4f} +- {(high - low) / 2:.4f} | {verdict} |")
    return rows


def section(group: str, folder: Path, seeds: int, runs: Path) -> list[str]:
    """The heading of a group and its tables."""
    title, data, specs = GROUPS[group]
    changed = changes(data, folder)
    found = {spec: results(ROOT / "specs" / spec, changed, seeds, runs) for spec in specs}
    table = [row for spec in specs for row in rows(spec, load(ROOT / "specs" / spec, changed), found[spec])]
    parts = [f"## {title}", "\n".join((*HEAD, *table))]
    if group in COMPARED and all(len(each.results) > 1 for each in found.values()):
        parts.append("\n".join(differences(group, found)))
    return parts


def main() -> None:
    """Train what is not trained yet, and keep the page."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("data", type=Path, nargs="?", default=Path("cifar10"), help="folder of the parquet files")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument("--only", nargs="+", default=list(GROUPS), choices=list(GROUPS))
    asked.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = asked.parse_args()
    sections = [section(group, arguments.data, arguments.seeds, arguments.runs) for group in arguments.only]
    publish("training", "Training on real data", [part for parts in sections for part in parts])


if __name__ == "__main__":
    main()
