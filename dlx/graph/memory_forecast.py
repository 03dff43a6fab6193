"""Forecast of the memory that a training step takes, from the plans of the layers alone. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..spec import Experiment
from .graph import Graph
from .graphs import Graphs
from .step_memory import FLOAT, TrainingStep, Usage


@dataclass(frozen=True, slots=True)
class MemoryBreakdown:
    """Bytes by purpose."""

    weights: int = 0
    gradients: int = 0
    """Gradients of the weights."""
    optimizer: int = 0
    buffers: int = 0
    activations: int = 0
    """The batch, and the tensors that autograd saves in the forward pass for the backward pass."""
    working: int = 0
    """Temporary tensors: gradients of activations, outputs that no layer saves, a convolution's reordered copies."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Forecast:
    """The memory of one training step, in bytes.

    `most` has the maximum of each purpose over the step; `peak` has all of them at the one moment, `at`, when their
    sum is largest. Gradients of weights appear while activations are freed, so `most` adds up to more than is ever
    allocated.
    """

    batch: int
    most: MemoryBreakdown
    peak: MemoryBreakdown
    at: str
    """`forward of NODE`, `backward of NODE`, `loss` or `update`."""

    @property
    def total(self) -> int:
        """The peak of a training step."""
        return self.peak.total

    def as_json(self) -> dict[str, Any]:
        return {
            "batch": self.batch,
            **asdict(self.most),
            "total": self.total,
            "peak": {"at": self.at, **asdict(self.peak)},
        }


def forecast(graph: Graph, batch: int, state: float = 0) -> Forecast:
    """Forecast the memory of a training step of `batch` samples with float32 on a CPU.

    `state` is the number of values that the optimizer stores per learned value (`Optimizer.state`). The step is one
    in the middle of a training: the optimizer has its state, and gradients were cleared to None before it. The
    forward pass holds the tensors that layers save for their gradients (`Plan.saved`; each storage once, a view with
    its base) and those that a later layer still reads. The backward pass frees them layer by layer, while gradients
    of weights accumulate and gradients of activations come and go. The loss saves as many bytes as the output has,
    and allocates two gradients of that size. The batch stays throughout; targets are not counted. Layers that no
    gradient reaches (frozen layers at the start) save nothing.

    A convolution is taken to work on copies of its input, output and weight in oneDNN's blocked memory formats, as it
    does on processors with AVX-512. Not modelled: temporaries of a composite layer within one call, memory outside
    torch's allocator (oneDNN's and MKL's own, threads), freed memory that the C library retains (a process can hold
    half as much again; with MALLOC_MMAP_THRESHOLD_=65536 it returns it), cuDNN's workspaces, and temporaries of
    optimizers that are not fused.

    `benchmarks/memory.py` compares it with what torch allocates.
    """
    constant = MemoryBreakdown(
        weights=FLOAT * graph.params,
        optimizer=round(FLOAT * graph.trainable * state),
        buffers=FLOAT * graph.buffers,
    )
    return largest(batch, constant, TrainingStep(graph, batch).timeline())


def largest(batch: int, constant: MemoryBreakdown, timeline: Iterable[Usage]) -> Forecast:
    """Return the forecast of a step from what is there all the time, and what comes and goes."""
    moments = [
        (at, replace(constant, gradients=gradients, activations=activations, working=working))
        for at, gradients, activations, working in timeline
    ]
    at, peak = max(moments, key=lambda entry: entry[1].total)
    most = MemoryBreakdown(
        *(max(getattr(usage, field.name) for _, usage in moments) for field in fields(MemoryBreakdown))
    )
    return Forecast(batch, most, peak, at)


def of_training(experiment: Experiment, graph: Graph, batch: int) -> Forecast:
    """Forecast with the optimizer of the spec; with plain SGD where the spec has no `train`."""
    return forecast(graph, batch, experiment.train.optimizer.state if experiment.train else 0)


def of_each(experiment: Experiment, graphs: Graphs, batch: int) -> dict[str, Forecast]:
    """Forecast each network alone, by name, with its own optimizer.

    A step with several networks takes another amount than their sum: it depends on which of them the objective runs
    at once, and through which of them gradients pass.
    """
    train, found = experiment.train, {}
    for name, graph in graphs.items():
        state = train.of(name).optimizer.state if train else 0
        found[name] = replace(forecast(graph, batch * samples_of_example(graphs, name), state), batch=batch)
    return found


def samples_of_example(graphs: Graphs, network: str) -> int:
    """Return the most samples that a call of a network takes for an example of the batch, such as two views."""
    calls = (call for plan in graphs.phases for call in plan.calls)
    return max((call.times for call in calls if call.network == network), default=1)


def widest(graph: Graph) -> int:
    """Return the most bytes that a layer reads and writes for one sample, as an evaluation has them at once."""
    sizes = {name: shape.bytes for name, shape in graph.inputs.items()}
    sizes |= {node.name: node.shape.bytes for node in graph.nodes}
    each = (sizes[node.name] + sum(sizes[name] for name in node.inputs) for node in graph.nodes)
    return max((*each, *sizes.values()))
