"""A study on disk: `runs/<name>/sweep-<hash>/`, its journal, and the state of its trials.

    study.jsonl    the journal, one fact a line     study.lock   held while a sweep runs
    owner.json     process that holds the lock      workers.log  output of the workers

The runs of the trials lie beside it, `runs/<name>/trial-<hash>/`, named by the hash of their specs: two studies that
contain the same training share its run.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from ..errors import DlxError, plural
from ..runs.folder import alive
from .journal import Fact, Journal, numbers
from .seed_averages import averaged, replicate_keys
from .trial import Point, Refused, State, Trial

JOURNAL, LOCK, OWNER = "study.jsonl", "study.lock", "owner.json"
VERSION = 1
SHOWN = 5
"""Differences between two specs that are listed one by one."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def run_name(spec: str) -> str:
    """Return the name of a trial's run: a hash of its resolved spec."""
    return f"trial-{hashlib.sha256(spec.encode()).hexdigest()[:16]}"


def folder_of(runs: Path, name: str, identity: Mapping[str, Any]) -> Path:
    """Return the folder of the study of that identity."""
    return runs / name / f"sweep-{digest(identity)[:8]}"


def is_study(folder: Path) -> bool:
    return (folder / JOURNAL).is_file()


def spec_in(folder: Path) -> Path:
    """Return the spec of a run, or of the best trial of a study: what `dlx train FOLDER` trains."""
    if not is_study(folder):
        if (folder / "spec.yaml").is_file():
            return folder / "spec.yaml"
        hint = "Name a spec, the folder of a run, or that of a study."
        raise DlxError(f"{folder} is neither a run nor a study", hint=hint)
    study = Study.open(folder)
    best = study.best()
    if best is None and study.replicate_keys:
        hint = f"Name the folder of one of its runs, such as {study.trials[0].runs[min(study.trials[0].runs)]}."
        raise DlxError(
            f"in {folder} only {' and '.join(study.replicate_keys)} vary, and none of them is the best", hint=hint
        )
    if best is None:
        raise DlxError(f"no trial of {folder} has finished", hint="The same `dlx sweep` goes on with it.")
    return study.runs / next(iter(best.runs.values())) / "spec.yaml"


class Study:
    """State of a study, read from its journal. Methods that change it append a fact to the journal first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder / JOURNAL)
        self.identity: dict[str, Any] = {}
        self.trials: list[Trial] = []
        self.refused: list[Refused] = []
        self.data: dict[str, str] = {}
        """Digest of each data set, by its section of the spec."""
        self.refusals: dict[int, int] = {}
        """Number of refused points by generation."""
        for line, fact in self.journal.facts():
            try:
                self._apply(fact)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                raise self.journal.corrupt(line, "does not follow from those before it") from error

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Open an existing study. Raises DlxError where there is none, or its journal is corrupt."""
        if not is_study(folder):
            raise DlxError(f"{folder} is no study: it has no {JOURNAL}", hint="`dlx sweep SPEC KEY=1,2` makes one.")
        return cls(folder)

    @classmethod
    def begin(cls, folder: Path, identity: Mapping[str, Any]) -> Study:
        """Begin or continue the study of that identity. Raises DlxError where the folder holds another one."""
        study = cls(folder)
        if not study.identity:
            study.record({"fact": "study", "version": VERSION, "identity": dict(identity)})
        elif digest(study.identity) != digest(identity):
            differences = "; ".join(_differences(study.identity, identity))
            hint = "Go on with the old spec, or keep this study in another folder."
            raise DlxError(f"{folder} is the study of another spec: {differences}", hint=hint)
        return study

    # --- what is known ----------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[str]:
        """Metrics that are searched for."""
        return [str(name) for name in self.identity.get("metrics", [])]

    @property
    def rising(self) -> list[bool]:
        """Whether a higher value is better, by metric."""
        return [bool(rises) for rises in self.identity.get("rising", [])]

    @property
    def runs(self) -> Path:
        """Folder that holds all runs."""
        return self.folder.absolute().parent.parent

    def generation(self, number: int) -> list[Trial]:
        """Return the trials of a generation."""
        first = bisect_left(self.trials, number, key=_generation)
        return list(takewhile(lambda trial: trial.generation == number, islice(self.trials, first, None)))

    def earlier_trials(self, generation: int) -> list[Trial]:
        """Return the trials of all generations before this one."""
        return self.trials[: bisect_left(self.trials, generation, key=_generation)]

    def in_state(self, *states: State) -> list[Trial]:
        return [trial for trial in self.trials if trial.state in states]

    @property
    def replicate_keys(self) -> list[str]:
        """Keys of folds and seeds among what varies, over which trials are averaged."""
        return replicate_keys(self.trials)

    def points(self) -> list[Trial]:
        """Return the trials, averaged over folds and seeds that vary."""
        return averaged(self.trials)

    def best(self) -> Trial | None:
        """Return the finished trial with the best mean of the first metric; of equal ones the earliest.

        None where nothing but folds and seeds varies, since none of those is chosen.
        """
        finished = [
            (v, t)
            for t in self.points()
            if t.state == "finished" and t.point and (v := t.value(self.metrics[0])) == v and v is not None
        ]
        if not finished:
            return None
        pick = max if self.rising[0] else min
        best = pick(value for value, _ in finished)
        return next(trial for value, trial in finished if value == best)

    # --- what becomes known -----------------------------------------------------------------------------------------

    def record(self, fact: Fact) -> None:
        """Append a fact to the journal, and apply it."""
        # the journal first: a fact that could not be written must not have had any effect
        self.journal.append(fact)
        self._apply(fact)

    def record_data(self, data: str, digest: str) -> None:
        """Record the digest of a data set. Raises DlxError where earlier trials had another one."""
        known = self.data.get(data)
        if known is None:
            self.record({"fact": "data", "data": data, "digest": digest})
        elif known != digest:
            message = f"the data of {self.folder} has changed: its digest was {known[:12]}, and is {digest[:12]}"
            hint = "Bring the old data back, or begin another study: `--study NAME`."
            raise DlxError(message, hint=hint)

    def record_generation(self, generation: int, trials: Sequence[Trial], refused: Sequence[Refused]) -> None:
        """Record trials to be trained, and points that were refused."""
        each = [
            {"number": t.number, "point": t.point, "params": t.params, "macs": t.macs, "runs": _keyed(t.runs)}
            for t in trials
        ]
        no = [{"point": r.point, "because": r.reason} for r in refused]
        self.record({"fact": "generation", "generation": generation, "trials": each, "refused": no})

    def record_progress(
        self,
        trial: Trial,
        rung: int,
        metrics: Mapping[int, Mapping[str, float]],
        steps: Mapping[int, int],
        seconds: float,
        state: State,
        message: str = "",
    ) -> None:
        """Record the rung that a trial has reached, with its metrics by seed."""
        about = {"trial": trial.number, "step": rung, "metrics": _keyed(metrics), "steps": _keyed(steps)}
        outcome = {"seconds": round(seconds, 3), "state": state} | ({"message": message} if message else {})
        self.record({"fact": "reached", **about, **outcome})

    def record_stopped(self, rung: int, trials: Sequence[int]) -> None:
        """Record trials that the scheduler stopped at a rung."""
        self.record({"fact": "stopped", "step": rung, "trials": list(trials)})

    def record_retried(self, trials: Sequence[int]) -> None:
        """Record failed trials that are to be tried again."""
        self.record({"fact": "retried", "trials": list(trials)})

    def record_exploited(self, rung: int, trials: Mapping[int, Mapping[str, Any]]) -> None:
        """Record trials that go on from the weights of others: by number, their new `point`, `runs`, and `from`."""
        self.record({"fact": "exploited", "step": rung, "trials": _keyed(trials)})

    def _apply(self, fact: Fact) -> None:
        kind = fact["fact"]
        if kind == "study":
            self.identity = fact["identity"]
        elif kind == "data":
            self.data[fact["data"]] = fact["digest"]
        elif kind == "generation":
            self._add_generation(fact)
        elif kind == "reached":
            self._update_trial(fact)
        elif kind in {"stopped", "retried"}:
            for number in fact["trials"]:
                trial = self.trials[number]
                trial.state, trial.message = ("stopped", "") if kind == "stopped" else ("waiting", "")
        elif kind == "exploited":
            for number, trained in fact["trials"].items():
                trial = self.trials[int(number)]
                trial.point, trial.runs = trained["point"], _by_number(trained["runs"])
                trial.inherited_from[int(fact["step"])] = int(trained["from"])
        else:
            raise ValueError(kind)

    def _add_generation(self, fact: Fact) -> None:
        for entry in fact["trials"]:
            if entry["number"] != len(self.trials) or (
                self.trials and self.trials[-1].generation > fact["generation"]
            ):
                raise ValueError("trials are numbered one after the other, generation by generation")
            runs = _by_number(entry["runs"])
            one = Trial(
                entry["number"], entry["point"], fact["generation"], entry["params"], entry["macs"], runs=runs
            )
            self.trials.append(one)
        self.refused += [Refused(entry["point"], entry["because"]) for entry in fact["refused"]]
        generation = fact["generation"]
        self.refusals[generation] = self.refusals.get(generation, 0) + len(fact["refused"])

    def _update_trial(self, fact: Fact) -> None:
        trial = self.trials[fact["trial"]]
        measured = {int(seed): numbers(metrics) for seed, metrics in fact["metrics"].items()}
        if measured:
            trial.rungs[fact["step"]] = measured
        trial.steps |= _by_number(fact["steps"])
        trial.seconds += fact["seconds"]
        trial.state, trial.message = fact["state"], fact.get("message", "")

    # --- one sweep at a time ----------------------------------------------------------------------------------------

    def close(self) -> None:
        self.journal.close()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a study's folder. Raises DlxError where another sweep holds it; a killed one holds nothing."""
    from filelock import FileLock, Timeout  # not at the top: lists and reports read studies, and lock none

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        hint = "Wait for it or end it; a study is continued by the same command."
        raise DlxError(f"{folder} is being searched by {_owner(folder)}", hint=hint) from None
    except OSError as error:
        message = f"the study cannot be written to {folder}: {(error.strerror or str(error)).lower()}"
        raise DlxError(message, hint="Choose another folder with `--runs DIR`, or fix its permissions.") from error
    try:
        # only for the message: the lock itself is the operating system's, which releases it when its process dies
        (folder / OWNER).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        (folder / OWNER).unlink(missing_ok=True)
        lock.release()


def is_running(folder: Path) -> bool:
    """Whether a process of this machine searches a study now."""
    try:
        owner, since = json.loads((folder / OWNER).read_text()), (folder / OWNER).stat().st_mtime
        return owner["host"] == socket.gethostname() and alive(int(owner["pid"]), since)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _owner(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text())
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _generation(trial: Trial) -> int:
    return trial.generation


def _keyed(values: Mapping[int, Any]) -> dict[str, Any]:
    """Return numbers as JSON's keys."""
    return {str(key): value for key, value in values.items()}


def _by_number(values: Mapping[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in values.items()}


def _differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the differences of two identities, a few of them in full."""
    old, new = dict(_flat(was)), dict(_flat(now))
    keys = [key for key in old | new if old.get(key) != new.get(key)]
    for key in keys[:SHOWN]:
        yield f"`{key.removeprefix('spec.')}` is {_shown(new, key)}, and there {_shown(old, key)}"
    if len(keys) > SHOWN:
        yield f"and {plural(len(keys) - SHOWN, 'more difference')}"


def _shown(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key]) if key in values else "not given"


def _flat(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a document by dotted key."""
    if isinstance(value, dict | list) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, child in items:
            yield from _flat(child, f"{above}.{key}" if above else str(key))
    else:
        yield above, value


__all__ = ["Point", "Study", "digest", "folder_of", "is_running", "is_study", "locked", "run_name"]
