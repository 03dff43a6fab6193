"""Regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from ..data import Facts
from ..data.preprocess.sums import axes_of, moments
from ..errors import Problem
from ..lazy import torch
from ..losses import LOSSES, Loss
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from .supervised import Function

UNFITTED = "`scale: standardize` follows from the training part of the data: leave it out where there is none"


MOST_SHOWN = 5
"""Deviations that a note shows."""


@cache
def _tensors(mean: tuple[float, ...], std: tuple[float, ...], device: Any, dtype: Any) -> tuple[Tensor, Tensor]:
    """Return both as tensors, built once: a step must not wait for them to reach a device."""
    return torch.tensor(mean, device=device, dtype=dtype), torch.tensor(std, device=device, dtype=dtype)


class Regression(Supervised):
    """Predict numbers; the network gives one output for each value of the target.

    Shapes: outputs and targets (N, *target); a loss that is a distribution says itself what it wants. Metrics: mse
    and mae, the mean squared and mean absolute error over all values, of the mean where the output is a
    distribution. r2 can be asked for.
    With `scale: standardize` the network learns (target - mean) / deviation, each of one value of a target, or of one
    entry of its first axis where it has several axes, over the training part; a constant one is divided by 1. The
    loss is in that unit; predictions and all other metrics are in the unit of the targets. The deviation is that of
    n, as `standardize` of inputs has it, and scikit-learn's StandardScaler.
    """

    kind: ClassVar[str] = "regression"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("squared_error"), description="what training makes small"
    )
    scale: Literal["none", "standardize"] = Field("none", description="of the targets in training")
    default_metrics: ClassVar[tuple[str, ...]] = ("mse", "mae")
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads"]] = "values"
    _fit: tuple[list[float], list[float]] | None = PrivateAttr(None)
    """Mean and standard deviation of the training targets, by value or entry of the first axis."""

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.target is None or facts.classes is not None:
            return Problem(
                f"regression wants targets that are numbers, and the data has {facts.classes} classes",
                f"Use `objective: {'classification' if facts.target is None else 'segmentation'}`.",
            )
        if self.loss.wants != "values":
            return Problem(
                f"the loss {self.loss.kind} wants {self.loss.wants}, and regression has numbers",
                "Use `loss: squared_error`.",
            )
        if self.loss.balances:
            return Problem(f"{self.loss.kind} has no classes in regression, so that nothing is `balanced`")
        if check_shape := self.loss.check_shape(facts.target):
            return Problem(check_shape, "Sum up losses of the same output.")
        wanted = self.loss.outputs(facts.target)
        if tuple(output) == tuple(wanted):
            return None
        last = f"linear: {wanted[0]}" if wanted.rank == 1 else f"conv: {{out_channels: {wanted[0]}, kernel_size: 1}}"
        of_loss = f", for which {self.loss.kind} wants {wanted}" if tuple(wanted) != tuple(facts.target) else ""
        return Problem(
            f"the network ends in {output}, and each target of the data is {facts.target}{of_loss}",
            f"Let the last layer be `{last}`.",
        )

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        residual = self.loss.residual(output, self.scaled(target))
        return residual if self.scale == "none" else residual * self._moments(residual)[1]

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        residual = self.residual(output, target)
        return {"mse": residual.square().mean(), "mae": residual.abs().mean()}

    def draws(self, output: Tensor, n: int, rng: torch.Generator) -> Tensor:
        """Draw n targets (N, n, *target) from the distribution of each output, in the unit of the targets."""
        made = self.loss.sample(output, n, rng)
        if self.scale == "none":
            return made
        flat = made.flatten(0, 1)
        mean, std = self._moments(flat)
        return (flat * std + mean).reshape(made.shape)

    def scores(self, output: Tensor) -> Tensor:
        return self.predict(output)

    # --- scaled targets ---------------------------------------------------------------------------------------------

    def target_statistics(
        self, targets: Any, classes: int | None = None, names: Sequence[str] = ()
    ) -> dict[str, Any]:
        if self.scale == "none":
            return {}
        mean, std = moments(targets, axes_of(targets, "channel"))
        return {"mean": mean.reshape(-1).tolist(), "std": std.reshape(-1).tolist()}

    def fitted(self, statistics: Mapping[str, Any]) -> Self:
        if self.scale == "none" or not statistics:
            return self
        copy = self.model_copy()
        copy._fit = statistics["mean"], statistics["std"]
        return copy

    def notes(self) -> tuple[str, ...]:
        if self.scale == "none":
            return ()
        spread = ", ".join(f"{one:.4g}" for one in self._fit[1][:MOST_SHOWN]) if self._fit is not None else ""
        more = ", ..." if self._fit is not None and len(self._fit[1]) > MOST_SHOWN else ""
        own = "predictions and the other metrics are in the unit of the targets"
        return (f"losses are of standardised targets, of which the deviation is {spread}{more}; {own}",)

    def _moments(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and deviation of the targets for tensors (N, *target) `like` one."""
        if self._fit is None:
            raise ValueError(UNFITTED)
        mean, std = _tensors(*map(tuple, self._fit), like.device, like.dtype)
        shape = -1, *(1,) * (like.dim() - 2)
        return mean.view(shape), std.view(shape)

    def scaled(self, targets: Any) -> Any:
        if self.scale == "none":
            return targets
        values = torch.as_tensor(targets)
        mean, std = self._moments(values)
        return (values - mean) / std

    def loss_function(self) -> Function:
        loss = super().loss_function()
        return loss if self.scale == "none" else lambda output, target: loss(output, self.scaled(target))

    def predict(self, output: Tensor) -> Tensor:
        predicted = super().predict(output)
        if self.scale == "none":
            return predicted
        mean, std = self._moments(predicted)
        return predicted * std + mean
