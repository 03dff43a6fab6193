"""Translation between two kinds of examples without pairs: two generators, two discriminators, and cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import pydantic
from pydantic import NonNegativeInt, PrivateAttr

from ..errors import Problem, SpecError, did_you_mean
from ..lazy import torch
from ..metrics import Mode
from ..schedules.values import Weight, may_count
from . import adversarial
from .base import EVALUATION, Call, Caller, Objective, Phase, Ports
from .image_pool import ImagePool

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.base import Field
    from ..data.batch import Batch

GENERATORS, DISCRIMINATORS = ("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")
SIDES, SCORES = "generators", "discriminators"
"""The phases."""


class Cycle(Objective):
    """Learn to turn examples of the field `a` into such of the field `b` and back, of which no two belong together.

    F is the network `generator_ab`, G is `generator_ba`; `discriminator_a` and `discriminator_b` score examples of
    each side. The generators have the losses of `gan`, `cycle` (mean |G(F(a)) - a| + mean |F(G(b)) - b|) and
    `identity` (mean |G(a) - a| + mean |F(b) - b|). Discriminators see samples of earlier steps too: of a pool of
    `pool` samples for each side every second sample is exchanged for an earlier one. A step moves both generators
    together, then both discriminators. Scores may be maps: their losses are means over all of their places.
    Data: fields `a` and `b` of one shape; where it has the true partners, `partner_a` of a in b and `partner_b` of b
    in a, nothing is learned of them, and error_ab and error_ba are mean absolute differences from them. Other
    metrics: the losses of each phase, cycle, identity, and the accuracy of the discriminators.
    Errors: a generator that gives another shape than it takes.
    Source: Zhu et al. 2017, arXiv:1703.10593, sections 3 and 4; weights 10 and 5 and the pool of 50 are of section 4
        and the authors' code; the pool: Shrivastava et al. 2017, arXiv:1612.07828, section 2.3.
    """

    kind: ClassVar[str] = "cycle"
    loss: Literal["least_squares", "non_saturating", "minimax", "hinge"] = pydantic.Field(
        "least_squares", description="loss of both sides, as `gan` has it"
    )
    cycle: Weight = pydantic.Field(
        10.0, description="weight of the differences after there and back; it may be scheduled"
    )
    identity: Weight = pydantic.Field(
        5.0,
        description="weight of what a generator changes of examples that are of its side already; "
        "it may be scheduled",
    )
    pool: NonNegativeInt = pydantic.Field(
        50, le=100_000, description="samples of each side that are kept; 0 for none"
    )
    a: str = pydantic.Field("a", description="field of one side")
    b: str = pydantic.Field("b", description="field of the other side")
    partner_a: str | None = pydantic.Field(
        None, description="field with the true partner of an example of `a`, for metrics alone"
    )
    partner_b: str | None = pydantic.Field(None, description="field with that of an example of `b`")
    _pools: dict[str, ImagePool] = PrivateAttr(default_factory=dict)

    def needs(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Sequence[Call]:
        for name in (*GENERATORS, *DISCRIMINATORS):
            adversarial.only_output(self.kind, name, networks[name])
            adversarial.only_input(self.kind, name, networks[name])
        for option in ("partner_a", "partner_b"):
            if (field := getattr(self, option)) is not None and field not in fields:
                message = f"`{option}` names the field `{field}`, and the data has {', '.join(fields)}"
                raise SpecError(Problem(message, did_you_mean(field, fields)))
        (x,), (y,) = (networks[name].inputs for name in GENERATORS)
        (at_a,), (at_b,) = (networks[name].inputs for name in DISCRIMINATORS)
        made_b, made_a = (next(iter(networks[name].outputs.values())) for name in GENERATORS)
        first, second = (SIDES,), (SCORES,)
        # terms without weight are left out of steps, and measured all the same
        back, same = ((SIDES if may_count(weight) else EVALUATION,) for weight in (self.cycle, self.identity))
        return [
            Call("generator_ab", {x: self.a}, first),
            Call("generator_ba", {y: self.b}, first),
            Call("discriminator_a", {at_a: made_a}, first),
            Call("discriminator_b", {at_b: made_b}, first),
            Call("generator_ba", {y: made_b}, back),
            Call("generator_ab", {x: made_a}, back),
            Call("generator_ba", {y: self.a}, same),
            Call("generator_ab", {x: self.b}, same),
            Call("generator_ab", {x: self.a}, second, gradient=False),
            Call("generator_ba", {y: self.b}, second, gradient=False),
            Call("discriminator_a", {at_a: self.a}, second),
            Call("discriminator_a", {at_a: made_a}, second),
            Call("discriminator_b", {at_b: self.b}, second),
            Call("discriminator_b", {at_b: made_b}, second),
        ]

    def informed(self, fields: Mapping[str, Field], networks: Mapping[str, Ports]) -> Self:
        copy = self.model_copy()
        copy._pools = {side: ImagePool(self.pool) for side in ("a", "b")}
        return copy

    def phases(self) -> Sequence[Phase]:
        reads = (self.a, self.b)
        return (Phase(SIDES, GENERATORS, reads), Phase(SCORES, DISCRIMINATORS, reads))

    def terms(self, phase: str, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        a, b = batch[self.a], batch[self.b]
        if phase == SIDES:
            return self._of_generators(call, a, b)
        with torch.no_grad():
            made_b, made_a = call("generator_ab", a), call("generator_ba", b)
        pools = self._pools
        return {
            "a": self._score_loss(call, "discriminator_a", a, pools["a"].exchange(made_a, rng)),
            "b": self._score_loss(call, "discriminator_b", b, pools["b"].exchange(made_b, rng)),
        }

    def _of_generators(self, call: Caller, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        made_b, made_a = call("generator_ab", a), call("generator_ba", b)
        found = {
            "fooled_a": adversarial.generator_loss(self.loss, call("discriminator_a", made_a)),
            "fooled_b": adversarial.generator_loss(self.loss, call("discriminator_b", made_b)),
        }
        if may_count(self.cycle):
            found["cycle"] = self.cycle * self._cycle(call, a, b, made_a, made_b)
        if may_count(self.identity):
            found["identity"] = self.identity * self._identity(call, a, b)
        return found

    def _cycle(self, call: Caller, a: Tensor, b: Tensor, made_a: Tensor, made_b: Tensor) -> Tensor:
        back_a: Tensor = call("generator_ba", made_b)
        back_b: Tensor = call("generator_ab", made_a)
        return (back_a - a).abs().mean() + (back_b - b).abs().mean()

    def _identity(self, call: Caller, a: Tensor, b: Tensor) -> Tensor:
        same_a: Tensor = call("generator_ba", a)
        same_b: Tensor = call("generator_ab", b)
        return (same_a - a).abs().mean() + (same_b - b).abs().mean()

    def _score_loss(self, call: Caller, network: str, x: Tensor, made: Tensor) -> Tensor:
        return sum(
            adversarial.discriminator_losses(self.loss, call(network, x), call(network, made)), x.new_zeros(())
        )

    def evaluate(self, call: Caller, batch: Batch, rng: torch.Generator) -> Mapping[str, Tensor]:
        a, b = batch[self.a], batch[self.b]
        made_b, made_a = call("generator_ab", a), call("generator_ba", b)
        found = {}
        if self.partner_a is not None:
            found["error_ab"] = (made_b - batch[self.partner_a]).abs().mean()
        if self.partner_b is not None:
            found["error_ba"] = (made_a - batch[self.partner_b]).abs().mean()
        found["cycle"] = self._cycle(call, a, b, made_a, made_b)
        found["identity"] = self._identity(call, a, b)
        right = [
            ((call(network, one) > adversarial.BOUNDS[self.loss]).float().mean() - real).abs()
            for network, one, real in (
                ("discriminator_a", a, 0.0),
                ("discriminator_a", made_a, 1.0),
                ("discriminator_b", b, 0.0),
                ("discriminator_b", made_b, 1.0),
            )
        ]
        found["discriminators/accuracy"] = torch.stack(right).mean()
        found["generators/loss"] = torch.stack([*self._of_generators(call, a, b).values()]).sum()
        losses = [
            self._score_loss(call, f"discriminator_{s}", x, y) for s, x, y in (("a", a, made_a), ("b", b, made_b))
        ]
        return {**found, "discriminators/loss": torch.stack(losses).sum()}

    def takes_logits(self) -> Mapping[str, str]:
        return dict.fromkeys(DISCRIMINATORS if self.loss in adversarial.LIKELIHOODS else (), "")

    @property
    def sides(self) -> Mapping[str, str]:
        return {self.b: self.a, self.a: self.b}

    def translate(self, call: Caller, x: Tensor, to: str) -> Tensor:
        made: Tensor = call(GENERATORS[0] if to == self.b else GENERATORS[1], x)
        return made

    def pictures(self, call: Caller, batch: Batch, n: int, rng: torch.Generator) -> Mapping[str, Tensor]:
        """Return for each direction rows of examples, of what they become, and of what that becomes again."""
        found = {}
        for name, there, back in (("a", *GENERATORS), ("b", *reversed(GENERATORS))):
            x = batch[self.a if name == "a" else self.b]
            made: Tensor = call(there, x)
            found[f"from_{name}"] = torch.stack([x, made, call(back, made)])
        return found

    def state(self) -> Mapping[str, Any]:
        return {side: pool.state() for side, pool in self._pools.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        for side, pool in self._pools.items():
            pool.load(state[side])

    def modes(self) -> dict[str, Mode]:
        errors = {"error_ab": self.partner_a, "error_ba": self.partner_b}
        first: dict[str, Mode] = {name: "min" for name, field in errors.items() if field is not None}
        return {**first, "cycle": "min", "identity": "min", **super().modes()}
