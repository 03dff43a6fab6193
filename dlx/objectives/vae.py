"""Variational autoencoders: latent variables by an encoder that gives their distribution, and a bound on log P(x)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import pydantic
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, PrivateAttr, model_validator

from ..errors import Problem, SpecError
from ..lazy import F, torch
from ..metrics import Mode
from ..schedules.values import Weight
from ..shapes import Shape
from .base import Call, Caller, Objective, Phase, Ports, Sheet
from .latent import (
    COLUMNS,
    DECODER,
    ENCODER,
    LABEL,
    LOG_VARIANCE,
    MEAN,
    beyond_0_and_1,
    field_of,
    inputs_of,
    interpolations,
    labelled,
    map_of,
    shape_problem,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

    Outputs = Tensor | Mapping[str, Tensor]

LOG_2PI = math.log(2 * math.pi)
ACTIVE = 0.01
"""Variance of the posterior mean over examples above which a latent variable is active; that of Burda et al."""


class Vae(Objective):
    """Maximise a lower bound on log P(x) of a decoder, with normal latent variables z that an encoder tells of x.

    ELBO = E[log p(x | z)] - KL(q(z | x) || N(0, I)) for z = mean + e exp(log_variance / 2) and e from N(0, I): z is
    reparameterised, and the divergence exact: sum (mean^2 + variance - 1 - log variance) / 2. The loss is
    -E[log p(x | z)] + beta KL, in nats an example, sums over all values and a mean over the examples; the expectation
    is over `samples` draws of z an example. They are drawn anew in each step, by a generator of the objective that is
    saved with it, and are always the same in evaluations.
    Networks: `encoder`, from x to outputs called `mean` and `log_variance` of one shape, or to one output whose first
    axis holds both, one behind the other; and `decoder`, from z to the parameters of p: for bernoulli logits of the
    shape of x; for gaussian the mean of x, with `variance`, or outputs called `mean` and `log_variance`, of which the
    second may have axes of length 1. A second input of either called `label` gets the class of the example.
    Data: a field of floats (`field`), for bernoulli from 0 to 1; no target is read.
    Shapes: x (N, *shape), z (N, *latent). Metrics, in nats an example: elbo (with beta = 1), reconstruction
    (-E[log p(x | z)]), kl, loss (with beta), mse, the mean squared error over all values of the mean of p at the mean
    of z, and active_units, how many latent variables have a mean whose variance over the examples of a batch is above
    0.01; with `importance` log_likelihood, log of the mean over so many draws of p(x, z) / q(z | x), which is at
    least the ELBO and nears log P(x) with their number.
    Source: Kingma & Welling 2014, Auto-Encoding Variational Bayes, arXiv:1312.6114, equations 3, 7 and 10; Higgins et
    al. 2017, beta-VAE, equation 4; Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519, equation 8, and active units
    section 5.2.
    """

    kind: ClassVar[str] = "vae"
    likelihood: Literal["bernoulli", "gaussian"] = pydantic.Field("bernoulli", description="p(x | z), of each value")
    variance: PositiveFloat = pydantic.Field(
        1.0, description="of a gaussian p, where the decoder gives its mean alone"
    )
    beta: Weight = pydantic.Field(1.0, description="weight of the divergence; it may be scheduled")
    binary: bool = pydantic.Field(
        False, description="for bernoulli: round the values to 0 and 1, of which P(x) is a probability"
    )
    samples: PositiveInt = pydantic.Field(
        1, le=100_000, description="draws of z an example in a step, and in evaluations"
    )
    importance: NonNegativeInt = pydantic.Field(
        0, le=100_000, description="draws of z an example for log_likelihood in evaluations; 0: none"
    )
    field: str = pydantic.Field("input", description="the field of the data that is modelled")
    _labelled: frozenset[str] = PrivateAttr(frozenset())
    """Networks that take the class."""
    _latent: tuple[int, ...] = PrivateAttr(())
    """Shape of z."""

    # --- networks ---------------------------------------------------------------------------------------------------

    def phases(self) -> Sequence[Phase]:
        return (Phase("train", (ENCODER, DECODER), (self.field,)),)

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._labelled, copy._latent = labelled(networks), tuple(next(iter(networks[DECODER].inputs.values())))
        return copy

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        encoder, decoder, field = networks[ENCODER], networks[DECODER], field_of(self.kind, self.field, fields)
        latent = self._latent_shape(encoder)
        self._check_decoder(decoder, field.shape)
        return (
            Call(ENCODER, inputs_of(self.kind, ENCODER, encoder, self.field, fields)),
            *(Call(DECODER, inputs_of(self.kind, DECODER, decoder, latent, fields)) for _ in range(self.samples)),
        )

    def _latent_shape(self, encoder: Ports) -> Shape:
        """Return the shape of z. SpecError where the encoder has other outputs than its distribution."""
        outputs = encoder.outputs
        if outputs.keys() == {MEAN, LOG_VARIANCE}:
            mean, spread = outputs[MEAN], outputs[LOG_VARIANCE]
            if tuple(mean) != tuple(spread):
                raise SpecError(Problem(f"`{MEAN}` of `{ENCODER}` is {mean}, and `{LOG_VARIANCE}` is {spread}"))
            return mean
        (first, *more) = outputs.values()
        if more or first.rank < 1 or first[0] % 2:
            has = ", ".join(f"`{name}` {shape}" for name, shape in outputs.items())
            has = f"outputs {has}" if more else f"one output, {first}"
            message = f"{self.kind} takes mean and log variance of z from `{ENCODER}`, which has {has}"
            hint = f"Write `outputs: {{{MEAN}: NODE, {LOG_VARIANCE}: NODE}}`, or end in twice the latent variables."
            raise SpecError(Problem(message, hint))
        return Shape((first[0] // 2, *first[1:]))

    def _check_decoder(self, decoder: Ports, field: Shape) -> None:
        outputs, what = decoder.outputs, f"the shape of the field `{self.field}`"
        if self.likelihood == "gaussian" and outputs.keys() == {MEAN, LOG_VARIANCE}:
            if tuple(outputs[MEAN]) != tuple(field):
                raise shape_problem(self.kind, DECODER, MEAN, outputs[MEAN], what, field)
            spread = outputs[LOG_VARIANCE]
            fits = spread.rank == field.rank and all(a in (1, b) for a, b in zip(spread, field, strict=True))
            if not fits:
                raise shape_problem(self.kind, DECODER, LOG_VARIANCE, spread, f"{what}, with axes of 1", field)
            if "variance" in self.model_fields_set:
                message = f"`{DECODER}` gives `{LOG_VARIANCE}`, and `variance: {self.variance:g}` is another variance"
                raise SpecError(Problem(message, "Keep one of the two."))
            return
        if len(outputs) != 1:
            listed = ", ".join(f"`{name}`" for name in outputs)
            also = f", or `{MEAN}` and `{LOG_VARIANCE}` for `likelihood: gaussian`"
            message = f"{self.kind} takes one output of `{DECODER}`{also}; it has {listed}"
            raise SpecError(Problem(message, "Keep the one to train: `outputs: NODE`."))
        (only,) = outputs.values()
        if tuple(only) != tuple(field):
            raise shape_problem(self.kind, DECODER, "", only, what, field)

    @model_validator(mode="after")
    def _binary_bernoulli(self) -> Self:
        if self.binary and self.likelihood != "bernoulli":
            raise ValueError(f"`binary` is for `likelihood: bernoulli`, and this is {self.likelihood}")
        return self

    @model_validator(mode="after")
    def _variance_gaussian(self) -> Self:
        if "variance" in self.model_fields_set and self.likelihood != "gaussian":
            raise ValueError(f"`variance` is for `likelihood: gaussian`, and this is {self.likelihood}")
        return self

    def takes_logits(self) -> Mapping[str, str]:
        return {DECODER: ""} if self.likelihood == "bernoulli" else {}

    def check_values(self, batch: Batch) -> Problem | None:
        if self.likelihood != "bernoulli":
            return None
        found = beyond_0_and_1("`likelihood: bernoulli`", self.field, batch[self.field])
        return found and replace(found, hint=f"{found.hint[:-1]}; `likelihood: gaussian` takes any values.")

    # --- distributions ----------------------------------------------------------------------------------------------

    def values(self, batch: Batch) -> Tensor:
        """Return the values (N, *shape) that are modelled."""
        return batch[self.field].round() if self.binary else batch[self.field]

    def posterior(self, call: Caller, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return mean and log variance (N, *latent) of z, of the examples of a batch."""
        label = {LABEL: batch["target"]} if ENCODER in self._labelled else {}
        found: Outputs = call(ENCODER, self.values(batch), **label)
        if isinstance(found, Mapping):
            return found[MEAN], found[LOG_VARIANCE]
        mean, log_variance = found.chunk(2, 1)
        return mean, log_variance

    def decoded(self, call: Caller, z: Tensor, classes: Tensor | None) -> Outputs:
        """Return the parameters of p(x | z) for z (N, *latent), of the classes (N,) where the decoder takes them."""
        label = {LABEL: classes} if DECODER in self._labelled and classes is not None else {}
        found: Outputs = call(DECODER, z, **label)
        return found

    def mean_of(self, outputs: Outputs) -> Tensor:
        """Return the mean of p(x | z) from its parameters."""
        if isinstance(outputs, Mapping):
            return outputs[MEAN]
        return outputs.sigmoid() if self.likelihood == "bernoulli" else outputs

    def log_probability(self, outputs: Outputs, x: Tensor) -> Tensor:
        """Return log p(x | z) in nats of each example (N,), a sum over its values."""
        if self.likelihood == "bernoulli":
            assert not isinstance(outputs, Mapping)
            return -F.binary_cross_entropy_with_logits(outputs, x, reduction="none").flatten(1).sum(1)
        if isinstance(outputs, Mapping):
            mean, s = outputs[MEAN], outputs[LOG_VARIANCE]
            each = LOG_2PI + s + (x - mean).square() * (-s).exp()
        else:
            each = LOG_2PI + math.log(self.variance) + (x - outputs).square() / self.variance
        return -each.flatten(1).sum(1) / 2

    # --- samples ----------------------------------------------------------------------------------------------------

    @property
    def condition(self) -> str | None:
        return "target" if DECODER in self._labelled else None

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, *self._latent, generator=rng)

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.mean_of(self.decoded(call, latents, condition))

    def latents_of(self, call: Caller, batch: Batch) -> Tensor:
        return self.posterior(call, batch)[0]

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return samples, reconstructions below what they are of, lines between latents, and a map of two of them."""
        latents, classes = self.latents_of(call, batch), self._classes(batch)
        first = None if classes is None else classes[:COLUMNS]
        back = self.generate(call, latents[:COLUMNS], first)
        count = n if classes is None else len(classes)
        return {
            "samples": self.generate(call, self.latents(count, rng), classes),
            "reconstructions": torch.stack([self.values(batch)[:COLUMNS], back]),
            **interpolations(latents, lambda z, of: self.generate(call, z, of), classes),
            **map_of(latents, batch),
        }

    # --- a step -----------------------------------------------------------------------------------------------------

    def _bound(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return E[log p(x | z)] and the divergence of each example (N,), and the distribution of z."""
        x, (mean, log_variance) = self.values(batch), self.posterior(call, batch)
        classes = self._classes(batch)
        found: list[Tensor] = []
        for _ in range(self.samples):
            noise = torch.randn(mean.shape, generator=rng).to(mean)
            z = mean + noise * (log_variance / 2).exp()
            found.append(self.log_probability(self.decoded(call, z, classes), x))
        likelihood = found[0] if len(found) == 1 else torch.stack(found).mean(0)
        return likelihood, divergence(mean, log_variance), (mean, log_variance)

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        likelihood, kl, _ = self._bound(call, batch, rng)
        return {"reconstruction": -likelihood.mean(), "kl": self.beta * kl.mean()}

    # --- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        likelihood, kl, (mean, log_variance) = self._bound(call, batch, rng)
        classes = self._classes(batch)
        found = {
            "elbo": (likelihood - kl).mean(),
            "loss": (self.beta * kl - likelihood).mean(),
            "reconstruction": -likelihood.mean(),
            "kl": kl.mean(),
            "mse": (self.mean_of(self.decoded(call, mean, classes)) - self.values(batch)).square().mean(),
            "active_units": (mean.flatten(1).var(0, correction=0) > ACTIVE).float().sum(),
        }
        if self.importance:
            found["log_likelihood"] = self.log_likelihood(call, batch, mean, log_variance, rng).mean()
        return found

    def log_likelihood(
        self, call: Caller, batch: Batch, mean: Tensor, log_variance: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return log of the mean of p(x, z) / q(z | x) over `importance` draws of z, of each example (N,)."""
        x, classes = self.values(batch), self._classes(batch)
        found = []
        for _ in range(self.importance):
            noise = torch.randn(mean.shape, generator=rng).to(mean)
            z = mean + noise * (log_variance / 2).exp()
            # log N(z; 0, I) - log N(z; mean, variance): the constants cancel
            ratio = (noise.square() + log_variance - z.square()).flatten(1).sum(1) / 2
            found.append(self.log_probability(self.decoded(call, z, classes), x) + ratio)
        return torch.stack(found).logsumexp(0) - math.log(self.importance)

    def answers(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return of each input -ELBO, or -log_likelihood with `importance`, as its `score`; the mean of z as its
        `code`; and the mean of p(x | z) at that as its `reconstruction`.
        """
        likelihood, kl, (mean, log_variance) = self._bound(call, batch, rng)
        score = kl - likelihood
        if self.importance:
            score = -self.log_likelihood(call, batch, mean, log_variance, rng)
        return {"score": score, "code": mean, "reconstruction": self.generate(call, mean, self._classes(batch))}

    def _classes(self, batch: Batch) -> Tensor | None:
        return batch["target"] if DECODER in self._labelled else None

    def modes(self) -> dict[str, Mode]:
        found: dict[str, Mode] = {"elbo": "max", "loss": "min", "reconstruction": "min", "kl": "min", "mse": "min"}
        return {**found, "active_units": "max"} | ({"log_likelihood": "max"} if self.importance else {})

    def warnings(self, measured: Mapping[str, float]) -> Sequence[str]:
        if measured.get("active_units", 1.0) >= 1:
            return ()
        count, kl = math.prod(self._latent), measured.get("kl", 0.0)
        message = f"the posterior has collapsed: of {count} latent variables none tells examples apart (KL {kl:.2g})"
        return (f"{message}; lower `beta`, or train longer",)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, variance) || N(0, I)) in nats of each example (N,), from tensors (N, *latent)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1) / 2
