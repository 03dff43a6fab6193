"""Specs without labels trained in full, with three seeds each, against what they claim: `dlx verify --train`.

    python benchmarks/claims.py                       # those of NAMES
    python benchmarks/claims.py zoo/gan zoo/vae       # some of them, or others
    python benchmarks/claims.py --tests               # the slow tests that train their broken twins too
    python benchmarks/claims.py --tests claims/test_latent.py

Each spec is a process of its own, and each of its seeds must meet every claim. What `--runs` holds already is not
repeated, and the page is written after each spec, so that what was stopped goes on. Processor time is that of the
process and all it started.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import ROOT, publish

from dlx.graph.expect import claims, format_claim, judge
from dlx.runs.folder import RunFolder
from dlx.spec import load, shipped

NAMES = (
    *("autoencoder", "linear-autoencoder", "denoising-autoencoder", "sparse-autoencoder", "contractive-autoencoder"),
    *("vae", "ppca", "mixture-density", "anomaly", "made", "pixelcnn", "flow", "realnvp-digits"),
    *("gan", "gan-1d", "wgan", "wgan-gp", "sn-gan", "dcgan", "conditional-gan", "cycle"),
    *("diffusion", "diffusion-digits"),
    *("simclr", "rotation", "sgld", "sam"),
)
TESTS = (
    *("claims/test_latent.py", "claims/test_densities.py", "claims/test_gans.py", "claims/test_diffusions.py"),
    *("objectives/test_autoregressive.py", "objectives/test_flow.py", "objectives/test_simclr.py"),
    *("objectives/test_rotation.py", "optim/test_langevin.py", "optim/test_sharpness.py"),
)
"""Files whose slow tests train the specs of NAMES and their twins."""


def timed(command: Sequence[str]) -> tuple[int, float, float]:
    """Return the exit status of a process, its wall seconds, and the processor seconds of it and its children."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - begun, used.ru_utime + used.ru_stime


def kept(file: Path, command: Sequence[str]) -> dict[str, Any]:
    """Return the exit status and seconds of a command, from the file of an earlier run where there is one."""
    if not file.exists():
        status, wall, processor = timed(command)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"status": status, "wall": wall, "processor": processor}))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def of_seeds(runs: Path) -> list[dict[str, float]]:
    """Return the metrics of all finished runs in a folder, by seed."""
    folders = [RunFolder(path.parent) for path in runs.glob("*/*/spec.yaml")]
    ends = {load(one.dir / "spec.yaml").train.seed: one.end() for one in folders if one.status() == "finished"}
    return [ends[seed]["metrics"] for seed in sorted(ends)]


def rows(name: str, runs: Path) -> list[list[str]]:
    """Train a spec where that is not done yet, and return a row for each of its claims about the training."""
    asked = load(shipped.find(name))
    seeds = [] if asked.train.seeds > 1 else ["train.seeds=3"]
    home = runs / name.replace("/", "-")
    command = [
        sys.executable,
        "-m",
        "dlx",
        "verify",
        name,
        *seeds,
        "track.mlflow=false",
        "--train",
        "--recorded",
        "--json",
    ]
    time_of = kept(home / "time.json", [*command, "--runs", str(home)])
    each = of_seeds(home)
    found = []
    for claim in (one for one in [*claims(asked), *claims(asked, "recorded")] if one.trained):
        figures = [metrics[claim.quantity] for metrics in each]
        mean = sum(figures) / len(figures) if figures else float("nan")
        # where a spec has several seeds it claims their mean
        judged = [judge(claim, one).verdict for one in ([mean] if not seeds else figures)]
        verdict = "holds" if set(judged) == {"holds"} and not time_of["status"] else "FAILS"
        shown = ", ".join(f"{one:.4g}" for one in figures)
        times = [f"{time_of['processor']:.0f}", f"{time_of['wall']:.0f}"]
        found.append([name, f"{claim.title}: {format_claim(claim)}", claim.source, shown, verdict, *times])
    return found


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    texts = [" | ".join(line) for line in (head, ["---"] * len(head), *lines)]
    return "\n".join(f"| {text} |" for text in texts)


def test_rows(names: Sequence[str], runs: Path) -> list[list[str]]:
    """Run the slow tests of each file where that is not done yet, and return a row for each file."""
    found = []
    for name in names:
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow", f"tests/{name}"]
        one = kept(runs / "tests" / f"{Path(name).stem}.json", command)
        verdict = "pass" if one["status"] == 0 else "FAIL"
        found.append([f"tests/{name}", verdict, f"{one['processor']:.0f}", f"{one['wall']:.0f}"])
    return found


def main() -> None:
    """Train what is not trained yet, and keep the page."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("specs", nargs="*", default=[f"zoo/{name}" for name in NAMES])
    asked.add_argument("--tests", nargs="*", metavar="FILE", help="slow tests of files below tests/, else of TESTS")
    asked.add_argument("--runs", type=Path, default=Path("runs/claims"))
    arguments = asked.parse_args()
    runs, lines = arguments.runs.absolute(), []
    head = ["spec", "claim", "source", "figure of each seed", "verdict", "processor s", "wall s"]
    title = "Specs without labels, three seeds each"
    for name in arguments.specs:
        lines += rows(name, runs)
        publish("claims", title, [table(head, lines)])
    if arguments.tests is not None:
        found = test_rows(arguments.tests or TESTS, runs)
        tests = table(["slow tests", "verdict", "processor s", "wall s"], found)
        publish("claims", title, [table(head, lines), tests])


if __name__ == "__main__":
    main()
