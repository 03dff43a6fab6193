"""Attention: weighted sums of values, with weights from the similarity of queries and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines, line, product, summed
from .attention_masks import MASKS, SavedMask, Taken, check_masks, saved_mask, seen, taken
from .base import OWN, Example, Layer, Plan, SavedIf, all_floats

if TYPE_CHECKING:
    from torch.nn import Module

ON_META = "torch on the meta device, in tests/layers/test_attention.py: on a CPU its fused attention is not counted"


class ScaledDotProductAttention(Layer):
    """softmax(Q K^T / sqrt(d)) V: for each query a sum of the values, weighted by the similarity of their keys.

    Shapes: q of (*, T, d), k of (*, S, d) and v of (*, S, e), in this order -> (*, T, e); the heads stand before the
        tokens: (heads, T, d). A fourth, the `attn_mask` of (T, S) or (*, T, S), is true where a key takes part, or is
        added to the scores where it holds floats. A query whose keys are all masked gets zeros. With `enable_gqa`
        keys and values may have fewer heads, each for as many heads of queries.
    Cost: T * S * (d + e) MACs for each head; those that are masked are counted too, as torch's counter does.
    Errors: queries, keys or values of another rank, of a single axis, or that are not of floats; heads, d or S that
        differ; a mask of whole numbers or of another shape.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1. torch: none; it is
        functional.scaled_dot_product_attention.
    """

    kind: ClassVar[str] = "scaled_dot_product_attention"
    dropout_p: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    is_causal: bool = Field(False, description="let token t see only the keys 0 to t")
    scale: float | None = Field(None, description="factor of Q K^T; null: 1 / sqrt(d)")
    enable_gqa: bool = Field(False, description="let several heads of queries share a head of keys and values")

    arity: ClassVar[int | tuple[int, ...] | None] = (3, 4)
    input_names: ClassVar[tuple[str, ...]] = ("query", "key", "value", "attn_mask")
    hiding: ClassVar[Mapping[str, bool]] = {"attn_mask": False}
    example: ClassVar[Example] = Example(
        {},
        [(4, 9, 8), (4, 7, 8), (4, 7, 8)],
        shape=(4, 9, 8),
        macs=4 * 9 * 7 * (8 + 8),
        witness=ON_META,
    )

    def plan(self, *xs: Shape) -> Plan:
        found = taken(self.input_names[: len(xs)], xs)
        q, k, v = found.q, found.k, found.v
        all_floats(xs[:3], self.kind)
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
        q, k, v = xs[:3]
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
        of (windows, T, D), stand for attentions of their own. Sizes are torch's with batch_first. Masks are given by
        name, `from: {query: x, key_padding_mask: m}`: `attn_mask` of (T, S) or (num_heads, T, S), `key_padding_mask`
        of (S,). As in torch's module, true hides a key, and floats are added to the scores. A query whose keys are
        all hidden gathers zeros, where torch's module gives NaN.
    Cost: 4 * D^2 weights and 4 * D biases, for the three projections and the one of the output; T * D^2 MACs for each
        projection, and 2 * T * S * D for the attention, those that are masked too. With `num_kv_heads` = G the
        projections of keys and values have G / num_heads of their weights and MACs.
    Errors: D not a multiple of `num_heads`, or that not of `num_kv_heads`; inputs that are not of floats; a vector;
        other axes that differ; a mask of whole numbers or of another shape.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; Ainslie et al. 2023, arXiv:2305.13245, section 2.2
        (grouped queries). torch: none; its MultiheadAttention has these weights, under these names; embed_dim, kdim
        and vdim follow from the inputs. A spec's `init` fills the projection of the output; the others begin Glorot
        uniform, as in torch.
    """

    kind: ClassVar[str] = "multihead_attention"
    num_heads: PositiveInt = Field(description="heads, which share the D values among them")
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    bias: bool = Field(True, description="add a learned value to each result of the projections")
    is_causal: bool = Field(False, description="let token t see only the tokens 0 to t")
    num_kv_heads: PositiveInt | None = Field(None, description="heads of keys and values; null: num_heads, 1: one")
    takes: list[Literal["query", "key", "value", "attn_mask", "key_padding_mask"]] | None = Field(
        None, description="names of the inputs, as `from` gives them; null: query, key, value"
    )

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3, 4, 5)
    input_names: ClassVar[tuple[str, ...]] = ("query", "key", "value", *MASKS)
    hiding: ClassVar[Mapping[str, bool]] = dict.fromkeys(MASKS, True)
    example: ClassVar[Example] = Example(
        {"num_heads": 4},
        [(7, 12)],
        shape=(7, 12),
        params=4 * (12 * 12 + 12),
        macs=4 * 7 * 12 * 12 + 2 * 7 * 7 * 12,
        witness=ON_META,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.num_kv_heads and self.num_heads % self.num_kv_heads:
            raise ValueError(f"num_heads = {self.num_heads} is no multiple of num_kv_heads = {self.num_kv_heads}")
        if self.takes is not None and self.takes != [name for name in self.input_names if name in self.takes]:
            raise ValueError(f"takes = {self.takes} must keep this order, each once: {', '.join(self.input_names)}")
        if self.takes is not None and ("query" not in self.takes or {"key", "value"} & {*self.takes} == {"value"}):
            raise ValueError(f"takes = {self.takes} must hold query, and key where it holds value")
        return self

    @property
    def kv_heads(self) -> int:
        """Number of heads of keys and values."""
        return self.num_kv_heads or self.num_heads

    def _taken(self, xs: Sequence[Shape]) -> Taken:
        names = self.takes or self.input_names[:3]
        if len(xs) > len(names) or (self.takes and len(xs) < len(names)):
            raise ShapeError(
                f"multihead_attention takes {', '.join(names)}, and is given {len(xs)} inputs",
                hint="Name them: `from: {query: prev, key_padding_mask: padding}`.",
                inputs=xs,
            )
        return taken(names[: len(xs)], xs)

    def plan(self, *xs: Shape) -> Plan:
        found = self._taken(xs)
        q, k, v = found.q, found.k, found.v
        all_floats(xs[: len(xs) - len(found.masks)], self.kind)
        if not len(q) == len(k) == len(v) > 1 or not q[:-2] == k[:-2] == v[:-2] or k[-2] != v[-2]:
            shapes = {1: "{0}", 2: "{0} and {1}"}.get(len(xs) - len(found.masks), "{0}, {1} and {2}")
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
        check_masks(self.kind, found, self.num_heads, xs)
        around, t, s = prod(q[:-2]), q[-2], k[-2]
        width = d // self.num_heads * self.kv_heads
        macs = around * (2 * t * d * d + s * (k[-1] + v[-1]) * width + 2 * t * s * d)
        held = self._held(q, k, width, saved_mask(found, around, self.is_causal))
        fused = 4 * around * 2 * (t * d + s * width)  # the gradient of a mask takes the weights beside
        weights = SavedIf(found.added, more=max(0, fused + 4 * around * self.num_heads * t * s - held))
        return Plan(
            shape=q,
            weights=self._weights(q, k, v),
            macs=macs,
            window=seen(found, len(xs)),
            no_gradient=found.no_gradient,
            saved=(),
            saved_bytes=held,
            saved_if=(*(SavedIf((OWN,), input=i) for i in range(len(xs) - len(found.masks))), weights),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        found = self._taken(xs)
        q, k, v = found.q, found.k, found.v
        width = q[-1] // self.num_heads * self.kv_heads
        names = {"T": q[-2], "S": k[-2], "D": q[-1], "K": k[-1], "V": v[-1]}
        g = "G" if self.kv_heads != self.num_heads else "D"
        projections = {"queries": "T * D * D", "keys": f"S * K * {g}", "values": f"S * V * {g}"}
        steps = {**projections, "scores": "T * S * D", "gathering": "T * S * D", "output": "T * D * D"}
        note = f"G = {width:,} values of {self.kv_heads} heads; keys and values of a token are 2 * G = {2 * width:,}"
        grouped = [Line(note=note, part="multiply-adds")] if g == "G" else []
        return [*default_lines(plan, xs), *grouped, *_steps(steps, {**names, "G": width}, q[:-2])]

    def _weights(self, q: Shape, k: Shape, v: Shape) -> dict[str, tuple[int, ...]]:
        d = q[-1]
        width = d // self.num_heads * self.kv_heads
        weights: dict[str, tuple[int, ...]] = {"in_proj_weight": (d + 2 * width, d)}
        if {k[-1], v[-1]} != {d}:
            weights = {"q_proj_weight": (d, d), "k_proj_weight": (width, k[-1]), "v_proj_weight": (width, v[-1])}
        weights |= {"out_proj.weight": (d, d)}
        if self.bias:
            weights |= {"in_proj_bias": (d + 2 * width,), "out_proj.bias": (d,)}
        return weights

    def _held(self, q: Shape, k: Shape, width: int, mask: SavedMask | None) -> int:
        """Return the bytes of queries, keys, values and sums that torch saves.

        Fused attention saves a logarithm per head and query, and the mask as floats; with dropout torch saves the
        weights, before and after, and the mask, and each head of keys and values for all of its queries.
        """
        around, t, s, d = prod(q[:-2]), q[-2], k[-2], q[-1]
        if self.dropout:
            own = 2 * (t + s) * d + self.num_heads * t * 3 * s
            return 4 * around * own + (mask.hidden_bytes if mask is not None else 0)
        own = 4 * around * (2 * t * d + 2 * s * width + self.num_heads * t)
        return own + (4 * around * t * d + mask.added_bytes + mask.hidden_bytes if mask is not None else 0)

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention import MultiheadAttention as Built

        found = self._taken(xs)
        return Built(
            found.q[-1],
            self.num_heads,
            self.dropout,
            self.bias,
            found.k[-1],
            found.v[-1],
            self.is_causal,
            self.num_kv_heads,
            self.takes or self.input_names[: len(xs)],
        )


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
