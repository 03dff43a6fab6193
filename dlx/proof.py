"""`dlx prove-resume`: whether a training that is killed and goes on ends in the same bits as one that is left alone.

Both are real processes. One trains to its end; the other is killed by SIGKILL, which nothing can clean up after, and
taken up with `dlx train --resume`, as often as asked. Then all that the two left behind is compared.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import compare
from .compare import Parting
from .errors import DlxError, Problem, RunError
from .experiment import prepared
from .reproduce import again
from .runs import Run
from .spec import Experiment, load

STEPS = 100
"""Steps that the training is cut to where nothing else is said."""
STATES = 20
"""Checkpoints on the way, about."""
LOOK = 0.001
"""Seconds between two looks at how far the training is."""

Say = Callable[[str], None]


def silent(_: str) -> None:
    """Nothing is said on the way."""


@dataclass(frozen=True)
class Proof:
    """What two trainings left behind, beside each other."""

    name: str
    steps: int
    asked: int
    killed: tuple[int, ...]
    """The steps at which the kills came."""
    records: int
    """In the loss curve, evaluations included."""
    values: int
    """Tensors and other figures in the checkpoints."""
    parting: Parting | None
    """The first figure of the curve that differs."""
    differing: dict[str, list[str]]
    """What differs, by checkpoint."""

    @property
    def equal(self) -> bool:
        return self.parting is None and not any(self.differing.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "equal": self.equal,
            "steps": self.steps,
            "kills": list(self.killed),
            "records": self.records,
            "values": self.values,
            "first": self.parting.as_json() if self.parting is not None else None,
            "differing": {name: found for name, found in self.differing.items() if found},
        }


def prove(
    path: Path,
    changes: Sequence[str],
    home: Path,
    kills: int = 5,
    seed: int = 0,
    steps: int = STEPS,
    say: Say = silent,
) -> Proof:
    """Train a spec twice below `home`, the second time with `kills`. SpecError where it cannot be trained."""
    experiment, total = cut(path, changes, steps)
    home.mkdir(parents=True, exist_ok=True)
    (home / "spec.yaml").write_text(experiment.resolved())
    say(f"{experiment.name}: {total:,} steps without a kill")
    finished(started(home / "whole", str(home / "spec.yaml")))
    (whole,) = (Run(folder) for folder in (home / "whole" / experiment.name).iterdir())
    other = again(whole, home / "killed")
    targets = sorted(random.Random(seed).sample(range(1, total), min(kills, total - 1)))  # noqa: S311 - no secret
    killed = tuple(_killed(other, targets, say))
    if other.status() != "finished":
        finished(resumed(other))
    return compared(whole, other, total, kills, killed)


def cut(path: Path, changes: Sequence[str], steps: int) -> tuple[Experiment, int]:
    """A spec as it is proved, and its steps: cut short, every loss kept, many checkpoints, no MLflow."""
    experiment = load(path, changes)
    _, sets = prepared(experiment)
    assert experiment.train is not None
    own = experiment.train.span(len(sets.train)).steps
    total = min(own, steps)
    if total < 2:
        raise DlxError(f"{experiment.name} trains for one step, and nothing can be cut off")
    more = ["++train.log_every=1", f"++train.save_every={max(1, total // STATES)}", "++train.seeds=1"]
    if total < own:
        more += [f"++train.steps={total}", *(["~train.epochs"] if experiment.train.epochs is not None else [])]
    if experiment.train.ensemble is not None and experiment.train.ensemble.members:
        more.append("~train.ensemble")  # its members are trained one by one
    if experiment.root.at("expect") is not None:
        more.append("~expect")  # what is claimed of a whole training
    return load(path, [*changes, *more, "++track.mlflow=false"]), total


@contextmanager
def kept_where_it_fails() -> Iterator[Path]:
    """A folder for two trainings, which stays where they differ or one fails."""
    home = Path(tempfile.mkdtemp(prefix="dlx-proof-"))
    try:
        yield home
    except BaseException:
        if any(home.iterdir()):
            sys.stderr.write(f"what the trainings left is in {home}\n")
        else:
            home.rmdir()
        raise
    shutil.rmtree(home)


def started(runs: Path, *more: str) -> subprocess.Popen[str]:
    """`dlx train` as a process of its own."""
    command = [sys.executable, "-m", "dlx", "train", *more, "--runs", str(runs), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def resumed(run: Run) -> subprocess.Popen[str]:
    return started(run.root, "--resume", str(run.dir))


def finished(process: subprocess.Popen[str]) -> None:
    """Wait for a training. RunError with what it says where it fails."""
    out, err = process.communicate()
    if process.returncode:
        raise failure(out, err)


def failure(out: str, err: str) -> RunError:
    """What a training said as it failed."""
    try:
        told = [Problem(one["message"], one["hint"]) for one in json.loads(out)["errors"]]
    except (ValueError, LookupError, TypeError):
        told = [Problem(f"the training failed: {(err or out).strip()[-2000:]}")]
    return RunError(*told)


def _killed(run: Run, targets: Sequence[int], say: Say) -> list[int]:
    """Kill a training each time that it has come to the next step; where it was, each time."""
    found: list[int] = []
    for target in targets:
        before = reached(run)
        process = resumed(run)
        while reached(run) < max(target, before + 1) and process.poll() is None:
            time.sleep(LOOK)
        process.kill()
        out, err = process.communicate()
        if process.returncode >= 0:  # it ended by itself
            if process.returncode:
                raise failure(out, err)
            break
        found.append(reached(run))
        say(f"killed at step {found[-1]:,}")
    return found


def reached(run: Run) -> int:
    """The last step whose loss stands in the records."""
    path = run.dir / "metrics.jsonl"
    return path.read_bytes().count(b'{"record":"step"') if path.exists() else 0


def compared(whole: Run, other: Run, steps: int, asked: int, killed: tuple[int, ...]) -> Proof:
    """All that two trainings left, beside each other."""
    ours, theirs = compare.checkpoints(whole), compare.checkpoints(other)
    differing: dict[str, list[str]] = {name: ["all of it"] for name in ours.keys() ^ theirs.keys()}
    values = 0
    for name in ours.keys() & theirs.keys():
        differing[name], count = compare.differing(ours[name], theirs[name])
        values += count
    parting = next(compare.partings(whole, other), None)
    return Proof(whole.name, steps, asked, killed, compare.length(whole), values, parting, differing)
