"""Mixtures of experts: several networks of one shape, of which each token takes a few."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator

from ..errors import ShapeError
from ..registry import Choice
from ..shapes import Shape
from .arithmetic import Line, default_lines
from .base import LAYERS, OWN, AxisMap, Example, Layer, Plan, SavedIf, WindowLike, floats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from torch.nn import Module

FLOAT, INDEX = 4, 8
MOST_EXPERTS = 2**16
"""The weights of each expert are planned, and built, by themselves."""


class MixtureOfExperts(Layer):
    """Send each token to the k of several experts that a router gives most, and add what they make of it.

    The router is softmax(W x); an expert is a list of layers, each with weights of its own, whose output is scaled by
    the router's probability. No token is left out, however many one expert gets.

    Training adds `balance` * E * sum(f * P) to the loss, with f the fraction of the tokens that each of the E experts
    gets, and P the mean of its probability: it is `balance` where all get as many, and up to E times that where one
    gets all. Evaluations leave it out. With `noisy` the router's scores are drawn, while training, from normal
    distributions whose deviations are learned: softplus(W_noise x).

    Shapes: (*, D) -> (*, what the expert makes of D): each place of the other axes is a token.
    Cost: E times the parameters of an expert, and E * D for the router (twice that if `noisy`); for each token the
        MACs of k experts, and those of the router; its noise, in training alone, is not counted.
    Errors: a k above E; `renormalize` with k = 1, by which the router would learn nothing; experts that do not take a
        vector, or that compute statistics over the batch; an input that is not of floats.
    Source: Shazeer et al. 2017, arXiv:1701.06538, section 2 (`noisy`, `renormalize`); Fedus et al. 2021,
        arXiv:2101.03961, section 2.2 (k = 1, and the loss that balances). torch: none.
    """

    kind: ClassVar[str] = "mixture_of_experts"
    num_experts: PositiveInt = Field(le=MOST_EXPERTS, description="experts")
    expert: Annotated[list[Layer], Choice(LAYERS)] = Field(min_length=1, description="the layers of each expert")
    k: PositiveInt = Field(1, description="experts that each token takes")
    balance: NonNegativeFloat = Field(0.01, description="weight of the balancing loss in training; 0: none")
    renormalize: bool = Field(False, description="divide the k probabilities by their sum")
    noisy: bool = Field(False, description="add learned noise to the router's scores in training")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example(
        {"num_experts": 4, "k": 2, "expert": [{"linear": 6}, "relu", {"linear": 5}]},
        [(7, 3)],
        shape=(7, 5),
        params=4 * (6 * 3 + 6 + 5 * 6 + 5) + 4 * 3,
        macs=7 * (2 * (6 * 3 + 5 * 6) + 4 * 3),
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.k > self.num_experts:
            raise ValueError(f"a token cannot take k = {self.k} of num_experts = {self.num_experts}")
        if self.renormalize and self.k == 1:
            raise ValueError("`renormalize` with k = 1 makes each probability 1, and the router learns nothing")
        return self

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        floats(x, self.kind)
        parts = self._parts(x)
        experts, tokens, width = self.num_experts, prod(x[:-1]), x[-1]
        routers = ["gate", "noise"] if self.noisy else ["gate"]
        weights: dict[str, tuple[int, ...]] = {f"{name}.weight": (experts, width) for name in routers}
        buffers: dict[str, tuple[int, ...]] = {}
        for expert in range(experts):
            for i, part in enumerate(parts):
                at = f"experts.{expert}.{i}."
                weights |= {at + name: shape for name, shape in part.weights.items()}
                buffers |= {at + name: shape for name, shape in part.buffers.items()}
        window: WindowLike = "global" if len(x) == 1 else AxisMap((*range(len(x) - 1), None))
        each = self.k * sum(part.macs for part in parts) + experts * width
        return Plan(
            shape=Shape((*x[:-1], parts[-1].shape[0])),
            weights=weights,
            buffers=buffers,
            macs=tokens * each,
            window=window,
            saved=(),
            saved_bytes=tokens * self._held(x, parts),
            saved_if=(SavedIf((OWN,), input=0), SavedIf((0,), more=tokens * INDEX * self.k)),  # the index of a gather
            warnings=tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)),
        )

    def _parts(self, x: Shape) -> list[Plan]:
        """Return the plans of the layers of an expert, on one token."""
        shape, plans = Shape((x[-1],)), list[Plan]()
        for layer in self.expert:
            arity = layer.arity if isinstance(layer.arity, tuple) else (layer.arity,)
            if 1 not in arity:
                raise ShapeError(
                    f"an expert is a list of layers, and {layer.kind} takes several inputs",
                    hint="Leave it out.",
                    inputs=[x],
                )
            if layer.values_per_statistic(2, True, shape) is not None:
                raise ShapeError(
                    f"{layer.kind} in an expert computes statistics over the batch, and its tokens are few or none",
                    hint="Take `layer_norm`, which is of each token alone.",
                    inputs=[x],
                )
            plans.append(layer.plan(shape))
            shape = plans[-1].shape
        if len(shape) != 1:
            raise ShapeError(
                f"an expert makes a vector of a vector, and this one makes {shape} of {{0}}'s {x[-1]} values",
                hint="End it with `flatten`.",
                inputs=[x],
            )
        return plans

    def _held(self, x: Shape, parts: Sequence[Plan]) -> int:
        """Return the bytes that torch saves for one token: the router, what was picked, and k times an expert's."""
        shares = FLOAT * self.k * (2 if self.renormalize else 1) + (FLOAT if self.renormalize else 0)
        router = FLOAT * self.num_experts * (3 if self.noisy else 1) + INDEX * self.k  # softmax, topk
        moved = INDEX * self.k + FLOAT * self.k * parts[-1].shape[0]
        return router + shares + moved + self.k * sum(_held_inside(Shape((x[-1],)), parts))

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        parts = self._parts(xs[0])
        tokens, width, experts = prod(xs[0][:-1]), xs[0][-1], self.num_experts
        inside = sum(part.macs for part in parts)
        note = f"An expert has {inside:,} MACs, and a token takes {self.k} of {experts}."
        return [
            *default_lines(plan, xs),
            Line(
                "",
                "tokens * (k * expert + router)",
                f"{tokens:,} * ({self.k:,} * {inside:,} + {experts:,} * {width:,})",
                plan.macs,
                note,
                "multiply-adds",
            ),
        ]

    def module(self, *xs: Shape) -> Module:
        from ..modules.experts import MixtureOfExperts as Built

        shapes = [Shape((xs[0][-1],)), *(part.shape for part in self._parts(xs[0]))]

        def expert() -> list[Module]:
            return [layer.module(shape) for layer, shape in zip(self.expert, shapes, strict=False)]

        experts = [expert() for _ in range(self.num_experts)]
        return Built(xs[0][-1], experts, self.k, self.balance, self.renormalize, self.noisy)


def _held_inside(x: Shape, parts: Sequence[Plan]) -> Iterator[int]:
    """Yield the bytes that the layers of an expert save for one token; what two of them save counts once."""
    shapes, saved = [x, *(part.shape for part in parts)], set[int]()
    for i, part in enumerate(parts):
        held = part.saved_tensors((0, OWN) if part.weights else (0,), 1)
        saved |= {i} if held.inputs else set()
        saved |= {i + 1} if held.output else set()
        yield held.more
    owners = [0]  # whose memory a value lies in
    for i, part in enumerate(parts, start=1):
        owners.append(owners[-1] if part.view else i)
    yield from (shapes[i].bytes for i in {owners[i] for i in saved})
