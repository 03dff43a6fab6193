"""The masks of attention: which of its inputs they are, and whether they fit queries and keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from ..errors import ShapeError
from ..shapes import Shape
from .base import AxisMap, InputPaths, WindowLike

DOCUMENT: Final = "document"
"""Input that holds the number of the document of each token: a token sees those of its own alone."""
MASKS: Final = ("attn_mask", "key_padding_mask", DOCUMENT)


@dataclass(frozen=True, slots=True)
class Taken:
    """The inputs of an attention, by name: their shapes, and their indices among all inputs."""

    q: Shape
    k: Shape
    v: Shape
    masks: tuple[tuple[int, str, Shape], ...] = ()
    """Index, name and shape of each mask."""

    @property
    def no_gradient(self) -> tuple[int, ...]:
        """Indices of the masks that only select: those of truth values, and documents."""
        return tuple(index for index, _, shape in self.masks if shape.dtype != "float")

    @property
    def added(self) -> tuple[int, ...]:
        """Indices of the masks that are added to the scores: those of floats."""
        return tuple(index for index, _, shape in self.masks if shape.dtype == "float")


def taken(takes: Sequence[str], xs: Sequence[Shape]) -> Taken:
    """Split the inputs of an attention into queries, keys, values and masks.

    `takes` are the names of `xs`. Missing keys are the queries, and missing values the keys.
    """
    named = dict(zip(takes, xs, strict=True))
    k = named.get("key", named["query"])
    masks = tuple((i, name, x) for i, (name, x) in enumerate(zip(takes, xs, strict=True)) if name in MASKS)
    return Taken(named["query"], k, named.get("value", k), masks)


def check_masks(kind: str, found: Taken, heads: int, xs: Sequence[Shape]) -> None:
    """Raise a ShapeError for a mask of integers, or one that does not cover queries and keys.

    `heads` is the number of heads that are no axis of the queries; 0 where all of them are.
    """
    q, k = found.q, found.k
    around, t, s = q[:-2], q[-2], k[-2]
    for index, name, mask in found.masks:
        what = f"the {name} of {kind}, {{{index}}},"
        if name == DOCUMENT:
            if mask.dtype != "int" or t != s or tuple(mask) not in ((s,), (*around, s)):
                message = f"{what} holds no whole number for each of the {t} tokens, which attend to themselves"
                hint = f"Declare the input as `{{shape: [{s}], dtype: int}}`, as `NAME.document` of a text is."
                raise ShapeError(message, hint=hint, inputs=xs)
            continue
        if mask.dtype == "int":
            hint = "Declare the input as `dtype: bool`, or as `dtype: float` for values that are added to the scores."
            raise ShapeError(f"{what} holds whole numbers", hint=hint, inputs=xs)
        if name == "key_padding_mask":
            allowed = [(s,), *([(*around, s)] if around else [])]
            wants = f"one value for each of the {s} keys"
        else:
            allowed = [(t, s), *([(*around, t, s)] if around else []), *([(*around, heads, t, s)] if heads else [])]
            wants = f"a value for each of the {t} queries and {s} keys"
        if not any(_covers(mask, shape) for shape in allowed):
            shapes = " or ".join(dict.fromkeys(str(Shape(shape)) for shape in allowed))
            hint = f"It can be {shapes}; an axis may have one entry, for all."
            raise ShapeError(f"{what} does not hold {wants}", hint=hint, inputs=xs)


def _covers(mask: Shape, shape: Sequence[int]) -> bool:
    return len(mask) == len(shape) and all(a in (1, b) for a, b in zip(mask, shape, strict=True))


def seen(found: Taken, inputs: int) -> InputPaths:
    """Return the dependency on the inputs: each query at its place, every key and value, and what masks add."""
    q = found.q
    around = range(len(q) - 2)
    queries, others = AxisMap((*around, len(q) - 2, None)), AxisMap((*around, None, None))
    count = inputs - len(found.masks)
    paths: list[tuple[int, WindowLike]] = [(0, queries), *((i, others) for i in range(min(1, count - 1), count))]
    return InputPaths((*paths, *((i, AxisMap((None,) * len(q))) for i in found.added)))


@dataclass(frozen=True, slots=True)
class SavedMask:
    """The mask that all masks of an attention make together, as torch saves it, in bytes per sample."""

    added_bytes: int
    """The mask as floats."""
    hidden_bytes: int
    """Whether each query has no key."""


def saved_mask(found: Taken, around: int, is_causal: bool) -> SavedMask | None:
    """Return what torch saves of the masks of `around` attentions of a sample; None where there are none."""
    if not found.masks:
        return None
    full = [x for _, name, x in found.masks if name == "attn_mask"]
    rows = max([around, *(prod(x[:-2]) for x in full)])
    by_query = is_causal or any(x[-2] > 1 for x in full) or any(name == DOCUMENT for _, name, _ in found.masks)
    hidden = rows * (found.q[-2] if by_query else 1)
    return SavedMask(4 * hidden * found.k[-2], hidden)
