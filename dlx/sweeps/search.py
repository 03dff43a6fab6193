"""The loop of a study: suggest a generation, train it from rung to rung, tell the journal, and suggest the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf

from ..errors import DlxError, Problem, SpecError, plural
from ..graph import Graphs
from ..schedules import Timeline
from ..spec import Experiment
from ..spec.overrides import mark_of
from ..training.fit import evaluation_period
from .events import Callback, Reported, Stopped, Suggested, TaskEnded
from .leaderboard import settled
from .plan import OF_THE_PLAN, SweepPlan, check_metric
from .population import inherit
from .study import Study, run_name
from .trial import Point, Refused, Trial
from .workers.base import Halting, Task, Trainer, TrialOutcome, Worker, data_name

MOST_REFUSED = 2000
"""Points that may be refused in one generation before the search for one that is not is given up."""


@dataclass(frozen=True)
class Candidate:
    """A point that can be trained: its network, and by seed the run and the spec of it."""

    graphs: Graphs
    experiments: Mapping[int, Experiment]
    span: Timeline
    rungs: Sequence[int]

    @cached_property
    def specs(self) -> dict[int, str]:
        """The resolved spec of each seed."""
        return {seed: one.resolved() for seed, one in self.experiments.items()}

    def runs(self, name: str) -> dict[int, str]:
        return {seed: f"{name}/{run_name(spec)}" for seed, spec in self.specs.items()}


@dataclass
class Search:
    """One sweep over a study. `home` has the data, and is the worker where there is no other."""

    plan: SweepPlan
    study: Study
    worker: Worker
    home: Trainer
    callback: Callback = lambda _: None
    halting: Halting = lambda: False
    nearest: tuple[float, Point, str] | None = field(default=None, init=False)
    """Of the refused, the point that missed the constraints least, and why."""
    checked: bool = field(default=False, init=False)
    fresh: dict[int, Candidate] = field(default_factory=dict, init=False)
    """Of trials that were just suggested, what they come to."""
    note: str = field(default="", init=False)
    """Why it ended before all trials were tried."""

    def run(self) -> bool:
        """Until all trials have ended, or it is to halt: whether they have. DlxError where nothing can be trained."""
        size = self.plan.sweep.generation
        for generation in range(-(-self.plan.trials // size)):
            wanted = min(size, self.plan.trials - generation * size)
            if self.halting():
                return False
            if len(self.study.generation(generation)) < wanted:
                self.suggest(generation, wanted)
            trials = self.study.generation(generation)
            if not trials:
                break
            if not self.climb(trials):
                return False
            if self.has_settled():
                break
        if not self.study.trials:
            raise self.none_left()
        return True

    def has_settled(self) -> bool:
        """Whether nothing more is to be found, as far as the seeds can tell, and the spec says to end then."""
        best = self.plan.sweep.until_alike
        if best is not None:
            self.note = settled(self.study.points(), self.plan.metrics[0], self.plan.rising[0], best) or ""
        return bool(self.note)

    def retry(self) -> None:
        """Trials that failed are to be tried again."""
        if failed := [trial.number for trial in self.study.in_state("failed")]:
            self.study.retried(failed)

    # --- suggesting -------------------------------------------------------------------------------------------------

    def suggest(self, generation: int, wanted: int) -> None:
        """A generation up to `wanted` trials. It is drawn whole, so that extending one changes nothing."""
        there, known = self.study.generation(generation), self.study.refusals.get(generation, 0)
        found, refused = self.drawn(generation)
        first = len(self.study.before(generation))
        new: list[Trial] = []
        for number, (point, candidate) in enumerate(found[len(there) : wanted], first + len(there)):
            runs = candidate.runs(self.plan.base.name)
            new.append(Trial(number, point, generation, candidate.graphs.params, candidate.graphs.macs, runs=runs))
            self.fresh[number] = candidate
        if new or refused[known:]:
            self.study.suggested(generation, new, refused[known:])
            self.callback(Suggested(new, len(refused) - known))

    def drawn(self, generation: int) -> tuple[list[tuple[Point, Candidate]], list[Refused]]:
        """A whole generation, and what was refused on the way to it."""
        plan, history = self.plan, self.study.before(generation)
        before = sum(count for g, count in self.study.refusals.items() if g < generation)
        taken = [refused.point for refused in self.study.refused[:before]]
        found: list[tuple[Point, Candidate]] = []
        refused: list[Refused] = []
        while len(found) < plan.sweep.generation and len(refused) < MOST_REFUSED:
            count = plan.sweep.generation - len(found)
            points = plan.sampler.ask(plan.space, history, count, plan.sweep.seed, plan.metrics, plan.rising, taken)
            if not points:
                break
            for point in points:
                taken.append(point)
                candidate = self.candidate(point)
                if isinstance(candidate, str):
                    refused.append(Refused(point, candidate))
                else:
                    found.append((point, candidate))
            if self.halting():
                break
        return found, refused

    def candidate(self, point: Point) -> Candidate | str:
        """What a point comes to before training, or why it is not to be trained."""
        examined = self.plan.planner.examine(point)
        if examined.graphs is None or examined.experiment is None or examined.because is not None:
            return self.missed(point, examined.because or "it makes no network", examined.miss)
        try:
            made = self.planned(examined.experiment, examined.graphs)
        except SpecError as error:
            first = error.problems[0]
            return self.missed(point, f"{first.path}: {first.message}" if first.path else first.message)
        return made

    def missed(self, point: Point, because: str, by: float = inf) -> str:
        """Why a point is refused; the nearest miss is kept, for where all of them are."""
        if self.nearest is None or by < self.nearest[0]:
            self.nearest = (by, point, because)
        return because

    def planned(self, experiment: Experiment, graphs: Graphs) -> Candidate:
        """A network with its data. SpecError where they do not go together."""
        from ..training.prepared import ready, span_of

        ready(experiment, graphs)
        train = experiment.train
        assert train is not None
        if train.ensemble is not None and train.ensemble.members:
            message = f"it trains an ensemble of {train.ensemble.members}, and a trial is one network"
            raise SpecError(Problem(message, "Take `ensemble` out.", path="train.ensemble"))
        sets = self.home.sets(experiment)
        self.study.looked_at(data_name(experiment), sets.digest)
        if not self.checked:
            check_metric(self.plan, len(sets.valid) if sets.valid is not None else 0)
        span = span_of(experiment, sets)
        rungs = self.plan.scheduler.rungs(span.steps, span.per_epoch)
        if not self.checked:
            self.check_rungs(rungs, evaluation_period(train, span), span)
        self.checked = True
        return Candidate(graphs, self.plan.experiments(experiment), span, rungs)

    def check_rungs(self, rungs: Sequence[int], evaluated: int, span: Timeline) -> None:
        """DlxError where the scheduler has nothing to compare by."""
        kind = self.plan.scheduler.kind
        if kind == "none":
            return
        if len(rungs) < 2:
            there = f"{span.steps:,} steps of {span.per_epoch:,} an epoch"
            hint = "Train longer, let the first rung come earlier, or leave `sweep.scheduler` out."
            raise DlxError(
                f"{kind} compares trials on the way, and there is no rung before the end: {there}", hint=hint
            )
        if rungs[0] < evaluated:
            hint = f"Write `train.evaluate_every: {rungs[0]}`, or let the first rung come later."
            message = f"{kind} compares trials at step {rungs[0]:,}, and the first evaluation is at {evaluated:,}"
            raise DlxError(message, hint=hint)

    def none_left(self) -> DlxError:
        """That no point can be trained, and which came nearest."""
        tried = plural(len(self.study.refused), "point")
        if self.nearest is None:
            return DlxError(f"no trial could be suggested: {self.plan.sampler.kind} has no points to give")
        _, point, because = self.nearest
        where = " ".join(self.plan.space.overrides(point))
        hint = f"The nearest is {where}: {because}."
        mark = mark_of(where) if not self.plan.sweep.texts else self.plan.base.place("sweep", "constraints")
        what = "keeps to the constraints" if self.plan.sweep.texts else "makes a network that can be trained"
        return DlxError(Problem(f"of {tried} none {what}", hint, mark, "sweep"))

    def remember(self, runs: Mapping[int, str], candidate: Candidate) -> None:
        """Spare this process reading what was read before."""
        for seed, key in runs.items():
            self.home.remember(str((self.plan.runs / key).absolute()), candidate.experiments[seed], candidate.graphs)

    # --- training ---------------------------------------------------------------------------------------------------

    def climb(self, trials: Sequence[Trial]) -> bool:
        """A generation from rung to rung to its end: whether it came there."""
        live = [trial for trial in trials if trial.state == "waiting"]
        candidates = {trial.number: self.again(trial) for trial in live}
        for place in range(max((len(c.rungs) for c in candidates.values()), default=0)):
            due = [
                t for t in live if t.state == "waiting" and len(t.rungs) <= place < len(candidates[t.number].rungs)
            ]
            if due and not self.advance(due, place, candidates):
                return False
            waiting = [t for t in live if t.state == "waiting" and len(t.rungs) == place + 1]
            if waiting:
                self.compare(trials, waiting, place, candidates)
        self.home.forget()
        return True

    def again(self, trial: Trial) -> Candidate:
        """What a trial comes to, with the rungs of its generation."""
        candidate = self.fresh.pop(trial.number, None) or self.candidate(trial.point)
        if isinstance(candidate, str):
            hint = "What it depends on beside the spec, such as its data, has changed: bring that back."
            raise DlxError(f"trial {trial.number} cannot be trained any more: {candidate}", hint=hint)
        self.remember(trial.runs, candidate)
        rungs = self.plan.scheduler.rungs(candidate.span.steps, candidate.span.per_epoch, trial.generation)
        return replace(candidate, rungs=rungs)

    def advance(self, due: Sequence[Trial], place: int, candidates: Mapping[int, Candidate]) -> bool:
        """Bring trials to their rung, and tell the journal in their order: whether all came there."""
        tasks = [task for trial in due for task in self.tasks(trial, place, candidates[trial.number])]
        waiting = list(due)
        ended: dict[int, dict[int, TrialOutcome]] = {trial.number: {} for trial in due}
        for outcome in self.worker.advance(tasks, self.halting):
            ended[outcome.number][outcome.seed] = outcome
            self.callback(TaskEnded(self.study.trials[outcome.number], outcome))
            while waiting and self.is_through(waiting[0], ended[waiting[0].number]):
                self.tell(waiting[0], ended[waiting[0].number], place, candidates[waiting[0].number])
                waiting.pop(0)
        return not waiting

    def tasks(self, trial: Trial, place: int, candidate: Candidate) -> Iterator[Task]:
        rung = candidate.rungs[place]
        until = rung if place + 1 < len(candidate.rungs) else None
        for seed, key in trial.runs.items():
            folder = (self.plan.runs / key).absolute()
            candidate.experiments[seed].keep_plugins(folder)
            yield Task(trial.number, seed, str(folder), candidate.specs[seed], until)

    @staticmethod
    def is_through(trial: Trial, ended: Mapping[int, TrialOutcome]) -> bool:
        return len(ended) == len(trial.runs) and all(outcome.ended != "cut off" for outcome in ended.values())

    def tell(self, trial: Trial, ended: Mapping[int, TrialOutcome], place: int, candidate: Candidate) -> None:
        """How far a trial came, to the journal."""
        ordered = [ended[seed] for seed in trial.runs]
        steps = {outcome.seed: outcome.step for outcome in ordered}
        seconds, rung = sum(outcome.seconds for outcome in ordered), candidate.rungs[place]
        if failed := [outcome for outcome in ordered if outcome.ended == "failed"]:
            message = failed[0].message if len(ordered) == 1 else f"seed {failed[0].seed}: {failed[0].message}"
            self.study.reached(trial, rung, {}, steps, seconds, "failed", message)
        else:
            known = {name: float(getattr(trial, name)) for name in OF_THE_PLAN if name in self.plan.metrics}
            metrics = {outcome.seed: {**outcome.metrics, **known} for outcome in ordered}
            last = place + 1 == len(candidate.rungs)
            self.study.reached(trial, rung, metrics, steps, seconds, "finished" if last else "waiting")
        self.callback(Reported(trial))

    def compare(
        self, trials: Sequence[Trial], waiting: Sequence[Trial], place: int, candidates: Mapping[int, Candidate]
    ) -> None:
        """What the scheduler makes of a rung: who ends there, and who takes over the weights of another."""
        plan, study = self.plan, self.study
        metric, rises = plan.metrics[0], plan.rising[0]
        there = [trial for trial in trials if len(trial.rungs) > place]
        rung = sorted(there[0].rungs)[place]
        survivors = plan.scheduler.survivors(there, rung, metric, rises, study.before(trials[0].generation))
        if ended := [trial for trial in waiting if trial.number not in survivors]:
            study.stopped(rung, [trial.number for trial in ended])
            self.callback(Stopped(ended, rung))
        left = [trial for trial in waiting if trial.state == "waiting"]
        if not left or any(rung in trial.taken for trial in trials):
            return
        exploits = plan.scheduler.exploits(left, rung, metric, rises, plan.space, plan.sweep.seed)
        told = inherit(self, exploits, rung) if exploits else {}
        if told:
            study.exploited(rung, told)
            for number in told:
                candidates[number] = self.again(study.trials[number])  # type: ignore[index]


@dataclass
class Clock:
    """When a sweep is to halt: its budget is spent, or somebody said so."""

    budget: int | None = None
    asked: bool = False
    started: float = field(default_factory=time.monotonic)

    def __call__(self) -> bool:
        return self.asked or self.spent

    @property
    def spent(self) -> bool:
        return self.budget is not None and self.seconds >= self.budget

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def next_of(plan: SweepPlan, study: Study) -> str:
    """What the same command would do next."""
    waiting = study.in_state("waiting")
    more = plan.trials - len(study.trials)
    told = []
    if waiting:
        names = ", ".join(str(trial.number) for trial in waiting[:8]) + (", ..." if len(waiting) > 8 else "")
        many = "trials" if len(waiting) > 1 else "trial"
        at = {max(trial.rungs, default=0) for trial in waiting}
        told.append(f"go on with {many} {names}" + (f" from step {at.pop():,}" if len(at) == 1 else ""))
    if more > 0:
        told.append(f"suggest {plural(more, 'more trial')}" if study.trials else f"suggest {plural(more, 'trial')}")
    return ", then ".join(told)


__all__ = ["Clock", "Search", "next_of"]
