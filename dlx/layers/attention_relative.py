"""Self-attention with positions relative to each other: learned vectors by distance, or sinusoids of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines, line, summed
from .attention_masks import MASKS, Taken, check_masks, seen, taken
from .attention_scores import step_lines
from .base import OWN, Example, Layer, Plan, SavedIf, all_floats

if TYPE_CHECKING:
    from torch.nn import Module


PART: Final = "multiply-adds"
OF_ONE_SAMPLE = "torch's counter, of one sample: the projection of distances is computed once for all"


class _Relative(Layer):
    """Base class of both."""

    num_heads: PositiveInt = Field(description="heads, which share the D values among them")
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    bias: bool = Field(True, description="add a learned value to each result of the projections")
    is_causal: bool = Field(False, description="let token t see only the tokens 0 to t")
    takes: list[Literal["query", "attn_mask", "key_padding_mask"]] | None = Field(
        None, description="names of the inputs, as `from` gives them; null: query"
    )

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3)
    input_names: ClassVar[tuple[str, ...]] = ("query", *MASKS)
    hiding: ClassVar[Mapping[str, bool]] = dict.fromkeys(MASKS, True)

    @model_validator(mode="after")
    def _in_order(self) -> Any:
        if self.takes is not None and self.takes != [name for name in self.input_names if name in self.takes]:
            raise ValueError(f"takes = {self.takes} must keep this order, each once: {', '.join(self.input_names)}")
        if self.takes is not None and "query" not in self.takes:
            raise ValueError(f"takes = {self.takes} must hold query")
        return self

    def plan(self, *xs: Shape) -> Plan:
        found, x = self._taken(xs), xs[0]
        all_floats(xs[:1], self.kind)
        if len(x) < 2:
            hint = "`- transpose` makes tokens of (D, T); an image is first flattened with `start_dim: 2`."
            raise ShapeError(f"{self.kind} wants tokens of (T, D), not {{0}}", hint=hint, inputs=xs)
        if x[-1] % self.num_heads:
            raise ShapeError(
                f"the {x[-1]} values of a token in {{0}} do not split into num_heads = {self.num_heads}",
                hint=f"Pick a divisor of {x[-1]}, or make the values a multiple of {self.num_heads}.",
                inputs=xs,
            )
        check_masks(self.kind, found, self.num_heads, xs)
        around, t, d = prod(x[:-2]), x[-2], x[-1]
        weights: dict[str, tuple[int, ...]] = {"in_proj_weight": (3 * d, d), "out_proj.weight": (d, d)}
        if self.bias:
            weights |= {"in_proj_bias": (3 * d,), "out_proj.bias": (d,)}
        once = self._once(t, d)
        return Plan(
            shape=x,
            weights=weights | self._own_weights(d),
            macs=once + around * (4 * t * d * d + 2 * t * t * d + self._own_macs(t, d)),
            window=seen(found, len(xs)),
            no_gradient=found.no_gradient,
            saved=(),
            saved_bytes=around * (4 * self._held(t, d) + self._held_of_masks(found, t)),
            saved_if=(SavedIf((OWN,), input=0), SavedIf((0, OWN), fixed=self._fixed(t, d) + self.is_causal * t * t)),
        )

    def _held_of_masks(self, found: Taken, t: int) -> int:
        """Return the bytes of which keys are hidden, and which queries have none, for one attention."""
        if not self.is_causal and not found.masks:
            return 0
        rows = [t if name == "attn_mask" or self.is_causal else 1 for _, name, x in found.masks if x.dtype == "bool"]
        return self.num_heads * t + max(rows, default=0) * t

    def _own_weights(self, d: int) -> dict[str, tuple[int, ...]]:
        """Return the weights of positions."""
        raise TypeError(f"{type(self).__name__} has no _own_weights()")

    def _own_macs(self, t: int, d: int) -> int:
        """Return the MACs of positions for one attention."""
        raise TypeError(f"{type(self).__name__} has no _own_macs()")

    def _once(self, t: int, d: int) -> int:
        """Return the MACs of positions that are the same for all samples."""
        return 0

    def _held(self, t: int, d: int) -> int:
        """Return the values that torch saves of one attention without masks."""
        raise TypeError(f"{type(self).__name__} has no _held()")

    def _fixed(self, t: int, d: int) -> int:
        """Return the bytes that torch saves for any number of samples."""
        raise TypeError(f"{type(self).__name__} has no _fixed()")

    def _weights_held(self, t: int) -> int:
        """Return the values of the weights; with dropout before and after it, and what was dropped."""
        return self.num_heads * t * t * (3 if self.dropout else 1)

    def _lines(
        self,
        plan: Plan,
        xs: Sequence[Shape],
        steps: Mapping[str, str],
        names: Mapping[str, int],
        once: Sequence[Line] = (),
    ) -> Sequence[Line]:
        """Return the lines of all steps; those of `once` are not repeated for the axes before the tokens."""
        x = xs[0]
        steps = {"projections": "4 * T * D * D", "scores": "T * T * D", "gathering": "T * T * D", **steps}
        each = [*step_lines(steps, {"T": x[-2], "D": x[-1], **names}, x[:-2])[:-1], *once]
        values = [int(made.value or 0) for made in each]
        return [*default_lines(plan, xs), *each, Line("total", "", summed(values), sum(values), part=PART)]

    def _options(self) -> dict[str, Any]:
        """Return what both modules take."""
        return {
            "dropout": self.dropout,
            "bias": self.bias,
            "is_causal": self.is_causal,
            "takes": self.takes or self.input_names[:1],
        }

    def _taken(self, xs: Sequence[Shape]) -> Taken:
        names = self.takes or self.input_names[:1]
        if len(xs) != len(names):
            raise ShapeError(
                f"{self.kind} takes {', '.join(names)}, and is given {len(xs)} inputs",
                hint="Name them: `from: {query: prev, key_padding_mask: padding}`.",
                inputs=xs,
            )
        return taken(names, xs)


class RelativeAttention(_Relative):
    """Multi-head attention of tokens to themselves, with a learned vector for each distance of key and query.

    The score of query i and key j is q_i (k_j + a_r) / sqrt(d), with d = D / num_heads and a vector a_r of the
    distance r = j - i, cut to -max_distance to max_distance; what is gathered is the sum of w_ij (v_j + b_r) with
    other vectors b_r. Both are shared by the heads.
    Shapes: (T, D) -> (T, D); axes before the tokens stand for attentions of their own. Masks are given by name,
        `from: {query: x, key_padding_mask: m}`, as to `multihead_attention`: true hides a key, floats are added.
    Cost: 4 * D^2 weights and 4 * D biases, and 2 * (2 * max_distance + 1) * d of the vectors; T * D^2 MACs for each
        of four projections, 2 * T^2 * D for the attention and 2 * T * (2 * max_distance + 1) * D for the vectors.
    Errors: D not a multiple of `num_heads`; an input that is not of floats, or a vector; a mask of another shape.
    Source: Shaw, Uszkoreit & Vaswani 2018, Self-attention with relative position representations, arXiv:1803.02155,
        equations 3 to 5. torch: none.
    """

    kind: ClassVar[str] = "relative_attention"
    max_distance: PositiveInt = Field(16, description="distance from which on all have the same vector")
    values: bool = Field(True, description="add vectors to values too, not to keys alone")

    example: ClassVar[Example] = Example(
        {"num_heads": 4, "max_distance": 3},
        [(7, 12)],
        shape=(7, 12),
        params=4 * (12 * 12 + 12) + 2 * 7 * 3,
        macs=4 * 7 * 12 * 12 + 2 * 7 * 7 * 12 + 2 * 7 * 7 * 12,
    )

    @property
    def rows(self) -> int:
        """Number of distances with a vector of their own."""
        return 2 * self.max_distance + 1

    def _own_weights(self, d: int) -> dict[str, tuple[int, ...]]:
        names = ("key_embedding", "value_embedding") if self.values else ("key_embedding",)
        return dict.fromkeys(names, (self.rows, d // self.num_heads))

    def _own_macs(self, t: int, d: int) -> int:
        return (2 if self.values else 1) * t * self.rows * d

    def _held(self, t: int, d: int) -> int:
        return 5 * t * d + self._weights_held(t) + (2 if self.values else 1) * self.num_heads * t * self.rows

    def _fixed(self, t: int, d: int) -> int:
        return 8 * t * t * (2 if self.values else 1)

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        steps = {"distances of keys": "T * R * D"} | ({"distances of values": "T * R * D"} if self.values else {})
        return self._lines(plan, xs, steps, {"R": self.rows})

    def module(self, *xs: Shape) -> Module:
        from ..modules.relative_attention import ShawAttention

        return ShawAttention(xs[0][-1], self.num_heads, self.max_distance, self.values, **self._options())


class TransformerXLAttention(_Relative):
    """Multi-head attention of tokens to themselves, with sinusoids of the distance of query and key (Transformer-XL).

    The score of query i and key j is ((q_i + u) k_j + (q_i + v) W R_r) / sqrt(D / num_heads): u and v are learned for
    each head, R_r holds the sines and then the cosines of r = i - j, as in `positional_encoding` with `halves`, and W
    is learned. What came before a segment, the paper's memory, is kept when a network goes on token by token.
    Shapes: (T, D) -> (T, D); axes before the tokens stand for attentions of their own. Masks are given by name,
        `from: {query: x, key_padding_mask: m}`, as to `multihead_attention`: true hides a key, floats are added.
    Cost: 5 * D^2 weights, 4 * D biases and 2 * D values of u and v; T * D^2 MACs for each of four projections,
        2 * T^2 * D for the attention, T * P * D for distances and P * D^2 for their projection, once for all samples,
        with P = 2 * T - 1 distances, T where it is causal.
    Errors: D not a multiple of `num_heads`; an input that is not of floats, or a vector; a mask of another shape.
    Source: Dai et al. 2019, Transformer-XL, arXiv:1901.02860, section 3.3. torch: none.
    """

    kind: ClassVar[str] = "transformer_xl_attention"
    base: PositiveFloat = Field(
        10_000.0, description="the longest wave has 2 pi times so many positions, as in `positional_encoding`"
    )

    example: ClassVar[Example] = Example(
        {"num_heads": 4},
        [(7, 12)],
        shape=(7, 12),
        params=4 * (12 * 12 + 12) + 12 * 12 + 2 * 12,
        macs=4 * 7 * 12 * 12 + 2 * 7 * 7 * 12 + 7 * 13 * 12 + 13 * 12 * 12,
        witness=OF_ONE_SAMPLE,
    )

    def distances(self, t: int) -> int:
        """Return the number of distances that `t` tokens have."""
        return t if self.is_causal else 2 * t - 1

    def _own_weights(self, d: int) -> dict[str, tuple[int, ...]]:
        head = (self.num_heads, d // self.num_heads)
        return {"position_weight": (d, d), "u": head, "v": head}

    def _own_macs(self, t: int, d: int) -> int:
        return t * self.distances(t) * d

    def _once(self, t: int, d: int) -> int:
        return self.distances(t) * d * d

    def _held(self, t: int, d: int) -> int:
        return 5 * t * d + self._weights_held(t) + self.num_heads * t * self.distances(t)

    def _fixed(self, t: int, d: int) -> int:
        return 8 * t * t + 4 * 2 * self.distances(t) * d

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        names = {"P": self.distances(xs[0][-2]), "D": xs[0][-1]}
        once = line("P * D * D", names, what="distances, projected once for all samples", part=PART)
        return self._lines(plan, xs, {"distances": "T * P * D"}, names, [once])

    def module(self, *xs: Shape) -> Module:
        from ..modules.relative_attention import TransformerXLAttention as Built

        return Built(xs[0][-1], self.num_heads, self.base, **self._options())
