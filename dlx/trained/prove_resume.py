"""`dlx prove-resume`: prove that trainings which are killed and resumed end in the same bits as uninterrupted
ones.

A spec is trained twice by real processes: its seeds, the members of its ensemble, packed or one by one. One training
is not interrupted; the other is killed by SIGKILL, after which nothing can be cleaned up, at random moments, and
resumed with `dlx train --resume`, as often as asked. Then everything that the two have written is compared.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DlxError, Problem, RunError
from ..experiment.stages import prepared_stages
from ..runs.folder import ENSEMBLE, RunFolder
from ..runs.lookup import all_runs
from ..runs.records import RECORDS
from ..spec import Experiment, load
from ..spec.sections.expect import without_claims
from ..training import ensemble_metrics
from ..training.prepared import prepare, span_of
from . import compare
from .compare import CurveDifference
from .reproduce import prepare_copy

STEPS = 100
"""Steps of each training, unless said otherwise."""
STATES = 20
"""Approximate number of checkpoints on the way, where the spec does not say when to save."""
POLL_INTERVAL = 0.001
"""Seconds between two looks at the records of the training."""
KILL_DELAY = 0.05
"""Seconds after a step, at most, of a kill at a random moment."""
STEP = re.compile(rb'"step":(\d+)')
OWN = {"time", "seconds"}
"""Keys of an end record that belong to its process and not to the result."""

Notify = Callable[[str], None]
Wait = Callable[[Callable[[], bool]], None]
Trainings = Mapping[str, RunFolder]
"""Runs of one spec: those of its seeds or members by `seed N`, that of the ensemble; a single run has no name."""


def silent(_: str) -> None:
    """Ignore a progress message."""


@dataclass(frozen=True)
class Proof:
    """Comparison of uninterrupted trainings with trainings that were killed and resumed."""

    name: str
    steps: int
    """Steps of each training."""
    asked: int
    killed: tuple[int, ...]
    """Steps at which the kills came, summed over all trainings."""
    records: int
    """Records of the loss curves, evaluations included."""
    values: int
    """Tensors and other figures in the checkpoints."""
    difference: CurveDifference | None
    """The first figure of a curve that differs."""
    differing: dict[str, list[str]]
    """Names that differ, by checkpoint or file."""
    trainings: int = 1
    training: str = ""
    """The training whose curve differs, where there are several."""

    @property
    def equal(self) -> bool:
        return self.difference is None and not any(self.differing.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "equal": self.equal,
            "trainings": self.trainings,
            "steps": self.steps,
            "kills": list(self.killed),
            "records": self.records,
            "values": self.values,
            "first": ({"run": self.training} | self.difference.as_json()) if self.difference is not None else None,
            "differing": {name: found for name, found in self.differing.items() if found},
        }


def prove(
    path: Path,
    changes: Sequence[str],
    home: Path,
    kills: int = 5,
    seed: int = 0,
    steps: int = STEPS,
    notify: Notify = silent,
    plugins: Sequence[str] = (),
) -> Proof:
    """Train a spec twice below `home`, the second time with `kills`. Raises SpecError where it cannot be trained."""
    experiment, total = shortened_spec(path, changes, steps, plugins)
    home.mkdir(parents=True, exist_ok=True)
    experiment.keep_plugins(home)
    (home / "spec.yaml").write_text(experiment.resolved())
    attempt = InterruptedTrainings(experiment, home / "spec.yaml", home / "killed", random.Random(seed))  # noqa: S311 - no secret
    each = f"{total:,} steps" + (f", {attempt.count} trainings" if attempt.count > 1 else "")
    notify(f"{experiment.name}: {each} without a kill")
    begun = time.monotonic()
    finished(started(home / "whole", str(home / "spec.yaml")))
    whole = attempt.trainings(home / "whole")
    attempt.seconds = time.monotonic() - begun
    attempt.copy_thread_counts(whole)
    killed = attempt.kill(total, kills, notify)
    while (arguments := attempt.next_arguments()) is not None:
        finished(started(attempt.runs, *arguments))
    return compare_trainings(whole, attempt.trainings(attempt.runs), total, kills, killed)


def shortened_spec(
    path: Path, changes: Sequence[str], steps: int, plugins: Sequence[str] = ()
) -> tuple[Experiment, int]:
    """Return the spec that is trained, shortened, with checkpoints on the way and without MLflow; and its steps."""
    experiment = load(path, changes, plugins=plugins)
    if experiment.stages:
        return _shortened_stages(experiment, path, changes, steps, plugins)
    prepared = prepare(experiment)
    train, examples = prepared.train, prepared.examples
    own = train.span(examples).steps
    total = min(own, steps)
    if total < 2:
        raise DlxError(f"{experiment.name} trains for one step, and nothing can be cut off")
    more = []
    if train.save_every is None or train.save_every > total // 2:
        more.append(f"++train.save_every={max(1, total // STATES)}")
    if total < own:
        # The epochs first: beside steps, those of an override are a contradiction
        more += [*(["~train.epochs"] if train.epochs is not None else []), f"++train.steps={total}"]
    if train.max_time is not None:
        more.append("~train.max_time")  # two trainings are not as quick as each other
    more += without_claims(experiment.root)  # what is claimed of a whole training
    made = load(path, [*changes, *more, "++track.mlflow=false"], plugins=plugins)
    try:
        ensemble_metrics.check_cycles(made, examples)
    except DlxError as error:
        hint = f"`--steps N` proves more than {total:,} of its {own:,} steps."
        raise DlxError(error.problems[0].message, hint=hint) from error
    return made, total


def _shortened_stages(
    experiment: Experiment, path: Path, changes: Sequence[str], steps: int, plugins: Sequence[str]
) -> tuple[Experiment, int]:
    """Return a spec with stages, each of them shortened, and the steps of all together."""
    total, more = 0, without_claims(experiment.root)
    written = experiment.written.map["stages"].list
    for number, one in enumerate(prepared_stages(experiment).each):
        own = span_of(one.experiment, one.sets).steps
        cut, at = min(own, max(1, steps // len(written))), f"stages.{number}.train"
        total += cut
        if cut < own:
            more += [f"~{at}.epochs"] if written[number].at("train", "epochs") is not None else []
            more += [f"++{at}.steps={cut}"]
        if one.train.save_every is None or one.train.save_every > cut // 2:
            more.append(f"++{at}.save_every={max(1, cut // STATES)}")
        if one.train.max_time is not None:
            message = f"the stage `{one.experiment.stage}` has `max_time`, and two trainings are not as quick"
            raise DlxError(message, hint="Leave it out: `~train.max_time`.")
    if total < 2:
        raise DlxError(f"{experiment.name} trains for one step, and nothing can be cut off")
    return load(path, [*changes, *more, "++track.mlflow=false"], plugins=plugins), total


@contextmanager
def retained_on_failure() -> Iterator[Path]:
    """Create a folder for the trainings, which is retained where they differ or one fails."""
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
    """Start `dlx train` as a process."""
    command = [sys.executable, "-m", "dlx", "train", *more, "--runs", str(runs), "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def finished(process: subprocess.Popen[str]) -> None:
    """Wait for a training. Raises RunError with its message where it fails."""
    out, err = process.communicate()
    if process.returncode:
        raise failure(out, err)


def failure(out: str, err: str) -> RunError:
    """Return the error of a training that failed, from its output."""
    try:
        problems = [Problem(one["message"], one["hint"]) for one in json.loads(out)["errors"]]
    except (ValueError, LookupError, TypeError):
        problems = [Problem(f"the training failed: {(err or out).strip()[-2000:]}")]
    return RunError(*problems)


# --- the trainings that are killed ----------------------------------------------------------------------------------


@dataclass
class InterruptedTrainings:
    """Trainings of a spec in a folder of runs, which are killed several times before they end."""

    experiment: Experiment
    spec: Path
    runs: Path
    rng: random.Random
    seconds: float = 0.0
    """Seconds of the uninterrupted trainings."""

    @property
    def members(self) -> int:
        """Members of its ensemble; 0 without one."""
        train = self.experiment.train
        assert train is not None
        return (train.ensemble.members or 0) if train.ensemble is not None else 0

    @property
    def seeds(self) -> list[int]:
        train = self.experiment.train
        assert train is not None
        return [train.seed + i for i in range(self.members or train.seeds)]

    @property
    def count(self) -> int:
        return len(self.seeds)

    def trainings(self, runs: Path) -> dict[str, RunFolder]:
        """Return the runs of this spec in a folder that have begun."""
        found: dict[str, RunFolder] = {}
        for run in all_runs(runs):
            if not ((run.dir / RECORDS).exists() or (run.dir / "lock.json").exists()):
                continue  # it was killed before there was anything to go on with
            train = load(run.dir / "spec.yaml").train
            assert train is not None
            if train.ensemble is not None and train.ensemble.members:
                found["ensemble"] = run
            else:
                found[f"seed {train.seed}" if self.count > 1 else ""] = run
        return found

    def copy_thread_counts(self, whole: Trainings) -> None:
        """Begin with the thread counts of the uninterrupted trainings, where those were measured."""
        if not any("milliseconds_by_threads" in run.read_json("lock.json") for run in whole.values()):
            return
        # the fastest number of threads is measured, and a second measurement may find another, which gives other bits
        copies = {name: prepare_copy(run, self.runs) for name, run in whole.items()}
        if (top := copies.get("ensemble")) is not None:
            keys = [copies[f"seed {seed}"].key for seed in self.seeds]
            top.write_json(ENSEMBLE, whole["ensemble"].read_json(ENSEMBLE) | {"members": keys})

    def next_arguments(self) -> list[str] | None:
        """Return the arguments of the next `dlx train`; None once all trainings have ended."""
        found = self.trainings(self.runs)
        if self.members:
            if (top := found.get("ensemble")) is None:
                return [str(self.spec)]
            return None if top.status() == "finished" else ["--resume", str(top.dir)]
        for run in found.values():
            if run.status() != "finished":
                return ["--resume", str(run.dir)]
        missing = [seed for seed in self.seeds if f"seed {seed}" not in found] if self.count > 1 else []
        if missing and found:  # like the others, which may be packed
            return [str(next(iter(found.values())).dir), f"++train.seed={missing[0]}"]
        return None if found else [str(self.spec)]

    @property
    def steps_done(self) -> int:
        """Steps of all trainings whose losses are in the records."""
        return sum(_last_step(path) for path in self.runs.glob(f"*/*/{RECORDS}"))

    def kill(self, total: int, kills: int, notify: Notify) -> tuple[int, ...]:
        """Kill the trainings `kills` times within `total` steps of each, and return the steps at which that was."""
        found: list[int] = []
        every = range(1, total * self.count)
        targets = sorted(self.rng.sample(every, min(kills, len(every))))
        moments = [self.at_a_step, self.at_any_moment, self.in_writing, self.at_the_start]
        moments += [self.in_between] if self.count > 1 else []
        for number, target in enumerate(targets):
            last = targets[number + 1] if target < targets[-1] else total * self.count - 1
            moment = moments[number % len(moments)]
            while (arguments := self.next_arguments()) is not None:
                process = started(self.runs, *arguments)
                how = moment(partial(self._wait, process), max(target, self.steps_done + 1), last)
                # SIGKILL; the training may have ended just before, then its return code is not negative and the next
                # one is tried
                process.kill()
                out, err = process.communicate()
                if process.returncode < 0:
                    found.append(self.steps_done)
                    notify(f"killed at step {found[-1]:,}, {how}")
                    break
                if process.returncode:  # else it ended by itself, and another may be left
                    raise failure(out, err)
        return tuple(found)

    @staticmethod
    def _wait(process: subprocess.Popen[str], so: Callable[[], bool]) -> None:
        """Wait until a condition holds, or the training ends by itself."""
        while not so() and process.poll() is None:
            time.sleep(POLL_INTERVAL)

    # --- moments, each at or after a step and before the last one of its turn ---------------------------------------

    def at_a_step(self, wait: Wait, target: int, _: int) -> str:
        wait(lambda: self.steps_done >= target)
        return "at a step"

    def at_any_moment(self, wait: Wait, target: int, last: int) -> str:
        self.at_a_step(wait, target, last)
        time.sleep(self.rng.uniform(0, KILL_DELAY))
        return "between steps"

    def in_writing(self, wait: Wait, target: int, last: int) -> str:
        """Wait until a checkpoint is being written."""
        self.at_a_step(wait, target, last)
        wait(lambda: self._is_writing() or self.steps_done >= last)
        return "while a checkpoint was written" if self._is_writing() else "at a step"

    def at_the_start(self, wait: Wait, _: int, last: int) -> str:
        """Wait for a random time within that of a whole training: imports, loading, thread timing, reading a
        state.
        """
        until = time.monotonic() + self.rng.uniform(0, self.seconds)
        wait(lambda: time.monotonic() >= until or self.steps_done >= last)
        return "after some time"

    def in_between(self, wait: Wait, _: int, last: int) -> str:
        """Wait until one of several trainings ends, and another begins or is resumed."""
        before = self._end_count()
        wait(lambda: self._end_count() > before or self.steps_done >= last)
        ended = self._end_count() > before
        time.sleep(self.rng.uniform(0, KILL_DELAY))
        return "as one training ended" if ended else "at a step"

    # a checkpoint is written under a name with a dot and renamed when it is whole
    def _is_writing(self) -> bool:
        patterns = ("*/*/checkpoints/.*", "*/*/checkpoints/*/.*")  # the second of stages before the last
        return any(path for pattern in patterns for path in self.runs.glob(pattern))

    def _end_count(self) -> int:
        return sum(b'{"record":"end"' in path.read_bytes() for path in self.runs.glob(f"*/*/{RECORDS}"))


def _last_step(path: Path) -> int:
    return max(map(int, STEP.findall(path.read_bytes())), default=0)


# --- what they left -------------------------------------------------------------------------------------------------


def compare_trainings(whole: Trainings, other: Trainings, steps: int, asked: int, killed: tuple[int, ...]) -> Proof:
    """Compare everything that the trainings have written: checkpoints, curves, end records."""
    differing: dict[str, list[str]] = {name or "run": ["all of it"] for name in whole.keys() ^ other.keys()}
    values, curve_differences = 0, []
    for name in [name for name in whole if name in other]:
        found, count = _differing(whole[name], other[name])
        differing |= {f"{name} {file}".strip(): names for file, names in found.items()}
        values += count
        curve_differences += [
            (name, one) for one in [next(compare.curve_differences(whole[name], other[name]), None)] if one
        ]
    training, difference = curve_differences[0] if curve_differences else ("", None)
    records = sum(map(compare.record_count, whole.values()))
    count = max(1, len(whole.keys() - {"ensemble"}))
    first = next(iter(whole.values()))
    return Proof(first.name, steps, asked, killed, records, values, difference, differing, count, training)


def _differing(one: RunFolder, other: RunFolder) -> tuple[dict[str, list[str]], int]:
    """Return the names that differ between two runs, by checkpoint or file, and the number of names compared."""
    ours, theirs = compare.checkpoints(one), compare.checkpoints(other)
    found: dict[str, list[str]] = {name: ["all of it"] for name in ours.keys() ^ theirs.keys()}
    values = 0
    for name in ours.keys() & theirs.keys():
        found[name], count = compare.differing_names(ours[name], theirs[name])
        values += count
    ends = [{k: v for k, v in (run.end() or {}).items() if k not in OWN} for run in (one, other)]
    found["end"] = [key for key in ends[0] | ends[1] if repr(ends[0].get(key)) != repr(ends[1].get(key))]
    tables = [run.read_json("confusion.json") for run in (one, other)]
    found["confusion.json"] = ["all of it"] if tables[0] != tables[1] else []
    return found, values
