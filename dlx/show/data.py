"""The tables of `dlx data`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..analysis.data.description import ClassCount, DataDescription, FieldDescription
from ..errors import plural
from ..shapes import by_x
from .console import TextTable, out

MOST_CLASSES, MOST_COLUMNS, MOST_EXAMPLES, MOST_CELLS = 20, 30, 3, 8
"""Most rows of each table; `--json` has all."""


def described(found: Mapping[str, DataDescription]) -> None:
    """Print the description of the data of a spec, or of each stage under its name."""
    for number, (stage, one) in enumerate(found.items()):
        if number:
            out()
        if stage:
            out(f"stage {stage}", "bold")
        _one(one)


def _one(made: DataDescription) -> None:
    out(f"{made.name}: {made.sets.source}", "bold")
    out(", ".join(f"{name} {plural(len(part), 'example')}" for name, part in made.parts.items()))
    out()
    _fields(made)
    for name, classes in made.classes.items():
        out()
        _classes(name, classes, list(made.parts))
    if made.columns:
        out()
        _columns(made)
    for line in _steps(made):
        out(line)
    if made.examples:
        out()
        _examples(made)


def _fields(made: DataDescription) -> None:
    table = TextTable("field", "role", "dtype", "shape", "values", "why", spare=("values",))
    for one in made.fields:
        table.add(one.name, one.role, one.dtype, by_x(one.shape) or "-", _values(one), one.why)
    table.print()


def _values(one: FieldDescription) -> str:
    found = one.figures
    if "distinct" in found:
        return f"{found['distinct']:,} different"
    ignored = f"{one.ignored:,} positions ignored" if one.ignored else ""
    if one.role == "target" and one.classes is not None:
        return ", ".join(filter(None, [_classes_counted(one.classes), ignored]))
    return _range(found["min"], found["mean"], found["max"]) if found else ""


def _classes_counted(count: int, more: str = "") -> str:
    return f"{count:,} {more}class{'es' * (count > 1)}"


def _range(low: Any, mean: Any, high: Any) -> str:
    middle = f", mean {mean:.4g}" if mean is not None else ""
    return f"{_number(low)} to {_number(high)}{middle}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _classes(name: str, classes: tuple[ClassCount, ...], parts: list[str]) -> None:
    weighed = any(one.weight is not None for one in classes)
    table = TextTable(name, *(f">{part}" for part in parts), *([">weight"] if weighed else []))
    for one in classes[:MOST_CLASSES]:
        weight = [f"{one.weight:.4g}" if one.weight is not None else ""] if weighed else []
        table.add(one.name or str(one.number), *(f"{one.counts[part]:,}" for part in parts), *weight)
    table.print()
    if len(classes) > MOST_CLASSES:
        out(f"and {_classes_counted(len(classes) - MOST_CLASSES, 'more ')}: `--json` has all")


def _columns(made: DataDescription) -> None:
    table = TextTable("column", "taken for", ">inputs", ">missing", "values", "because", spare=("because",))
    for use in made.columns[:MOST_COLUMNS]:
        found = made.column_values.get(use.name)
        values = ""
        if found is not None and found.least is not None:
            values = _range(found.least, found.mean, found.greatest)
        elif found is not None:
            values = ", ".join(f"{value} ({count:,})" for value, count in found.most_frequent)
            values += ", ..." * (found.distinct > len(found.most_frequent))
        missing = f"{found.missing:,}" if found is not None and found.missing else ""
        table.add(use.name, use.taken_for, str(use.inputs or ""), missing, values, use.because)
    if not made.column_values:
        table.drop("missing")
        table.drop("values")
    table.print()
    if len(made.columns) > MOST_COLUMNS:
        out(f"and {plural(len(made.columns) - MOST_COLUMNS, 'more column')}: `--json` has all")


def _steps(made: DataDescription) -> Iterator[str]:
    for name, steps in made.steps.items():
        yield ""
        for step in steps:
            document = step.as_json()
            yield f"preprocessing of {name}: {step.step.kind}"
            for statistic, summary in document["statistics"].items():
                values = summary.get("values")
                yield f"  {statistic} {', '.join(map(_number, values)) if values else by_x(summary['shape'])}"


def _examples(made: DataDescription) -> None:
    rows = made.examples[:MOST_EXAMPLES]
    cells = [{n: _shortened(v) for n, v in one["fields"].items()} if "row" not in one else one["row"] for one in rows]
    names = list(cells[0])
    table = TextTable("example", *(f"#{one['index']}" for one in rows))
    for name in names[:MOST_CELLS]:
        table.add(name, *(_cell(one[name]) for one in cells))
    table.print()
    if len(names) > MOST_CELLS:
        out(f"and {plural(len(names) - MOST_CELLS, 'more column')}: `--json` has all")


def _shortened(value: Any) -> Any:
    """Return the beginning of a text of many letters; any other value as it is."""
    return f"{value[:37]}..." if isinstance(value, str) and len(value) > 40 else value


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return _range(value["min"], value["mean"], value["max"])
    if isinstance(value, list):
        return f"[{', '.join(map(_number, value))}]" if not isinstance(value[0], list) else str(value)
    return "" if value is None else _number(value)
