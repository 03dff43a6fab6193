"""Attention: weighted sums of values, with weights from the similarity of queries and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines, line, product, summed
from .base import OWN, AxisMap, Example, InputPaths, Layer, Plan, SavedIf, all_floats

if TYPE_CHECKING:
    from torch.nn import Module

ON_META = "torch on the meta device, in tests/layers/test_attention.py: on a CPU its fused attention is not counted"


class ScaledDotProductAttention(Layer):
    """softmax(Q K^T / sqrt(d)) V: for each query a sum of the values, weighted by the similarity of their keys.

    Shapes: q of (*, T, d), k of (*, S, d) and v of (*, S, e), in this order -> (*, T, e); the heads stand before the
        tokens: (heads, T, d).
    Cost: T * S * (d + e) MACs for each head; those that `is_causal` masks are counted too, as torch's counter does.
    Errors: inputs of another rank, of a single axis, or that are not of floats; heads, d or S that differ.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1. torch: none; it is
        functional.scaled_dot_product_attention.
    """

    kind: ClassVar[str] = "scaled_dot_product_attention"
    dropout_p: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    is_causal: bool = Field(False, description="let token t see only the keys 0 to t")
    scale: float | None = Field(None, description="factor of Q K^T; null: 1 / sqrt(d)")

    arity: ClassVar[int | tuple[int, ...] | None] = 3
    example: ClassVar[Example] = Example(
        {},
        [(4, 9, 8), (4, 7, 8), (4, 7, 8)],
        shape=(4, 9, 8),
        macs=4 * 9 * 7 * (8 + 8),
        witness=ON_META,
    )

    def plan(self, *xs: Shape) -> Plan:
        q, k, v = xs
        all_floats(xs, self.kind)
        if not len(q) == len(k) == len(v) > 1 or not q[:-2] == k[:-2] == v[:-2]:
            raise ShapeError(
                "attention wants queries, keys and values of (heads, tokens, values), not {0}, {1} and {2}",
                hint="They need as many axes and heads; `- reshape` and `- permute` bring them there.",
                inputs=xs,
            )
        if q[-1] != k[-1]:
            raise ShapeError(
                f"attention multiplies queries of {q[-1]} values, {{0}}, by keys of {k[-1]}, {{1}}",
                hint="Make the last axis of both the same.",
                inputs=xs,
            )
        if k[-2] != v[-2]:
            raise ShapeError(
                f"attention weighs {v[-2]} values, {{2}}, by the match of {k[-2]} keys, {{1}}",
                hint="Keys and values come in pairs: give both as many tokens.",
                inputs=xs,
            )
        heads, t, s = prod(q[:-2]), q[-2], k[-2]
        shape = Shape((*q[:-1], v[-1]))
        macs = heads * t * s * (q[-1] + v[-1])
        if q[-1] == v[-1] and not self.dropout_p:  # fused: of the weights, only a logarithm for each query is kept
            return Plan(
                shape, macs=macs, window=_gathered(q, 3), saved=("inputs", "output"), saved_bytes=4 * heads * t
            )
        weights = heads * t * s * (3 if self.dropout_p else 1)
        return Plan(
            shape,
            macs=macs,
            window=_gathered(q, 3),
            saved=(),
            saved_bytes=4 * (q.count + k.count + v.count + weights),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        q, k, v = xs
        names = {"T": q[-2], "S": k[-2], "d": q[-1], "e": v[-1]}
        steps = {"scores": "T * S * d", "gathering": "T * S * e"}
        return [*default_lines(plan, xs), *_steps(steps, names, q[:-2])]

    def module(self, *_: Shape) -> Module:
        from ..modules.attention import Attention as Built

        return Built(**self.options())


class MultiheadAttention(Layer):
    """Multi-head attention with learned projections, of tokens to themselves or to others.

    Shapes: one input of (T, D) attends to itself -> (T, D). Of two inputs, the tokens of the first, (T, D), gather
        from the second, (S, E). Of three, they are queries, keys and values. Axes before the tokens, as the windows
        of (windows, T, D), stand for attentions of their own. Sizes are torch's with batch_first.
    Cost: 4 * D^2 weights and 4 * D biases, for the three projections and the one of the output; T * D^2 MACs for each
        projection, and 2 * T * S * D for the attention, those that are masked too.
    Errors: D not a multiple of `num_heads`; inputs that are not of floats; a vector; other axes that differ.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. torch: none; its MultiheadAttention has these
        weights, under these names; embed_dim, kdim and vdim follow from the inputs. A spec's `init` fills the
        projection of the output; the others begin Glorot uniform, as in torch.
    """

    kind: ClassVar[str] = "multihead_attention"
    num_heads: PositiveInt = Field(description="heads, which share the D values among them")
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    bias: bool = Field(True, description="add a learned value to each result of the projections")
    is_causal: bool = Field(False, description="let token t see only the tokens 0 to t")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3)
    example: ClassVar[Example] = Example(
        {"num_heads": 4},
        [(7, 12)],
        shape=(7, 12),
        params=4 * (12 * 12 + 12),
        macs=4 * 7 * 12 * 12 + 2 * 7 * 7 * 12,
        witness=ON_META,
    )

    def plan(self, *xs: Shape) -> Plan:
        q, k, v = _three(xs)
        all_floats(xs, self.kind)
        if not len(q) == len(k) == len(v) > 1 or not q[:-2] == k[:-2] == v[:-2] or k[-2] != v[-2]:
            shapes = {1: "{0}", 2: "{0} and {1}"}.get(len(xs), "{0}, {1} and {2}")
            raise ShapeError(
                f"multihead_attention wants tokens of (T, D), and as many keys as values, not {shapes}",
                hint="`- transpose` makes tokens of (D, T); an image is first flattened with `start_dim: 2`.",
                inputs=xs,
            )
        d = q[-1]
        if d % self.num_heads:
            raise ShapeError(
                f"the {d} values of a token in {{0}} do not split into num_heads = {self.num_heads}",
                hint=f"Pick a divisor of {d}, or make the values a multiple of {self.num_heads}.",
                inputs=xs,
            )
        around, t, s = prod(q[:-2]), q[-2], k[-2]
        macs = around * d * (2 * t * d + s * (k[-1] + v[-1]) + 2 * t * s)
        return Plan(
            shape=q,
            weights=self._weights(q, k, v),
            macs=macs,
            window=_gathered(q, len(xs)),
            saved=(),
            saved_bytes=self._held(around, d, t, s),
            saved_if=tuple(SavedIf((OWN,), input=i) for i in range(len(xs))),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        q, k, v = _three(xs)
        names = {"T": q[-2], "S": k[-2], "D": q[-1], "K": k[-1], "V": v[-1]}
        projections = {"queries": "T * D * D", "keys": "S * K * D", "values": "S * V * D"}
        steps = {**projections, "scores": "T * S * D", "gathering": "T * S * D", "output": "T * D * D"}
        return [*default_lines(plan, xs), *_steps(steps, names, q[:-2])]

    def _weights(self, q: Shape, k: Shape, v: Shape) -> dict[str, tuple[int, ...]]:
        d = q[-1]
        weights: dict[str, tuple[int, ...]] = {"in_proj_weight": (3 * d, d)}
        if {k[-1], v[-1]} != {d}:
            weights = {"q_proj_weight": (d, d), "k_proj_weight": (d, k[-1]), "v_proj_weight": (d, v[-1])}
        weights |= {"out_proj.weight": (d, d)}
        if self.bias:
            weights |= {"in_proj_bias": (3 * d,), "out_proj.bias": (d,)}
        return weights

    def _held(self, around: int, d: int, t: int, s: int) -> int:
        """Return the bytes of queries, keys, values and sums that torch saves.

        Fused attention saves a logarithm per head and query; with dropout torch saves the weights, before and after,
        and the mask.
        """
        return 4 * around * (2 * (t + s) * d + self.num_heads * t * (3 * s if self.dropout else 1))

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention import MultiheadAttention as Built

        q, k, v = _three(xs)
        return Built(q[-1], self.num_heads, self.dropout, self.bias, k[-1], v[-1], self.is_causal)


def _gathered(q: Shape, inputs: int) -> InputPaths:
    """Return the dependency on the inputs: each query at its place, every key and value."""
    around = range(len(q) - 2)
    queries, others = AxisMap((*around, len(q) - 2, None)), AxisMap((*around, None, None))
    return InputPaths(((0, queries), *((i, others) for i in range(min(1, inputs - 1), inputs))))


def _three(xs: tuple[Shape, ...]) -> tuple[Shape, Shape, Shape]:
    """Return the shapes of queries, keys and values, from one, two or three inputs."""
    return xs[0], xs[min(1, len(xs) - 1)], xs[-1]


def _steps(formulas: Mapping[str, str], names: Mapping[str, int], around: Sequence[int]) -> list[Line]:
    """Return the lines of the MACs of each product, and of their sum."""
    often = f"{product(around)} times * " if around else ""
    lines = []
    for what, each in formulas.items():
        once = line(each, names, what=what, part="multiply-adds")
        value = int(once.value or 0) * prod(around)
        formula = f"{'times * ' if around else ''}{each}"
        lines.append(replace(once, formula=formula, numbers=f"{often}{once.numbers}", value=value))
    values = [int(made.value or 0) for made in lines]
    return [*lines, Line("total", "", summed(values), sum(values), part="multiply-adds")]
