"""What objectives with latent variables share: the inputs of encoders and decoders, their outputs, and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.base import Field
from ..errors import DlxError, Problem, SpecError
from ..shapes import Shape
from .base import Ports

ENCODER, DECODER, LABEL = "encoder", "decoder", "label"
MEAN, LOG_VARIANCE = "mean", "log_variance"


def inputs_of(kind: str, name: str, network: Ports, main: str | Shape, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return what a call gives each input of a network: `main` to the first, the class to one called `label`.

    Raises:
        SpecError: it has other inputs, or a `label` and the data no class an example.
    """
    first, *more = network.inputs or ("",)
    if first == LABEL or more not in ([], [LABEL]):
        listed = ", ".join(f"`{one}`" for one in network.inputs)
        message = f"{kind} gives `{name}` one input, and behind it a class as `{LABEL}`; its inputs are {listed}"
        raise SpecError(Problem(message, "Put the input of the objective first."))
    if more:
        target = fields.get("target")
        if target is None or target.classes is None or len(target.shape):
            raise DlxError(f"`{LABEL}` of `{name}` is the class of an example, and the data has none as `target`")
    return {first: main, **dict.fromkeys(more, "target")}


def labelled(networks: Mapping[str, Ports]) -> frozenset[str]:
    """Return the names of the networks that take the class of an example."""
    return frozenset(name for name, one in networks.items() if LABEL in one.inputs)


def field_of(kind: str, name: str, fields: Mapping[str, Field]) -> Field:
    """Return the field of floats that an objective models. SpecError where there is none, or one of integers."""
    if name not in fields:
        listed = ", ".join(f"`{one}`" for one in fields)
        raise SpecError(Problem(f"{kind} reads the field `{name}`, and the data has {listed}", "Name it by `field`."))
    found = fields[name]
    if found.shape.dtype != "float":
        raise SpecError(Problem(f"{kind} is of floats, and the field `{name}` holds {found.shape.dtype}"))
    return found


def shape_problem(kind: str, name: str, output: str, found: Shape, what: str, wanted: Shape) -> SpecError:
    """Return the error of a network whose output has another shape than the objective takes."""
    last = f"linear: {wanted[0]}" if wanted.rank == 1 else f"reshape: {list(wanted)}"
    of = f"the output `{output}` of `{name}`" if output else f"the network `{name}`"
    ends = "is" if output else "ends in"
    message = f"{of} {ends} {found}, and {kind} takes {what}, {wanted}"
    return SpecError(Problem(message, f"Let its last layer be `{last}`."))
