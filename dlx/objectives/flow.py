"""Normalising flows: a network with an inverse brings examples to normal noise, and noise to examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, pi, prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import pydantic
from pydantic import PrivateAttr

from ..errors import Problem, SpecError
from ..lazy import F, torch
from ..metrics import Mode
from ..shapes import Shape
from .base import Call, Caller, Objective, Phase, Ports
from .latent import beyond_0_and_1

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

NETWORK, LABEL, CLASSES = "network", "label", "target"
TOLERANCE = 1e-2
"""Error of what comes back, in units of the largest value, from which on a flow does not count as invertible."""


class Flow(Objective):
    """Learn the density of the inputs by an invertible network: log p(x) = log N(z; 0, 1) + log |det dz/dx|.

    The loss is the mean negative log-likelihood in nats an example. With `levels`, values from 0 to 1 in so many even
    steps (256 of a byte) get uniform noise below a step, and go through the logit of alpha + (1 - 2 alpha) x; the
    log-likelihood is then a lower bound of that of the steps, in which a step counts as 1.
    Network: `network`, of `affine_coupling`, `actnorm`, `invertible_1x1`, `reverse_channels` and `pixel_unshuffle`,
    each from the one before it; the training does not start with a layer that has no inverse. An input `label` gets
    the class of the example, the field `target`. Shapes: inputs (N, *shape), outputs of as many values.
    Metrics: log_likelihood (nats an example), bits_per_dim. Samples: of z = temperature * normal noise.
    Source: Dinh et al. 2016, Real NVP, arXiv:1605.08803, equations 2 and 3, section 4.1 (the logit); Prince 2023,
    Understanding Deep Learning, section 16.2.
    """

    kind: ClassVar[str] = "flow"
    field: str = pydantic.Field("input", description="the input whose density is learned")
    levels: Annotated[int, pydantic.Field(ge=2)] | None = pydantic.Field(
        None, description="even steps of values from 0 to 1; null: values are continuous"
    )
    alpha: Annotated[float, pydantic.Field(gt=0, lt=0.5)] = pydantic.Field(
        0.05, description="how far values stay from 0 and 1 before the logit, with `levels`"
    )
    temperature: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        1.0, description="deviation of the noise that samples are made of"
    )
    _shape: Shape = PrivateAttr(Shape(()))
    _made: Shape = PrivateAttr(Shape(()))
    _classes: int = PrivateAttr(0)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        network = networks[NETWORK]
        if self.field in fields:
            shape, (made, *more) = fields[self.field].shape, network.outputs.values()
            if shape.dtype != "float" or made.count != shape.count or more:
                message = f"flow takes as many values as the input has, {shape}, and the network ends in {made}"
                raise SpecError(Problem(message, "Layers of a flow keep the number of values."))
        return [Call(NETWORK, {name: CLASSES if name == LABEL else self.field for name in network.inputs})]

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy, network = self.model_copy(), networks[NETWORK]
        copy._shape, copy._made = fields[self.field].shape, next(iter(network.outputs.values()))
        copy._classes = (fields[CLASSES].classes or 0) if LABEL in network.inputs else 0
        return copy

    @property
    def condition(self) -> str | None:
        return CLASSES if self._classes else None

    def phases(self) -> Sequence[Phase]:
        return [Phase("train", (NETWORK,), (self.field,))]

    # ---- density ---------------------------------------------------------------------------------------------------

    def log_likelihood(self, call: Caller, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Return log p (N,) in nats of continuous examples (N, *shape)."""
        z, log_det = self.forward(call, x, label)
        normal = -0.5 * (z.square() + log(2 * pi)).flatten(1).sum(1)
        return normal + log_det

    def forward(self, call: Caller, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z (N, *made) of examples, and log |det dz/dx| (N,)."""
        from ..modules.invertible import calls

        with calls() as layers:
            z = self._called(call, x, label)
        return z, layers.log_det(z)

    def backward(self, call: Caller, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the examples (N, *shape) of z (N, *made)."""
        from ..modules.invertible import calls

        with calls(back=True):
            return self._called(call, z, label)

    def _called(self, call: Caller, x: Tensor, label: Tensor | None) -> Tensor:
        made: Tensor = call(NETWORK, x) if label is None else call(NETWORK, x, **{LABEL: label})
        return made

    def dequantized(self, x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the logit of steps with noise, and log |det| of it in units of a step (N,)."""
        if self.levels is None:
            return x, x.new_zeros(len(x))
        noise = torch.rand(x.shape, generator=rng).to(x.device)
        unit = (x * (self.levels - 1) + noise) / self.levels
        p = self.alpha + (1 - 2 * self.alpha) * unit
        scale = log((1 - 2 * self.alpha) / self.levels)
        y = p.logit()
        return y, (scale + F.softplus(y) + F.softplus(-y)).flatten(1).sum(1)

    def quantized(self, y: Tensor) -> Tensor:
        """Return the steps that `dequantized` made y of."""
        if self.levels is None:
            return y
        unit = (y.sigmoid() - self.alpha) / (1 - 2 * self.alpha)
        return (unit * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)

    def of_batch(self, call: Caller, batch: Batch, rng: torch.Generator) -> Tensor:
        """Return the mean of log p over the examples of a batch, a scalar."""
        y, log_det = self.dequantized(batch[self.field], rng)
        each = self.log_likelihood(call, y, self._label(batch))
        return (each + log_det.to(each.device)).mean()

    def _label(self, batch: Batch) -> Tensor | None:
        return batch[CLASSES] if self._classes else None

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"nll": -self.of_batch(call, batch, rng)}

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        return {"log_likelihood": self.of_batch(call, batch, rng)}

    def measured(self, means: dict[str, float]) -> dict[str, float]:
        found = means["log_likelihood"]
        return {**means, "bits_per_dim": -found / (prod(self._shape) * log(2))}

    def modes(self) -> dict[str, Mode]:
        return {"log_likelihood": "max", "bits_per_dim": "min"}

    # ---- samples ---------------------------------------------------------------------------------------------------

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        return self.temperature * torch.randn(n, *self._made, generator=rng)

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        if self._classes and condition is None:
            condition = torch.arange(len(latents)) % self._classes
        return self.quantized(self.backward(call, latents, condition))

    def latents_of(self, call: Caller, batch: Batch) -> Tensor:
        rng = torch.Generator().manual_seed(0)
        return self.forward(call, self.dequantized(batch[self.field], rng)[0], self._label(batch))[0]

    # ---- how it begins ---------------------------------------------------------------------------------------------

    def begin(self, call: Caller, batch: Batch, rng: torch.Generator) -> None:
        from ..modules.invertible import calls

        with calls(fits=True):
            self._called(call, self.dequantized(batch[self.field], rng)[0], self._label(batch))

    def check_values(self, batch: Batch) -> Problem | None:
        if self.levels is None:
            return None
        return beyond_0_and_1("flow with `levels`", self.field, batch[self.field])

    def check_networks(self, call: Caller, batch: Batch) -> Problem | None:
        from ..modules.invertible import calls

        values = batch[self.field]
        y, label = self.dequantized(values, torch.Generator().manual_seed(0))[0], self._label(batch)
        with calls() as layers:
            z = self._called(call, y, label)
        if not layers.log_dets:
            message = "the flow is not invertible: no layer of the network has an inverse"
            hint = "Take `affine_coupling`, `actnorm`, `invertible_1x1` and `reverse_channels`."
            return Problem(message, hint)
        back = self.backward(call, z, label).to(y.device)
        error, size = float((back - y).abs().max()), float(y.abs().max())
        if not error <= TOLERANCE * max(size, 1):
            message = (
                f"the flow is not invertible: examples of values up to {size:g} come back with an error of {error:g}"
            )
            return Problem(message, "A matrix may be singular, or a scale near 0.")
        return None
