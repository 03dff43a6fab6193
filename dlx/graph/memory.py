"""What a training step will hold in memory, from the plans alone. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..layers.base import OWN
from ..shapes import Window
from ..spec import Experiment
from .graph import Graph, LayerNode
from .graphs import Graphs

FLOAT = 4  # bytes of a weight, a gradient, an optimizer's value
A_WEIGHT = ""  # what the output of a `parameter` shows: it is counted with the weights


@dataclass(frozen=True, slots=True)
class Parts:
    """Bytes by what they are for."""

    weights: int = 0
    gradients: int = 0
    """Of the weights."""
    optimizer: int = 0
    buffers: int = 0
    activations: int = 0
    """The batch itself, and what is kept from the forward to the backward pass."""
    working: int = 0
    """What comes and goes: gradients of activations, values that no layer keeps, the copies of a convolution."""

    @property
    def total(self) -> int:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Forecast:
    """The memory of one training step, in bytes.

    `most` is each part at its largest; `peak` is each part at the one moment, `at`, when all together are largest.
    Gradients appear while activations go, so the parts of `most` add up to more than is ever held.
    """

    batch: int
    most: Parts
    peak: Parts
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
    """The memory that a training step of `batch` samples takes with float32 on a CPU.

    `state` is how many values the optimizer keeps for each learned one (`Optimizer.state`). The step is one of many:
    the optimizer has its state, gradients are cleared to None before it. The forward pass holds what some layer keeps
    for its gradient (`Plan.keeps`: each tensor once, a view with its base) and what is still to be read. The backward
    pass frees that layer by layer while gradients of weights gather, and gradients of activations come and go. A loss
    keeps as much as the output holds, and makes two gradients of that size. The batch stays throughout; targets are
    not counted. What no gradient reaches (frozen layers at the start) keeps nothing.

    A convolution is taken to work on copies of its input, output and weight in the order of channels that oneDNN
    wants, as it does on processors with AVX-512. Not modelled: what a composite layer computes and drops within one
    call, memory outside torch's allocator (oneDNN's and MKL's own, threads), what the C library keeps of memory that
    was freed (a process can hold half as much again; with MALLOC_MMAP_THRESHOLD_=65536 it gives it back), cuDNN's
    workspaces, and the intermediates of optimizers that are not fused.

    `benchmarks/memory.py` holds it against what torch allocates.
    """
    step = _Step(graph, batch)
    fixed = {
        "weights": FLOAT * graph.params,
        "optimizer": round(FLOAT * graph.trainable * state),
        "buffers": FLOAT * graph.buffers,
    }
    moments = [(at, Parts(**fixed, gradients=g, activations=a, working=w)) for at, g, a, w in step.moments()]
    at, peak = max(moments, key=lambda moment: moment[1].total)
    most = Parts(*(max(getattr(parts, f.name) for _, parts in moments) for f in fields(Parts)))
    return Forecast(batch, most, peak, at)


def of_training(experiment: Experiment, graph: Graph, batch: int) -> Forecast:
    """The forecast with the optimizer of the spec; with plain SGD where it does not say how to train."""
    return forecast(graph, batch, experiment.train.optimizer.state if experiment.train else 0)


def of_each(experiment: Experiment, graphs: Graphs, batch: int) -> dict[str, Forecast]:
    """The forecast of each network alone, by name, with its own optimizer. What they take together in one step is
    not their sum: an objective says which of them run at once, and through which of them gradients go."""
    train = experiment.train
    return {
        name: forecast(graph, batch, train.of(name).optimizer.state if train else 0) for name, graph in graphs.items()
    }


Moment = tuple[str, int, int, int]
"""What runs, and bytes of gradients of weights, of activations that are kept, and of what comes and goes."""


class _Step:
    """One training step, walked forward, then backward."""

    def __init__(self, graph: Graph, batch: int) -> None:
        self.graph, self.batch = graph, batch
        self.outputs = set(graph.outputs.values())
        self.bytes = {A_WEIGHT: 0} | {name: batch * shape.bytes for name, shape in graph.inputs.items()}
        self.base = {name: name for name in graph.inputs}
        """The value whose memory a value shows: another one for a view."""
        self.owners: list[set[str]] = []
        """Nodes whose learned weights each node runs: its own, those it shares, those it is tied to."""
        self.moved: set[str] = set()
        """Values that a gradient reaches."""
        self.read_last: dict[str, int] = {}
        self.kept_first: dict[str, int] = dict.fromkeys(graph.inputs, -1)
        """The first node that keeps a value, and so the last to let it go; the batch stays."""
        self.kept_inside: list[int] = []
        self.fixed: list[int] = []
        """Bytes among those of weights that are worked out, whatever the batch."""
        self.used = _leading_to(self.outputs, graph)
        for index, node in enumerate(graph.nodes):
            self._note(node)
            self._keep(index, node)

    def _note(self, node: LayerNode) -> None:
        self.bytes[node.name] = self.batch * node.shape.bytes
        shown = A_WEIGHT if node.plan.window == "nothing" else self.base[node.inputs[0]]
        self.base[node.name] = shown if node.plan.view else node.name
        owners = {node.owner or node.name} | ({self._owner(node.tied)} if node.tied else set())
        learned = {name for name in owners if (owner := self.graph.by_name[name]).params and not owner.frozen}
        self.owners.append(learned)
        if learned or any(name in self.moved for name in self._led_to(node)):
            self.moved.add(node.name)

    def _owner(self, name: str) -> str:
        return self.graph.by_name[name].owner or name

    def _led_to(self, node: LayerNode) -> list[str]:
        """The inputs that the output depends on smoothly."""
        if node.plan.window == "nothing":
            return []
        return [name for i, name in enumerate(node.inputs) if i not in node.plan.blind]

    def _keep(self, index: int, node: LayerNode) -> None:
        self.read_last |= dict.fromkeys((self.base[name] for name in (*node.inputs, node.name)), index)
        if node.name not in self.moved or node.name not in self.used:
            self.kept_inside.append(0)
            self.fixed.append(0)
            return
        reached = [i for i, name in enumerate(node.inputs) if i not in node.plan.blind and name in self.moved]
        kept = node.plan.retained([*reached, *([OWN] if self.owners[index] else [])], len(node.inputs))
        for name in (*(node.inputs[i] for i in sorted(kept.inputs)), *([node.name] if kept.output else [])):
            self.kept_first.setdefault(self.base[name], index)
        self.kept_inside.append(self.batch * kept.more + kept.fixed)
        self.fixed.append(kept.fixed)

    def moments(self) -> Iterator[Moment]:
        """Every layer forward, the loss, every layer backward, the update."""
        yield from self._forward()
        kept, out = self._kept_to_the_end(), sum(self.bytes[name] for name in self.outputs)
        yield "loss", 0, kept, 3 * out
        yield from self._backward(kept)
        yield "update", FLOAT * self.graph.trainable, sum(self.bytes[name] for name in self.graph.inputs), 0

    def _kept_to_the_end(self) -> int:
        return sum(self.bytes[name] for name in self.kept_first) + sum(self.kept_inside)

    def _forward(self) -> Iterator[Moment]:
        kept = sum(self.bytes[name] for name in self.graph.inputs)
        passing: dict[str, int] = {}
        for index, node in enumerate(self.graph.nodes):
            if not node.plan.view:
                if node.name in self.kept_first:
                    kept += self.bytes[node.name]
                else:
                    passing[node.name] = self.bytes[node.name]
            kept += self.kept_inside[index]
            copies = self._copies(node)
            working = sum(passing.values()) + sum(copies)
            yield f"forward of {node.name}", 0, kept, working
            for name in [name for name in passing if self.read_last[name] == index and name not in self.outputs]:
                del passing[name]

    def _copies(self, node: LayerNode) -> tuple[int, int]:
        """What a convolution copies into another order: its input and output; its weight."""
        if not isinstance(node.plan.window, Window) or "weight" not in node.plan.weights:
            return 0, 0
        return sum(self.bytes[name] for name in (*node.inputs, node.name)), FLOAT * node.plan.params

    def _backward(self, kept: int) -> Iterator[Moment]:
        let_go: Counter[int] = Counter()
        for name, index in self.kept_first.items():
            let_go[index] += self.bytes[name]
        gradients, learned, own = _InFlight(self.bytes), set[str](), 0
        for name in self.outputs & self.moved:
            gradients.begin(name)
        for index, node in reversed(list(enumerate(self.graph.nodes))):
            if gradients.reaches(node.name):
                before = own
                own += FLOAT * sum(self.graph.by_name[name].params for name in self.owners[index] - learned)
                learned |= self.owners[index]
                inputs = [name for name in self._led_to(node) if name in self.moved]
                most = gradients.through(node, inputs)
                working = most + max(self._copies(node))
                if node.plan.worked_out:  # its gradient comes before that of what it is worked out from
                    yield f"backward of {node.name}", before, kept, working + node.plan.worked_out
                yield f"backward of {node.name}", own, kept - self.fixed[index], working
            kept -= let_go[index] + self.kept_inside[index]


def _leading_to(outputs: set[str], graph: Graph) -> set[str]:
    """The values that the outputs are computed from, and the outputs."""
    used = set(outputs)
    for node in reversed(graph.nodes):
        if node.name in used:
            used.update(node.inputs)
    return used


class _InFlight:
    """Gradients of activations that are on their way; several values may show parts of one."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes
        self.shown: dict[str, int] = {}
        """The gradient that each value shows, by number."""
        self.users: Counter[int] = Counter()
        self.held: dict[int, int] = {}
        """Bytes of each."""
        self.total = self.count = 0

    def reaches(self, name: str) -> bool:
        return name in self.shown

    def begin(self, name: str) -> None:
        """A gradient of its own for a value."""
        self.count += 1
        self.held[self.count] = self.sizes[name]
        self.total += self.sizes[name]
        self._show(name, self.count)

    def _show(self, name: str, number: int) -> None:
        self.shown[name] = number
        self.users[number] += 1

    def _drop(self, number: int) -> None:
        self.users[number] -= 1
        if not self.users[number]:
            self.total -= self.held.pop(number)

    def through(self, node: LayerNode, inputs: list[str]) -> int:
        """From the output of a node to those of its inputs that gradients reach; the most bytes held meanwhile."""
        arrived = self.shown.pop(node.name)
        before = {name: self.shown.pop(name) for name in dict.fromkeys(inputs) if name in self.shown}
        for name in dict.fromkeys(inputs):
            if node.plan.hands_back or (node.plan.view and self.sizes[name] == self.sizes[node.name]):
                self._show(name, arrived)
            else:
                self.begin(name)
        most = self.total
        self._drop(arrived)
        for name, old in before.items():
            most = max(most, self._add_up(name, old))
        return most

    def _add_up(self, name: str, old: int) -> int:
        """A second gradient of a value joins the first: in place where nothing else shows that."""
        new = self.shown[name]
        if self.users[old] == 1 and self.held[old] == self.sizes[name]:
            self.shown[name] = old
            self._drop(new)
            return self.total
        self.begin(name)
        most = self.total
        self._drop(new)
        self._drop(old)
        return most
