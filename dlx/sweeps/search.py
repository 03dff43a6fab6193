"""Search of a study: suggest a generation, train it from rung to rung, record it in the journal, and repeat."""

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
from .leaderboard import converged
from .plan import PLAN_METRICS, SweepPlan, check_metric
from .population import hand_over_weights
from .study import Study, run_name
from .trial import Point, Refused, Trial
from .workers.base import ShouldStop, Task, Trainer, TrialOutcome, Worker, data_name

MAX_REFUSED = 2000
"""Points that may be refused in one generation before the search for a feasible one is given up."""


@dataclass(frozen=True)
class Candidate:
    """A feasible point: its network, and by seed its experiments."""

    graphs: Graphs
    experiments: Mapping[int, Experiment]
    span: Timeline
    rungs: Sequence[int]

    @cached_property
    def specs(self) -> dict[int, str]:
        """Resolved spec of each seed."""
        return {seed: one.resolved() for seed, one in self.experiments.items()}

    def runs(self, name: str) -> dict[int, str]:
        return {seed: f"{name}/{run_name(spec)}" for seed, spec in self.specs.items()}


@dataclass
class Search:
    """One sweep over a study. `trainer` has the data, and is the worker where there is no other."""

    plan: SweepPlan
    study: Study
    worker: Worker
    trainer: Trainer
    callback: Callback = lambda _: None
    should_stop: ShouldStop = lambda: False
    nearest: tuple[float, Point, str] | None = field(default=None, init=False)
    """Of the refused points the one with the least violation: violation, point, reason."""
    checked: bool = field(default=False, init=False)
    suggested: dict[int, Candidate] = field(default_factory=dict, init=False)
    """Candidates of trials that were suggested by this process, so that they need not be planned again."""
    note: str = field(default="", init=False)
    """Why it ended before all trials were tried."""

    def run(self) -> bool:
        """Run until all trials have ended or it is to stop; return whether they have. Raises DlxError where no
        point is feasible.
        """
        size = self.plan.sweep.generation
        for generation in range(-(-self.plan.trials // size)):
            count = min(size, self.plan.trials - generation * size)
            if self.should_stop():
                return False
            if len(self.study.generation(generation)) < count:
                self.suggest(generation, count)
            trials = self.study.generation(generation)
            if not trials:
                break
            if not self.train_generation(trials):
                return False
            if self.has_converged():
                break
        if not self.study.trials:
            raise self.no_trial_error()
        self.note = self.note or self.shortfall()
        return True

    def shortfall(self) -> str:
        """Return why fewer trials than planned were tried; empty where all were."""
        tried, wanted, refused = len(self.study.trials), self.plan.trials, len(self.study.refused)
        if tried >= wanted:
            return ""
        size = self.plan.space.size
        there = "no further points could be suggested" if size is None else f"the space has {plural(size, 'point')}"
        more = f", and {refused:,} of them {'was' if refused == 1 else 'were'} refused" if refused and size else ""
        return f"after {tried:,} of the {wanted:,} planned trials: {there}{more}"

    def has_converged(self) -> bool:
        """Whether the spec asks to stop a search that has converged, and this one has."""
        best = self.plan.sweep.until_alike
        if best is not None:
            self.note = converged(self.study.points(), self.plan.metrics[0], self.plan.rising[0], best) or ""
        return bool(self.note)

    def retry(self) -> None:
        """Queue trials that failed again."""
        if failed := [trial.number for trial in self.study.in_state("failed")]:
            self.study.record_retried(failed)

    # --- suggesting -------------------------------------------------------------------------------------------------

    def suggest(self, generation: int, count: int) -> None:
        """Suggest a generation of up to `count` trials.

        The whole generation is sampled in any case, so that extending it later by `--trials` gives the same points.
        """
        known_trials, known = self.study.generation(generation), self.study.refusals.get(generation, 0)
        found, refused = self.sample_generation(generation)
        first = len(self.study.earlier_trials(generation))
        new: list[Trial] = []
        for number, (point, candidate) in enumerate(found[len(known_trials) : count], first + len(known_trials)):
            runs = candidate.runs(self.plan.base.name)
            new.append(Trial(number, point, generation, candidate.graphs.params, candidate.graphs.macs, runs=runs))
            self.suggested[number] = candidate
        if new or refused[known:]:
            self.study.record_generation(generation, new, refused[known:])
            self.callback(Suggested(new, len(refused) - known))

    def sample_generation(self, generation: int) -> tuple[list[tuple[Point, Candidate]], list[Refused]]:
        """Sample a whole generation; return its points, and those that were refused before them."""
        plan, history = self.plan, self.study.earlier_trials(generation)
        before = sum(count for g, count in self.study.refusals.items() if g < generation)
        taken = [refused.point for refused in self.study.refused[:before]]
        found: list[tuple[Point, Candidate]] = []
        refused: list[Refused] = []
        # refused points are passed as `taken`: the sampler, which has no memory, would else suggest them for ever
        while len(found) < plan.sweep.generation and len(refused) < MAX_REFUSED:
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
            if self.should_stop():
                break
        return found, refused

    def candidate(self, point: Point) -> Candidate | str:
        """Return the candidate of a point, or why it is refused."""
        examined = self.plan.planner.examine(point)
        if examined.graphs is None or examined.experiment is None or examined.refusal is not None:
            return self.refuse(point, examined.refusal or "it makes no network", examined.violation)
        try:
            made = self.prepare_candidate(examined.experiment, examined.graphs)
        except SpecError as error:
            first = error.problems[0]
            return self.refuse(point, f"{first.path}: {first.message}" if first.path else first.message)
        return made

    def refuse(self, point: Point, refusal: str, by: float = inf) -> str:
        """Return why a point is refused, and remember the nearest miss for the error where all are refused."""
        if self.nearest is None or by < self.nearest[0]:
            self.nearest = (by, point, refusal)
        return refusal

    def prepare_candidate(self, experiment: Experiment, graphs: Graphs) -> Candidate:
        """Check a network together with its data. Raises SpecError where they do not fit."""
        from ..experiment.stages import ready_stages
        from ..training.prepared import ready, span_of

        if experiment.stages:
            ready_stages(experiment, graphs.stages)
        else:
            ready(experiment, graphs)
        train = experiment.train
        assert train is not None
        if train.ensemble is not None and train.ensemble.members:
            message = f"it trains an ensemble of {train.ensemble.members}, and a trial is one network"
            raise SpecError(Problem(message, "Take `ensemble` out.", path="train.ensemble"))
        spans = []
        for one in [stage.experiment for stage in experiment.stages] or [experiment]:
            sets = self.trainer.sets(one)
            self.study.record_data(data_name(one), sets.digest)
            spans.append(span_of(one, sets))
        if not self.checked:
            check_metric(self.plan, len(sets.valid) if sets.valid is not None else 0)
        span = spans[-1]._replace(steps=sum(one.steps for one in spans))
        rungs = self.plan.scheduler.rungs(span.steps, span.per_epoch)
        if not self.checked:
            self.check_rungs(rungs, evaluation_period(train, span), span)
        self.checked = True
        return Candidate(graphs, self.plan.experiments(experiment), span, rungs)

    def check_rungs(self, rungs: Sequence[int], evaluated: int, span: Timeline) -> None:
        """Raise DlxError where the scheduler would have nothing to compare."""
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

    def no_trial_error(self) -> DlxError:
        """Return the error that no point is feasible, with the nearest one."""
        tried = plural(len(self.study.refused), "point")
        if self.nearest is None:
            return DlxError(f"no trial could be suggested: {self.plan.sampler.kind} has no points to give")
        _, point, refusal = self.nearest
        where = " ".join(self.plan.space.overrides(point))
        hint = f"The nearest is {where}: {refusal}."
        mark = mark_of(where) if not self.plan.sweep.texts else self.plan.base.place("sweep", "constraints")
        what = "keeps to the constraints" if self.plan.sweep.texts else "makes a network that can be trained"
        return DlxError(Problem(f"of {tried} none {what}", hint, mark, "sweep"))

    def remember(self, runs: Mapping[int, str], candidate: Candidate) -> None:
        """Pass what was planned to the trainer, which then need not read it again."""
        for seed, key in runs.items():
            self.trainer.remember(
                str((self.plan.runs / key).absolute()), candidate.experiments[seed], candidate.graphs
            )

    # --- training ---------------------------------------------------------------------------------------------------

    def train_generation(self, trials: Sequence[Trial]) -> bool:
        """Train a generation from rung to rung to its end; return whether it has ended."""
        live = [trial for trial in trials if trial.state == "waiting"]
        candidates = {trial.number: self.restore(trial) for trial in live}
        for place in range(max((len(c.rungs) for c in candidates.values()), default=0)):
            due = [
                t for t in live if t.state == "waiting" and len(t.rungs) <= place < len(candidates[t.number].rungs)
            ]
            if due and not self.advance(due, place, candidates):
                return False
            waiting = [t for t in live if t.state == "waiting" and len(t.rungs) == place + 1]
            if waiting:
                self.apply_scheduler(trials, waiting, place, candidates)
        self.trainer.forget()
        return True

    def restore(self, trial: Trial) -> Candidate:
        """Return the candidate of a recorded trial, with the rungs of its generation."""
        candidate = self.suggested.pop(trial.number, None) or self.candidate(trial.point)
        if isinstance(candidate, str):
            hint = "What it depends on beside the spec, such as its data, has changed: bring that back."
            raise DlxError(f"trial {trial.number} cannot be trained any more: {candidate}", hint=hint)
        self.remember(trial.runs, candidate)
        rungs = self.plan.scheduler.rungs(candidate.span.steps, candidate.span.per_epoch, trial.generation)
        return replace(candidate, rungs=rungs)

    def advance(self, due: Sequence[Trial], place: int, candidates: Mapping[int, Candidate]) -> bool:
        """Train trials to their rung, and record them in their order; return whether all have reached it."""
        tasks = [task for trial in due for task in self.tasks(trial, place, candidates[trial.number])]
        waiting = list(due)
        ended: dict[int, dict[int, TrialOutcome]] = {trial.number: {} for trial in due}
        for outcome in self.worker.advance(tasks, self.should_stop):
            ended[outcome.number][outcome.seed] = outcome
            self.callback(TaskEnded(self.study.trials[outcome.number], outcome))
            # workers end in any order; recorded in the order of the trials, the journal is the same for any number of
            # workers
            while waiting and self.is_complete(waiting[0], ended[waiting[0].number]):
                self.record_trial(waiting[0], ended[waiting[0].number], place, candidates[waiting[0].number])
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
    def is_complete(trial: Trial, ended: Mapping[int, TrialOutcome]) -> bool:
        return len(ended) == len(trial.runs) and all(outcome.ended != "cut off" for outcome in ended.values())

    def record_trial(self, trial: Trial, ended: Mapping[int, TrialOutcome], place: int, candidate: Candidate) -> None:
        """Record in the journal how far a trial has come."""
        ordered = [ended[seed] for seed in trial.runs]
        steps = {outcome.seed: outcome.step for outcome in ordered}
        seconds, rung = sum(outcome.seconds for outcome in ordered), candidate.rungs[place]
        if failed := [outcome for outcome in ordered if outcome.ended == "failed"]:
            message = failed[0].message if len(ordered) == 1 else f"seed {failed[0].seed}: {failed[0].message}"
            self.study.record_progress(trial, rung, {}, steps, seconds, "failed", message)
        else:
            known = {name: float(getattr(trial, name)) for name in PLAN_METRICS if name in self.plan.metrics}
            metrics = {outcome.seed: {**outcome.metrics, **known} for outcome in ordered}
            last = place + 1 == len(candidate.rungs)
            self.study.record_progress(trial, rung, metrics, steps, seconds, "finished" if last else "waiting")
        self.callback(Reported(trial))

    def apply_scheduler(
        self, trials: Sequence[Trial], waiting: Sequence[Trial], place: int, candidates: Mapping[int, Candidate]
    ) -> None:
        """Stop trials at a rung as the scheduler says, and hand over weights between others."""
        plan, study = self.plan, self.study
        metric, rises = plan.metrics[0], plan.rising[0]
        at_rung = [trial for trial in trials if len(trial.rungs) > place]
        rung = sorted(at_rung[0].rungs)[place]
        survivors = plan.scheduler.survivors(at_rung, rung, metric, rises, study.earlier_trials(trials[0].generation))
        if ended := [trial for trial in waiting if trial.number not in survivors]:
            study.record_stopped(rung, [trial.number for trial in ended])
            self.callback(Stopped(ended, rung))
        left = [trial for trial in waiting if trial.state == "waiting"]
        # after an interrupt the journal may already have this rung's exploits: they are applied once
        if not left or any(rung in trial.inherited_from for trial in trials):
            return
        exploits = plan.scheduler.exploits(left, rung, metric, rises, plan.space, plan.sweep.seed)
        exploits_taken = hand_over_weights(self, exploits, rung) if exploits else {}
        if exploits_taken:
            study.record_exploited(rung, exploits_taken)
            for number in exploits_taken:
                candidates[number] = self.restore(study.trials[number])  # type: ignore[index]


@dataclass
class StopCondition:
    """Condition for a sweep to stop: its budget is spent, or it was interrupted."""

    budget: int | None = None
    interrupted: bool = False
    started: float = field(default_factory=time.monotonic)

    def __call__(self) -> bool:
        return self.interrupted or self.spent

    @property
    def spent(self) -> bool:
        return self.budget is not None and self.seconds >= self.budget

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


def next_of(plan: SweepPlan, study: Study) -> str:
    """Return what the same command would do next, in words."""
    waiting = study.in_state("waiting")
    more = plan.trials - len(study.trials)
    steps = []
    if waiting:
        names = ", ".join(str(trial.number) for trial in waiting[:8]) + (", ..." if len(waiting) > 8 else "")
        many = "trials" if len(waiting) > 1 else "trial"
        at = {max(trial.rungs, default=0) for trial in waiting}
        steps.append(f"go on with {many} {names}" + (f" from step {at.pop():,}" if len(at) == 1 else ""))
    if more > 0:
        steps.append(f"suggest {plural(more, 'more trial')}" if study.trials else f"suggest {plural(more, 'trial')}")
    return ", then ".join(steps)


__all__ = ["Search", "StopCondition", "next_of"]
