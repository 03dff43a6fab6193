"""The use of each column of a table, and warnings about likely mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...errors import Problem, listed, plural
from ..base import ColumnUse
from ..file_reading import ONE_LABEL, SEVERAL_LABELS, lost_distinctions
from .cells import NUMBER, shaped_like_numbers
from .date_parts import part_of
from .text_columns import first_target_is_text, text_uses

if TYPE_CHECKING:
    from ..text.fields import TextField
    from .columns import Column
    from .frame import Frame
    from .table import Table

INDEX, NAMELESS = UNNAMED = ("the index of a data frame", "no name")
"""Why a column that nobody named is left out."""
LOOKED_AT = 2**16
"""Number of rows whose digits are examined."""
MANY = 50
"""Number of inputs of one category above which a warning is given."""
MANY_OF_ROWS = 0.5
"""Number of categories, as a fraction of the rows, above which a warning is given."""
FEW = 10
"""Number of categories up to which no warning is given."""
WRITE_ONE_WAY = "They are taken for different ones: write each in one way in the file, if one is meant."
"""The hint about texts that differ in spaces or capitals alone."""
SORTS = {
    "number": "numbers",
    "boolean": "true and false",
    "category": "texts, an input each",
    "ordinal": "texts in an order",
    "date": "dates",
    "target": "texts, means of targets",
    "text": "texts, a bag of words",
}


def uses(
    table: Table,
    frame: Frame,
    columns: Sequence[Column],
    goal: Column | None,
    texts: Mapping[str, TextField] = MappingProxyType({}),
) -> tuple[ColumnUse, ...]:
    """Return the use of each column of the file, in its order."""
    inputs = {column.name: column for column in columns}
    found = []
    others = _further_uses(table, frame) | {one.name: one for one in text_uses(table, texts)}
    groups = {name: field for field, group in (table.inputs or {}).items() for name in group.columns}
    first = next(iter(table.targets), "target") if table.targets else "target"
    for name in frame.every:
        field = groups.get(name, "input")
        if name in frame.left_out:
            found.append(ColumnUse(name, "left out", 0, frame.left_out[name]))
        elif name in table.looked_up:
            found.append(ColumnUse(name, "integers", 1, _why(table, frame, inputs[name]), field))
        elif name in inputs:
            column = inputs[name]
            found.append(ColumnUse(name, SORTS[column.sort], column.width, _why(table, frame, column), field))
        elif name in others:
            found.append(others[name])
        elif goal is not None:
            because = "`task` says so" if goal.sort == "number" else _why(table, frame, goal)
            found.append(ColumnUse(name, "target, classes", 0, because, first))
        else:
            found.append(ColumnUse(name, "target, values", 0, _stored(table, frame, name), first))
    return tuple(found)


def _further_uses(table: Table, frame: Frame) -> dict[str, ColumnUse]:
    """Return the use of each column that is a weight, an id or a target after the first one."""
    from .table_fields import further_goals, target_columns

    named = {"weight": table.weights, "id": table.ids}
    found = {
        name: ColumnUse(name, role, 0, f"`{role}s` names it", role)
        for role, name in named.items()
        if name is not None
    }
    for field, goal in further_goals(table, frame).items():
        name = target_columns(table)[field].column or field
        kind, why = ("values", _stored(table, frame, name)) if goal is None else ("classes", _why(table, frame, goal))
        found[name] = ColumnUse(name, f"target `{field}`, {kind}", 0, why, field)
    return found


def _why(table: Table, frame: Frame, column: Column) -> str:
    name = column.name
    named = "`categorical` names it" if name in table.categorical else ""
    if name in table.ordinal:
        named = "`ordinal` gives the order" if isinstance(table.ordinal, dict) else "`ordinal` names it, sorted"
    named = "`target_encoding` names it" if column.means is not None else named
    marked = "an input more for missing values" if column.marked else ""
    if column.bag is not None:
        texts = f"`text` names it; {plural(len(column.texts), 'word')} of the training part, {column.bag.values}"
    elif column.date is not None:
        form = f"of the format `{column.date.format}`" if column.date.format else _stored(table, frame, name)
        texts = f"{form}; {column.date.described}"
    elif column.sort == "number" or column.texts == ("false", "true"):
        texts = _stored(table, frame, name)
    elif column.sort == "boolean":
        texts = f"`false_is` is given, and the texts are {listed(column.texts)}"
    else:
        texts = f"{plural(len(column.texts), 'text')}, {listed(column.texts)}"
        named = named or frame.why.get(name, "")
    return "; ".join(filter(None, [named, texts, marked]))


def _stored(table: Table, frame: Frame, name: str) -> str:
    kind = "" if name in frame.why else f"stored as {frame.table.schema.field(name).type}"
    log = "`log` names it" if name in table.log else ""
    return "; ".join(filter(None, [kind or "all its texts are", frame.why.get(name), log]))


def warnings(table: Table, frame: Frame, columns: Sequence[Column], goal: Column | None) -> tuple[Problem, ...]:
    """Return warnings about columns whose use is seldom intended."""
    return (
        *_index(frame),
        *_first_line(table, frame),
        *_texts(table, frame, columns, goal),
        *_booleans(table, columns),
        *_labels(table, frame, goal),
        *_digits(table, frame, columns, goal),
    )


def _index(frame: Frame) -> Iterator[Problem]:
    for name, why in frame.left_out.items():
        if why in UNNAMED:
            which = f"column `{name}` of {frame.path} is {why}" if name else f"a column of {frame.path} has no name"
            yield Problem(f"{which}, and is left out", "`columns` names all columns that are taken.")


def _first_line(table: Table, frame: Frame) -> Iterator[Problem]:
    if frame.why and table.names is None and all(re.fullmatch(NUMBER, name) for name in frame.every):
        yield Problem(
            f"all columns of {frame.path} have numbers for names: its first line may be a row",
            f"`names` gives the names where it is: `names: [{', '.join('abc'[: len(frame.every)])}]`.",
        )


def _texts(table: Table, frame: Frame, columns: Sequence[Column], goal: Column | None) -> Iterator[Problem]:
    """Yield warnings about texts that look like numbers or like each other, and about very many categories."""
    for column in [*columns, *([goal] if goal is not None else [])]:
        name, many = column.name, len(column.texts)
        if column.sort != "category" or name in table.categorical:
            continue
        where = f"column `{name}` of {frame.path}"
        about = frame.warnings.get(name)
        if about is None and name not in frame.why:
            about = shaped_like_numbers(column.texts, where)
        if about is not None:
            yield about
        elif alike := written_alike(column.texts):
            message = f"{where} has texts that differ in spaces or capitals alone: {listed(alike)}"
            yield Problem(message, WRITE_ONE_WAY)
        elif column is not goal and many > FEW and (many > MANY or many > MANY_OF_ROWS * len(frame)):
            yield Problem(
                f"{where} has {many:,} different texts in {len(frame):,} rows, and each becomes an input",
                f"`drop: [{name}]` leaves it out.",
            )


def written_alike(texts: Sequence[str]) -> list[str]:
    """Return those of the texts that differ from another one in spaces or capitals alone, side by side."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault("".join(text.split()).casefold(), []).append(text)
    return [text for several in alike.values() if len(several) > 1 for text in several]


def _booleans(table: Table, columns: Sequence[Column]) -> Iterator[Problem]:
    if table.false_is and not any(column.sort == "boolean" for column in columns):
        yield Problem(
            f"`false_is: {table.false_is}` changes nothing: no column of {table.path} is of true and false",
            "It is for columns of true and false, yes and no, y and n, or t and f.",
        )


def _labels(table: Table, frame: Frame, goal: Column | None) -> Iterator[Problem]:
    """Yield a warning about target columns of 0 and 1 that are fitted as values."""
    if goal is not None or table.goal_task is not None or first_target_is_text(table) or table.unlabelled:
        return
    names = table.goal_columns
    if all(((values := frame.numbers(name)) == 0).sum() + (values == 1).sum() == len(frame) for name in names):
        many = len(names) > 1
        targets = f"the targets {listed(names)} hold" if many else f"the target `{names[0]}` holds"
        hint = SEVERAL_LABELS if many else ONE_LABEL
        yield Problem(f"{targets} 0 and 1: labels, which are fitted as values", hint)


def _digits(table: Table, frame: Frame, columns: Sequence[Column], goal: Column | None) -> Iterator[Problem]:
    """Yield warnings about columns whose values become equal in single precision."""
    inputs = [] if table.standardizes else [column for column in columns if column.sort == "number"]
    inputs += [] if table.standardizes else [c for c in columns if c.date is not None and "timestamp" in c.date.parts]
    names = [column.name for column in inputs]
    moments = {column.name for column in inputs if column.date is not None}
    targets = [] if goal is not None or first_target_is_text(table) else table.goal_columns
    for name in [*names, *targets]:
        values = part_of(frame.table.column(name), "timestamp") if name in moments else None
        values = frame.numbers(name, name in table.log, LOOKED_AT) if values is None else values
        for _, there, left in lost_distinctions(values[:LOOKED_AT, None]):
            way_out = "`standardize: feature` takes the mean off before" if name in names else "Take an offset off"
            yield Problem(
                f"column `{name}` of {frame.path} has {there:,} different values, and {left:,} of them in 32 bits",
                f"{way_out}.",
            )
