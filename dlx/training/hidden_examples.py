"""Examples of which a mask, `ignore_index` or weights of zero leave nothing, reported before training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..data import Split
from ..data.preprocess.sums import chunks
from ..data.text.windows import Windows
from ..errors import Problem, plural
from ..graph import Graph
from ..graph.objective_checks import keys_of_head
from ..lazy import np
from ..objectives import Supervised

if TYPE_CHECKING:
    from .prepared import Prepared

LIKELY = 1e-3
"""Expected batches of an epoch in which all weights are zero, from which on those are an error."""
UNKNOWN = -100
"""Class number that data gives to positions that do not count: torch's `ignore_index`."""


def problems(made: Prepared) -> list[Problem]:
    """Return the problems of masks, ignored targets and weights of one network that learns targets."""
    if not isinstance(made.objective, Supervised) or not made.graphs.is_one:
        return []
    splits = {"train": made.sets.train, "valid": made.sets.valid, "test": made.sets.test}
    parts = {name: part for name, part in splits.items() if part is not None and len(part)}
    found = list(_masks(made, made.graph, parts))
    found += _ignored(made, made.objective, parts)
    return found + list(_weights(made))


def _masks(made: Prepared, graph: Graph, parts: dict[str, Split]) -> Iterator[Problem]:
    """Yield the examples whose mask hides all that a layer looks at; of masks that are an input of the network."""
    for node in graph.nodes:
        for name, wire in zip(node.takes, node.inputs, strict=False):
            if name not in node.layer.hiding or wire not in graph.fields:
                continue
            field, hides = graph.fields[wire], node.layer.hiding[name]
            if made.sets.values(made.sets.train, field).dtype.kind == "f" and hides:
                continue  # floats are added to the scores, where no finite one hides
            for part, split in parts.items():
                hidden = _rows_of(made.sets.values(split, field), hides)
                if len(hidden):
                    message = f"the field `{field}` hides everything from `{node.name}` ({node.mark}) in "
                    message += _rows(hidden, split, part)
                    hint = f"It hides where it is {'true' if hides else '0 or false'}: turn it, or leave them out."
                    yield Problem(message, hint, made.experiment.place("data"), f"data.{field}")


def _rows_of(values: Any, hides: bool) -> Any:
    """Return the examples of which all values hide."""
    found, start = [], 0
    for piece in chunks(values):
        flat = np.asarray(piece).reshape(len(piece), -1).astype(bool)
        found.append(start + np.flatnonzero((flat == hides).all(1)))
        start += len(piece)
    return np.concatenate(found)


def _ignored(made: Prepared, objective: Supervised, parts: dict[str, Split]) -> Iterator[Problem]:
    """Yield examples whose data hides all positions, and parts of which no target counts."""
    for head in objective.heads(made.sets.named("target")):
        ignored = head.objective.loss.ignores()
        if ignored is None or head.objective.measures == "sequences":  # one of no labels can be told
            continue
        for part, split in parts.items():
            y = made.sets.values(split, head.field)
            if isinstance(y, Windows):
                continue  # each has a target that counts, and there may be many to read
            hidden = _rows_equal(y, ignored)
            if not len(hidden) or (ignored != UNKNOWN and len(hidden) < len(y)):
                continue
            message = f"no position of the target `{head.field}` counts in {_rows(hidden, split, part)}: "
            message += f"all are {ignored}, the `ignore_index` of {head.objective.loss.kind}"
            keys = (*keys_of_head(made.experiment, head), "loss")
            hint = "Leave them out, or take another `ignore_index`."
            yield Problem(message, hint, made.experiment.place(*keys), ".".join(keys))


def _rows_equal(y: Any, number: int) -> Any:
    """Return the examples of which all targets are `number`."""
    found, start = [], 0
    for piece in chunks(y):
        found.append(start + np.flatnonzero((np.asarray(piece).reshape(len(piece), -1) == number).all(1)))
        start += len(piece)
    return np.concatenate(found)


def _weights(made: Prepared) -> Iterator[Problem]:
    """Yield training weights that are zero, where a batch may have no other."""
    names = made.sets.named("weight")
    if not names:
        return
    weights = made.sets.values(made.sets.train, names[0])
    hidden = np.flatnonzero(weights == 0)
    everything = len(hidden) == len(weights)
    if not everything and _empty_batches(made, len(hidden), len(weights)) < LIKELY:
        return
    message = f"the field `{names[0]}` is 0 in {_rows(hidden, made.sets.train, 'train')}: "
    message += "none counts in the loss" if everything else "a batch may hold nothing else, and has no mean then"
    hint = "Leave them out, or raise `train.batch_size`."
    place = made.experiment.place("data", made.data.kind, "weights")
    yield Problem(message, hint, place, f"data.{made.data.kind}.weights")


def _empty_batches(made: Prepared, hidden: int, count: int) -> float:
    """Return the expected number of batches in an epoch of which all examples are among the hidden ones."""
    size = min(made.train.batch(count), count)
    if hidden < size:
        return 0.0
    share = 1.0
    for i in range(size):
        share *= (hidden - i) / (count - i)
    return share * (count / size)


def _rows(hidden: Any, split: Split, part: str) -> str:
    """Write how many examples of a part are hidden, and the number of the first, in its source where known."""
    first = int(hidden[0])
    where = f"number {first} of the part" if split.rows is None else f"row {int(split.rows[first])} of the source"
    return f"{plural(len(hidden), 'example')} of {len(split):,} of the part `{part}`, the first is {where} from 0 on"
