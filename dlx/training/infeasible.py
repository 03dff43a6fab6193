"""Targets of connectionist temporal classification that take more positions than a network gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data import Split
from ..data.preprocess.sums import chunks
from ..errors import Problem, plural
from ..graph.objective_checks import keys_of_head
from ..lazy import np, torch
from ..objectives import Supervised
from ..objectives.ctc import CTC
from ..objectives.supervised import Head

if TYPE_CHECKING:
    from .prepared import Prepared


class Infeasible(NamedTuple):
    """Infeasible targets of a part."""

    head: Head
    objective: CTC
    sentence: str
    positions: int


def problems(made: Prepared) -> list[Problem]:
    """Return the parts with infeasible targets, where the spec does not leave them out."""
    found = []
    for one in _parts(made):
        if one.objective.infeasible == "error":
            keys = keys_of_head(made.experiment, one.head)
            hint = "Let the network give more positions (smaller strides), shorten the targets, or leave them out of "
            hint += "the loss: `ctc: {infeasible: leave_out}`."
            found.append(Problem(one.sentence, hint, made.experiment.place(*keys), ".".join(keys)))
    return found


def notes(made: Prepared) -> tuple[str, ...]:
    """Return a note for each part with infeasible targets that are left out."""
    return tuple(f"{one.sentence}: its loss has none of them" for one in _parts(made))


def _parts(made: Prepared) -> Iterator[Infeasible]:
    if not isinstance(made.objective, Supervised) or not made.graphs.is_one:
        return
    splits = {"train": made.sets.train, "valid": made.sets.valid, "test": made.sets.test}
    for head in made.objective.heads(made.sets.named("target")):
        if not isinstance(head.objective, CTC):
            continue
        outputs = made.graph.outputs
        positions = made.graph.output_shape(head.name if head.name in outputs else "")[0]
        for name, part in splits.items():
            if part is not None and len(part):
                takes = _positions(head.objective, made.sets.values(part, head.field))
                if (takes > positions).any():
                    yield Infeasible(head, head.objective, _sentence(takes, positions, part, name), positions)


def _positions(objective: CTC, targets: Any) -> Any:
    """Return the positions (n,) that the targets of a part take."""
    each = (objective.positions_needed(torch.as_tensor(np.asarray(piece))) for piece in chunks(targets))
    return np.concatenate([one.numpy() for one in each])


def _sentence(takes: Any, positions: int, part: Split, name: str) -> str:
    rows = np.flatnonzero(takes > positions)
    first = int(rows[0])
    where = f"number {first} of the part" if part.rows is None else f"row {int(part.rows[first])} of the source"
    message = f"{plural(len(rows), 'target')} of {len(part):,} of the part `{name}` cannot be told at {positions} "
    message += f"positions, the first, {where} from 0 on, takes {int(takes[first])}: one a label, and one between "
    return message + "equal ones"
