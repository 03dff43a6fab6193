"""Diffusion: a network tells the noise in examples to which it was added, and takes it out step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log, pi, prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Self

import pydantic
from pydantic import NonNegativeFloat, PositiveInt, PrivateAttr

from ..errors import Problem, SpecError
from ..lazy import torch
from ..metrics import Mode
from ..shapes import Shape
from . import adversarial
from .base import Call, Caller, Objective, Phase, Ports, Sheet

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

NETWORK, LABEL, TIME, CLASSES = "network", "label", "time", "target"
TIMES = 4
"""Times at which each example of an evaluation is looked at, for the bound and for the error of the noise."""


class Noises(NamedTuple):
    """The noise at each time t = 0 ... T, in float64: (T + 1,)."""

    beta: Tensor
    """Variance that step t adds."""
    alpha_bar: Tensor
    """Share of the variance of the example that is left, the product of 1 - beta; 1 at t = 0."""

    def posterior(self) -> Tensor:
        """Return the variance of x_(t-1) given x_t and the example, for t = 1 ... T (at [t])."""
        before = torch.cat((self.alpha_bar[:1], self.alpha_bar[:-1]))
        return self.beta * (1 - before) / (1 - self.alpha_bar).clamp_min(1e-300)


class Diffusion(Objective):
    """Add noise to examples in T steps, and learn to take it out: the network tells the noise in x_t.

    x_t = sqrt(a_t) x + sqrt(1 - a_t) e, a_t the product of 1 - beta up to t. The loss is the mean square of e minus
    what the network gives for x_t and t, at a time that is drawn for each example. `linear`: beta from 1e-4 to 0.02
    at T = 1000, in proportion for others; `cosine`: a_t = cos^2 of an angle that grows evenly. Values of `range` are
    brought to -1 and 1, and samples back.
    Network: `network` with the inputs x, of an example's shape, and `time`, one number from 1 to T, of shape [] or
    [1]; its output has the example's shape. A third one, `label`, gets the class, the field `target`, or the number
    of classes where it is left out, which is so for a share `drop` of them; the samples of a class are then those of
    e + guidance (e - e without class) (classifier-free guidance).
    Metrics: elbo, the variational bound of log p(x) in nats an example, and noise_mse; with `measure_samples` or
    `clusters` those of as many samples as examples, as `gan` has them: precision, coverage, sliced_wasserstein,
    on_cluster and clusters, and of classes label_accuracy, all of them guided. Samples: `ddpm` takes all steps with
    noise, `ddim` `sampling_steps` of them without.
    Source: Ho et al. 2020, arXiv:2006.11239, equations 4 to 14 (`variance`: section 3.2); Nichol &
    Dhariwal 2021, arXiv:2102.09672, equation 17; Song et al. 2020, arXiv:2010.02502, equation 12; Ho & Salimans
    2022, arXiv:2207.12598.
    """

    kind: ClassVar[str] = "diffusion"
    also_measured: ClassVar[tuple[str, ...]] = ("label_accuracy",)
    field: str = pydantic.Field("input", description="the input whose distribution is learned")
    steps: Annotated[int, pydantic.Field(ge=2, le=10_000)] = pydantic.Field(1000, description="T, steps of noise")
    betas: Literal["linear", "cosine"] = pydantic.Field("linear", description="how the noise grows")
    range: list[float] | None = pydantic.Field(
        None,
        min_length=2,
        max_length=2,
        description="values that become -1 and 1, and bounds of samples; null: they stay",
    )
    variance: Literal["beta", "posterior"] = pydantic.Field(
        "beta", description="of the steps back: that of the step, or its part that the example leaves open"
    )
    sampler: Literal["ddpm", "ddim"] = pydantic.Field("ddpm", description="with noise in each step, or without")
    sampling_steps: PositiveInt = pydantic.Field(50, description="steps of `ddim`, at most T")
    guidance: NonNegativeFloat = pydantic.Field(0.0, description="weight of the class beyond what was learned")
    drop: Annotated[float, pydantic.Field(ge=0, lt=1)] = pydantic.Field(
        0.1, description="probability that an example is learned without its class"
    )
    measure_samples: bool = pydantic.Field(
        False, description="whether evaluations draw a sample for each example, and compare them"
    )
    clusters: str | None = pydantic.Field(
        None, description="field with the cluster that an example belongs to, which samples are counted by"
    )
    _shape: Shape = PrivateAttr(Shape(()))
    _time: Shape = PrivateAttr(Shape(()))
    _classes: int = PrivateAttr(0)
    _noises: Noises | None = PrivateAttr(None)

    @pydantic.model_validator(mode="after")
    def _rises(self) -> Self:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"`range` goes from {self.range[0]:g} to {self.range[1]:g}: the first one is smaller")
        if "sampling_steps" in self.model_fields_set and self.sampling_steps > self.steps:
            raise ValueError(f"`sampling_steps: {self.sampling_steps}` are more than the `steps: {self.steps}`")
        return self

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        network = networks[NETWORK]
        if TIME not in network.inputs or tuple(network.inputs[TIME]) not in {(), (1,)}:
            message = "diffusion tells the network the time by an input `time` of one number, and there is none"
            raise SpecError(
                Problem(message, "Write `inputs: {x: [...], time: {shape: []}}`, and `timestep_embedding`.")
            )
        (made, *_) = network.outputs.values()
        if self.field in fields and tuple(made) != tuple(fields[self.field].shape):
            message = (
                f"the network ends in {made}, and diffusion takes the shape of the input, {fields[self.field].shape}"
            )
            raise SpecError(Problem(message, "It gives the noise of each value."))
        if LABEL not in network.inputs and (named := {"guidance", "drop"} & self.model_fields_set):
            message = f"`{min(named)}` is of the class, and the network has no input `{LABEL}`"
            raise SpecError(Problem(message, f"Write `{LABEL}: {{shape: [], dtype: int}}` there, or leave it out."))
        adversarial.check_clusters(self.clusters, fields)
        own: dict[str, str | Shape] = {TIME: network.inputs[TIME], LABEL: CLASSES}
        return [Call(NETWORK, {name: own.get(name, self.field) for name in network.inputs})]

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy, network = self.model_copy(), networks[NETWORK]
        copy._noises = self._computed()
        copy._shape, copy._time = fields[self.field].shape, network.inputs[TIME]
        copy._classes = (fields[CLASSES].classes or 0) if LABEL in network.inputs else 0
        return copy

    @property
    def condition(self) -> str | None:
        return CLASSES if self._classes else None

    def phases(self) -> Sequence[Phase]:
        return [Phase("train", (NETWORK,), (self.field,))]

    # ---- noise -----------------------------------------------------------------------------------------------------

    def noises(self) -> Noises:
        """Return the variances of all steps; those at t = 0 are none."""
        return self._noises if self._noises is not None else self._computed()

    def _computed(self) -> Noises:
        t = torch.arange(self.steps + 1, dtype=torch.float64)
        if self.betas == "linear":
            beta = (1000 / self.steps) * (1e-4 + (0.02 - 1e-4) * (t - 1) / (self.steps - 1))
        else:
            f = ((t / self.steps + 0.008) / 1.008 * pi / 2).cos().square()
            beta = 1 - f / torch.cat((f[:1], f[:-1]))
        beta = beta.clamp(max=0.999)
        beta[0] = 0
        return Noises(beta, (1 - beta).cumprod(0))

    def back(self, noises: Noises) -> Tensor:
        """Return the variance of the steps back (T + 1,)."""
        return noises.beta if self.variance == "beta" else noises.posterior()

    def scaled(self, x: Tensor) -> Tensor:
        """Return examples as the network sees them, -1 to 1."""
        if self.range is None:
            return x
        low, high = self.range
        return (x - low) * (2 / (high - low)) - 1

    def unscaled(self, x: Tensor) -> Tensor:
        """Return what `scaled` was made of, within the range."""
        if self.range is None:
            return x
        low, high = self.range
        return (low + (x + 1) * ((high - low) / 2)).clamp(low, high)

    def noise_in(self, call: Caller, x: Tensor, time: Tensor, label: Tensor | None) -> Tensor:
        """Return what the network takes for the noise in x (N, *shape) at the times (N,)."""
        shaped = time.to(x).view(len(x), *self._time)
        named = {} if label is None else {LABEL: label}
        made: Tensor = call(NETWORK, x, **{TIME: shaped}, **named)
        return made

    def errors(
        self, call: Caller, x: Tensor, time: Tensor, label: Tensor | None, rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the squared error of the noise summed over the values of each example (N,), and the noisy x_t."""
        noise = torch.randn(x.shape, generator=rng).to(x)
        alpha_bar = self.noises().alpha_bar[time].view(-1, *[1] * len(self._shape)).to(x)
        noisy = alpha_bar.sqrt() * x + (1 - alpha_bar).sqrt() * noise
        made = self.noise_in(call, noisy, time, label)
        return (made - noise.to(made)).square().flatten(1).sum(1), noisy

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        x = self.scaled(batch[self.field])
        time = torch.randint(1, self.steps + 1, (len(x),), generator=rng)
        label = batch[CLASSES] if self._classes else None
        if label is not None:
            without = (torch.rand(len(x), generator=rng) < self.drop).to(label.device)
            label = label.masked_fill(without, self._classes)
        return {"noise_mse": self.errors(call, x, time, label, rng)[0].mean() / prod(self._shape)}

    # ---- evaluation ------------------------------------------------------------------------------------------------

    def evaluate(
        self, call: Caller, batch: Batch, rng: torch.Generator
    ) -> Mapping[str, Tensor | tuple[Tensor, Tensor]]:
        x, label = self.scaled(batch[self.field]), batch[CLASSES] if self._classes else None
        noises, count = self.noises(), prod(self._shape)
        beta, alpha_bar, back = noises.beta, noises.alpha_bar, self.back(noises)
        weight = beta.square() / (2 * back * (1 - beta) * (1 - alpha_bar))
        weight[:2] = 0  # the first step is a density, below
        share = noises.posterior()[2:] / back[2:]
        mse, weighed = x.new_zeros(()), x.new_zeros(len(x))
        for i in range(TIMES):
            evenly = self._times(torch.ones_like(beta[1:]), 1, i, len(x), rng)
            mse = mse + self.errors(call, x, evenly, label, rng)[0].mean()
            often = self._times(weight[2:], 2, i, len(x), rng)  # where the bound's terms are large
            weighed = weighed + self.errors(call, x, often, label, rng)[0] / TIMES
        between = float(weight.sum()) * weighed + float((count / 2 * (share - 1 - share.log())).sum())
        bound = self._at_the_ends(call, x, label, rng, noises) - between
        found = {"elbo": bound.mean() + self._log_scale(), "noise_mse": mse / (count * TIMES)}
        return found | self._of_samples(call, batch, label, rng)

    def _of_samples(
        self, call: Caller, batch: Batch, label: Tensor | None, rng: torch.Generator
    ) -> dict[str, Tensor]:
        """Return what tells samples from examples, one of each class; nothing where it is not asked for."""
        if not self.measure_samples and self.clusters is None:
            return {}
        x = batch[self.field]
        made = self.sample(call, len(x), rng, label)
        assert made is not None, "both samplers make some"
        made = made.to(x)
        found = adversarial.precision_and_coverage_of(batch, self.field, made)
        found["sliced_wasserstein"] = adversarial.sliced_wasserstein(x, made, rng)
        if label is not None:
            found["label_accuracy"] = adversarial.label_accuracy(x, label, made)
        return found | (adversarial.on_clusters(x, batch[self.clusters], made) if self.clusters is not None else {})

    def _times(self, weight: Tensor, first: int, i: int, n: int, rng: torch.Generator) -> Tensor:
        """Return times (n,) from `first` on in proportion to a weight, part `i` of those that lie evenly in it."""
        places = torch.randperm(n, generator=rng) + torch.rand(n, generator=rng, dtype=torch.float64)
        even, total = (i + places / n) / TIMES, weight.cumsum(0)
        return first + torch.searchsorted(total, even * total[-1]).clamp_max(len(weight) - 1)

    def _at_the_ends(
        self, call: Caller, x: Tensor, label: Tensor | None, rng: torch.Generator, noises: Noises
    ) -> Tensor:
        """Return the terms (N,) of the bound at the first step, a density, and at the last, a divergence."""
        first, last = float(noises.beta[1]), float(noises.alpha_bar[-1])
        error, _ = self.errors(call, x, torch.ones(len(x), dtype=torch.long), label, rng)
        # given x_1 the mean misses the example by the error of the noise times sqrt(beta / (1 - beta))
        near = -0.5 * (error / (1 - first) + prod(self._shape) * log(2 * pi * first))
        far = 0.5 * (last * x.square() + (1 - last) - log(1 - last) - 1).flatten(1).sum(1)
        return near - far.to(near)

    def _log_scale(self) -> float:
        return 0.0 if self.range is None else prod(self._shape) * log(2 / (self.range[1] - self.range[0]))

    def modes(self) -> dict[str, Mode]:
        found: dict[str, Mode] = {"elbo": "max", "noise_mse": "min"}
        if self.measure_samples or self.clusters is not None:
            found |= {"precision": "max", "coverage": "max", "sliced_wasserstein": "min"}
            found |= {"label_accuracy": "max"} if self._classes else {}
        return found | ({"on_cluster": "max", "clusters": "max"} if self.clusters is not None else {})

    # ---- samples ---------------------------------------------------------------------------------------------------

    def latents(self, n: int, rng: torch.Generator) -> Tensor | None:
        return torch.randn(n, *self._shape, generator=rng) if self.sampler == "ddim" else None

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        x, alpha_bar = latents, self.noises().alpha_bar
        times = torch.linspace(self.steps, 0, min(self.sampling_steps, self.steps) + 1).round().long().tolist()
        for time, following in pairwise(times):
            noise = self._guided(call, x, time, condition).to(x)
            here, there = float(alpha_bar[time]), float(alpha_bar[following])
            example = self._within((x - (1 - here) ** 0.5 * noise) / here**0.5)
            noise = (x - here**0.5 * example) / (1 - here) ** 0.5
            x = there**0.5 * example + (1 - there) ** 0.5 * noise
        return self.unscaled(x)

    def sample(self, call: Caller, n: int, rng: torch.Generator, condition: Tensor | None = None) -> Tensor | None:
        if self.sampler == "ddim":
            return super().sample(call, n, rng, condition)
        x, noises = torch.randn(n, *self._shape, generator=rng), self.noises()
        back = self.back(noises)
        for time in range(self.steps, 0, -1):
            noise = self._guided(call, x, time, condition).to(x)
            beta, here, before = (
                float(one) for one in (noises.beta[time], noises.alpha_bar[time], noises.alpha_bar[time - 1])
            )
            example = self._within((x - (1 - here) ** 0.5 * noise) / here**0.5)
            x = (before**0.5 * beta * example + (1 - beta) ** 0.5 * (1 - before) * x) / (1 - here)
            if time > 1:
                x = x + float(back[time]) ** 0.5 * torch.randn(x.shape, generator=rng)
        return self.unscaled(x)

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor | Sheet]:
        """Return `n` samples, of classes one of each in turn."""
        made = self.sample(call, n, rng, torch.arange(n) % self._classes if self._classes else None)
        return {} if made is None else {"samples": made}

    def _within(self, example: Tensor) -> Tensor:
        """Return an estimate of the example, within the bounds of the data where they are known."""
        return example if self.range is None else example.clamp(-1, 1)

    def _guided(self, call: Caller, x: Tensor, time: int, condition: Tensor | None) -> Tensor:
        """Return the noise in x at one time, guided to the classes (N,); of none where none is asked for."""
        times = torch.full((len(x),), time)
        if not self._classes:
            return self.noise_in(call, x, times, None)
        nothing = torch.full((len(x),), self._classes)
        if condition is None:
            return self.noise_in(call, x, times, nothing)
        noise = self.noise_in(call, x, times, condition)
        if not self.guidance:
            return noise
        return noise + self.guidance * (noise - self.noise_in(call, x, times, nothing))
