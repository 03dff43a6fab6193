"""Forecasts of series: outputs in the scale of the inputs, metrics and predictions in the unit of the targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, field_validator, model_validator

from ..data import Facts
from ..data.base import Field as DataField
from ..errors import Problem
from ..lazy import torch
from ..losses import LOSSES, Loss
from ..losses.quantiles import Quantiles, checked_quantiles
from ..registry import Choice
from ..shapes import Shape
from .supervised import Supervised

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.batch import Batch
    from .supervised import Function

SCALE = "scale"
"""Name and role of the field with the mean, the deviation and the naive error of the series of each example."""
ROWS = 3
COUNTED = "mase_count"
"""Share of the values of a batch that have a naive error."""


class Forecast(Supervised):
    """Predict the next values of series; the network gives them in the scale of its inputs.

    Shapes: outputs and targets (N, horizon), or (N, horizon, values); with Q quantiles outputs (N, Q horizon) or
    (N, Q horizon, values), the values of the first quantile first. The loss is of targets in the scale of the inputs,
    (target - mean) / deviation of the series; predictions and metrics are in the unit of the targets. Metrics: mae,
    rmse and mase, the mean absolute error in units of the naive error of the series in its training part, the mean of
    |y(t) - y(t - period)|; series that do not vary there are left out. With several quantiles the median is the
    prediction, and `coverage` is the share of the targets from the first to the last quantile.
    Errors: data without series; a loss beside `quantiles`.
    Source: Hyndman & Koehler 2006, Another look at measures of forecast accuracy, section 3, for mase; Koenker &
    Bassett 1978 for quantiles.
    """

    kind: ClassVar[str] = "forecast"
    loss: Annotated[Loss, Choice(LOSSES)] = Field(
        default_factory=LOSSES.new("squared_error"), description="what training makes small"
    )
    quantiles: Quantiles = Field(
        [], description="probabilities that a value is below its forecast: the loss is then `pinball`"
    )
    default_metrics: ClassVar[tuple[str, ...]] = ("mae", "rmse", "mase")
    measures: ClassVar[Literal["classes", "labels", "values", "boxes", "heads"]] = "values"
    _units: Any = PrivateAttr(None)
    """Mean, deviation and naive error (N, 3, values) of the examples that outputs are of, where they are known."""

    _checked = field_validator("quantiles")(checked_quantiles)

    @model_validator(mode="after")
    def _of_quantiles(self) -> Self:
        if not self.quantiles:
            return self
        if "loss" in self.model_fields_set and self.loss.kind != "pinball":
            raise ValueError(
                f"`quantiles` are learned by `pinball`, and `loss` is {self.loss.kind}: drop one of them"
            )
        object.__setattr__(self, "loss", LOSSES["pinball"].model_validate({"quantiles": self.quantiles}))
        return self

    # --- fields -----------------------------------------------------------------------------------------------------

    def reads(self, fields: Mapping[str, DataField], outputs: Sequence[str]) -> Sequence[str]:
        return [*super().reads(fields, outputs), SCALE]

    def target_in(self, batch: Batch, field: str) -> Any:
        """Return the targets with the scale of each example below them, (N, horizon + 3, values)."""
        y: Tensor = super().target_in(batch, field)
        return torch.cat([y if y.dim() == 3 else y[:, :, None], batch[SCALE]], 1)

    def check(self, output: Shape, facts: Facts) -> Problem | None:
        if facts.target is None or facts.classes is not None or facts.target.rank not in (1, 2):
            has = f"{facts.classes} classes" if facts.classes is not None else f"targets of shape {facts.target}"
            message = f"forecast wants targets of a series, (horizon,) or (horizon, values), and the data has {has}"
            return Problem(message, "Take `data: {series: ...}`, or another objective.")
        if self.loss.wants != "values":
            message = f"the loss {self.loss.kind} wants {self.loss.wants}, and forecast has numbers"
            return Problem(message, "Use `loss: squared_error`.")
        wanted = self.loss.outputs(facts.target)
        if tuple(output) == tuple(wanted):
            return None
        last = f"`linear: {wanted.count}`" + (f" and `reshape: {list(wanted)}`" if wanted.rank == 2 else "")
        of_loss = f", for which {self.loss.kind} wants {wanted}" if tuple(wanted) != tuple(facts.target) else ""
        message = f"the network ends in {output}, and each target of the data is {facts.target}{of_loss}"
        return Problem(
            message, f"Let the last layers be {last}." if wanted.rank == 2 else f"Let the last layer be {last}."
        )

    # --- units ------------------------------------------------------------------------------------------------------

    def in_units(self, units: Any) -> Self:
        if units is None:
            return self
        copy = self.model_copy()
        copy._units = torch.as_tensor(units)
        return copy

    def unpacked(self, output: Tensor, target: Tensor) -> tuple[Self, Tensor]:
        plain, units = self._split(output, target)
        # the median alone stands beside a target
        return self.in_units(units).model_copy(update={"quantiles": []}), plain

    def _split(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the targets like predictions of `output`, and the scale below them; None where there is none."""
        horizon = self.loss.predict(output).shape[1]
        if target.shape[1] == horizon:
            return target, None
        values, units = target[:, :-ROWS], target[:, -ROWS:]
        return (values if output.dim() == 3 else values[:, :, 0]), units

    def learned(self, output: Tensor, target: Any) -> Any:
        plain, units = self._split(output, target)
        if units is None:
            return plain
        mean, std = _rows(units, plain)
        return (plain - mean) / std

    def loss_function(self) -> Function:
        loss = super().loss_function()

        return lambda output, target: loss(output, self.learned(output, target))

    def _in_own_unit(self, values: Tensor, units: Tensor | None) -> Tensor:
        if units is None:
            return values
        mean, std = _rows(units.to(values.device), values)
        return values * std + mean

    def predict(self, output: Tensor) -> Tensor:
        return self._in_own_unit(super().predict(output), self._units)

    def answered(self, output: Tensor) -> Tensor:
        return self._in_own_unit(output, self._units) if self.quantiles else self.predict(output)

    def answer_names(self, names: Sequence[str]) -> list[str]:
        return [f"{name} q{q:g}" for q in self.quantiles for name in names] if self.quantiles else list(names)

    # --- evaluation -------------------------------------------------------------------------------------------------

    def residual(self, output: Tensor, target: Tensor) -> Tensor:
        own, plain = self.unpacked(output, target)
        return own.predict(output) - plain

    def measure(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        own, plain = self.unpacked(output, target)
        error = (own.predict(output) - plain).abs()
        found = {"mae": error.mean(), "rmse": error.square().mean()}
        if own._units is not None:
            naive = _row(own._units, 2, error)
            there = (naive > 0).to(error.dtype).expand_as(error)
            found |= {"mase": (there * error / naive.clamp_min(torch.finfo(error.dtype).tiny)).mean()}
            found[COUNTED] = there.mean()
        if len(self.quantiles) > 1:
            ends = own._in_own_unit(output, own._units).chunk(len(self.quantiles), 1)
            found["coverage"] = ((plain >= ends[0]) & (plain <= ends[-1])).to(error.dtype).mean()
        return found

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        found = {**means, "rmse": means["rmse"] ** 0.5}
        count = found.pop(COUNTED, 0.0)
        if count:
            found["mase"] /= count
        else:
            found.pop("mase", None)
        return found

    def scores_of_targets(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        own, plain = self.unpacked(output, target)
        return own.predict(output), plain


def _row(units: Tensor, row: int, like: Tensor) -> Tensor:
    """Return a row of the scale (N, 3, values) for values (N, horizon) or (N, horizon, values)."""
    found = units[:, row : row + 1].to(like.dtype)
    return found[:, :, 0] if like.dim() == 2 else found


def _rows(units: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    return _row(units, 0, like), _row(units, 1, like)
