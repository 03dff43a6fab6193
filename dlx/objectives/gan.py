"""Generative adversarial networks: a discriminator that tells examples from made ones, and a generator of those."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self

import pydantic
from pydantic import PositiveFloat, PositiveInt, PrivateAttr, model_validator

from ..errors import Problem, SpecError
from ..lazy import torch
from ..metrics import Mode
from ..schedules.values import Weight, may_count
from ..shapes import Shape
from . import adversarial
from .base import Call, Caller, Objective, Phase, Ports

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
LABEL, TARGET = "label", "target"
"""The input of a network that takes a class, and the field of the data that has it."""


COLLAPSED: Final = 0.1
"""Coverage below which samples count as collapsed: a tenth of the examples. That of equal distributions is near 1."""
SURE: Final = 0.99
"""Share of examples and samples told apart from which a discriminator counts as the winner; 1 / 2 is chance."""


class GAN(Objective):
    """Train the network `generator` to make of noise what the network `discriminator` takes for examples.

    D is the output of the discriminator, one number an example: the log odds that it is real, or a score. In each
    step the discriminator is updated `discriminator_steps` times, each on a new batch, then the generator once. The
    loss of the discriminator is the mean of softplus(-D(x)) over examples x and that of softplus(D(G(z))) over
    samples; with `wasserstein` D(G(z)) - D(x), with `hinge` max(0, 1 - D(x)) + max(0, 1 + D(G(z))), with
    `least_squares` (D(x) - 1)^2 + D(G(z))^2. That of the generator is softplus(-D(G(z))), with `minimax`
    -softplus(D(G(z))), with `least_squares` (D(G(z)) - 1)^2, else -D(G(z)).
    Networks: `generator` from noise of the shape of its input to examples, `discriminator` from examples to one
    number. Where they have an input `label` of integers (), they get the class of the field `target` there, and
    samples may be asked for by class. Metrics: precision and coverage (by nearest neighbours among the examples of a
    batch), sliced_wasserstein, the loss of both networks, the accuracy of the discriminator and its negative
    log-likelihood an example (nll), ln 2 where it cannot tell samples from examples; with classes label_accuracy (the
    nearest example of a sample has the class that was asked for). With `clusters`, of points: on_cluster (share of
    samples within three standard deviations of the centre of one) and clusters (number of those that have at least a
    tenth of the samples that they should have).
    Errors: a discriminator that ends in several numbers; a generator whose output is no example.
    Source: Goodfellow et al. 2014, arXiv:1406.2661, section 3; Wasserstein: Arjovsky et al. 2017, arXiv:1701.07875,
        algorithm 1; gradient penalty: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1; hinge: Miyato et al.
        2018, arXiv:1802.05957, equations 16 and 17; least squares: Mao et al. 2017, arXiv:1611.04076; classes: Mirza
        & Osindero 2014, arXiv:1411.1784.
    """

    kind: ClassVar[str] = "gan"
    also_measured: ClassVar[tuple[str, ...]] = ("discriminator/nll", "discriminator/accuracy", "label_accuracy")
    loss: Literal["non_saturating", "minimax", "wasserstein", "hinge", "least_squares"] = pydantic.Field(
        "non_saturating", description="loss of both networks"
    )
    discriminator_steps: PositiveInt = pydantic.Field(1, description="updates of the discriminator in a step")
    clip: PositiveFloat | None = pydantic.Field(
        None, description="largest absolute value of the discriminator's weights, to which each update clips them"
    )
    gradient_penalty: Weight = pydantic.Field(
        0.0,
        description="weight of the square by which the norm of D's gradient between x and G(z) differs from 1; "
        "it may be scheduled",
    )
    noise: Literal["normal", "uniform"] = pydantic.Field(
        "normal", description="distribution of z: standard normal, or uniform from -1 to 1"
    )
    field: str = pydantic.Field("input", description="field of the examples")
    clusters: str | None = pydantic.Field(
        None, description="field with the cluster that an example belongs to, which metrics are counted by"
    )
    _noise_shape: tuple[int, ...] = PrivateAttr(())
    _labels: tuple[bool, bool] = PrivateAttr((False, False))
    _classes: int = PrivateAttr(0)
    _inputs: tuple[str, str] = PrivateAttr(("noise", "image"))

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.clip is not None and may_count(self.gradient_penalty):
            raise ValueError("`clip` and `gradient_penalty` both bound the slope of the discriminator: take one")
        return self

    # --- networks ---------------------------------------------------------------------------------------------------

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        generator, discriminator = networks[GENERATOR], networks[DISCRIMINATOR]
        adversarial.check_one_number(self.kind, DISCRIMINATOR, discriminator)
        noise, example = _other(GENERATOR, generator), _other(DISCRIMINATOR, discriminator)
        made = adversarial.only_output(self.kind, GENERATOR, generator)
        adversarial.check_clusters(self.clusters, fields)
        by_class: dict[str, str | Shape] = {LABEL: TARGET}
        of = {name: by_class if LABEL in networks[name].inputs else {} for name in (GENERATOR, DISCRIMINATOR)}
        latents = {noise: generator.inputs[noise], **of[GENERATOR]}
        slope = {example: made, **of[DISCRIMINATOR]}
        return [
            Call(GENERATOR, latents, (DISCRIMINATOR,), gradient=False),
            Call(GENERATOR, latents, (GENERATOR,)),
            Call(DISCRIMINATOR, slope),
            Call(DISCRIMINATOR, {example: self.field, **of[DISCRIMINATOR]}, (DISCRIMINATOR,)),
            # at points between examples and samples
            *([Call(DISCRIMINATOR, slope, (DISCRIMINATOR,))] if self.gradient_penalty else []),
        ]

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy, generator, discriminator = self.model_copy(), networks[GENERATOR], networks[DISCRIMINATOR]
        copy._inputs = _other(GENERATOR, generator), _other(DISCRIMINATOR, discriminator)
        copy._noise_shape = tuple(generator.inputs[copy._inputs[0]])
        copy._labels = LABEL in generator.inputs, LABEL in discriminator.inputs
        copy._classes = (fields[TARGET].classes or 0) if any(copy._labels) else 0
        return copy

    def phases(self) -> Sequence[Phase]:
        reads = (self.field, *((TARGET,) if any(self._labels) else ()))
        return (
            Phase(DISCRIMINATOR, (DISCRIMINATOR,), reads, times=self.discriminator_steps, clip=self.clip),
            Phase(GENERATOR, (GENERATOR,), reads),
        )

    def takes_logits(self) -> Mapping[str, str]:
        return {DISCRIMINATOR: ""} if self.loss in adversarial.LIKELIHOODS else {}

    def cautions(self, layers: Mapping[str, Collection[str]]) -> Mapping[str, str]:
        bounded = self.clip is not None or self.gradient_penalty or "spectral_norm" in layers[DISCRIMINATOR]
        if self.loss != "wasserstein" or bounded:
            return {}
        message = (
            "`loss: wasserstein` is a distance where the slope of `discriminator` is bounded, and nothing bounds it"
        )
        return {DISCRIMINATOR: f"{message}: `clip: 0.01`, `gradient_penalty: 10` or `spectral_norm` layers do"}

    # --- a step -----------------------------------------------------------------------------------------------------

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        latents, label = self.latents(len(batch), rng), self._label(batch)
        if phase == GENERATOR:
            made = self.generate(call, latents, label)
            return {"fooled": adversarial.generator_loss(self.loss, self._score(call, made, label))}
        with torch.no_grad():
            made = self.generate(call, latents, label)
        x = batch[self.field]
        real, fake = self._score(call, x, label), self._score(call, made, label)
        found = dict(zip(("real", "fake"), adversarial.discriminator_losses(self.loss, real, fake), strict=True))
        if may_count(self.gradient_penalty):
            share = torch.rand(len(x), *(1 for _ in x.shape[1:]), generator=rng).to(x.device)
            penalty = adversarial.gradient_penalty(lambda at: self._score(call, at, label), x, made, share)
            found["penalty"] = self.gradient_penalty * penalty
        return found

    def latents(self, n: int, rng: torch.Generator) -> Tensor:
        if self.noise == "uniform":
            return torch.rand(n, *self._noise_shape, generator=rng) * 2 - 1
        return torch.randn(n, *self._noise_shape, generator=rng)

    def generate(self, call: Caller, latents: Tensor, condition: Tensor | None = None) -> Tensor:
        inputs = {self._inputs[0]: latents}
        if self._labels[0]:
            classes = torch.arange(len(latents)) % self._classes if condition is None else condition
            inputs[LABEL] = classes
        made: Tensor = call(GENERATOR, **inputs)
        return made

    @property
    def condition(self) -> str | None:
        return TARGET if self._labels[0] else None

    def _label(self, batch: Batch) -> Tensor | None:
        return batch[TARGET] if any(self._labels) else None

    def _score(self, call: Caller, x: Tensor, label: Tensor | None) -> Tensor:
        """Return the output of the discriminator (N,)."""
        inputs = {self._inputs[1]: x}
        if self._labels[1] and label is not None:
            inputs[LABEL] = label
        found: Tensor = call(DISCRIMINATOR, **inputs)
        return found.flatten()

    # --- evaluation -------------------------------------------------------------------------------------------------

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        x, label = batch[self.field], self._label(batch)
        made = self.generate(call, self.latents(len(x), rng), label)
        real, fake = self._score(call, x, label), self._score(call, made, label)
        first, second = adversarial.discriminator_losses(self.loss, real, fake)
        found = adversarial.precision_and_coverage_of(batch, self.field, made)
        found["sliced_wasserstein"] = adversarial.sliced_wasserstein(x, made, rng)
        if self.clusters is not None:
            found |= adversarial.on_clusters(x, batch[self.clusters], made)
        if self._labels[0] and label is not None:
            found["label_accuracy"] = adversarial.label_accuracy(x, label, made)
        if self.loss in adversarial.LIKELIHOODS:
            found["discriminator/nll"] = (first + second) / 2
        if (bound := adversarial.BOUNDS.get(self.loss)) is not None:
            found["discriminator/accuracy"] = ((real > bound).float().mean() + (fake <= bound).float().mean()) / 2
        return {
            **found,
            "discriminator/loss": first + second,
            "generator/loss": adversarial.generator_loss(self.loss, fake),
        }

    def modes(self) -> dict[str, Mode]:
        # first what is of all samples and all examples: a few good samples, made again and again, have full precision
        first: dict[str, Mode] = {"sliced_wasserstein": "min", "precision": "max", "coverage": "max"}
        if self.clusters is not None:
            first |= {"on_cluster": "max", "clusters": "max"}
        if self._labels[0]:
            first["label_accuracy"] = "max"
        # neither network's loss tells how good the samples are
        return {**first, **super().modes()}

    def warnings(self, measured: Mapping[str, float]) -> Sequence[str]:
        found = []
        if (coverage := measured.get("coverage", 1.0)) < COLLAPSED:
            found.append(f"the generator has collapsed: its samples come near {coverage:.1%} of the examples")
        if (accuracy := measured.get("discriminator/accuracy", 0.5)) > SURE:
            found.append(f"the discriminator tells {accuracy:.1%} of examples and samples apart: it has won")
        return found


def _other(name: str, ports: Ports) -> str:
    """Return the input of a network that is not its label. SpecError where there is not one."""
    others = [one for one in ports.inputs if one != LABEL]
    if len(others) != 1:
        message = f"gan gives `{name}` one input beside `{LABEL}`, and it has {', '.join(others) or 'none'}"
        raise SpecError(Problem(message, ""))
    return others[0]
