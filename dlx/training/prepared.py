"""All that a training takes, built and checked once: spec, graphs, data, objective and device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Dataset, Sets, check_loaded
from ..errors import DlxError, Problem, SpecError
from ..graph import Graph, Graphs, memory_forecast, trace_all
from ..graph.objective_checks import keys_of_head
from ..graph.phase_plan import span
from ..lazy import torch
from ..objectives import Objective, Supervised
from ..objectives.heads import Heads
from ..plugins import is_foreign
from ..schedules import Timeline
from ..spec import Experiment, Train, missing_sections, objective_of
from . import (
    carrying,
    compute,
    device,
    early_stopping,
    ensemble_metrics,
    freezing,
    hidden_examples,
    infeasible,
    initial_weights,
    network_sources,
    norm_sizes,
    parameter_groups,
    phased,
    process,
)
from .batches import sampling
from .batches.augmentation import SAMPLED_EXAMPLES, check_colours
from .batches.on_device import on_device
from .generation import at_stages

if TYPE_CHECKING:
    from torch import device as Device

    from .batches.data_part import DataPart

EVALUATED_BYTES = 2**26
"""Bytes that a layer may read and write in an evaluation on a CPU; a batch of the training may take more."""
EVALUATED_BYTES_ON_GPU = 2**30
Load = Callable[[Experiment], Sets]


@dataclass(frozen=True)
class Prepared:
    """Spec, graphs, data, objective and device of a training, checked to fit together."""

    experiment: Experiment
    train: Train
    data: Dataset
    graphs: Graphs
    sets: Sets
    objective: Objective
    device: Device
    target_statistics: Mapping[str, Any] = field(default_factory=dict)
    """What the objective follows from the training targets, as JSON."""

    @classmethod
    def unchecked(
        cls, experiment: Experiment, graphs: Graphs, sets: Sets, statistics: Mapping[str, Any] | None = None
    ) -> Prepared:
        """Build without a check that the parts fit together. DlxError where the device is not available.

        `statistics` are those of the targets of an earlier training, in place of those of these data.
        """
        assert experiment.train is not None
        assert experiment.data is not None
        train, objective = experiment.train, objective_of(experiment)
        if isinstance(objective, Supervised):
            statistics = statistics_of_targets(experiment, objective, sets) if statistics is None else statistics
            objective = objective.fitted(statistics)
        else:
            objective = objective.informed(experiment.data.facts().fields, graphs.ports)
        target = device.pick(train.device)
        return cls(experiment, train, experiment.data, graphs, sets, objective, target, dict(statistics or {}))

    @property
    def graph(self) -> Graph:
        """The graph of the one network."""
        return self.graphs.one

    @property
    def fields_taken(self) -> tuple[str, ...]:
        """The fields of the data that one network takes, in the order of its inputs; empty for several networks."""
        return self.graph.fields_taken if self.is_supervised and self.graphs.is_one else ()

    @property
    def is_supervised(self) -> bool:
        """Whether one network learns targets, and not the phases of an objective."""
        return isinstance(self.objective, Supervised)

    @property
    def examples(self) -> int:
        """Examples of the training part."""
        return len(self.sets.train)

    @property
    def tokens_per_example(self) -> int:
        """Tokens of an example that is a window of a text, each with a target; 0 for other data."""
        facts = self.data.facts()
        is_window = facts.vocabulary is not None and facts.target is not None
        return facts.input[0] if is_window and tuple(facts.input) == tuple(facts.target or ()) else 0

    @property
    def supervised(self) -> Supervised:
        """The objective, where one network learns targets."""
        assert isinstance(self.objective, Supervised), "it was not asked whether one network learns targets"
        return self.objective

    @property
    def names_of_classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of each head; that of one objective is empty."""
        names = self.sets.names_of_classes
        heads = self.supervised.heads(list(names)) if self.is_supervised and names else []
        return {head.name: names.get(head.field, ()) for head in heads}

    def parts(self) -> dict[str, DataPart]:
        """Return the parts of the data on the device, with how many examples an evaluation takes at once."""
        most = EVALUATED_BYTES if self.device.type == "cpu" else EVALUATED_BYTES_ON_GPU
        widest = max(memory_forecast.widest(graph) for graph in self.graphs.values())
        at_once = max(self.train.largest(self.examples), most // max(widest, 1))
        return on_device(self.sets, self.device, self.fields_taken, at_once)

    @cached_property
    def threads(self) -> int:
        """CPU threads of a training of its own, as far as they are known before it is timed."""
        each = (device.threads_for(self.train, graph, self.examples) for graph in self.graphs.values())
        return max(each)

    def with_experiment(self, experiment: Experiment) -> Prepared:
        """Return a copy for a spec that differs in nothing that is checked, such as its seed."""
        assert experiment.train is not None
        return replace(self, experiment=experiment, train=experiment.train)


def prepare(
    experiment: Experiment, graphs: Graphs | None = None, load: Load | None = None, *, sources: bool = True
) -> Prepared:
    """Build and check all that a training takes. SpecError or DlxError where the spec cannot be trained here.

    `graphs` spare the walk where they are known; `load` is for data that may have been loaded before. Without
    `sources` the source of `weights`, which a run that goes on needs no longer, is not looked at.
    """
    process.tune()
    graphs = ready(experiment, graphs, sources=sources)
    train, at = experiment.train, experiment.place
    assert train is not None
    for name, graph in graphs.items():
        device.check_memory(graph, train.of(name), device.free_memory(), at(*_where(graphs, name)))
    sets = (load or loaded)(experiment)
    if of_classes := network_sources.class_problems(experiment, sets):
        raise SpecError(*of_classes)
    if short := carrying.too_short(experiment, sets):
        raise SpecError(*short)
    sets = network_sources.with_notes(experiment, sets)
    made = Prepared.unchecked(experiment, graphs, sets)
    if not made.is_supervised and (endless := phased.without_epochs(experiment, sets)):
        raise SpecError(*endless)
    if missing_valid := early_stopping.problems_without_valid(
        experiment, len(sets.valid) if sets.valid is not None else 0
    ):
        raise SpecError(*missing_valid)
    ensemble_metrics.check_cycles(experiment, made.examples)
    check_colours(experiment, sets)
    _check_targets(made)
    if hidden := [*hidden_examples.problems(made), *infeasible.problems(made)]:
        raise SpecError(*hidden)
    sampling.check_classes(experiment, made.objective, sets)
    at_stages.made_of(experiment, made.objective, sets)
    compute.check(train, made.device, at("train", "compile"))
    free = device.free_memory(made.device)
    for name, graph in graphs.items():
        if name not in graphs.sources:
            norm_sizes.check_norms(experiment, graph, sets, made.device)
        device.check_memory(graph, train.of(name), free, at(*_where(graphs, name)))
        samples = memory_forecast.samples_of_example(graphs, name)
        device.check_batch(graph, train.of(name), made.examples, free, at("train", "batch_size"), samples)
    device.check_phases(experiment, graphs, made.examples, free, at("train", "batch_size"))
    return made


def _where(graphs: Graphs, name: str) -> tuple[str, ...]:
    """The keys of a network in the spec."""
    return ("network",) if graphs.is_one else ("networks", name)


def ready(experiment: Experiment, graphs: Graphs | None = None, *, sources: bool = True) -> Graphs:
    """Return the graphs of a spec that can be trained. SpecError with all problems of training it, and with `sources`
    with those of taking its `weights`.
    """
    missing = missing_sections(experiment, "data", "train")
    try:
        graphs = graphs or trace_all(experiment)
        objective = objective_of(experiment) if experiment.data is not None else None
    except SpecError as error:
        raise SpecError(*missing, *error.problems) from error
    if objective is not None:
        supervised = isinstance(objective, Supervised)
        missing += (_supervised_problems if supervised else phased.problems)(experiment, graphs)
        missing += sampling.problems(experiment, objective) if experiment.train is not None else []
    if not graphs.trainable:
        why = "all of its weights are frozen" if graphs.params else "no layer of it has weights"
        missing.append(Problem(f"there is nothing to train: {why}", "", experiment.place("network"), "network"))
    if experiment.train is not None:
        missing += (
            parameter_groups.problems(experiment, graphs)
            + freezing.problems(experiment, graphs)
            + early_stopping.problems(experiment)
            + ensemble_metrics.problems(experiment)
            + carrying.problems(experiment, graphs)
        )
    if sources:
        missing += initial_weights.problems(experiment, graphs)
    if missing:
        raise SpecError(*missing)
    return graphs


def span_of(experiment: Experiment, sets: Sets) -> Timeline:
    """Return the steps of a training on this data, and how many of them make an epoch."""
    train, objective, examples = experiment.train, objective_of(experiment), len(sets.train)
    assert train is not None
    assert experiment.data is not None
    if isinstance(objective, Supervised):
        return train.span(examples)
    feed = experiment.data.feed(on_device(sets, torch.device("cpu"))["train"], train)
    return span(objective.phases(), train, feed.batches if feed is not None else train.updates(examples))


def _supervised_problems(experiment: Experiment, graphs: Graphs) -> list[Problem]:
    """Return the problems of one network that learns targets: inputs without data, outputs without a loss."""
    objective, data = objective_of(experiment), experiment.data
    assert isinstance(objective, Supervised)
    if not graphs.is_one:
        names = ", ".join(f"`{name}`" for name in graphs)
        message = f"{objective.kind} trains one `network`, and the spec has `networks`: {names}"
        hint = "Write `network`, or an `objective` that has phases for several: a package may bring one."
        return [Problem(message, hint, experiment.place("networks"), "networks")]
    if data is not None and type(data).feed is not Dataset.feed:
        message = f"{objective.kind} takes independent examples, and the data `{data.kind}` has an order of its own"
        hint = "Take an `objective` that is made for it."
        return [Problem(message, hint, experiment.place("objective"), "objective")]
    graph, found = graphs.one, list[Problem]()
    if objective.flooding is not None and experiment.train is not None and experiment.train.accumulate > 1:
        message = "`flooding` bends the loss of a whole update, and `accumulate` computes it in pieces"
        hint = f"Drop one ({experiment.place('train', 'accumulate')})."
        mark = experiment.place("objective", objective.kind, "flooding")
        found.append(Problem(message, hint, mark, f"objective.{objective.kind}.flooding"))
    if objective.weight != 1:
        message = "`weight` is that of one of several heads, and there is one objective"
        mark = experiment.place("objective", objective.kind, "weight")
        found.append(Problem(message, "Leave it out, or raise the learning rate.", mark, "objective.weight"))
    trained = objective.trained_outputs(graph.outputs)
    asked = [name for name in graph.outputs if name not in objective.aux]
    if len(trained) < len(graph.outputs) and len(asked) > 1 and not isinstance(objective, Heads):
        names = ", ".join(f"`{n}`" for n in asked)
        mark = experiment.place("network", "outputs")
        message = f"the objective takes one output, and the network has {names}"
        hint = "Keep the one to train, `outputs: NAME`, or weigh the others under `aux` of the objective."
        found.append(Problem(message, hint, mark, "network.outputs"))
    return found


def loaded(experiment: Experiment) -> Sets:
    """Load the data of a spec. SpecError with its place where it cannot be loaded."""
    assert experiment.data is not None
    try:
        sets = experiment.data.load()
        if is_foreign(type(experiment.data)):
            sets = check_loaded.checked(experiment.data, sets)
        return _with_parts_beside(experiment, sets)
    except DlxError as error:
        keys = ("data", experiment.data.kind)
        raise SpecError(
            *(
                Problem(p.message, p.hint, p.mark or experiment.place(*_keys_of(p, keys)), p.path or "data")
                for p in error.problems
            )
        ) from error


def _with_parts_beside(experiment: Experiment, sets: Sets) -> Sets:
    """Add a note where nothing is held out, and parts lie beside the training part that the spec does not name."""
    data = experiment.data
    path = getattr(data, "path", None)
    if data is None or sets.valid is not None or sets.test is not None or not isinstance(path, Path):
        return sets
    from ..data.images.image_index import parts_beside

    fields = {part: f"{part}_path" for part in ("valid", "test") if f"{part}_path" in type(data).model_fields}
    found = {fields[part]: one for part, one in parts_beside(path).items() if part in fields}
    if not found:
        return sets
    names = " and ".join(f"`{one.name}`" for one in found.values())
    ways = ", ".join(f"{field}: {one}" for field, one in found.items())
    lies = "lies" if len(found) == 1 else "lie"
    note = f"nothing is held out, and {names} {lies} beside `{path.name}`: `{ways}` takes what is there"
    return replace(sets, notes=(*sets.notes, note))


def _keys_of(problem: Problem, data: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of the value that a problem of the data is about, those of the data where it names none."""
    keys = tuple(problem.path.split("."))
    return keys if keys[: len(data)] == data else data


def statistics_of_targets(experiment: Experiment, objective: Supervised, sets: Sets) -> dict[str, Any]:
    """Return what an objective needs to know of the training targets. SpecError where it cannot follow from them."""
    assert experiment.data is not None
    found, fields, names = dict[str, Any](), experiment.data.facts().fields, sets.reading.get("told", ())
    for head in objective.heads(sets.named("target")):
        one, keys = head.objective, keys_of_head(experiment, head)
        try:
            classes = fields[head.field].classes
            called = names if classes is None else sets.names_of_classes[head.field]
            mine = one.target_statistics(sets.values(sets.train, head.field), classes, called)
            mine |= one.field_statistics(fields, head.field, sets.reading)
            one.fitted(mine)
        except ValueError as error:
            hint = "Give the weights as numbers, or training examples of each class (`stratify: true`)."
            place, path = experiment.place(*keys, "loss"), ".".join((*keys[: 1 + bool(head.name)], "loss"))
            raise SpecError(Problem(str(error), hint, place, path)) from error
        if mine:
            found |= {head.name: mine} if head.name else mine
    return found


def _check_targets(made: Prepared) -> None:
    """Raise SpecError where targets are outside the domain of the loss; of a part on disk, the first ones."""
    sets, objective = made.sets, made.objective
    if not isinstance(objective, Supervised):
        return
    for head in objective.heads(sets.named("target")):
        for name, part in (("train", sets.train), ("valid", sets.valid), ("test", sets.test)):
            if part is None or not len(part) or head.objective.measures not in {"values", "labels"}:
                continue
            y = sets.values(part, head.field)
            if complaint := head.objective.check_targets(y[:SAMPLED_EXAMPLES] if part.streams else y):
                of_loss = complaint.startswith(head.objective.loss.kind)
                message = f"{'the loss ' if of_loss else ''}{complaint} in the part `{name}`"
                keys = (*keys_of_head(made.experiment, head), *(("loss",) if of_loss else ()))
                hint = "Bring the targets there, or use another loss."
                raise SpecError(Problem(message, hint, made.experiment.place(*keys), "objective.loss"))
