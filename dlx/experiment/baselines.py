"""Fit baselines to the data of a spec: each is a run, with the splits, inputs and metrics of the network."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..baselines import Baseline, Learns
from ..baselines.base import OfSeries, OfText
from ..data import Sets
from ..data.preprocess import as_float32, fit_steps
from ..errors import DlxError, Problem, RunError, SpecError, first_line
from ..lazy import np, torch
from ..objectives import Supervised
from ..objectives.language import Language
from ..runs import origin
from ..runs.folder import BASELINE, RunFolder
from ..spec import Experiment, supervised_of
from ..spec.baseline_list import with_baseline
from ..spec.overrides import values_of
from ..training.ensemble_metrics import HELD_OUT
from ..training.prepared import loaded, statistics_of_targets
from . import baseline_checks, confusion_matrix, text_baselines
from .baseline_metrics import OF_VALUES, Yardstick, in_scale
from .folds import FoldMetric, Folds, count_of, fold_changes, note_of
from .lock import locked, software_environment
from .results import Result
from .session import check_tracking, mirrors_of

if TYPE_CHECKING:
    from ..data.base import Floats, Split
    from ..track import Mirror

MOST_DISTANCES = 200_000_000
"""Distances that the training part is measured by at most: 14,000 examples with each other."""


@dataclass(frozen=True)
class BaselineRun:
    """A baseline that was fitted, with its run."""

    baseline: Baseline
    result: Result
    features: int
    """Values of an input, as the baseline takes it."""
    fold: int | None = None

    def as_json(self) -> dict[str, Any]:
        run = self.result.run
        about = {"run": run.key, "dir": str(run.dir), "seed": self.result.seed, "fold": self.fold}
        return {**about, "seconds": round(self.result.seconds, 3), "metrics": self.result.metrics}


@dataclass(frozen=True)
class BaselineGroup:
    """The runs of one baseline: one for each fold and seed."""

    baseline: Baseline
    runs: tuple[BaselineRun, ...]

    @property
    def metrics(self) -> list[FoldMetric]:
        """Return each metric over the folds, else over the seeds."""
        folds = list(dict.fromkeys(run.fold for run in self.runs))
        groups = [[r for r in self.runs if r.fold == fold] for fold in folds]
        groups = groups if len(groups) > 1 else [[run] for run in self.runs]
        names = [name for name in self.runs[0].result.metrics if all(name in r.result.metrics for r in self.runs)]
        return [
            FoldMetric(name, tuple(FoldMetric("", tuple(r.result.metrics[name] for r in g)).mean for g in groups))
            for name in names
        ]

    @property
    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for run in self.runs for note in run.result.notes))

    def as_json(self) -> dict[str, Any]:
        several = len(self.runs) > 1
        return {
            "baseline": {self.baseline.kind: self.baseline.model_dump(mode="json")},
            "label": self.baseline.label,
            "features": self.runs[0].features,
            "metrics": {metric.name: metric.mean for metric in self.metrics},
            **({"interval95": {metric.name: metric.interval95 for metric in self.metrics}} if several else {}),
            "notes": self.notes,
            "runs": [run.as_json() for run in self.runs],
        }


@dataclass(frozen=True)
class BaselineResults:
    """All baselines of a command, in the order in which they were named."""

    groups: tuple[BaselineGroup, ...]
    folds: int | None = None
    note: str = ""
    mirrors: tuple[Mirror, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document that `dlx baseline --json` ends with."""
        return {
            "baselines": [group.as_json() for group in self.groups],
            "folds": self.folds,
            "note": self.note or None,
        }


Report = Callable[[BaselineRun], None]


def run(
    experiment: Experiment,
    runs: Path = Path("runs"),
    folds: Folds | None = None,
    report: Report = lambda _: None,
) -> BaselineResults:
    """Fit the baselines of a spec, on each fold where `folds` are given.

    SpecError or DlxError before anything is fitted where a baseline cannot learn the data; RunError where
    scikit-learn refuses it.
    """
    check_tracking(experiment)
    experiments, count, note = _experiments(experiment, folds)
    baseline_checks.check(experiments[0])
    made: dict[int, list[BaselineRun]] = {}
    for number, one in enumerate(experiments, 1):
        fitting = _Fitting(one, loaded(one), runs, number if count else None)
        fitting.check_memory()
        for place in range(len(one.baselines)):
            for seed in fitting.seeds(one.baselines[place]):
                done = fitting.fit(place, seed)
                report(done)
                made.setdefault(place, []).append(done)
            alike = [run.result.run for run in made[place][-len(fitting.seeds(one.baselines[place])) :]]
            if len(alike) > 1:
                origin.record_seeds(alike, len(alike))
    groups = tuple(BaselineGroup(each[0].baseline, tuple(each)) for each in made.values())
    mirrors = mirrors_of(experiment, [one.result.run for group in groups for one in group.runs])
    return BaselineResults(groups, count, note, tuple(mirrors))


def _experiments(experiment: Experiment, folds: Folds | None) -> tuple[list[Experiment], int | None, str]:
    """Return the spec, or one for each fold, the number of folds, and a note on parts that these replace."""
    if folds is None:
        return [experiment], None, ""
    own, dropped = fold_changes(experiment, folds)
    first = experiment.changed(own)
    if first.problems:
        raise SpecError(*first.problems)
    count = count_of(first)
    assert first.data is not None
    key = f"++data.{first.data.kind}.fold"
    return [first.changed([f"{key}={fold}"]) for fold in range(1, count + 1)], count, note_of(dropped, count)


@dataclass
class _Fitting:
    """Baselines on one split of the data."""

    experiment: Experiment
    sets: Sets
    runs: Path
    fold: int | None
    known: tuple[str, dict[str, Floats]] = ("", {})
    """The last preprocessed inputs: baselines in a row often share them."""
    environment: dict[str, Any] = field(default_factory=dict)

    def check_memory(self) -> None:
        """Raise SpecError where inputs stay on disk."""
        if self.sets.train.streams:
            message = "the data stays on disk, and scikit-learn fits arrays in memory"
            hint = "`stream: false` reads all of it, `train: 5000` a part."
            raise SpecError(Problem(message, hint, self.experiment.place("data"), "data"))

    def seeds(self, baseline: Baseline) -> Sequence[int]:
        """Return the seeds to fit with: one where nothing is drawn."""
        train = self.experiment.train
        assert train is not None
        return range(train.seed, train.seed + (train.seeds if baseline.is_random else 1))

    def fit(self, place: int, seed: int) -> BaselineRun:
        """Fit one baseline and measure it on all parts, in a new run folder."""
        one = with_baseline(self.experiment, place).with_seed(seed)
        (baseline,) = one.baselines
        folder = RunFolder.create(self.runs, one.name)
        one.keep_plugins(folder.dir)
        folder.write_text("spec.yaml", one.resolved())
        origin.record_overrides(folder, values_of(self.experiment.overrides))
        self._write_lock(folder, one)
        folder.append({"record": "start", "time": time.time()})
        if not isinstance(baseline, OfSeries | OfText):
            baseline.estimator("values" if baseline.learns == ("values",) else "classes", seed)  # imports its module
        started, measured = time.perf_counter(), _Answers()
        with _ended(folder, measured, started):
            if isinstance(baseline, OfText):
                features = self._measure_text(one, baseline, measured)
            else:
                features = self._measure(one, baseline, seed, measured)
            about = {
                "kind": baseline.kind,
                "label": baseline.label,
                "random": baseline.is_random,
                "features": features,
                "notes": measured.notes,
            }
            folder.write_json(BASELINE, about | {"options": baseline.model_dump(mode="json"), "fold": self.fold})
            confusion_matrix.write(folder, {"": self.sets.class_names}, measured.tables)
        seconds = time.perf_counter() - started
        result = Result(folder, seed, 0, seconds, measured.metrics, notes=tuple(measured.notes))
        return BaselineRun(baseline, result, features, self.fold)

    def _measure(self, one: Experiment, baseline: Baseline, seed: int, into: _Answers) -> int:
        """Fit a baseline and measure it; return the number of values of an input."""
        objective, facts = supervised_of(one), one.data.facts() if one.data is not None else None
        assert facts is not None
        objective = objective.fitted(statistics_of_targets(one, objective, self.sets))
        learns: Learns = "values" if objective.kind in OF_VALUES else "classes"
        yardstick = Yardstick.of(objective, learns, baseline)
        inputs = self.inputs(baseline)
        with _recorded_warnings(into.notes, baseline):
            if isinstance(baseline, OfSeries):
                assert facts.target is not None
                fitted = baseline.forecaster(facts.input, facts.target, self.sets.series)
            else:
                fitted = _fitted(baseline, learns, seed, inputs["train"], _targets(self.sets.train, objective))
        into.notes += baseline.found(fitted)
        for name, x in inputs.items():
            part = getattr(self.sets, name)
            if name == "train" and baseline.evaluations(len(x), len(x)) > MOST_DISTANCES:
                into.notes.append(f"train is not measured: it takes {len(x) ** 2:,} distances")
                continue
            found = yardstick.measure(baseline, fitted, x, part, facts.classes)
            into.metrics |= {f"{name}/{metric}": value for metric, value in found.metrics.items()}
            into.notes += [f"{name}/{metric}: {note}" for metric, note in found.notes.items()]
            into.tables[name] = found.tables
            if name != "train":
                into.notes += [f"{name}: {remark}" for remark in baseline.remarks(fitted, x)]
        into.notes += _unused_weights(one, objective)
        if yardstick.without:
            has = "has no probabilities" if not baseline.probabilities else "gives no outputs of this loss"
            into.notes.append(f"{', '.join(yardstick.without)} not measured: {baseline.kind} {has}")
        return int(inputs["train"].shape[1])

    def _measure_text(self, one: Experiment, baseline: OfText, into: _Answers) -> int:
        """Count the tokens of a text and measure what follows; return the number of tokens that are seen."""
        objective = supervised_of(one)
        assert isinstance(objective, Language)
        found = text_baselines.measure(baseline, objective, self.sets)
        into.metrics |= found.metrics
        into.notes += found.notes
        return baseline.context

    def inputs(self, baseline: Baseline) -> dict[str, Floats]:
        """Return the inputs (n, values) of each part, after the baseline's own preprocessing."""
        name = repr(baseline.preprocess)
        if self.known[0] != name or not self.known[1]:
            steps, train = fit_steps(baseline.preprocess, self.sets.train.x)
            parts: dict[str, Any] = {"train": train}
            for part in HELD_OUT:
                if (split := getattr(self.sets, part)) is not None and len(split):
                    parts[part] = split.x
                    for step in steps:
                        parts[part] = step(parts[part])
            flat = {key: np.ascontiguousarray(as_float32(x).reshape(len(x), -1)) for key, x in parts.items()}
            self.known = name, flat
        return self.known[1]

    def _write_lock(self, folder: RunFolder, one: Experiment) -> None:
        assert one.train is not None
        self.environment = self.environment or software_environment()
        packages = self.environment["packages"] | {"scikit-learn": version("scikit-learn")}
        environment = self.environment | {"packages": packages}
        folder.write_json("lock.json", locked(one, self.sets, one.train, "cpu", torch.get_num_threads(), environment))


def _unused_weights(experiment: Experiment, objective: Supervised) -> list[str]:
    """Return a note where the network, and not the baseline, learns some examples more often or with more weight."""
    sampling = experiment.train.sampling if experiment.train is not None else None
    own = [f"`train.sampling: {sampling.by}`"] if sampling is not None else []
    own += ["the class weights of the loss"] if getattr(objective.loss, "weight", None) is not None else []
    if not own:
        return []
    alone = "are the network's alone" if len(own) > 1 or sampling is None else "is the network's alone"
    return [f"{' and '.join(own)} {alone}: the baseline is fitted to each example once, with equal weight"]


@dataclass
class _Answers:
    """Metrics and notes of one baseline, filled in as they are measured."""

    metrics: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Mapping[str, list[list[int]]]] = field(default_factory=dict)


@contextmanager
def _ended(folder: RunFolder, measured: _Answers, started: float) -> Iterator[None]:
    """Context after which the folder has its end record, whatever happens. RunError where scikit-learn refuses."""
    end = {"record": "end", "step": 0, "status": "failed", "message": ""}
    try:
        yield
        end["status"] = "finished"
    except KeyboardInterrupt:
        end["status"] = "stopped"
        raise
    except (ValueError, MemoryError) as error:
        end["message"] = first_line(error)
        raise RunError(f"scikit-learn refuses the data: {first_line(error)}") from error
    except DlxError as error:
        end["message"] = error.problems[0].message
        raise
    except BaseException as error:
        end["message"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        seconds = round(time.perf_counter() - started, 3)
        folder.append(end | {"time": time.time(), "seconds": seconds, "metrics": measured.metrics})


@contextmanager
def _recorded_warnings(notes: list[str], baseline: Baseline) -> Iterator[None]:
    """Context in which warnings of scikit-learn become notes."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield
    for one in found:
        if issubclass(one.category, ConvergenceWarning):
            steps = getattr(baseline, "max_iter", 0)
            notes.append(
                f"not converged in max_iter {steps:,}: more iterations, or standardised inputs, may better it"
            )
        else:
            notes.append(f"scikit-learn warns: {first_line(Exception(one.message))}")
    notes[:] = list(dict.fromkeys(notes))


def _fitted(baseline: Baseline, learns: Learns, seed: int, x: Floats, targets: tuple[Any, Any]) -> Any:
    """Return the fitted estimator; `targets` are those of the examples that count, and a mask of them."""
    y, counted = targets
    estimator = baseline.estimator(learns, seed)
    if learns == "values" and y.ndim > 1 and not baseline.several_values:
        from sklearn.multioutput import MultiOutputRegressor

        estimator = MultiOutputRegressor(estimator)
    return estimator.fit(x if counted is None else x[counted], y)


def _targets(part: Split, objective: Supervised) -> tuple[Any, Any]:
    """Return targets for scikit-learn, of values (n,) or (n, values), and a mask where some do not count."""
    y = part.y
    if objective.kind in OF_VALUES:
        y = in_scale(part) if objective.kind == "forecast" else y
        flat = y.reshape(len(y), -1)
        return (flat[:, 0] if flat.shape[1] == 1 else flat), None
    ignored = objective.loss.ignores()
    if ignored is None:
        return y, None
    counted = y != ignored
    return y[counted], counted


def finish_tracking(results: BaselineResults) -> str:
    """Return how the last of the mirrors to MLflow stands, or the first that failed; nobody waits for them."""
    states = [mirror.finish(timeout=0.0) for mirror in results.mirrors]
    return next((one for one in states if one.startswith("failed")), states[-1] if states else "")
