"""Attention of given queries, keys and values: weighted sums, with weights from their similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines
from .attention_masks import DOCUMENT, Taken, check_masks, saved_mask, seen, taken
from .attention_scores import step_lines
from .base import Example, Layer, Plan, SavedIf, all_floats

if TYPE_CHECKING:
    from torch.nn import Module

ON_META = "torch on the meta device, in tests/layers/test_attention.py: on a CPU its fused attention is not counted"


class ScaledDotProductAttention(Layer):
    """softmax(Q K^T / sqrt(d)) V: for each query a sum of the values, weighted by the similarity of their keys.

    Shapes: q of (*, T, d), k of (*, S, d) and v of (*, S, e), in this order -> (*, T, e); the heads stand before the
        tokens: (heads, T, d). A fourth, the `attn_mask` of (T, S) or (*, T, S), is true where a key takes part, or is
        added to the scores where it holds floats. `document` of (T,) has the number of each token's document, and
        tokens attend within their own. A query whose keys are all masked gets zeros. With `enable_gqa`
        keys and values may have fewer heads, each for as many heads of queries. With `num_heads` the heads are parts
        of the last axis, as of what three networks give: (T, D), (S, D) and (S, E) -> (T, E).
    Cost: T * S * (d + e) MACs for each head; those that are masked are counted too, as torch's counter does.
    Errors: queries, keys or values of another rank, of a single axis, or that are not of floats; heads, d or S that
        differ; values that do not split into `num_heads`; a mask of whole numbers or of another shape.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1. torch: none; it is
        functional.scaled_dot_product_attention.
    """

    kind: ClassVar[str] = "scaled_dot_product_attention"
    dropout_p: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    is_causal: bool = Field(False, description="let token t see only the keys 0 to t")
    scale: float | None = Field(None, description="factor of Q K^T; null: 1 / sqrt(d)")
    enable_gqa: bool = Field(False, description="let several heads of queries share a head of keys and values")
    num_heads: PositiveInt | None = Field(None, description="heads that the last axis holds; null: they are an axis")

    takes: list[Literal["query", "key", "value", "attn_mask", "document"]] | None = Field(
        None, description="names of the inputs, as `from` gives them; null: query, key, value, attn_mask"
    )

    arity: ClassVar[int | tuple[int, ...] | None] = (3, 4, 5)
    input_names: ClassVar[tuple[str, ...]] = ("query", "key", "value", "attn_mask", DOCUMENT)
    hiding: ClassVar[Mapping[str, bool]] = {"attn_mask": False}
    example: ClassVar[Example] = Example(
        {},
        [(4, 9, 8), (4, 7, 8), (4, 7, 8)],
        shape=(4, 9, 8),
        macs=4 * 9 * 7 * (8 + 8),
        witness=ON_META,
    )

    def plan(self, *xs: Shape) -> Plan:
        found = self._taken(xs)
        all_floats(xs[:3], self.kind)
        if self.num_heads is not None:
            return self._plan_of_parts(found, xs)
        q, k, v = found.q, found.k, found.v
        grouped = self.enable_gqa and len(q) > 2 and len(k) == len(q) and k[-3] > 0 and q[-3] % k[-3] == 0
        alike = q[:-3] == k[:-3] if grouped else q[:-2] == k[:-2]
        if not len(q) == len(k) == len(v) > 1 or not alike or k[:-2] != v[:-2]:
            heads = "as many axes and heads"
            if self.enable_gqa:
                heads = "as many axes, and heads of queries that are a multiple of those of keys and values"
            raise ShapeError(
                "attention wants queries, keys and values of (heads, tokens, values), not {0}, {1} and {2}",
                hint=f"They need {heads}; `- reshape` and `- permute` bring them there.",
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
        check_masks(self.kind, found, 0, xs)
        return self._plan(found, xs)

    def _taken(self, xs: Sequence[Shape]) -> Taken:
        names = self.takes or self.input_names[: len(xs)]
        if len(names) != len(xs) or tuple(names[:3]) != self.input_names[:3]:
            raise ShapeError(
                f"attention takes query, key and value, and `attn_mask` or `document` beside them, not "
                f"{', '.join(names)}",
                hint="Name them: `from: {query: q, key: k, value: v, document: text.document}`.",
                inputs=xs,
            )
        return taken(names, xs)

    def _plan_of_parts(self, found: Taken, xs: Sequence[Shape]) -> Plan:
        """Return the plan where the heads are parts of the last axis."""
        q, k, v = found.q, found.k, found.v
        if not len(q) == len(k) == len(v) > 1 or not q[:-2] == k[:-2] == v[:-2] or k[-2] != v[-2]:
            raise ShapeError(
                "attention with num_heads wants tokens of (T, D), and as many keys as values, not {0}, {1} and {2}",
                hint="Leave `num_heads` out where the heads are an axis: (heads, T, values).",
                inputs=xs,
            )
        split = self._split(found, xs)
        check_masks(self.kind, found, self.num_heads or 0, xs)
        plan = self._plan(split, xs)
        shape = Shape((*q[:-1], plan.shape[-3] * plan.shape[-1]))
        return replace(plan, shape=shape, window=seen(found, len(xs)))

    def _split(self, found: Taken, xs: Sequence[Shape]) -> Taken:
        """Return queries, keys and values with their heads as an axis."""
        heads, (q, k, v) = self.num_heads or 1, (found.q, found.k, found.v)
        head = q[-1] // heads
        of_keys = k[-1] // head if head and self.enable_gqa else heads
        if q[-1] % heads or k[-1] != of_keys * head or heads % of_keys:
            shared = " or a part of it, for groups of heads" if self.enable_gqa else ""
            raise ShapeError(
                f"attention splits queries of {q[-1]} values, {{0}}, into num_heads = {heads}, and keys of {k[-1]}, "
                "{1}, do not split alike",
                hint=f"Queries have a multiple of {heads} values, and keys as many{shared}.",
                inputs=xs,
            )
        if v[-1] % of_keys:
            raise ShapeError(
                f"the {v[-1]} values of {{2}} do not split into the {of_keys} heads of the keys {{1}}",
                hint=f"Make them a multiple of {of_keys}.",
                inputs=xs,
            )
        q, k, v = (Shape((*x[:-2], n, x[-2], x[-1] // n)) for x, n in ((q, heads), (k, of_keys), (v, of_keys)))
        return Taken(q, k, v, found.masks)

    def _plan(self, found: Taken, xs: Sequence[Shape]) -> Plan:
        q, k, v = found.q, found.k, found.v
        count, t, s = prod(q[:-2]), q[-2], k[-2]
        shape = Shape((*q[:-1], v[-1]))
        macs = count * t * s * (q[-1] + v[-1])
        plan = Plan(shape, macs=macs, window=seen(found, len(xs)), no_gradient=found.no_gradient)
        mask = saved_mask(found, prod(q[:-3]), self.is_causal)
        if q[-1] == v[-1] and not self.dropout_p:  # fused: of the weights, only a logarithm for each query is kept
            if mask is None:
                return replace(plan, saved=("inputs", "output"), saved_bytes=4 * count * t)
            own = 4 * count * t + shape.bytes + mask.added_bytes + mask.hidden_bytes
            saved = tuple(SavedIf((0, 1, 2, *found.added), input=i) for i in range(3))
            more = 4 * count * t * s - own  # the gradient of a mask takes the weights
            saved += tuple(SavedIf((i,), more=max(0, more)) for i in found.added)
            return replace(plan, saved=(), saved_bytes=own, saved_if=saved)
        repeated = prod(q[:-2]) // max(1, prod(k[:-2]))
        held = q.count + (k.count + v.count) * repeated + count * t * s * (3 if self.dropout_p else 1)
        return replace(plan, saved=(), saved_bytes=4 * held + (mask.hidden_bytes if mask is not None else 0))

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        found = self._taken(xs)
        found = found if self.num_heads is None else self._split(found, xs)
        names = {"T": found.q[-2], "S": found.k[-2], "d": found.q[-1], "e": found.v[-1]}
        steps = {"scores": "T * S * d", "gathering": "T * S * e"}
        return [*default_lines(plan, xs), *step_lines(steps, names, found.q[:-2])]

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention import Attention as Built

        return Built(**{**self.options(), "takes": tuple(self.takes or self.input_names[: len(xs)])[3:]})
