"""Check before training that no norm takes mean and variance over a single value, which torch refuses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ..data import Sets
from ..errors import Problem, SpecError, plural
from ..graph import Graph
from ..spec import Experiment, Train
from .batches.data_part import examples_at_once
from .learner import EVALUATION_BATCH

if TYPE_CHECKING:
    from torch import device as Device

    from ..graph.graph import LayerNode


def check_norms(experiment: Experiment, graph: Graph, sets: Sets, device: Device) -> None:
    """Raise SpecError where a norm would have one value to normalize, in training or in an evaluation."""
    train, examples = experiment.train, len(sets.train)
    assert train is not None
    found = [*_in_training(experiment, train, graph, examples), *_in_evaluation(graph, sets, device)]
    if found:
        raise SpecError(*found)


def _in_training(experiment: Experiment, train: Train, graph: Graph, examples: int) -> list[Problem]:
    single = _single(train, graph, examples)
    if single is None:
        return []
    size, nodes = single
    whole = train.batch(examples)
    cut = f"the last batch of an epoch, {size:,} of {plural(examples, 'example')} in batches of {whole:,}, has one"
    have = f"a batch of {plural(size, 'example')} has one" if size == whole else cut
    place = experiment.place("train", "batch_size")
    return [Problem(f"{_want(nodes)}, and {have}", _ways_out(train, graph, examples), place, "train.batch_size")]


def _single(train: Train, graph: Graph, examples: int) -> tuple[int, list[LayerNode]] | None:
    """Return a batch size that leaves norms with one value, and those norms."""
    for size in sizes(train, examples):
        if nodes := _left_with_one(graph, size, training=True):
            return size, nodes
    return None


def sizes(train: Train, examples: int) -> list[int]:
    """Return the numbers of examples that go through the network at once in a training, each once."""
    span, piece = train.span(examples), train.batch(examples)
    milestones = sorted(set(train.batch_schedule.milestones)) if train.batch_schedule is not None else []
    begins = [(0, 0), *((epoch, step) for epoch, (step, _) in zip(milestones, span.later, strict=True))]
    found: dict[int, None] = {}
    for epoch, begin in begins:
        if begin >= span.steps:
            continue
        update, count = train.per_update(examples, epoch), train.updates(examples, epoch)
        last = examples - (count - 1) * update
        updates = [update] if count > 1 or last >= update else []
        if not train.drop_last and span.steps >= begin + count:
            updates.append(min(last, update))
        for size in updates:
            pieces = [size] if train.accumulate == 1 else [min(piece, size), size % piece]
            found |= dict.fromkeys(one for one in pieces if one)
    return list(found)


def _ways_out(train: Train, graph: Graph, examples: int) -> str:
    ways = []
    if not train.drop_last and _single(train.model_copy(update={"drop_last": True}), graph, examples) is None:
        ways.append("`drop_last: true` leaves it out")
    asked = train.batch_size
    if isinstance(asked, int):
        near = sorted(range(2, min(examples, 2 * asked + 8) + 1), key=lambda n: (abs(n - asked), n))
        others = (n for n in near if _single(train.model_copy(update={"batch_size": n}), graph, examples) is None)
        ways += [f"`batch_size: {n}` leaves no batch like it" for n in islice(others, 1)]
    ways.append("`layer_norm` needs no other examples")
    return f"{'; '.join(ways)}."


def _in_evaluation(graph: Graph, sets: Sets, device: Device) -> list[Problem]:
    """Return the problems of norms that normalize by the batch in evaluations too."""
    parts = {"training": sets.train, "validation": sets.valid, "test": sets.test}
    for name, part in parts.items():
        if part is None or not len(part):
            continue
        at_once = examples_at_once(part.x.shape[1:], device, EVALUATION_BATCH)
        rest = len(part) % at_once or at_once
        if nodes := _left_with_one(graph, rest, training=False):
            last = f"the last {plural(rest, 'example')} of the {name} part, evaluated at once,"
            have = f"{last} {'has' if rest == 1 else 'have'} one"
            hint = "Give the part another number of examples; `layer_norm` needs no other examples."
            return [Problem(f"{_want(nodes)}, and {have}", hint, nodes[0].mark, nodes[0].name)]
    return []


def _left_with_one(graph: Graph, batch: int, *, training: bool) -> list[LayerNode]:
    return [
        node
        for node in graph.nodes
        # one that is held for good normalizes by its running statistics in training too
        if node.layer.values_per_statistic(batch, training and not (node.held and node.frozen), *node.arriving) == 1
    ]


def _want(nodes: Sequence[LayerNode]) -> str:
    more = f" and {plural(len(nodes) - 1, 'other norm')}" if len(nodes) > 1 else ""
    return f"{nodes[0].name}{more} want{'' if more else 's'} two values for each mean and variance"
