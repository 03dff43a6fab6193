"""What objectives with latent variables share: the inputs of encoders and decoders, their outputs, and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..data.base import Field
from ..errors import DlxError, Problem, SpecError
from ..lazy import torch
from ..shapes import Shape
from .base import Ports, Sheet

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch

ENCODER, DECODER, LABEL = "encoder", "decoder", "label"
MEAN, LOG_VARIANCE = "mean", "log_variance"
COLUMNS, STEPS = 10, 8
"""Examples of a sheet of reconstructions; pictures from one example to another."""


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


def beyond_0_and_1(kind: str, name: str, x: Tensor) -> Problem | None:
    """Return the problem of values of a field, of any shape, below 0 or above 1; None where all lie between."""
    low, high = float(x.min()), float(x.max())
    if not (low < 0 or high > 1):  # NaN is found where it is met
        return None
    message = f"{kind} is of values from 0 to 1, and the field `{name}` goes from {low:.4g} to {high:.4g}"
    return Problem(message, "Leave out what rescales them, or rescale them to 0 and 1.")


def shape_problem(kind: str, name: str, output: str, found: Shape, what: str, wanted: Shape) -> SpecError:
    """Return the error of a network whose output has another shape than the objective takes."""
    last = f"linear: {wanted[0]}" if wanted.rank == 1 else f"reshape: {list(wanted)}"
    of = f"the output `{output}` of `{name}`" if output else f"the network `{name}`"
    ends = "is" if output else "ends in"
    message = f"{of} {ends} {found}, and {kind} takes {what}, {wanted}"
    return SpecError(Problem(message, f"Let its last layer be `{last}`."))


def interpolations(
    latents: Tensor, decode: Callable[[Tensor, Tensor | None], Tensor], classes: Tensor | None
) -> dict[str, Tensor]:
    """Return a sheet (rows, steps, *shape): each row goes in a straight line between the latents of two examples, as
    of the class of the first; none for fewer than two.
    """
    pairs = min(len(latents), COLUMNS) // 2
    if not pairs:
        return {}
    a, b = latents[: 2 * pairs : 2], latents[1 : 2 * pairs : 2]
    share = torch.linspace(0, 1, STEPS, device=latents.device).view(1, -1, *[1] * (latents.dim() - 1))
    line = a[:, None] + share * (b - a)[:, None]
    of_first = None if classes is None else classes[: 2 * pairs : 2].repeat_interleave(STEPS)
    made = decode(line.flatten(0, 1), of_first)
    return {"interpolations": made.reshape(pairs, STEPS, *made.shape[1:])}


def map_of(latents: Tensor, batch: Batch) -> dict[str, Sheet]:
    """Return the latents of examples as points, coloured by class where they have one; none unless of two values."""
    if latents[0].numel() != 2:
        return {}
    target = batch.fields.get("target")
    classes = target if target is not None and target.dim() == 1 and not target.is_floating_point() else None
    return {"latents": Sheet(latents.flatten(1), classes)}
