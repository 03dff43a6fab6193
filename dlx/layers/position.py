"""Positions of tokens: added, turned into angles, or as values for the scores of attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, line
from .base import Example, Layer, Plan, floats

if TYPE_CHECKING:
    from torch.nn import Module

    from ..modules.position import RotaryEmbedding as RotaryModule


class PositionalEncoding(Layer):
    """Add sines and cosines of the position to tokens: a fixed table, the sinusoidal encoding.

    PE[t, 2i] = sin(t / base^(2i / D)) and PE[t, 2i + 1] = cos of the same angle; `halves` puts all sines first.

    Shapes: (*, T, D) -> the same.
    Cost: nothing learned; a buffer of T * D values; no MACs.
    Errors: an input of a single axis, or that is not of floats.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5. torch: none; its transformer tutorial has it.
    """

    kind: ClassVar[str] = "positional_encoding"
    base: PositiveFloat = Field(10_000.0, description="the longest wave has 2 pi times so many positions")
    halves: bool = Field(False, description="put all sines before all cosines; false: in turns, as in the paper")

    example: ClassVar[Example] = Example({}, [(7, 12)], shape=(7, 12), buffers=7 * 12)

    def plan(self, *xs: Shape) -> Plan:
        t, d = _tokens(xs[0], self.kind)
        return Plan(xs[0], buffers={"table": (t, d)}, saved=(), passes_gradient=True)

    def module(self, *xs: Shape) -> Module:
        from ..modules.position import PositionalEncoding as Built

        return Built(xs[0][-2], xs[0][-1], self.base, self.halves)


class PositionEmbedding(Layer):
    """Add a learned vector for each position to tokens.

    Shapes: (*, T, D) -> the same.
    Cost: max_length * D parameters; no MACs. A spec's `init` leaves them alone: they are drawn by `std`.
    Errors: more tokens than `max_length`; an input of a single axis, or that is not of floats.
    Source: Gehring et al. 2017, arXiv:1705.03122, section 3.1; Radford et al. 2018, section 3.1. torch: none; it is
        an Embedding of the numbers 0 to T - 1.
    """

    kind: ClassVar[str] = "position_embedding"
    max_length: PositiveInt | None = Field(None, description="rows of the table; null: as many as there are tokens")
    std: NonNegativeFloat = Field(0.02, description="how far around 0 they are drawn, from a normal distribution")

    learns: ClassVar[bool] = True
    example: ClassVar[Example] = Example({"max_length": 9}, [(7, 12)], shape=(7, 12), params=9 * 12)

    def plan(self, *xs: Shape) -> Plan:
        t, d = _tokens(xs[0], self.kind)
        rows = self.max_length or t
        if t > rows:
            raise ShapeError(
                f"position_embedding has rows for max_length = {rows} tokens, and {{0}} has {t}",
                hint=f"Shorten the input, or make room: `max_length: {t}`.",
                inputs=xs,
            )
        return Plan(xs[0], weights={"value": (rows, d)}, saved=(), passes_gradient=True)

    def module(self, *xs: Shape) -> Module:
        from ..modules.position import PositionEmbedding as Built

        return Built(self.max_length or xs[0][-2], xs[0][-1], self.std)


class RotaryEmbedding(Layer):
    """Rotate pairs of values of queries or keys by angles that grow with the position (RoPE).

    The pair i of token t turns by t / base^(2i / n), where n values of each head take part, all or a `fraction` of
    them. So the product of a query and a key depends on how far apart they are. A pair is the values i and i + n / 2,
    as transformers has it for Llama and GPT-NeoX; with `interleaved` 2i and 2i + 1, as in the paper and GPT-J.

    Shapes: (*, T, d) -> the same, one head each; with `num_heads` (*, T, D) -> the same, in heads of D / num_heads.
    Cost: nothing learned; buffers of T * n / 2 cosines and as many sines; no MACs.
    Errors: D not a multiple of `num_heads`; an odd n; an input of a single axis, or that is not of floats.
    Source: Su et al. 2021, arXiv:2104.09864, equation 34; Black et al. 2022, arXiv:2204.06745, section 2.1
        (`fraction: 0.25`). torch: none; torchtune's RotaryPositionalEmbeddings is the interleaved one.
    """

    kind: ClassVar[str] = "rotary_embedding"
    base: PositiveFloat = Field(
        10_000.0, description="the slowest pair turns once in nearly 2 pi times so many tokens"
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of the values of a head that turn; the first ones")
    interleaved: bool = Field(False, description="pair neighbours; false: a value of the first half with the second")
    num_heads: PositiveInt | None = Field(None, description="heads that the last axis holds; null: it is one head")

    example: ClassVar[Example] = Example(
        {"num_heads": 3, "fraction": 0.5}, [(7, 12)], shape=(7, 12), buffers=2 * 7 * 1
    )

    def plan(self, *xs: Shape) -> Plan:
        (x,) = xs
        t, d = _tokens(x, self.kind)
        heads = self.num_heads or 1
        if d % heads:
            raise ShapeError(
                f"the {d} values of a token in {{0}} do not split into num_heads = {heads}",
                hint=f"Pick a divisor of {d}, or make the values a multiple of {heads}.",
                inputs=xs,
            )
        half = self.turning(d // heads) // 2
        return Plan(x, buffers={"cos": (t, half), "sin": (t, half)}, window=(len(x) - 2,), saved=())

    def turning(self, head: int) -> int:
        """Return how many values of a head of `head` values turn. ShapeError where they are no pairs."""
        count = int(head * self.fraction)
        if count % 2 or not count:
            share = f" a fraction of {self.fraction:g} of" if self.fraction != 1 else ""
            raise ShapeError(
                f"rotary_embedding turns pairs, and{share} a head of {head} values leaves {count}",
                hint="Take another `fraction` or number of heads, so that an even number of values is left.",
            )
        return count

    def module(self, *xs: Shape) -> Module:
        return self.built(xs[0][-2], xs[0][-1] // (self.num_heads or 1))

    def built(self, tokens: int, head: int) -> RotaryModule:
        """Return the module for so many tokens, and values of a head."""
        from ..modules.position import RotaryEmbedding as Built

        return Built(tokens, self.turning(head), self.base, self.interleaved, self.num_heads)


class ALiBi(Layer):
    """Values for the scores of attention that fall with the distance of query and key, by a slope for each head.

    -slope * |i - j| for query i and key j, where the slopes of n heads are 2^(-8/n), 2^(-16/n), ... 2^-8; where n is
    no power of two, those of the next lower one, and every other one of the next higher. They go to attention as its
    `attn_mask`, `from: {query: x, attn_mask: alibi_1}`, of all layers the same.

    Shapes: tokens (T, *) -> (num_heads, T, T); of two, queries and keys, (num_heads, T, S).
    Cost: nothing learned; a buffer of the slopes; no MACs.
    Errors: none.
    Source: Press et al. 2021, arXiv:2108.12409, section 3. torch: none.
    """

    kind: ClassVar[str] = "alibi"
    num_heads: PositiveInt = Field(description="heads of the attention that they are for")

    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    example: ClassVar[Example] = Example({"num_heads": 4}, [(7, 12)], shape=(4, 7, 7), buffers=4)

    def plan(self, *xs: Shape) -> Plan:
        shape = Shape((self.num_heads, xs[0][0], xs[-1][0]))
        return Plan(shape, buffers={"slopes": (self.num_heads,)}, window="nothing", saved=())

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        return _of_scores(self.num_heads, xs)

    def module(self, *xs: Shape) -> Module:
        from ..modules.position import ALiBi as Built

        return Built(self.num_heads, xs[0][0], xs[-1][0])


class RelativeAttentionBias(Layer):
    """Learned values for the scores of attention by the distance of query and key, in buckets (T5).

    Half of the buckets are distances of their own, the others are spaced by logarithms up to `max_distance`, and what
    is farther shares the last. With `bidirectional` half of all buckets are for keys behind the query, as in an
    encoder; without, keys behind it share bucket 0, as in a decoder. The values go to attention as its `attn_mask`,
    `from: {query: x, attn_mask: relative_attention_bias_1}`, of all layers the same.

    Shapes: tokens (T, D) -> (num_heads, T, T); of two, queries and keys, (num_heads, T, S).
    Cost: num_buckets * num_heads parameters; a buffer of T * S indices; no MACs.
    Errors: an odd or small `num_buckets`; a `max_distance` that the buckets of their own reach.
    Source: Raffel et al. 2019, arXiv:1910.10683, section 2.1. torch: none; transformers' T5Attention has the table as
        relative_attention_bias.
    """

    kind: ClassVar[str] = "relative_attention_bias"
    num_heads: PositiveInt = Field(description="heads of the attention that they are for")
    num_buckets: int = Field(32, ge=4, multiple_of=4, description="rows of the table, a multiple of 4")
    max_distance: PositiveInt = Field(128, description="distance from which on all are in the last bucket")
    bidirectional: bool = Field(True, description="tell keys before the query from those behind it")

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2)
    example: ClassVar[Example] = Example({"num_heads": 4}, [(7, 12)], shape=(4, 7, 7), params=32 * 4, buffers=7 * 7)

    def plan(self, *xs: Shape) -> Plan:
        t, s = xs[0][0], xs[-1][0]
        exact = self.num_buckets // (4 if self.bidirectional else 2)
        if self.max_distance <= exact:
            raise ShapeError(
                f"relative_attention_bias has {exact} distances with a bucket of their own, and max_distance = "
                f"{self.max_distance} is not beyond them",
                hint=f"Take fewer buckets, or a max_distance above {exact}; T5 has 32 and 128.",
            )
        return Plan(
            Shape((self.num_heads, t, s)),
            weights={"weight": (self.num_buckets, self.num_heads)},
            buffers={"buckets": (t, s)},
            window="nothing",
            saved=(),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        names = {"num_buckets": self.num_buckets, "num_heads": self.num_heads}
        return [
            *_of_scores(self.num_heads, xs),
            line("num_buckets * num_heads", names, part="parameters", what="weight"),
        ]

    def module(self, *xs: Shape) -> Module:
        from ..modules.position import RelativeAttentionBias as Built

        return Built(
            self.num_heads,
            (xs[0][0], xs[-1][0]),
            self.num_buckets,
            self.max_distance,
            self.bidirectional,
            std=xs[0][-1] ** -0.5,
        )


def _tokens(x: Shape, kind: str) -> tuple[int, int]:
    """Return T and D. ShapeError for an input of a single axis, or one that is not of floats."""
    floats(x, kind)
    if len(x) < 2:
        raise ShapeError(
            f"{kind} has positions of tokens, (T, D), and {{0}} has a single axis",
            hint="`- embedding` makes tokens of numbers; an image is first flattened with `start_dim: 2`.",
            inputs=[x],
        )
    return x[-2], x[-1]


def _of_scores(heads: int, xs: Sequence[Shape]) -> list[Line]:
    return [
        line("num_heads", {"num_heads": heads}, axes=0),
        line("T", {"T": xs[0][0]}, axes=1, note="queries"),
        line("S", {"S": xs[-1][0]}, axes=2, note="keys"),
    ]
