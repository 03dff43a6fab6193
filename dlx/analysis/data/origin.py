"""Where a field of the data comes from: the key of the spec that names it, and the columns or arrays that it is."""

from __future__ import annotations

from collections.abc import Sequence

from ...data.base import ColumnUse, Field
from ...errors import plural
from ...spec import Experiment

LISTED = 3
"""Most columns of a field whose reasons are listed."""
PLURALS = {"input": ("inputs", "x", "columns", "images"), "target": ("targets", "target", "y", "masks", "labels")}
"""Keys of data kinds under which fields of a role are named, the most exact first."""


def origin_of(experiment: Experiment, name: str, field: Field, columns: Sequence[ColumnUse]) -> str:
    """Return in words where a field comes from."""
    own = [use for use in columns if use.of_field == name and not use.taken_for.endswith(" part")]
    pieces = [_key(experiment, name, field)]
    if len(own) > LISTED:
        pieces.append(f"{plural(len(own), 'column')}, `{own[0].name}` to `{own[-1].name}`")
    pieces += [f"`{use.name}`: {use.because}" for use in own] if len(own) <= LISTED else []
    return "; ".join(pieces)


def _key(experiment: Experiment, name: str, field: Field) -> str:
    """Return the key of the spec that names the field, with its place; else the kind of data that has it."""
    assert experiment.data is not None
    kind = experiment.data.kind
    roles = PLURALS.get(field.role, (f"{field.role}s",))
    for keys in (*((role, name) for role in roles), *((role,) for role in roles)):
        node = experiment.root.at("data", kind, *keys)
        if node is not None:
            return f"`{'.'.join(('data', kind, *keys))}` names it ({node.mark})"
    return f"`{kind}` has it"
