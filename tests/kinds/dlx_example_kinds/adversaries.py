"""Two networks against each other: a critic that tells examples from drawn ones, and a generator that draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import pydantic
from pydantic import NonNegativeFloat, PositiveInt

from dlx.data.base import Field
from dlx.lazy import torch
from dlx.objectives import Call, Caller, Objective, Phase, Ports

if TYPE_CHECKING:
    from torch import Tensor

    from dlx.data.batch import Batch


class Adversaries(Objective):
    """The Wasserstein distance as a critic estimates it, which the generator makes small.

    Networks: `generator` from noise to examples, `critic` from examples to one value. Source of the losses: Arjovsky
    et al. 2017, Wasserstein GAN, algorithm 1.
    """

    kind: ClassVar[str] = "adversaries"
    critic_steps: PositiveInt = pydantic.Field(3, description="repetitions of the critic's phase in a step")
    samples: PositiveInt = pydantic.Field(16, description="examples that the generator's phase draws")
    drift: NonNegativeFloat = pydantic.Field(0.01, description="weight of the mean square of the critic's values")

    def phases(self) -> Sequence[Phase]:
        return (
            Phase("critic", ("critic",), ("input",), times=self.critic_steps),
            Phase("generator", ("generator",), ()),
        )

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        (noise,) = networks["generator"].inputs.items()
        (image,) = networks["critic"].inputs
        (made,) = networks["generator"].outputs.values()
        return (
            Call("generator", dict([noise]), ("critic",), gradient=False),
            Call("generator", dict([noise]), ("generator",)),
            Call("critic", {image: made}),
            Call("critic", {image: "input"}, ("critic",)),
        )

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        if phase == "generator":
            return {"fooled": -call("critic", call("generator", self.noise(self.samples, rng))).mean()}
        with torch.no_grad():
            made = call("generator", self.noise(len(batch), rng))
        real = call("critic", batch["input"])
        distance = call("critic", made).mean() - real.mean()
        return {"distance": distance, "drift": self.drift * real.square().mean()}

    def noise(self, count: int, rng: torch.Generator) -> Tensor:
        """Standard normal noise, (count, 4)."""
        return torch.randn(count, 4, generator=rng)
