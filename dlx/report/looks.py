"""Looks inside trained networks as sheets: filters, feature maps, attention, receptive fields, samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..data.images import png
from ..errors import DlxError, did_you_mean
from ..graph import LayerNode
from ..lazy import np
from ..runs.folder import ARTIFACTS, RunFolder
from ..shapes import ReceptiveField
from ..trained.difference import RunGroup
from ..trained.filters import first_filters, none_of
from ..trained.inside import ATTENTION, Example, Inside, NothingToShowError, inside
from .diagram.receptive_field import around
from .sheet import Row, Sheet, Tile, grouped

if TYPE_CHECKING:
    import numpy.typing as npt

    from .plot import Drawing

    Array = npt.NDArray[Any]

T = TypeVar("T")
MOST_MAPS = 32
"""Maps of a layer that are shown, the first ones."""
MOST_FILTERS = 64
MOST_NAMED = 40
"""Tokens of an example whose texts stand beside its attention."""
SPACE = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def filters(drawing: Drawing) -> Sheet:
    """Draw the filters of first layers, one sign red and the other blue; of colours as colours."""

    def of(group: RunGroup) -> list[Row]:
        run = group.runs[0]
        found = first_filters(run)
        if not found:
            raise none_of(run)
        return [_filters(group.label, one.layer, one.values) for one in found]

    return Sheet("filters", "First-layer filters", _rows(drawing, of))


def _filters(label: str, layer: str, values: Array) -> Row:
    count, channels, high, wide = values.shape
    about = f"{count} filters of {channels}x{high}x{wide}" + _first(count, MOST_FILTERS)
    if channels == 1:
        tiles = tuple(Tile(str(i), one[0]) for i, one in enumerate(values[:MOST_FILTERS]))
        about = f"{about}, {_range(values)}: blue below 0, red above"
        return Row(layer, tiles, "diverging", about=about, label=label)
    largest = float(np.abs(values).max()) or 1.0
    shown = np.moveaxis(values[:MOST_FILTERS], 1, -1) / (2 * largest) + 0.5
    tiles = tuple(Tile(str(i), one) for i, one in enumerate(shown))
    return Row(layer, tiles, "picture", about=f"{about}, grey is 0, the largest value is {largest:.3g}", label=label)


def features(drawing: Drawing) -> Sheet:
    """Draw the maps that layers make of an example, from black, the least value of a layer, to white."""
    asked = drawing.options.layer

    def of(group: RunGroup) -> list[Row]:
        seen = _inside(drawing, group)
        maps = {name: one for name, one in seen.values.items() if one.ndim == 3 and min(one.shape[1:]) > 1}
        names = _chosen(group.runs[0], seen, asked, maps, "map of features", "Take a network of convolutions.")
        shown = [name for name in names if asked or seen.nodes[name].kind.startswith(("conv", "pool", "max_pool"))]
        return [_example(seen), *(_features(seen, name) for name in shown or names[:6])]

    return Sheet("features", "Feature maps", _rows(drawing, of))


def _features(seen: Inside, name: str) -> Row:
    values = seen.values[name]
    tiles = tuple(Tile(str(i), one) for i, one in enumerate(values[:MOST_MAPS]))
    about = f"{'x'.join(map(str, values.shape))}, {_range(values)}{_first(len(values), MOST_MAPS)}"
    return Row(name, tiles, "grey", about=about)


def attention(drawing: Drawing) -> Sheet:
    """Draw the weights of attention: a row for each query, which adds up to 1, a column for each key."""
    asked = drawing.options.layer

    def of(group: RunGroup) -> list[Row]:
        seen = _inside(drawing, group)
        hint = f"Layers with weights of attention are {', '.join(f'`{kind}`' for kind in ATTENTION)}."
        names = _chosen(group.runs[0], seen, asked, seen.attention, "attention", hint)
        example = [_example(seen)] if seen.example.picture is not None else []
        return [*example, *(_attention(seen, name) for name in names)]

    return Sheet("attention", "Attention: queries down, keys across", _rows(drawing, of))


def _attention(seen: Inside, name: str) -> Row:
    values = seen.attention[name]
    values = values.reshape(-1, *values.shape[-2:])
    words = tuple("".join(SPACE.get(c, c) for c in token)[:8] for token in seen.example.tokens)
    rows, columns = (words if 0 < len(words) == size <= MOST_NAMED else () for size in values.shape[-2:])
    tiles = tuple(
        Tile(f"head {i}", one, (), rows, columns if rows else ()) for i, one in enumerate(values[:MOST_MAPS])
    )
    about = f"{values.shape[-2]} queries, {values.shape[-1]} keys; white is 0, the darkest {values.max():.3g}"
    return Row(name, tiles, "sequential", "large", about + _first(len(values), MOST_MAPS))


def fields(drawing: Drawing) -> Sheet:
    """Draw what the value in the middle of each layer sees of an example, and its neighbour's in dashes."""
    asked = drawing.options.layer

    def of(group: RunGroup) -> list[Row]:
        seen = _inside(drawing, group)
        picture = seen.example.picture
        if picture is None:
            hint = "`dlx draw SPEC --receptive-field LAYER` draws it on the bare input."
            raise NothingToShowError(f"an example of {group.runs[0].key} is no picture", hint=hint)
        boxes = {name: around(node, picture.shape[:2]) for name, node in seen.nodes.items()}
        there = {name: found for name, found in boxes.items() if found}
        names = _chosen(group.runs[0], seen, asked, there, "receptive field of two axes", "")
        wanted = [n for n in names if asked or seen.nodes[n].params or seen.nodes[n].kind.endswith("pool")]
        tiles = tuple(Tile(f"{n}\n{_size(seen.nodes[n])}", picture, there[n]) for n in wanted or names)
        return [Row(seen.example.place, tiles, "picture", "middle", "what the middle of a layer sees of it")]

    return Sheet("fields", "Receptive fields", _rows(drawing, of))


def _size(node: LayerNode) -> str:
    field = node.receptive_field
    return " x ".join(map(str, field.size)) if isinstance(field, ReceptiveField) else "all of it"


def samples(drawing: Drawing) -> Sheet:
    """Draw the sheets of samples that a run has written, the last of each name."""

    def of(group: RunGroup) -> list[Row]:
        run = group.runs[0]
        sheets = last_sheets(run)
        if not sheets:
            hint = "Train with `train: {samples: 500}`, or write some of the last weights: `dlx sample RUN`."
            raise NothingToShowError(f"{run.key} has no pictures of samples", hint=hint)
        return [
            Row(path.stem, (Tile("", png.decoded(path.read_bytes(), str(path))),), "picture", "large")
            for path in sheets
        ]

    return Sheet("samples", "Samples", _rows(drawing, of))


def last_sheets(run: RunFolder) -> list[Any]:
    """Return the last picture of samples of each name, `step-000500-NAME.png`."""
    sheets = sorted((run.dir / ARTIFACTS / "samples").glob("*.png"))
    return list({path.stem.split("-", 2)[-1]: path for path in sheets}.values())


# --- what all have in common ----------------------------------------------------------------------------------------


def _rows(drawing: Drawing, of: Callable[[RunGroup], list[Row]]) -> tuple[Row, ...]:
    """Return the rows of all groups; a group that has none is a note, or the error where no group has one."""
    labels = [group.label for group in drawing.groups]
    return tuple(
        replace(row, heading=grouped(labels, group.label, row.heading), label=group.label)
        for group, row in of_groups(drawing, of)
    )


def of_groups(drawing: Drawing, of: Callable[[RunGroup], list[T]]) -> list[tuple[RunGroup, T]]:
    """Return what `of` makes of the first run of each group, with the group.

    A group that has none is a note. DlxError where no group has one; NothingToShowError where none could have it.
    """
    found: list[tuple[RunGroup, T]] = []
    missing: list[DlxError] = []
    for group in drawing.groups:
        try:
            found += [(group, one) for one in of(group)]
        except DlxError as error:
            missing.append(error)
            continue
        if len(group.runs) > 1:
            first = group.runs[0].key
            drawing.notes.append(f"of {group.label} the first of {len(group.runs)} runs is shown: {first}")
    problems = [problem for one in missing for problem in one.problems]
    if not found:
        is_amiss = not all(isinstance(one, NothingToShowError) for one in missing)
        raise DlxError(*problems) if is_amiss else NothingToShowError(*problems)
    drawing.notes += [" ".join(filter(None, (one.message, one.hint))) for one in problems]
    return found


def _inside(drawing: Drawing, group: RunGroup) -> Inside:
    run = group.runs[0]
    if run.key not in drawing.insides:
        drawing.insides[run.key] = inside(
            run, drawing.options.example, drawing.options.part or None, loaded=drawing.loaded(run)
        )
    return drawing.insides[run.key]


def _example(seen: Inside) -> Row:
    """Return the example itself."""
    one: Example = seen.example
    tiles = (Tile("", one.picture),) if one.picture is not None else ()
    return Row(one.place, tiles, "picture", "middle", "the example" if tiles else "")


def _chosen(run: RunFolder, seen: Inside, asked: Sequence[str], there: Any, what: str, hint: str) -> list[str]:
    """Return the layers that are shown: those asked for, else all that have it. DlxError where there is none."""
    if not there:
        raise NothingToShowError(f"{run.key} has no {what}", hint=hint)
    for name in asked:
        if name not in there:
            known = f"`{name}` of {run.key} has no {what}"
            hint = did_you_mean(name, list(there)) or f"There is {', '.join(list(there)[:8])}."
            raise DlxError(known if name in seen.nodes else f"{run.key} has no layer `{name}`", hint=hint)
    return list(asked or there)


def _range(values: Array) -> str:
    return f"from {values.min():.3g} to {values.max():.3g}"


def _first(count: int, most: int) -> str:
    return f", the first {most} of {count}" if count > most else ""


__all__ = ["attention", "features", "fields", "filters", "last_sheets", "samples"]
