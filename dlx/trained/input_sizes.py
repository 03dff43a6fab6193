"""A trained network for inputs of another size than those of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import DlxError, ShapeError, SpecError
from ..graph import Graph, trace
from ..shapes import Shape
from ..spec.sections.augmentation import shape_after

if TYPE_CHECKING:
    from ..data.input_record import InputRecord
    from ..spec import Experiment

HINT = "Give inputs of that size, or pool to one size before the layer: `adaptive_avg_pool` or `global_avg_pool`."


def graph_for(experiment: Experiment, record: InputRecord) -> Graph:
    """Return the graph of a network for the inputs that a record describes, traced anew where they have another size.

    Raises:
        DlxError: a layer takes no inputs of this size, or has other weights for it.
    """
    plain = replace(experiment, data=None, known_facts=record.facts)
    graph = trace(plain, record.inputs)
    assert experiment.train is not None
    main = record.facts.input_name
    try:
        now = shape_after(experiment.train.augment, record.facts.input)
        inputs = {name: now if record.fields[name] == main else shape for name, shape in record.inputs.items()}
        if inputs == dict(record.inputs):
            return graph
        return _with_same_weights(graph, trace(plain, inputs), _main(record.inputs, record), now)
    except ShapeError as error:
        raise DlxError(f"an augmentation takes no inputs of shape {record.facts.input}: {error}", hint=HINT) from None
    except SpecError as error:
        first = error.problems[0]
        was = _main(record.inputs, record)
        message = f"the network was trained on {was}, and takes no {now}: {first.mark}, {first.message}"
        raise DlxError(message, hint=HINT) from None


def _main(inputs: Mapping[str, Shape], record: InputRecord) -> Shape:
    return next(shape for name, shape in inputs.items() if record.fields[name] == record.facts.input_name)


def _with_same_weights(trained: Graph, now: Graph, was: Shape, new: Shape) -> Graph:
    """Return the second graph. DlxError where a layer has other tensors than in the first."""
    before = {node.name: {**node.plan.weights, **node.plan.buffers} for node in trained.nodes}
    for node in now.nodes:
        tensors, earlier = {**node.plan.weights, **node.plan.buffers}, before.get(node.name, {})
        for name, shape in tensors.items():
            if tuple(shape) != tuple(earlier.get(name, ())):
                here, there = (str(Shape(one)) for one in (earlier.get(name, ()), shape))
                message = f"`{name}` of `{node.name}` is {here} for inputs of {was}, and {there} for {new}"
                raise DlxError(f"the network takes no other size: {message}", hint=HINT)
    return now
