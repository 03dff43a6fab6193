"""Colourisation: the colours of a picture from its lightness, as a task without labels."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import pydantic
from pydantic import PrivateAttr

from ..data.base import Field
from ..errors import DlxError, Problem
from ..lazy import F, np, torch
from ..metrics import Mode
from ..shapes import Shape
from .base import Caller, Ports, Sheet
from .lab import lab_of, rgb_of
from .latent import COLUMNS, beyond_0_and_1
from .self_supervised import NETWORK, SelfSupervised

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ..data.batch import Batch

LATTICE = 33
"""Values of red, green and blue each, of whose colours the squares are listed that sRGB reaches."""
SCALE = 100.0
"""What L*, a* and b* are divided by for the network."""


class Colourisation(SelfSupervised):
    """Tell the colour of each pixel of a picture from its lightness, which is all that the network sees.

    The colour is a* and b* of L*a*b* (D65). With `spacing` it is told among squares of that side on the plane of a*
    and b*, those that sRGB colours lie in, by the mean cross entropy over all pixels; an answer is then the mean of
    the squares' centres by p^(1/T) / sum p^(1/T) with T = `temperature`. With `spacing: null` it is told as the two
    numbers a*/100 and b*/100, by their mean squared error, so that what may have several colours becomes grey.
    Data: a field of pictures (3, height, width), red, green and blue from 0 to 1 (not standardized). Network:
    `network`, from L*/100 (1, height, width), or from three equal channels of it, so that its layers go on to colour
    pictures in a later stage; to one logit a square (squares, height, width), or to (2, height, width).
    `train.augment` changes the pictures first, in training alone. Metrics: loss; mse, the mean squared error of a*
    and b*; grey_mse, that of no colour at all; with `spacing` accuracy, the share of pixels told in the right square.
    Errors: pictures of another number of channels, or of values beyond 0 and 1.
    Source: Zhang, Isola & Efros 2016, Colorful Image Colorization, arXiv:1603.08511, section 2.1, equations 1, 2 and
    5, with one square a pixel and rare colours at their own weight.
    """

    kind: ClassVar[str] = "colourisation"
    spacing: Annotated[float, pydantic.Field(ge=2, le=100)] | None = pydantic.Field(
        10.0, description="side of a square of a* and b*; null: a* and b* are told as numbers"
    )
    temperature: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        0.38, description="T of the mean of the squares that is an answer: 1 is their mean, near 0 the likeliest one"
    )
    _channels: int = PrivateAttr(1)
    """Equal channels that the network takes."""
    views: ClassVar[int] = 1
    outputs_follow: ClassVar[str] = "the size"

    def network_inputs(self, example: Shape, network: Ports) -> Mapping[str, Shape]:
        if example[0] != 3:
            message = f"{self.kind} takes pictures of red, green and blue, and `{self.field}` is {example}"
            raise DlxError(message, hint="Take pictures in colour, with three channels.")
        if len(network.inputs) != 1:
            raise self._of_one(network)
        ((name, shape),) = network.inputs.items()
        equal = shape.rank == 3 and shape[0] == 3
        return {name: example if equal else Shape((1, *example[1:]))}

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._channels = next(iter(networks[NETWORK].inputs.values()))[0]
        return copy

    def output_shapes(self, fields: Mapping[str, Field]) -> Mapping[str, Shape]:
        channels = 2 if self.spacing is None else len(self.squares)
        return {NETWORK: Shape((channels, *fields[self.field].shape[1:]))}

    def check_values(self, batch: Batch) -> Problem | None:
        return beyond_0_and_1(self.kind, self.field, batch[self.field])

    @cached_property
    def squares(self) -> npt.NDArray[Any]:
        """The squares that colours of sRGB lie in, (squares, 2): a* and b* of their centres over `spacing`, int."""
        assert self.spacing is not None
        steps = np.linspace(0, 1, LATTICE)
        _, *colour = lab_of(np, *(one.ravel() for one in np.meshgrid(steps, steps, steps)))
        return np.unique(np.round(np.stack(colour, 1) / self.spacing).astype(np.int64), axis=0)

    @cached_property
    def numbers(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The least a* and b* over `spacing` (2,), and from there on the number of the nearest square (A, B)."""
        low = self.squares.min(0)
        every = np.stack(np.meshgrid(*(np.arange(n + 1) for n in self.squares.max(0) - low), indexing="ij"), -1)
        away = np.square(every[..., None, :] + low - self.squares).sum(-1)
        return low, away.argmin(-1)

    # --- a step -----------------------------------------------------------------------------------------------------

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return L* (N, 1, H, W), and a* and b* (N, 2, H, W), of pictures (N, 3, H, W)."""
        lightness, *colour = lab_of(torch, *x.unbind(1))
        return lightness[:, None], torch.stack(colour, 1)

    def square_of(self, colour: Tensor) -> Tensor:
        """Return the number of the square nearest to each a* and b* (N, 2, H, W), (N, H, W)."""
        assert self.spacing is not None
        low, numbers = (torch.from_numpy(one).to(colour.device) for one in self.numbers)
        at = (colour / self.spacing).round().long() - low[:, None, None]
        row, column = (one.clamp(0, size - 1) for one, size in zip(at.unbind(1), numbers.shape, strict=True))
        found: Tensor = numbers[row, column]
        return found

    def colour_of(self, output: Tensor) -> Tensor:
        """Return a* and b* (N, 2, H, W) of what the network gives (N, squares or 2, H, W)."""
        if self.spacing is None:
            return output * SCALE
        centres = torch.from_numpy(self.squares).to(output) * self.spacing
        return torch.einsum("nqhw,qc->nchw", (output / self.temperature).softmax(1), centres)

    def loss_of(self, output: Tensor, colour: Tensor) -> Tensor:
        """Return the loss of outputs (N, squares or 2, H, W) for a* and b* (N, 2, H, W), a scalar."""
        if self.spacing is None:
            return F.mse_loss(output, colour / SCALE)
        return F.cross_entropy(output, self.square_of(colour))

    def outputs_for(self, call: Caller, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the network's output for pictures (N, 3, H, W), their L*, and their a* and b*."""
        lightness, colour = self.parts(x)
        seen = lightness / SCALE
        return call(NETWORK, seen.repeat(1, self._channels, 1, 1)), lightness, colour

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        output, _, colour = self.outputs_for(call, batch[self.field])
        return {"cross_entropy" if self.spacing else "squared_error": self.loss_of(output, colour)}

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        output, _, colour = self.outputs_for(call, batch[self.field])
        found = {
            "loss": self.loss_of(output, colour),
            "mse": (self.colour_of(output) - colour).square().mean(),
            "grey_mse": colour.square().mean(),
        }
        if self.spacing is not None:
            found["accuracy"] = (output.argmax(1) == self.square_of(colour)).float().mean()
        return found

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return pictures as they are, what the network sees of them, and as it colours them, below each other."""
        x = batch[self.field][:COLUMNS]
        output, lightness, colour = self.outputs_for(call, x)

        def in_rgb(of: Tensor) -> Tensor:
            return torch.stack(rgb_of(torch, lightness[:, 0], *of.unbind(1)), 1)

        return {"colours": torch.stack([x, in_rgb(torch.zeros_like(colour)), in_rgb(self.colour_of(output))])}

    def modes(self) -> dict[str, Mode]:
        found: dict[str, Mode] = {"loss": "min", "mse": "min", "grey_mse": "min"}
        return found if self.spacing is None else {**found, "accuracy": "max"}
