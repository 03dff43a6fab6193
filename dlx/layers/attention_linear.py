"""Attention whose cost is linear in the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines
from .attention_masks import Taken, check_masks, seen, taken
from .attention_scores import step_lines
from .base import Example, Layer, Plan, SavedIf, all_floats

if TYPE_CHECKING:
    from torch.nn import Module

BLOCK = 64
"""Tokens of a block of the causal form: within one all pairs are weighed, across blocks their sums go on."""


class LinearAttention(Layer):
    """Attention with weights phi(q) phi(k) in place of exp(q k), so that keys and values are summed once for all.

    phi(x) = elu(x) + 1, and the output for a query is phi(q) sum(phi(k) v) / phi(q) sum(phi(k)). With `is_causal` the
    sums are over the tokens so far. Queries, keys and values are given, as to `scaled_dot_product_attention`.

    Shapes: queries of (*, T, D), keys of (*, S, D) and values of (*, S, E), in this order -> (*, T, E); num_heads
        parts have D / num_heads = d and E / num_heads = e values. A fourth, the `key_padding_mask` of (S,) or (*, S),
        is true where a key is hidden; a query without any key gets zeros.
    Cost: nothing learned; (S + T) * d * (e + 1) MACs for each head. Causal, in blocks of C = 64 tokens, or all T if
        they are fewer: C * (d + e + 1) for each token, and with several blocks 2 * d * (e + 1) beside.
    Errors: inputs of a single axis, other axes that differ, or that are not of floats; values that do not split into
        `num_heads`; not as many queries as keys where it is causal; a mask of another shape, or that is added.
    Source: Katharopoulos et al. 2020, arXiv:2006.16236, equations 5 to 12. torch: none.
    """

    kind: ClassVar[str] = "linear_attention"
    num_heads: PositiveInt = Field(1, description="heads that the last axis holds")
    is_causal: bool = Field(False, description="let token t see only the keys 0 to t")

    arity: ClassVar[int | tuple[int, ...] | None] = (3, 4)
    input_names: ClassVar[tuple[str, ...]] = ("query", "key", "value", "key_padding_mask")
    hiding: ClassVar[Mapping[str, bool]] = {"key_padding_mask": True}
    example: ClassVar[Example] = Example(
        {"num_heads": 2}, [(9, 8), (7, 8), (7, 6)], shape=(9, 6), macs=2 * (7 + 9) * 4 * (3 + 1)
    )

    def plan(self, *xs: Shape) -> Plan:
        all_floats(xs[:3], self.kind)
        self._check(xs[:3])
        found = self._masked(xs)
        q, k, v = xs[:3]
        heads = prod(q[:-2]) * self.num_heads
        t, s, d, e = q[-2], k[-2], q[-1] // self.num_heads, v[-1] // self.num_heads + 1
        blocks, size = self._blocks(t)
        padded = blocks * size
        if not self.is_causal:
            macs, held = (s + t) * d * e, t * d + s * d + s * e + d * e
        else:
            several = blocks > 1
            macs = padded * (size * (d + e) + (2 * d * e if several else 0))
            held = 2 * padded * d + padded * e + padded * size + (blocks * d * e if several else 0)
        held += padded * e + t if self.is_causal else t * e + t
        hidden = s if found.masks else 0  # the mask itself, in bytes
        return Plan(
            Shape((*q[:-1], v[-1])),
            macs=heads * macs,
            window=seen(found, len(xs)),
            no_gradient=found.no_gradient,
            saved=(),
            saved_if=(SavedIf((0,), input=0), SavedIf((1,), input=1)),
            saved_bytes=4 * heads * held + prod(q[:-2]) * hidden,
        )

    def _masked(self, xs: Sequence[Shape]) -> Taken:
        """Return the inputs by name. ShapeError for a mask that does not fit: a weight of 0 hides, no added score."""
        found = taken(self.input_names[: len(xs)], xs)
        check_masks(self.kind, found, 0, xs)
        if found.added:
            raise ShapeError(
                "the key_padding_mask of linear_attention, {3}, holds floats, and it has no scores to add them to",
                hint="Declare it as `dtype: bool`, true where a key is hidden.",
                inputs=xs,
            )
        return found

    def _blocks(self, tokens: int) -> tuple[int, int]:
        """Return the number of blocks and their size."""
        return (-(-tokens // BLOCK), BLOCK) if tokens > BLOCK else (1, tokens)

    def _check(self, xs: Sequence[Shape]) -> None:
        q, k, v = xs
        if not len(q) == len(k) == len(v) > 1 or not q[:-2] == k[:-2] == v[:-2] or k[-2] != v[-2] or q[-1] != k[-1]:
            raise ShapeError(
                "linear_attention wants queries and keys of (T, D) and (S, D), and S values, not {0}, {1} and {2}",
                hint="`- linear` makes the last axes of queries and keys the same.",
                inputs=xs,
            )
        if q[-1] % self.num_heads or v[-1] % self.num_heads:
            raise ShapeError(
                f"queries of {q[-1]} values, {{0}}, and values of {v[-1]}, {{2}}, do not both split into num_heads = "
                f"{self.num_heads}",
                hint=f"Make both a multiple of {self.num_heads}.",
                inputs=xs,
            )
        if self.is_causal and q[-2] != k[-2]:
            raise ShapeError(
                f"linear_attention with is_causal compares positions, and {{0}} has {q[-2]} tokens, {{1}} {k[-2]}",
                hint="Leave `is_causal` out, or let the tokens attend to themselves.",
                inputs=xs,
            )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        q, k, v = xs[:3]
        names = {"T": q[-2], "S": k[-2], "d": q[-1] // self.num_heads, "e": v[-1] // self.num_heads}
        around = (*q[:-2], self.num_heads)
        if not self.is_causal:
            steps = {"sums": "S * d * (e + 1)", "gathering": "T * d * (e + 1)"}
            return [*default_lines(plan, xs), *step_lines(steps, names, around)]
        blocks, size = self._blocks(q[-2])
        names |= {"blocks": blocks, "C": size}
        steps = {"scores": "blocks * C * C * d", "within blocks": "blocks * C * C * (e + 1)"}
        if blocks > 1:
            steps |= {"sums": "blocks * C * d * (e + 1)", "across blocks": "blocks * C * d * (e + 1)"}
        return [*default_lines(plan, xs), *step_lines(steps, names, around)]

    def module(self, *_: Shape) -> Module:
        from ..modules.linear_attention import LinearAttention as Built

        return Built(self.num_heads, self.is_causal, BLOCK)
