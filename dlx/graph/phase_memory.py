"""Forecast of the memory of a step by phase: calls of networks, and one backward pass through them. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..shapes import Shape
from ..spec import Experiment
from .graph import Graph
from .graphs import Graphs
from .memory_forecast import Forecast, MemoryBreakdown, largest, of_each
from .step_memory import FLOAT, TrainingStep, Usage

if TYPE_CHECKING:
    from ..objectives import Call
    from .phase_plan import PhasePlan


def of_phases(experiment: Experiment, graphs: Graphs, batch: int) -> dict[str, Forecast]:
    """Forecast each phase of a step of `batch` examples, by name; empty for one network and one phase.

    Calls follow each other as the objective lists them; each keeps what autograd saves of it until the backward pass
    has come back to it, and its output while it is read. Gradients of weights are those of networks that the phase
    moves; those of other phases stay from the step before. Fields of the batch count once, what the objective draws
    once a call. Not modelled, beside what `memory_forecast.forecast` names: gradients of gradients, temporaries of
    the objective itself, and averages of weights.
    """
    if graphs.is_one and len(graphs.phases) < 2:
        return {}
    train, sizes = experiment.train, {name: FLOAT * graph.trainable for name, graph in graphs.items()}
    states = {name: train.of(name).optimizer.state if train else 0 for name in graphs}
    constant = MemoryBreakdown(
        weights=FLOAT * graphs.params,
        optimizer=sum(round(sizes[name] * states[name]) for name in graphs),
        buffers=FLOAT * graphs.buffers,
    )
    moved = {name for plan in graphs.phases for name in plan.phase.moves}
    found = {}
    for plan in graphs.phases:
        left = sum(sizes.get(name, 0) for name in moved - set(plan.phase.moves))
        timeline = _PhaseOfStep(graphs, plan, batch).timeline()
        found[plan.name] = largest(batch, constant, [(at, left + g, held, work) for at, g, held, work in timeline])
    return found


def of_step(experiment: Experiment, graphs: Graphs, batch: int) -> int:
    """Return the bytes of a step of `batch` examples: those of its largest phase, or of networks that have none."""
    phases = of_phases(experiment, graphs, batch) or of_each(experiment, graphs, batch)
    return (max if graphs.phases else sum)(one.total for one in phases.values())


@dataclass
class _CallOfPhase:
    """A call with its walk; its inputs that lie in memory of others are counted there."""

    call: Call
    graph: Graph
    step: TrainingStep
    borrowed: int
    """Bytes of inputs that are fields of the batch, or outputs of calls before."""

    @property
    def held(self) -> int:
        """Bytes that stay of it until the backward pass: what autograd saves, and its outputs."""
        step, saved = self.step, self.step.saved if self.call.gradient else sum(map(self.own, self.graph.inputs))
        outputs = {step.storage[name] for name in step.outputs}
        return saved - self.borrowed + sum(step.bytes[one] for one in outputs if one not in step.saved_by)

    def own(self, name: str) -> int:
        return self.step.bytes[name]

    def name_of(self, at: str, graphs: Graphs) -> str:
        """Return what runs, with the name of the network: `forward of generator/linear_1`."""
        what, of, node = at.partition(" of ")
        return f"{what}{of}{graphs.full(self.call.network, node)}" if of else at


class _PhaseOfStep:
    """One repetition of a phase: its calls forward, then backward."""

    def __init__(self, graphs: Graphs, plan: PhasePlan, batch: int) -> None:
        self.graphs, self.plan, self.batch = graphs, plan, batch
        self.fields: dict[str, int] = {}
        """Bytes of the fields of the batch that calls take."""
        self.differentiable: set[int] = set()
        """Shapes of outputs, by identity, through which a gradient passes."""
        self.calls = [self._walk(call) for call in plan.calls]

    @cached_property
    def outputs(self) -> Mapping[int, str]:
        """The networks by the shapes of their outputs, by identity, as an objective hands them on."""
        made = ((name, graph.output_shape(one)) for name, graph in self.graphs.items() for one in graph.outputs)
        return {id(shape): name for name, shape in made}

    def _walk(self, call: Call) -> _CallOfPhase:
        graph, rows = self.graphs[call.network], self.batch * call.times
        inputs = call.inputs if len(graph.inputs) > 1 else dict(zip(graph.inputs, call.inputs.values(), strict=True))
        borrowed, asked = 0, list[str]()
        for name, what in inputs.items():
            size = rows * graph.inputs[name].bytes
            if isinstance(what, str):
                self.fields[what] = max(self.fields.get(what, 0), size)
            borrowed += size if isinstance(what, str) or id(what) in self.outputs else 0
            if isinstance(what, Shape) and self._has_gradient(what):
                asked.append(name)
        if call.gradient:
            self.differentiable |= {id(graph.output_shape(one)) for one in graph.outputs}
        return _CallOfPhase(call, graph, TrainingStep(graph, rows, asked, gradient=call.gradient), borrowed)

    def _has_gradient(self, what: Shape) -> bool:
        """Whether a gradient passes through what a call is given: an output, or what is made of one, as latents."""
        if id(what) in self.outputs:
            return id(what) in self.differentiable
        return bool(self.differentiable)

    def timeline(self) -> Iterator[Usage]:
        """Yield the memory in use at every layer forward and backward, the loss and the update."""
        base = sum(self.fields.values())
        held = base
        for one in self.calls:
            for at, gradients, saved, working in one.step.forward():
                yield one.name_of(at, self.graphs), gradients, held + saved - one.borrowed, working
            held += one.held
        passing = [one for one in self.calls if one.call.gradient]
        read = {id(what) for one in self.calls for what in one.call.inputs.values()}
        last = [one for one in passing if not {id(one.graph.output_shape(o)) for o in one.graph.outputs} & read]
        yield "loss", 0, held, sum(one.step.of_loss for one in last)
        yield from self._backward(passing, held)
        yield "update", sum(FLOAT * self.graphs[name].trainable for name in self._moved()), base, 0

    def _moved(self) -> list[str]:
        return [name for name in self.plan.phase.moves if name in self.graphs]

    def _backward(self, passing: list[_CallOfPhase], held: int) -> Iterator[Usage]:
        moved, done = set(self._moved()), dict[str, int]()
        for one in reversed(passing):
            name, before = one.call.network, sum(done.values())
            rest, latest = held - one.held, 0
            for at, gradients, saved, working in one.step.backward(one.held, weights=name in moved):
                new = gradients if name in moved else 0
                if name in done:  # what is there already is added to, layer by layer
                    yield one.name_of(at, self.graphs), before, rest + saved, working + max(0, new - latest)
                else:
                    yield one.name_of(at, self.graphs), before + new, rest + saved, working
                latest = new
            done.setdefault(name, latest)
            held = rest
