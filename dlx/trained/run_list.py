"""What `dlx runs` lists: runs with their facts, those of one spec as one row, and studies."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import Any

from ..errors import DlxError, plural
from ..runs import filters, lookup
from ..runs.filters import Facts, Value
from ..runs.folder import BASELINE, ENSEMBLE, TAGS, TIME, RunFolder
from ..sweeps.study import JOURNAL, Study
from ..utils.intervals import half_interval, mean_of
from .difference import Draw, draw_in, likeness_of, numbers, spec_of_run
from .run_settings import differing, settings_of, values_of_spec

UNREADABLE = "unreadable"
TAG = "tags."
"""Beginning of the key of a tag, in a filter."""


class ListedRun:
    """A run with what a list shows of it, each file read once. A damaged one has an `error`, and no results."""

    def __init__(self, run: RunFolder) -> None:
        self.run, self.error = run, ""
        self.end: dict[str, Any] = {}
        self.spec: dict[str, Any] = {}
        self.lock: dict[str, Any] = {}
        self.tags: dict[str, str] = {}
        self.status = UNREADABLE
        self.baseline, self.members = "", list[str]()
        try:
            self._read()
        except DlxError as error:
            self.error, self.status = error.problems[0].message, UNREADABLE

    def _read(self) -> None:
        files = {entry.name for entry in os.scandir(self.run.dir)}  # most runs have few of those that are asked for
        self.end = self.run.end() or {}
        self.lock = self.run.lock()
        self.status = str(self.end["status"]) if self.end else self.run.status()
        self.baseline = self.run.baseline() if BASELINE in files else ""
        self.members = self.run.members() if ENSEMBLE in files else []
        self.tags = self.run.tags() if TAGS in files else {}
        has_spec = "spec.yaml" in files
        self.spec, self._alike = (spec_of_run(self.run), likeness_of(self.run)) if has_spec else ({}, "")

    @property
    def metrics(self) -> dict[str, float]:
        return dict(self.end.get("metrics", {})) if not self.error else {}

    @cached_property
    def draw(self) -> Draw:
        return draw_in(self.spec, self.lock) if not self.error else (0, None)

    @cached_property
    def group(self) -> tuple[str, ...]:
        """What runs of one row have in common: the name, the baseline, and the spec without seed and fold."""
        if self.error or not self.spec:
            return (self.run.key,)
        return self.run.name, self.baseline, self._alike

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What `dlx inspect` says of it, which may be long; empty where it cannot be read."""
        try:
            return self.run.read_json("plan.json")
        except DlxError:
            return {}

    @property
    def remaining(self) -> int | None:
        """Weights that `prune` has left, where it took some."""
        stages = self.spec.get("stages")
        pruned = [self.spec, *(one for one in (stages if isinstance(stages, list) else ()) if isinstance(one, dict))]
        found = self.plan.get("remaining") if any("prune" in one for one in pruned) else None
        return found if isinstance(found, int) else None

    @property
    def stages(self) -> list[str]:
        found = self.spec.get("stages")
        return [str(one.get("name", "")) for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @cached_property
    def facts(self) -> Facts:
        """All that a filter and a sort may ask for, by key."""
        about: dict[str, Any] = {
            **values_of_spec(self.spec),
            **{key: self.plan.get(key) for key in ("params", "macs", "remaining")},
            **self.metrics,
            **{f"{TAG}{key}": value for key, value in self.tags.items()},
            "run": self.run.key,
            "name": self.run.name,
            "id": self.run.id,
            "status": self.status,
            "baseline": self.baseline or None,
            "started": self.started,
            "seed": self.lock.get("seed"),
            "fold": self.draw[1],
            "steps": self.end.get("step"),
            "seconds": self.end.get("seconds"),
            **self.forecast,
        }
        return {key: plain(value) for key, value in about.items() if value is not None}

    @cached_property
    def forecast(self) -> dict[str, float]:
        """How long it was forecast to take, and how far off that was, as a part of what it took."""
        try:
            found = self.run.read_json(TIME)
            seconds, fact = found["forecast"]["seconds"], found.get("fact", {}).get("seconds")
            off = {"forecast.off": round(seconds / fact - 1, 4)} if fact and self.status == "finished" else {}
            return {"forecast.seconds": float(seconds), **off}
        except (DlxError, KeyError, TypeError, ValueError, AttributeError):
            return {}

    @property
    def started(self) -> str:
        """Its start in UTC, `2026-11-30 02:02:11`, as its id has it."""
        return datetime.strptime(self.run.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).strftime("%Y-%m-%d %H:%M:%S")


def plain(value: Any) -> Value:
    """Return a value of a spec as a filter compares it: numbers as they are, others as the spec writes them."""
    from ..spec.validation import shown

    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return shown(value)
    return value


@dataclass(frozen=True)
class Row:
    """Runs that a list shows as one, the newest first: those of one spec, or one alone."""

    runs: tuple[ListedRun, ...]

    @property
    def first(self) -> ListedRun:
        return self.runs[0]

    @property
    def seeds(self) -> list[int]:
        return sorted({one.draw[0] for one in self.runs})

    @property
    def folds(self) -> list[int]:
        return sorted({fold for one in self.runs if (fold := one.draw[1]) is not None})

    @cached_property
    def results(self) -> tuple[ListedRun, ...]:
        """The newest finished run of each seed and fold, else the newest run alone."""
        found: dict[Draw, ListedRun] = {}
        for one in self.runs:
            if one.status == "finished":
                found.setdefault(one.draw, one)
        return tuple(found.values()) or self.runs[:1]

    @cached_property
    def metrics(self) -> dict[str, tuple[float, float | None]]:
        """Mean of each metric that all results have, with half of its 95 % interval (Student's t); None for one."""
        each = [one.metrics for one in self.results]
        shared = [name for name in each[0] if all(name in one for one in each)]
        values = {name: [one[name] for one in each] for name in shared}
        return {name: (mean_of(found), half_interval(found)) for name, found in values.items()}

    @property
    def status(self) -> str:
        """`finished`, or `2 finished, 1 running`."""
        counts = Counter(one.status for one in self.runs)
        return ", ".join(counts) if len(counts) == 1 else ", ".join(f"{n} {word}" for word, n in counts.items())

    @property
    def members(self) -> str:
        """What the row has more than one of: seeds, folds, members of an ensemble; empty for a single run."""
        if self.first.members:
            return plural(len(self.first.members), "member")
        if len(self.runs) == 1:
            return ""
        parts = [f"{'seed' if len(self.seeds) == 1 else 'seeds'} {numbers(self.seeds)}"]
        parts += [f"{'fold' if len(self.folds) == 1 else 'folds'} {numbers(self.folds)}"] if self.folds else []
        return f"{len(self.runs)}: {', '.join(parts)}"

    def value(self, key: str) -> Value | None:
        """Return what the row is sorted by: the mean of a number over its results, else what the newest run has."""
        found = [one.facts[key] for one in self.results if key in one.facts]
        found = found or [one.facts[key] for one in self.runs if key in one.facts]
        numeric = [value for value in found if isinstance(value, int | float)]
        return mean_of(numeric) if numeric else next(iter(found), None)

    @cached_property
    def tags(self) -> dict[str, str]:
        """The tags of its runs; of several values of one key all."""
        found: dict[str, dict[str, None]] = {}
        for one in self.runs:
            for key, value in one.tags.items():
                found.setdefault(key, {})[value] = None
        return {key: " ".join(filter(None, values)) for key, values in found.items()}

    def as_json(self, differs: dict[str, str]) -> dict[str, Any]:
        return {
            "name": self.first.run.name,
            "runs": [one.run.key for one in self.runs],
            "status": self.status,
            "seeds": self.seeds,
            "folds": self.folds or None,
            "differs": differs,
            "tags": self.tags,
            "metrics": {name: {"mean": mean, "interval95": half} for name, (mean, half) in self.metrics.items()},
        }


class ListedStudy:
    """A study as a row of a list: how far it is, and its best trial."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.error = folder, ""
        self.key = f"{folder.absolute().parent.name}/{folder.name}"
        self.trials: Counter[str] = Counter()
        self.seconds = 0.0
        self.best: dict[str, Any] = {}
        self.metrics: dict[str, tuple[float, float | None]] = {}
        self.tags: dict[str, str] = {}
        try:
            self._read(Study(folder))
        except DlxError as error:
            self.error = error.problems[0].message

    def _read(self, study: Study) -> None:
        self.trials = Counter(trial.state for trial in study.trials)
        self.seconds = sum(trial.seconds for trial in study.trials)
        best = study.best()
        self.best = dict(best.point) if best is not None else {}
        for metric in study.metrics:
            if best is not None and (value := best.value(metric)) is not None:
                self.metrics[metric] = (value, None)

    @property
    def status(self) -> str:
        """`finished`, where no trial is left to do; else how many trials are in which state."""
        if self.error:
            return UNREADABLE
        left = self.trials.keys() & {"waiting", "running"}
        return ", ".join(f"{n} {state}" for state, n in self.trials.items()) if left else "finished"

    @property
    def started(self) -> str:
        """When its journal was written last, in UTC: it has no other time."""
        changed = (self.folder / JOURNAL).stat().st_mtime
        return datetime.fromtimestamp(changed, UTC).strftime("%Y-%m-%d %H:%M:%S")

    @cached_property
    def facts(self) -> Facts:
        found = {name: value for name, (value, _) in self.metrics.items()}
        about = {"run": self.key, "name": self.folder.absolute().parent.name, "id": self.folder.name}
        state = {"status": self.status, "started": self.started, "trials": self.trials.total()}
        return {key: plain(value) for key, value in {**self.best, **found, **about, **state}.items()}

    def value(self, key: str) -> Value | None:
        return self.facts.get(key)

    def as_json(self) -> dict[str, Any]:
        about = {"study": self.key, "dir": str(self.folder), "status": self.status, "trials": dict(self.trials)}
        values = {name: value for name, (value, _) in self.metrics.items()}
        return about | {"best": self.best or None, "metrics": values} | ({"error": self.error} if self.error else {})


@dataclass(frozen=True)
class Asked:
    """Which runs are listed, and how."""

    names: Sequence[str] = ()
    sort: str = ""
    filter: str = ""
    tags: Sequence[str] = ()
    limit: int | None = None
    each: bool = False


@dataclass(frozen=True)
class RunList:
    """The rows of a list, and how many are beyond its limit."""

    rows: tuple[Row | ListedStudy, ...]
    differs: tuple[dict[str, str], ...]
    """Of each row the values of its spec that are not those of all others of its name."""
    runs: tuple[ListedRun, ...]
    """The runs of the rows."""
    beyond: int = 0
    narrowed: bool = False
    """Whether names, tags or a filter have left some out."""


def listed(root: Path, asked: Asked) -> RunList:
    """Return the runs and studies below a folder that are asked for. DlxError where a name or a key is not there."""
    runs, studies = _named(root, asked.names)
    chosen: list[Any] = [*runs, *studies]
    known = {key for one in chosen for key in one.facts} if asked.filter or asked.tags or asked.sort else set()
    if asked.filter and chosen:
        condition = filters.parse(asked.filter, known).condition
        chosen = [one for one in chosen if condition(one.facts)]
    for condition in [_tag(text) for text in asked.tags]:
        chosen = [one for one in chosen if condition(one.facts)]
    rows: list[Row | ListedStudy] = list(_rows([one for one in chosen if isinstance(one, ListedRun)], asked.each))
    rows += [one for one in chosen if isinstance(one, ListedStudy)]
    rows = _sorted(rows, asked.sort, known)
    shown = rows[: asked.limit] if asked.limit is not None else rows
    found = tuple(one for row in shown if isinstance(row, Row) for one in row.runs)
    narrowed = bool(asked.names or asked.filter or asked.tags)
    return RunList(tuple(shown), tuple(_differences(shown)), found, len(rows) - len(shown), narrowed)


def _named(root: Path, names: Sequence[str]) -> tuple[list[ListedRun], list[ListedStudy]]:
    """Return the runs and studies of some names, the newest first; without a name all."""
    studies = sorted(path.parent for path in root.glob(f"*/*/{JOURNAL}"))
    if not names:
        return [ListedRun(run) for run in lookup.all_runs(root)], [ListedStudy(one) for one in studies]
    runs: dict[Path, RunFolder] = {}
    folders: dict[Path, None] = {}
    for name in names:
        of_name = lookup.of_name(name, root)
        of_studies = [
            one for one in studies if name.rstrip("/") in {one.parent.name, f"{one.parent.name}/{one.name}", str(one)}
        ]
        found = of_name if of_name or of_studies else [lookup.find(name, root)]
        runs |= {run.dir.absolute(): run for run in found}
        folders |= dict.fromkeys(of_studies)
    newest = sorted(runs.values(), key=lambda run: run.id, reverse=True)
    return [ListedRun(run) for run in newest], [ListedStudy(one) for one in folders]


def _tag(text: str) -> filters.Condition:
    """Return the condition of `--tag KEY` or `--tag KEY=VALUE`."""
    key, sign, value = text.partition("=")
    return filters.compared(f"{TAG}{key}", "=", value) if sign else lambda facts: f"{TAG}{key}" in facts


def _rows(runs: Sequence[ListedRun], each: bool) -> Iterator[Row]:
    """Yield the rows of runs in the order of their newest; members of an ensemble are in its row."""
    members = {key for one in runs for key in one.members}
    groups: dict[tuple[str, ...], list[ListedRun]] = {}
    for one in runs:
        if each:
            yield Row((one,))
        elif not members or one.run.key not in members:
            groups.setdefault(one.group, []).append(one)
    yield from (Row(tuple(group)) for group in groups.values())


def _sorted(rows: list[Any], key: str, known: Iterable[str]) -> list[Any]:
    """Sort rows by a key, `-KEY` from the largest down, those without it at the end; else the newest first."""
    if not key:
        return sorted(rows, key=_started, reverse=True)
    name = filters.full_key(key.removeprefix("-"), known, "--sort") if rows else key
    values = [(row, row.value(name)) for row in rows]
    there = [(row, value) for row, value in values if _is_there(value)]
    words = any(isinstance(value, str) for _, value in there)
    ordered = sorted(there, key=lambda one: str(one[1]) if words else one[1], reverse=key.startswith("-"))
    return [row for row, _ in ordered] + [row for row, value in values if not _is_there(value)]


def _is_there(value: Value | None) -> bool:
    return value is not None and not (isinstance(value, float) and isnan(value))


def _started(row: Row | ListedStudy) -> tuple[str, str]:
    return (row.first.started, row.first.run.id) if isinstance(row, Row) else (row.started, row.key)


def _differences(rows: Sequence[Row | ListedStudy]) -> Iterator[dict[str, str]]:
    """Yield of each row the values of its spec that are not those of all others of its name; of a study its best."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if isinstance(row, Row) and row.first.spec:
            by_name.setdefault(row.first.run.name, []).append(row)
    apart: dict[int, dict[str, str]] = {}
    for group in by_name.values():
        each = differing([settings_of(row.first.spec) for row in group])
        apart |= {id(row): values for row, values in zip(group, each, strict=True)}
    for row in rows:
        yield apart.get(id(row), {}) if isinstance(row, Row) else {k: str(plain(v)) for k, v in row.best.items()}
