"""A run with several stages: trainings one after the other in one folder, each from the weights of the one before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..data import Sets
from ..errors import DlxError, Problem, SpecError
from ..graph import Graphs
from ..graph.stage_plan import stage_plans
from ..graph.stages import of_all, with_misfits
from ..runs.folder import RunFolder
from ..spec import Experiment
from ..training import initial_weights
from ..training.checkpoints import checkpoint
from ..training.prepared import Load, Prepared, loaded, prepare, ready
from . import packing
from .recorder import RunRecorder, StagePlace
from .results import Result
from .resume_checks import check_digest
from .session import Before, Session, mirrors_of, read_back, result_of, train_part

Watch = Callable[[RunRecorder], None]


@dataclass(frozen=True)
class PreparedStages:
    """All stages of a spec, checked to fit each other."""

    each: tuple[Prepared, ...]
    graphs: Graphs
    """Those of the last stage, with those of each and the warnings of all."""

    @property
    def last(self) -> Prepared:
        return self.each[-1]

    def plans_as_json(self, experiment: Experiment) -> dict[str, Any]:
        """Return what `plan.json` has of each stage, for a spec of these stages."""
        return {"stages": {one.name: one.as_json() for one in stage_plans(experiment, self.graphs)}}

    def with_experiment(self, experiment: Experiment) -> PreparedStages:
        """Return a copy for a spec that differs in nothing that is checked, such as its seed."""
        stages = zip(self.each, experiment.stages, strict=True)
        return replace(self, each=tuple(one.with_experiment(stage.experiment) for one, stage in stages))


def prepared_stages(
    experiment: Experiment,
    known_graphs: Mapping[str, Graphs] | None = None,
    load: Load = loaded,
    *,
    sources: bool = True,
) -> PreparedStages:
    """Prepare all stages of a spec. SpecError with the problems of all of them, and of weights that do not go on.

    Arguments are those of `prepare`, the graphs by stage.
    """
    graphs = ready_stages(experiment, known_graphs, sources=sources)
    each: list[Prepared] = []
    found: dict[str, list[Problem]] = {}
    known: list[tuple[Any, Sets]] = []

    def load_once(one: Experiment) -> Sets:
        sets = next((sets for data, sets in known if data == one.data), None)
        if sets is None:
            sets = load(one)
            known.append((one.data, sets))
        return sets

    for stage in experiment.stages:
        try:
            each.append(prepare(stage.experiment, graphs[stage.name], load_once, sources=False))
        except SpecError as error:
            found[stage.name] = list(error.problems)
    if problems := experiment.problems_of_stages(found):
        raise SpecError(*problems)
    return PreparedStages(tuple(each), of_all(experiment, graphs))


def ready_stages(
    experiment: Experiment, known: Mapping[str, Graphs] | None = None, *, sources: bool = True
) -> dict[str, Graphs]:
    """Return the graphs of stages that can be trained, by name, before anything is loaded. SpecError.

    `known` graphs spare the walk.
    """
    graphs, found = dict[str, Graphs](), dict[str, list[Problem]]()
    for stage in experiment.stages:
        try:
            graphs[stage.name] = ready(stage.experiment, (known or {}).get(stage.name), sources=sources)
        except SpecError as error:
            found[stage.name] = list(error.problems)
    if problems := with_misfits(experiment, graphs, found):
        raise SpecError(*problems)
    return graphs


def train(
    runs: Sequence[tuple[RunFolder, PreparedStages]], session: Session, *, packed: bool, watch: Watch = lambda _: None
) -> tuple[Result, ...]:
    """Train runs that differ in their seeds, stage by stage, from where they are to their ends.

    Where they are `packed`, stages that can be are trained side by side. The error of a run is raised after the stage
    has ended for all. `watch` is called with the recorder of each stage before it starts.
    """
    results = {number: read_back(folder, one.last) for number, (folder, one) in enumerate(runs)}
    left = [number for number, result in results.items() if result is None]
    for number in left:
        for one in runs[number][1].each:
            stage = one.experiment.stage
            check_digest(runs[number][0], one.sets, "Bring the old data back, or train anew.", stage)
    # trials of a search are mirrored together, by the search
    mirrored = [runs[number][0] for number in left] if session.environment is None else []
    mirrors = mirrors_of(runs[0][1].last.experiment, mirrored) if mirrored else []
    by_run = dict(zip(left, mirrors, strict=True)) if mirrors else {}
    for number, result in _by_stage(runs, left, session, packed, watch).items():
        results[number] = replace(result, mirror=by_run.get(number))
    return tuple(result for result in results.values() if result is not None)


def _by_stage(
    runs: Sequence[tuple[RunFolder, PreparedStages]],
    left: Sequence[int],
    session: Session,
    packed: bool,
    watch: Watch,
) -> dict[int, Result]:
    ended: dict[int, Result] = {}
    going = list(left)
    for stage in range(len(runs[0][1].each)):
        several = {n: recorder for n in going if (recorder := _recorder(*runs[n], stage)) is not None}
        for recorder in several.values():
            watch(recorder)
        before = {n: _before(*runs[n], stage) for n in several}
        prepared = {n: runs[n][1].each[stage] for n in several}
        if packed and several and packing.packing_key(next(iter(prepared.values()))) is not None:
            many = [(several[n], prepared[n]) for n in several]
            results = dict(zip(several, packing.train_together(many, session, list(before.values())), strict=True))
        else:
            results = {}
            for n, recorder in several.items():
                train_part(recorder, prepared[n], session, before[n])
                results[n] = result_of(recorder, prepared[n].train.seed)
                if recorder.status != "finished":
                    break
        for n, result in results.items():
            if isinstance(result, DlxError):
                raise result
            if result.status != "finished" or stage == len(runs[n][1].each) - 1:
                ended[n] = result
        # a run that was stopped, and those after it where they come one by one, stay where they are
        going = [n for n in going if n not in ended and (n in results or n not in several)]
    return ended


def _recorder(folder: RunFolder, stages: PreparedStages, number: int) -> RunRecorder | None:
    """Return the recorder of a stage; None where the run has passed it."""
    offset, seconds = 0, 0.0
    spent = {
        record.get("stage"): record.get("seconds", 0.0) for record in folder.records() if record["record"] == "stage"
    }
    for one in stages.each[:number]:
        name = one.experiment.stage
        facts = checkpoint.facts(StagePlace(name, is_last=False).checkpoints(folder.dir), "final") or {}
        offset, seconds = offset + int(facts.get("step", 0)), spent.get(name, seconds)
    is_last = number == len(stages.each) - 1
    place = StagePlace(stages.each[number].experiment.stage, is_last, offset, seconds)
    if not is_last and checkpoint.facts(place.checkpoints(folder.dir), "final") is not None:
        return None
    return RunRecorder(folder, place)


def _before(folder: RunFolder, stages: PreparedStages, number: int) -> Before | None:
    """Return the function that reads the weights with which a stage goes on; None for the first."""
    if not number:
        return None
    one, other = stages.each[number - 1 : number + 1]
    names = one.experiment.stage, other.experiment.stage
    source = StagePlace(names[0], is_last=False).checkpoints(folder.dir)
    return partial(initial_weights.carried, source, one.graphs, other.graphs, names)
