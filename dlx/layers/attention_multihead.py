"""Multi-head attention with projections of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ..errors import ShapeError
from ..shapes import Shape
from .arithmetic import Line, default_lines
from .attention import ON_META
from .attention_masks import MASKS, SavedMask, Taken, check_masks, saved_mask, seen, taken
from .attention_scores import Scores, scores_of, step_lines
from .base import OWN, Example, Layer, Plan, SavedIf, all_floats
from .position import RotaryEmbedding

if TYPE_CHECKING:
    from torch.nn import Module


class MultiheadAttention(Layer):
    """Multi-head attention with learned projections, of tokens to themselves or to others.

    Shapes: one input of (T, D) attends to itself -> (T, D). Of two inputs, the tokens of the first, (T, D), gather
        from the second, (S, E). Of three, they are queries, keys and values. Axes before the tokens, as the windows
        of (windows, T, D), stand for attentions of their own. Sizes are torch's with batch_first. Masks are given by
        name, `from: {query: x, key_padding_mask: m}`: `attn_mask` of (T, S) or (num_heads, T, S), `key_padding_mask`
        of (S,). As in torch's module, true hides a key, and floats are added to the scores. A query whose keys are
        all hidden gathers zeros, where torch's module gives NaN. `document` of (T,) has the number of each token's
        document, and tokens attend within their own. With `window` = W, token t sees the tokens nearer
        than W, of t - W + 1 to t where it is causal.
    Cost: 4 * D^2 weights and 4 * D biases, for the three projections and the one of the output; T * D^2 MACs for each
        projection, and 2 * T * S * D for the attention, those that are masked too. With `num_kv_heads` = G the
        projections of keys and values have G / num_heads of their weights and MACs; with `head_dim` = d the
        D values of all heads are num_heads * d. A window shorter than T goes by blocks of W queries and 3 W keys, 2 W
        where it is causal, in place of T * S; with a mask all T * S are computed.
    Errors: D not a multiple of `num_heads`, or that not of `num_kv_heads`; inputs that are not of floats; a vector;
        other axes that differ; a mask of whole numbers or of another shape; a window where queries and keys are not
        as many; heads of an odd n to turn.
    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2; Ainslie et al. 2023, arXiv:2305.13245, section 2.2
        (grouped queries); Beltagy et al. 2020, arXiv:2004.05150, section 3.1 (window). torch: none; its
        MultiheadAttention has these weights, under these names; embed_dim, kdim and vdim follow from the inputs. A
        spec's `init` fills the projection of the output; the others begin Glorot uniform, as in torch.
    """

    kind: ClassVar[str] = "multihead_attention"
    num_heads: PositiveInt = Field(description="heads, which share the D values among them")
    dropout: float = Field(0.0, ge=0, le=1, description="probability that a weight is dropped while training")
    bias: bool = Field(True, description="add a learned value to each result of the projections")
    is_causal: bool = Field(False, description="let token t see only the tokens 0 to t")
    num_kv_heads: PositiveInt | None = Field(None, description="heads of keys and values; null: num_heads, 1: one")
    head_dim: PositiveInt | None = Field(None, description="values of a head; null: D / num_heads")
    scale: float | None = Field(None, description="factor of the scores; null: 1 / sqrt(values of a head)")
    rotary: RotaryEmbedding | None = Field(
        None, description="turn queries and keys by their positions: a base, or the fields of `rotary_embedding`"
    )
    window: PositiveInt | None = Field(None, description="let a token see only those nearer than this, and itself")
    takes: list[Literal["query", "key", "value", "attn_mask", "key_padding_mask", "document"]] | None = Field(
        None, description="names of the inputs, as `from` gives them; null: query, key, value"
    )

    learns: ClassVar[bool] = True
    arity: ClassVar[int | tuple[int, ...] | None] = (1, 2, 3, 4, 5, 6)
    input_names: ClassVar[tuple[str, ...]] = ("query", "key", "value", *MASKS)
    hiding: ClassVar[Mapping[str, bool]] = dict.fromkeys(("attn_mask", "key_padding_mask"), True)
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
        if self.rotary is not None and self.rotary.num_heads is not None:
            raise ValueError("`rotary` turns each of the heads that the attention has: leave its num_heads out")
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
        if self.head_dim is None and d % self.num_heads:
            raise ShapeError(
                f"the {d} values of a token in {{0}} do not split into num_heads = {self.num_heads}",
                hint=f"Pick a divisor of {d}, or make the values a multiple of {self.num_heads}.",
                inputs=xs,
            )
        check_masks(self.kind, found, self.num_heads, xs)
        if self.window is not None and q[-2] != k[-2]:
            raise ShapeError(
                f"multihead_attention with a window compares positions, and {{0}} has {q[-2]} tokens, {{1}} {k[-2]}",
                hint="Leave `window` out, or let the tokens attend to themselves.",
                inputs=xs,
            )
        around, t, s = prod(q[:-2]), q[-2], k[-2]
        inner, width = self._widths(q)
        if self.rotary is not None:
            self.rotary.turning(inner // self.num_heads)
        scores = self._scores(found)
        macs = around * (2 * t * d * inner + s * (k[-1] + v[-1]) * width + 2 * scores.pairs * inner)
        mask = saved_mask(found, around, self.is_causal or self.window is not None)
        held = around * (self._held_in_blocks(q, scores) if scores.blocks > 1 else 0) or self._held(q, k, mask)
        if self.rotary is not None and len(xs) == len(found.masks) + 1 and scores.blocks == 1 and not self.dropout:
            held += 4 * around * t * (inner + width)  # values are a part of one projection, which stays whole
        fused = 4 * around * 2 * (t * inner + s * width)  # the gradient of a mask takes the weights beside
        weights = SavedIf(found.added, more=max(0, fused + 4 * around * self.num_heads * t * s - held))
        of_blocks = 4 * scores.pairs * self.num_heads  # which keys are near, as floats
        fixed = () if scores.blocks == 1 or self.dropout else (SavedIf((0, OWN), fixed=of_blocks),)
        if scores.blocks > 1 and scores.queries > 1:  # else what is gathered is a view
            fixed = (*fixed, SavedIf((OWN,), more=4 * around * t * inner))
        return Plan(
            shape=q,
            weights=self._weights(q, k, v),
            buffers=self._tables(t, s, inner // self.num_heads),
            macs=macs,
            window=seen(found, len(xs)),
            no_gradient=found.no_gradient,
            saved=(),
            saved_bytes=held,
            saved_if=(*(SavedIf((OWN,), input=i) for i in range(len(xs) - len(found.masks))), weights, *fixed),
        )

    def derivation(self, plan: Plan, *xs: Shape) -> Sequence[Line]:
        found = self._taken(xs)
        q, k, v = found.q, found.k, found.v
        inner, width = self._widths(q)
        scores = self._scores(found)
        names = {"T": q[-2], "S": k[-2], "D": q[-1], "K": k[-1], "V": v[-1], "H": inner, **scores.names}
        h = "D" if inner == q[-1] else "H"
        g = "G" if self.kv_heads != self.num_heads else h
        projections = {"queries": f"T * D * {h}", "keys": f"S * K * {g}", "values": f"S * V * {g}"}
        each = {"scores": f"{scores.formula} * {h}", "gathering": f"{scores.formula} * {h}"}
        steps = {**projections, **each, "output": f"T * {h} * D"}
        note = f"G = {width:,} values of {self.kv_heads} heads; keys and values of a token are 2 * G = {2 * width:,}"
        grouped = [Line(note=note, part="multiply-adds")] if g == "G" else []
        return [*default_lines(plan, xs), *grouped, *step_lines(steps, {**names, "G": width}, q[:-2])]

    def _widths(self, q: Shape) -> tuple[int, int]:
        """Return the values of all heads of the queries, and of all heads of the keys."""
        head = self.head_dim or q[-1] // self.num_heads
        return head * self.num_heads, head * self.kv_heads

    def _scores(self, found: Taken) -> Scores:
        return scores_of(found.q[-2], found.k[-2], self.window, self.is_causal, bool(found.masks))

    def _tables(self, t: int, s: int, head: int) -> dict[str, tuple[int, ...]]:
        if self.rotary is None:
            return {}
        size = (max(t, s), self.rotary.turning(head) // 2)
        return {"rotary.cos": size, "rotary.sin": size}

    def _weights(self, q: Shape, k: Shape, v: Shape) -> dict[str, tuple[int, ...]]:
        d = q[-1]
        inner, width = self._widths(q)
        weights: dict[str, tuple[int, ...]] = {"in_proj_weight": (inner + 2 * width, d)}
        if {k[-1], v[-1]} != {d}:
            weights = {"q_proj_weight": (inner, d), "k_proj_weight": (width, k[-1]), "v_proj_weight": (width, v[-1])}
        weights |= {"out_proj.weight": (d, inner)}
        if self.bias:
            weights |= {"in_proj_bias": (inner + 2 * width,), "out_proj.bias": (d,)}
        return weights

    def _held(self, q: Shape, k: Shape, mask: SavedMask | None) -> int:
        """Return the bytes of queries, keys, values and sums that torch saves.

        Fused attention saves a logarithm per head and query, and the mask as floats; with dropout torch saves the
        weights, before and after, and the mask, and each head of keys and values for all of its queries.
        """
        around, t, s = prod(q[:-2]), q[-2], k[-2]
        d, width = self._widths(q)
        if self.dropout:
            own = 2 * (t + s) * d + self.num_heads * t * 3 * s
            return 4 * around * own + (mask.hidden_bytes if mask is not None else 0)
        own = 4 * around * (2 * t * d + 2 * s * width + self.num_heads * t)
        return own + (4 * around * t * d + mask.added_bytes + mask.hidden_bytes if mask is not None else 0)

    def _held_in_blocks(self, q: Shape, scores: Scores) -> int:
        """Return the bytes for one attention within a window: blocks of queries, and copies of the keys around."""
        inner, width = self._widths(q)
        queries, keys = scores.blocks * scores.queries, scores.blocks * scores.keys
        if self.dropout:
            return 4 * ((queries + 2 * keys) * inner + 3 * self.num_heads * scores.pairs)
        if self.kv_heads == 1:  # a view: blocks of a single head overlap in memory
            keys = queries + scores.keys - scores.queries
        return 4 * (2 * queries * inner + 2 * keys * width + self.num_heads * queries)

    def module(self, *xs: Shape) -> Module:
        from ..modules.attention import MultiheadAttention as Built

        found = self._taken(xs)
        q, k = found.q, found.k
        return Built(
            q[-1],
            self.num_heads,
            self.dropout,
            self.bias,
            k[-1],
            found.v[-1],
            self.is_causal,
            self.num_kv_heads,
            self.takes or self.input_names[: len(xs)],
            self.head_dim,
            self.scale,
            None
            if self.rotary is None
            else self.rotary.built(max(q[-2], k[-2]), self._widths(q)[0] // self.num_heads),
            self.window,
        )
