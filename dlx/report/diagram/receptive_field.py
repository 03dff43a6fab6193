"""The receptive field of a layer on an input of two axes of positions."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from ...graph import Graph, LayerNode
from ...shapes import Number, ReceptiveField

Window = tuple[int, int, int, int, int, int]
"""Height and width of an input, then top, left, height and width of a part of it."""


def size_of(graph: Graph, name: str) -> tuple[int, int] | None:
    """Return height and width of an input; None where it is no picture."""
    size = graph.inputs[name]
    return (size[-2], size[-1]) if len(size) == 3 and graph.channel_axes.get(name, 0) == 0 else None


def centre(node: LayerNode, graph: Graph) -> Window | None:
    """Return what the value in the middle of a layer sees of the main input, where that is a picture.

    The window is that of the receptive field, which may reach beyond the edges; None where it is not known.
    """
    if not node.main_input or (size := size_of(graph, node.main_input)) is None:
        return None
    field = node.receptive_field
    if field == "global":
        return (*size, 0, 0, *size)
    if not isinstance(field, ReceptiveField) or len(field.size) != 2:
        return None
    along = zip(field.size, field.stride, field.start, strict=True)
    axes = [window(length, *of) for length, of in zip(size, along, strict=True)]
    (top, height), (left, width) = axes
    return (*size, top, left, height, width)


def window(length: int, size: Number | None, stride: Number, start: Number, next_by: int = 0) -> tuple[int, int]:
    """Return where the field of the position nearest to the middle of an axis begins, or of one `next_by` after it.

    The second value is its size, `length` where it is the whole axis.
    """
    if size is None:
        return 0, length
    place = max(0, round((length / 2 - size / 2 - start) / stride)) if stride else 0
    return floor(start + (place + next_by) * stride), floor(size)


def around(node: LayerNode, size: Sequence[int]) -> tuple[tuple[float, float, float, float], ...]:
    """Return left, top, width and height of what the middle of a layer sees of a picture, then its neighbour's.

    Empty where the layer sees no picture of this height and width, or what it sees is not known.
    """
    field = node.receptive_field
    if field == "global":
        return ((0.0, 0.0, float(size[1]), float(size[0])),)
    if not isinstance(field, ReceptiveField) or len(field.size) != 2:
        return ()
    found = []
    for next_by in (0, 1):
        of = zip(size, field.size, field.stride, field.start, strict=True)
        axes = [window(length, seen, stride, start, next_by) for length, seen, stride, start in of]
        (top, height), (left, width) = axes
        found.append((float(left), float(top), float(width), float(height)))
    return tuple(found)
