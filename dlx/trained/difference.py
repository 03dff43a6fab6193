"""Differences between the results of several specs: paired over seeds and folds where these and the data agree."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from ..errors import DlxError, plural
from ..runs import lookup
from ..runs.folder import BASELINE, RunFolder
from ..spec.sections.expect import CLAIMING
from ..spec.syntax.read import read
from ..sweeps.study import Study, is_study
from ..utils.intervals import half_interval, mean_of, student_t_quantile

Draw = tuple[int, int | None]
"""Seed and fold of a run."""
PREPROCESSING = ("standardize", "preprocess")
"""Fields of the data that change inputs, and not which examples are in which part."""
EXCLUDED = (*CLAIMING, "analyses", "track", "sweep", "name", "source", "dlx")
"""Sections on which no result depends."""


@dataclass(frozen=True)
class RunGroup:
    """The finished runs of one spec, which differ in their seeds and folds alone."""

    label: str
    runs: tuple[RunFolder, ...]

    @cached_property
    def metrics(self) -> dict[Draw, dict[str, float]]:
        """The final metrics by seed and fold; of equal ones those of the newest run."""
        return {draw_of(run): dict((run.end() or {})["metrics"]) for run in self.runs}

    @cached_property
    def is_fixed(self) -> bool:
        """Whether no seed changes the result: a baseline that draws nothing."""
        about = self.runs[0].read_json(BASELINE)
        return bool(about) and not about.get("random", True)

    @cached_property
    def data(self) -> dict[Draw, tuple[str, str, str]]:
        """By seed and fold what tells data apart: its digest, and its section and sizes without preprocessing."""
        return {draw_of(run): _data_of(run) for run in self.runs}

    @property
    def folds(self) -> list[int]:
        return sorted({fold for _, fold in self.metrics if fold is not None})

    @property
    def seeds(self) -> list[int]:
        return sorted({seed for seed, _ in self.metrics})

    @property
    def description(self) -> str:
        """`5 runs, seeds 0 to 4`."""
        folds = f", folds {numbers(self.folds)}" if self.folds else ""
        return f"{plural(len(self.metrics), 'run')}, {_plural_numbers('seed', self.seeds)}{folds}"

    def values(self, metric: str) -> dict[Draw, float]:
        return {draw: found[metric] for draw, found in self.metrics.items() if metric in found}

    def as_json(self) -> dict[str, Any]:
        about = {"label": self.label, "seeds": self.seeds, "folds": self.folds or None}
        return about | {"runs": [run.key for run in self.runs]}


@dataclass(frozen=True)
class MetricDifference:
    """The difference of a metric, second minus first, with half of its 95 % interval; None where it is unknown."""

    metric: str
    first: float
    second: float
    mean: float
    interval: float | None

    @property
    def verdict(self) -> str:
        """Return `differs`, `not told apart`, `equal`, or nothing where there is no interval."""
        if self.mean == 0 and not self.interval:
            return "equal"
        if self.interval is None or not isfinite(self.mean):
            return ""
        return "differs" if abs(self.mean) > self.interval else "not told apart"

    def as_json(self) -> dict[str, Any]:
        figures = {"first": self.first, "second": self.second, "difference": self.mean, "interval95": self.interval}
        return {**figures, "verdict": self.verdict or None}


@dataclass(frozen=True)
class Comparison:
    """Two groups of runs, metric by metric."""

    first: RunGroup
    second: RunGroup

    @cached_property
    def pairs(self) -> list[tuple[Draw, Draw]]:
        """Draws of both that are on the same data with the same seed; of a fixed baseline any seed will do."""
        return [(a, b) for a in self.first.metrics for b in self.second.metrics if self._agree(a, b)]

    def _agree(self, a: Draw, b: Draw) -> bool:
        same_seed = a[0] == b[0] or self.first.is_fixed or self.second.is_fixed
        return same_seed and a[1] == b[1] and _same_data(self.first.data[a], self.second.data[b])

    @property
    def is_paired(self) -> bool:
        return bool(self.pairs)

    @cached_property
    def remark(self) -> str:
        """Say what was paired, or why nothing was; or that no metric can be compared."""
        if not self.metrics:
            first, second = (", ".join(_names(group)) or "none" for group in (self.first, self.second))
            return f"they have no metric in common: {self.first.label} has {first}; {self.second.label} has {second}"
        count = len(self.pairs)
        if count:
            what = "folds" if self.first.folds and len(self.first.seeds) == 1 else "seeds"
            what = "seeds and folds" if self.first.folds and len(self.first.seeds) > 1 else what
            fixed = next((g.label for g in (self.first, self.second) if g.is_fixed), "")
            each = f"; {fixed} draws nothing, and stands beside each" if fixed and count > 1 else ""
            most = max(len(self.first.metrics), len(self.second.metrics))
            some = f", {most - count} without a counterpart are left out" if count < most else ""
            few = "; one pair has no interval" if count == 1 else ""
            inputs = "" if self._equal_inputs else ", preprocessed in two ways"
            return f"paired by {what} on the same data{inputs}: {plural(count, 'pair')}{some}{each}{few}"
        return f"not paired: {self._why()}; the interval is of two independent means (Welch)"

    @property
    def _equal_inputs(self) -> bool:
        return all(self.first.data[a][0] == self.second.data[b][0] for a, b in self.pairs)

    def _why(self) -> str:
        folds = [group.folds for group in (self.first, self.second)]
        if bool(folds[0]) != bool(folds[1]) or (folds[0] and not set(folds[0]) & set(folds[1])):
            return "they have no fold in common"
        common = set(self.first.seeds) & set(self.second.seeds)
        if not common and not (self.first.is_fixed or self.second.is_fixed):
            return f"{self.first.description} and {self.second.description} have no seed in common"
        return "the data differs"

    @cached_property
    def metrics(self) -> list[MetricDifference]:
        """Return the difference of each metric of held-out parts that both have, else of the training part."""
        shared = [name for name in _names(self.first) if name in _names(self.second)]
        held = [name for name in shared if name.startswith(("valid/", "test/"))]
        return [self._difference(name) for name in held or shared]

    def _difference(self, metric: str) -> MetricDifference:
        ours, theirs = self.first.values(metric), self.second.values(metric)
        paired = [(ours[a], theirs[b]) for a, b in self.pairs if a in ours and b in theirs]
        if paired:
            first, second = [a for a, _ in paired], [b for _, b in paired]
            differences = [b - a for a, b in paired]
            half = half_interval(differences)
        else:
            first, second = list(ours.values()), list(theirs.values())
            differences, half = [mean_of(second) - mean_of(first)], welch(first, second)
        return MetricDifference(metric, mean_of(first), mean_of(second), mean_of(differences), half)

    def as_json(self) -> dict[str, Any]:
        """Return the second group with its differences from the first."""
        return {
            **self.second.as_json(),
            "paired": self.is_paired,
            "pairs": len(self.pairs),
            "remark": self.remark,
            "metrics": {one.metric: one.as_json() for one in self.metrics},
        }


def compare(names: Sequence[str], root: Path) -> list[Comparison]:
    """Return the comparisons of the first group of runs with each other one. DlxError where there is one alone."""
    groups = list({group.label: group for name in names for group in groups_of(name, root)}.values())
    if len(groups) < 2:
        message = f"there is one spec to compare, {groups[0].label} with {groups[0].description}"
        raise DlxError(message, hint="Name two: `dlx compare A B`.")
    return [Comparison(groups[0], other) for other in groups[1:]]


def groups_of(text: str, root: Path) -> list[RunGroup]:
    """Return what a text names: a run and those that differ from it in seed and fold alone; a study; or a name of
    runs, its newest network and its baselines. DlxError where there is none that has finished.
    """
    for folder in (Path(text), root / text):
        if is_study(folder):
            return [_of_study(folder, text)]
    if named := [run for run in lookup.of_name(text, root) if has_finished(run)]:
        networks = [run for run in named if not run.baseline()]
        own = [RunGroup(networks[0].name, siblings(networks[0]))] if networks else []
        return own + baselines_of(named)
    run = lookup.find(text, root)
    if not has_finished(run):
        raise DlxError(f"{run.key} is {run.status()}, and has no results to compare", hint="Compare finished runs.")
    label = f"{run.name}: {run.baseline()}" if run.baseline() else run.name
    return [RunGroup(label if text == run.name else f"{label} ({run.id})", siblings(run))]


def _of_study(folder: Path, text: str) -> RunGroup:
    study = Study.open(folder)
    best = study.best()
    trials = study.trials if best is None else [t for t in study.points() if t.number == best.number]
    runs = [RunFolder(study.runs / key) for trial in trials for key in trial.runs.values()]
    finished = tuple(run for run in runs if has_finished(run))
    if not finished:
        raise DlxError(f"no trial of {folder} has finished", hint="The same command goes on with it.")
    return RunGroup(text.rstrip("/"), finished)


def baselines_of(runs: Sequence[RunFolder]) -> list[RunGroup]:
    """Return the newest run of each baseline among runs of one name, the oldest baseline first."""
    found = [(run.baseline(), run) for run in runs]
    newest = {label: run for label, run in reversed(found) if label}
    order = list(dict.fromkeys(label for label, _ in found if label))[::-1]
    return [RunGroup(f"{newest[label].name}: {label}", siblings(newest[label])) for label in order]


class Finished:
    """Finished runs by what they are runs of, each read once however many of them are named."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, str], dict[str, list[RunFolder]]] = {}
        self._draws: dict[Path, Draw] = {}

    def alike(self, run: RunFolder) -> list[RunFolder]:
        """Return the finished runs of the same spec, the newest first."""
        place = run.root, run.name
        if place not in self._found:
            by_spec = self._found[place] = {}
            for other in lookup.of_name(run.name, run.root):
                if has_finished(other):
                    by_spec.setdefault(likeness_of(other), []).append(other)
        return self._found[place].get(likeness_of(run), [])

    def draw_of(self, run: RunFolder) -> Draw:
        if run.dir not in self._draws:
            self._draws[run.dir] = draw_of(run)
        return self._draws[run.dir]


def siblings(run: RunFolder, finished: Finished | None = None) -> tuple[RunFolder, ...]:
    """Return a run with the finished ones of the same spec, in order of their seeds and folds; of equal ones the
    newest.
    """
    known = finished or Finished()
    chosen: dict[Draw, RunFolder] = {known.draw_of(run): run}
    for other in known.alike(run):
        chosen.setdefault(known.draw_of(other), other)
    return tuple(chosen[draw] for draw in sorted(chosen, key=lambda d: (d[0], d[1] or 0)))


def has_finished(run: RunFolder) -> bool:
    """Whether a run has finished, and is that of one network."""
    try:
        end = run.end()
    except DlxError:
        return False
    return end is not None and end["status"] == "finished" and not run.members()


def spec_of_run(run: RunFolder) -> dict[str, Any]:
    """Return the resolved spec of a run, as plain values."""
    return dict(_of_run(run)[0])


def likeness_of(run: RunFolder) -> str:
    """Return the spec of a run without its seed and fold, as a text."""
    return _of_run(run)[1]


def _of_run(run: RunFolder) -> tuple[dict[str, Any], str]:
    path = run.file("spec.yaml")
    return _of_file(path, path.stat().st_mtime_ns)


SEED = re.compile(r"(?m)^train:\n(?=  \S)(?: .*\n)*?  seed: (0|[1-9]\d*)\n")
_known: dict[str, tuple[dict[str, Any], str]] = {}
"""Specs by their texts without the seed of the training: of a hundred runs of a spec one is parsed."""
MOST = 4096
"""Specs that are remembered."""


@lru_cache(maxsize=MOST)
def _of_file(path: Path, written: int) -> tuple[dict[str, Any], str]:  # noqa: ARG001 - tells versions apart
    """Return a resolved spec as plain values, and as a text without seed and fold."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    found = SEED.search(text)
    key = f"{text[: found.start(1)]}{text[found.end(1) :]}" if found else ""
    if key in _known and found:
        spec, alike = _known[key]
        return {**spec, "train": {**spec["train"], "seed": int(found[1])}}, alike
    plain = read(path).plain()
    spec = plain if isinstance(plain, dict) else {}
    alike, train = spec_without_draw(spec), spec.get("train")
    if found and isinstance(train, dict) and train.get("seed") == int(found[1]):
        if len(_known) >= MOST:
            _known.clear()
        _known[key] = spec, alike
    return spec, alike


def spec_without_draw(whole: Mapping[str, Any]) -> str:
    """Return a spec without its seed and fold, and what no result depends on, as a text."""
    spec = {key: value for key, value in whole.items() if key not in EXCLUDED}
    train = spec.get("train")
    if isinstance(train, dict):
        spec["train"] = {key: value for key, value in train.items() if key not in {"seed", "seeds"}}
    return json.dumps(spec | {"data": _data_without(spec.get("data"), ("fold",))}, sort_keys=True, default=str)


def draw_of(run: RunFolder) -> Draw:
    """Return the seed and the fold of a run."""
    return draw_in(spec_of_run(run), run.lock())


def draw_in(spec: Mapping[str, Any], lock: Mapping[str, Any]) -> Draw:
    """Return the seed and the fold of the run with that spec and that lock."""
    data = spec.get("data")
    fields = next(iter(data.values()), None) if isinstance(data, dict) else None
    fold = fields.get("fold") if isinstance(fields, dict) else None
    return int(lock.get("seed") or 0), int(fold) if fold is not None else None


def _data_of(run: RunFolder) -> tuple[str, str, str]:
    known = run.lock().get("data") or {}
    section = json.dumps(_data_without(spec_of_run(run).get("data"), PREPROCESSING), sort_keys=True, default=str)
    sizes = json.dumps([known.get(name) for name in ("train", "valid", "test")])
    return str(known.get("digest", "")), section, sizes


def _data_without(data: Any, names: Sequence[str]) -> Any:
    """Return a section `data` without some fields of its kind."""
    if not isinstance(data, dict):
        return {data: {}} if isinstance(data, str) else data
    return {
        kind: {key: value for key, value in fields.items() if key not in names}
        if isinstance(fields, dict)
        else fields
        for kind, fields in data.items()
    }


def _same_data(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    return one[0] == other[0] or one[1:] == other[1:]


def _names(group: RunGroup) -> list[str]:
    each = list(group.metrics.values())
    return [name for name in each[0] if all(name in one for one in each)]


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of the difference of two independent means; None for fewer than two values.

    Source: Welch 1947, "The generalization of Student's problem when several different population variances are
    involved".
    """
    if min(len(one), len(other)) < 2 or not all(map(isfinite, [*one, *other])):
        return None
    parts = [statistics.variance(values) / len(values) for values in (one, other)]
    if not sum(parts):
        return 0.0
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (one, other), strict=True))
    return student_t_quantile(freedom) * sqrt(sum(parts))


def _plural_numbers(noun: str, values: Sequence[int]) -> str:
    return f"{noun}{'s' if len(values) > 1 else ''} {numbers(values)}"


def numbers(values: Sequence[int]) -> str:
    """Write numbers in order: `0 to 4`, `1, 3 and 7`."""
    if len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last
