"""Probabilistic principal component analysis, its exact likelihood by gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Self

import pydantic
from pydantic import PositiveFloat, PrivateAttr

from ..errors import Problem, SpecError
from ..lazy import torch
from ..metrics import Mode
from .base import Call, Caller, Objective, Phase, Ports, Values
from .latent import DECODER, field_of, inputs_of, shape_problem

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

LOG_2PI = math.log(2 * math.pi)
LOG_VARIANCE = "log_variance"
BESIDE = 0.2
"""Offset above which the model has another mean than the data; n examples alone give one of about 1 / n."""


class Model(NamedTuple):
    """x = z W + mean + noise: W (q, D), mean (D,), log of the variance of the noise, and W W^T + variance I as its
    Cholesky factor (q, q).
    """

    weight: Tensor
    mean: Tensor
    log_variance: Tensor
    factor: Tensor


class Ppca(Objective):
    """Maximise the exact log P(x) of x = W z + mean + noise, with z from N(0, I) and noise from N(0, variance I).

    x is normal with covariance C = W W^T + variance I; its determinant and inverse follow from a matrix of the size
    of z. The loss is -log P(x) in nats, a mean over the examples; nothing is drawn. At the maximum W spans the
    principal components, and the variance, if it is learned, is the mean of the other eigenvalues of the covariance.
    Networks: `decoder`, from z to x by `linear` alone: its weight is W, its bias the mean. Without a bias the model
    has mean 0, and the data must be centred. Data: a field of floats (`field`); no target is read.
    Shapes: z (q,), x (N, *shape). Metrics: log_likelihood, in nats an example; mse, the mean squared error over all
    values of W E[z | x] + mean; variance; offset, the squared distance between the mean of the data and that of the
    model over the trace of C, a mean over batches: near 0 where data is centred or the mean is learned.
    Source: Tipping & Bishop 1999, Probabilistic principal component analysis, equations 4 to 12; Russell & Norvig
    2020, Artificial Intelligence, section 22.7.1, equation 22.16.
    """

    kind: ClassVar[str] = "ppca"
    variance: PositiveFloat | Literal["learned"] = pydantic.Field(
        "learned", description="of the noise of each value; learned: from 1 on, as `objective/log_variance`"
    )
    field: str = pydantic.Field("input", description="the field of the data that is modelled")
    _size: int = PrivateAttr(0)
    """Number of latent variables."""

    def phases(self) -> Sequence[Phase]:
        return (Phase("train", (DECODER,), (self.field,)),)

    def parameters(self) -> Mapping[str, Values]:
        return {LOG_VARIANCE: 0.0} if self.variance == "learned" else {}

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._size = next(iter(networks[DECODER].inputs.values())).count
        return copy

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        decoder, field = networks[DECODER], field_of(self.kind, self.field, fields)
        latent, output = next(iter(decoder.inputs.values())), next(iter(decoder.outputs.values()))
        if latent.rank != 1 or latent[0] >= field.shape.count:
            message = f"{self.kind} takes a `{DECODER}` of fewer latent variables than the {field.shape.count} values"
            raise SpecError(Problem(f"{message} of `{self.field}`, in one axis, and its input is {latent}"))
        if tuple(output) != tuple(field.shape):
            what = f"the shape of the field `{self.field}`"
            raise shape_problem(self.kind, DECODER, "", output, what, field.shape)
        return (Call(DECODER, inputs_of(self.kind, DECODER, decoder, latent, fields)),)

    def check_networks(self, call: Caller, batch: Batch) -> Problem | None:
        z = torch.randn(2, self._size, generator=torch.Generator().manual_seed(0))
        one, two, both, none = call(DECODER, torch.cat([z, z.sum(0, True), 0 * z[:1]])).float()
        error, size = float((one + two - both - none).abs().max()), float((both - none).abs().max())
        if error <= 1e-2 * size:  # bf16 has seven bits behind its first
            return None
        message = f"`{DECODER}` is not linear: the image of a sum is {error:.3g} from the sum of the images"
        return Problem(f"{message}, and {self.kind} has its likelihood by a matrix", "Let it be `linear` alone.")

    # --- the model --------------------------------------------------------------------------------------------------

    def model(self, call: Caller) -> Model:
        """Return the matrix and the mean of the decoder, and what follows."""
        images = call(DECODER, torch.cat([torch.zeros(1, self._size), torch.eye(self._size)])).flatten(1).float()
        mean, weight = images[0], images[1:] - images[0]
        if self.variance == "learned":
            log_variance = call.parameters[LOG_VARIANCE]
        else:
            log_variance = torch.full((), math.log(self.variance), device=mean.device)
        inner = weight @ weight.T + log_variance.exp() * torch.eye(self._size, device=mean.device)
        return Model(weight, mean, log_variance, torch.linalg.cholesky(inner))

    def log_probability(self, model: Model, x: Tensor) -> Tensor:
        """Return log P(x) in nats of each example (N,), from x (N, *shape)."""
        centred = x.flatten(1).float() - model.mean
        dim, q = centred.shape[1], len(model.weight)
        # |C| = variance^(D - q) |M|, and C^-1 = (I - W^T M^-1 W) / variance, for M = W W^T + variance I of size q
        log_det = (dim - q) * model.log_variance + 2 * model.factor.diagonal().log().sum()
        explained = torch.linalg.solve_triangular(model.factor, model.weight @ centred.T, upper=False)
        square = (centred.square().sum(1) - explained.square().sum(0)) * (-model.log_variance).exp()
        found: Tensor = -(dim * LOG_2PI + log_det + square) / 2
        return found

    def posterior_mean(self, model: Model, x: Tensor) -> Tensor:
        """Return E[z | x] (N, q)."""
        projected = model.weight @ (x.flatten(1).float() - model.mean).T
        found: Tensor = torch.cholesky_solve(projected, model.factor).T
        return found

    # --- a step, evaluation, samples --------------------------------------------------------------------------------

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        return {"nll": -self.log_probability(self.model(call), batch[self.field]).mean()}

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        model, x = self.model(call), batch[self.field]
        back = self.posterior_mean(model, x) @ model.weight + model.mean
        variance = model.log_variance.exp()
        trace = model.weight.square().sum() + variance * len(model.mean)
        return {
            "log_likelihood": self.log_probability(model, x).mean(),
            "mse": (back - x.flatten(1)).square().mean(),
            "variance": variance,
            "offset": (x.flatten(1).mean(0) - model.mean).square().sum() / trace,
        }

    def answers(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return -log P(x) of each input as its `score`, E[z | x] as its `code`, and what that stands for."""
        model, x = self.model(call), batch[self.field]
        code = self.posterior_mean(model, x)
        back = (code @ model.weight + model.mean).reshape(x.shape)
        return {"score": -self.log_probability(model, x), "code": code, "reconstruction": back}

    def modes(self) -> dict[str, Mode]:
        return {"log_likelihood": "max", "mse": "min", "variance": "min", "offset": "min"}

    def warnings(self, measured: Mapping[str, float]) -> Sequence[str]:
        if (offset := measured.get("offset", 0.0)) <= BESIDE:
            return ()
        message = f"the mean of the model lies beside that of the data: their squared distance is {offset:.2g} of the"
        return (
            f"{message} model's variance; centre the data (`preprocess: [center]`), or let `decoder` have a bias",
        )

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self._size, generator=rng)

    def latents_of(self, call: Caller, batch: Batch) -> Tensor:
        return self.posterior_mean(self.model(call), batch[self.field])

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        made: Tensor = call(DECODER, latents)
        return made

    def sample(self, call: Caller, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor:
        made = self.generate(call, self.latents(n, rng))
        noise = torch.randn(made.shape, generator=rng).to(made)
        found: Tensor = made + noise * (self.model(call).log_variance / 2).exp()
        return found
