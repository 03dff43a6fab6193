"""What layers make of some examples, as kinds that compare features ask for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import Problem
from ..graph import Graph
from ..lazy import np, torch
from .measures.walk import watched

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor, fx

    from ..data.batch import Batch
    from .subject import Subject

    Array = npt.NDArray[Any]

CHUNK = 256
"""Examples in one call of a network."""


@dataclass(frozen=True)
class Chosen:
    """Some examples of a part of the data: their numbers there (n,), their fields, and the class of each (n,)."""

    part: str
    index: Array
    batch: Batch
    classes: Array


def chosen_examples(subject: Subject, count: int, part: str = "", seed: int = 0) -> Chosen:
    """Return at most `count` examples of a part, by default a held-out one, with their classes.

    They are the ones of `Subject.examples`. Classes are empty where targets are no single classes.
    """
    name, index = subject.example_indices(count, seed, part)
    batch = subject.part(name).take(index.to(subject.device))
    classes = batch.y.cpu().numpy().astype(np.int64) if has_classes(subject) else np.zeros(0, np.int64)
    return Chosen(name, index.numpy(), batch, classes)


def has_classes(subject: Subject) -> bool:
    """Whether each example of the data has one class. DlxError where the spec names no data."""
    facts = subject.facts
    return facts.classes is not None and not facts.target


def class_problems(subject: Subject, kind: str) -> list[Problem]:
    """Return why a kind that compares classes does not fit the data; empty where it does."""
    if not subject.has_data:
        return [Problem(f"`{kind}` looks at examples with classes, and {subject.name} names no `data`",
                        "Override it: `+data=digits`.")]  # fmt: skip
    if not has_classes(subject):
        facts = subject.facts
        found = f"targets of shape {facts.target}" if facts.target is not None else "no targets"
        message = f"`{kind}` looks at examples with one class each, and the data of {subject.name} has {found}"
        return [Problem(message, "Take data with classes, such as `digits`.", subject.mark("data"))]
    return []


def last_hidden(graph: Graph) -> str:
    """Return the node, or the input, that the last layer with weights takes."""
    learned = [node for node in graph.nodes if node.weights_of.params]
    return learned[-1].inputs[0] if learned else next(iter(graph.inputs))


def features_of(network: fx.GraphModule, graph: Graph, batch: Batch, name: str) -> Array:
    """Return what a layer makes of a batch, or an input of the network as it is, as rows (n, values)."""
    if name in graph.inputs:
        value = batch.inputs[list(graph.inputs).index(name)]
        return rows_of(value)
    found: list[Array] = []
    for piece in batch.pieces(CHUNK):
        each_layer(network, piece.inputs, {name}, lambda _, value: found.append(rows_of(value)))
    return np.concatenate(found)


def pictures(subject: Subject, part: str, places: Array) -> Array | None:
    """Return examples of a part as pictures (n, height, width, 1 or 3), from 0 to 1; None where they are none."""
    from ..trained.pictures import pictures_if_any

    data = subject.experiment.data
    return None if data is None else pictures_if_any(data, subject.sets, part, places.tolist())


def rows_of(value: Tensor) -> Array:
    """Return the values of each example (n, values)."""
    found: Array = value.detach().float().reshape(len(value), -1).cpu().numpy()
    return found


def each_layer(
    network: fx.GraphModule, inputs: Sequence[Tensor], names: Collection[str], take: Callable[[str, Tensor], None]
) -> Any:
    """Run a network without gradients and hand on the output of each named layer as it is made, and return its own.

    What no later layer needs is freed on the way: `take` decides what stays in memory.
    """
    with torch.inference_mode():
        return watched(network, inputs, names, take)
