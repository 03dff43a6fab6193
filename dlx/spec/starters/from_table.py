"""The spec that fits a table: what `dlx new --data my.csv` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, did_you_mean, listed, plural
from ...lazy import np
from .from_series import found_series, series_draft
from .lines import Draft, held_out, listing, one_line, quoted, training_lines, with_comment

if TYPE_CHECKING:
    from ...data.tables.columns import Column
    from ...data.tables.frame import Frame

LEAST_ROWS = 10
"""Rows from which on some can be held out."""
FEW_CLASSES = 20
"""Different whole numbers that a target of classes may have."""
MANY_TEXTS = 50
"""Different texts from which on a column is left out, or taken as bags of words."""
WORDS = 5
"""Words of a text, in the mean, from which on a column of many texts is taken as bags of words."""
TARGETS = ("target", "label", "class", "y", "outcome", "response", "survived", "species", "diagnosis", "price")
"""Names that a target often has, in the order in which they are looked for."""
CODES = re.compile(r"(?i).*(code|type|category|class|kind)|zip")
"""Names of columns whose numbers are names of categories."""
IDS = re.compile(r"(?i)(.*[_ -])?(id|uuid|guid|index|key)|.*[a-z]Id")


@dataclass
class TableChoices:
    """The choices for a table."""

    target: str
    why: str
    classes: tuple[str, ...] | None = None
    """Of a target of classes; None where it has values."""
    numbered: bool = False
    """The classes are whole numbers in the file."""
    left_out: dict[str, str] = field(default_factory=dict)
    categorical: list[str] = field(default_factory=list)
    dates: dict[str, str] = field(default_factory=dict)
    """Format of each column of dates that are not in ISO 8601."""
    text: list[str] = field(default_factory=list)
    missing: dict[str, tuple[str, int]] = field(default_factory=dict)
    """By column: what is done about missing values, and how many there are."""
    shift: float = 0.0
    spread: float = 1.0
    """Mean and standard deviation of a target of values."""
    stratify: bool = False


def table_draft(data: Path, path: str, name: str, target: str | None, unlabelled: bool = False) -> Draft:
    from ...data.tables.cells import Notation
    from ...data.tables.frame import read

    frame = read(data)
    named = [one for one in frame.names if one not in frame.index]
    if len(frame) < LEAST_ROWS:
        message = f"{data} has {plural(len(frame), 'row')}, too few to hold some out: {LEAST_ROWS} are the least"
        raise DataError(message, hint="Give a file with more examples.")
    if len(named) < 2 - unlabelled:
        message = (
            f"{data} has {plural(len(named), 'column')}, and a training wants one to predict and one to learn from"
        )
        raise DataError(message, hint="`delimiter` in a spec says what stands between columns, where it is no comma.")
    frame = frame.only(named).typed(Notation(None, "."))
    if unlabelled:
        return _without_target(data, path, name, frame)
    plan = _plan(frame, target)
    series = found_series(frame, plan.target) if plan.classes is None and not plan.missing else None
    if series is not None:
        found = series_draft(data, path, name, frame, plan.target, series)
        return Draft(found.text, (next(_notes(plan)), *found.notes))
    inputs = [one for one in named if one != plan.target and one not in plan.left_out]
    if not inputs:
        reasons = "; ".join(f"`{one_line(one)}` {why}" for one, why in plan.left_out.items())
        raise DataError(
            f"{data} has no column to learn `{one_line(plan.target)}` from: {reasons}",
            hint=_of_texts(frame, plan) or "Add a column.",
        )
    notes = [*_notes(plan), *_odd_texts(frame, plan, inputs), *_repeated(frame)]
    return Draft("\n".join(_table_lines(data, path, name, frame, plan)) + "\n", tuple(notes))


def _without_target(data: Path, path: str, name: str, frame: Frame) -> Draft:
    """The autoencoder of a table without a target. DataError where no column is an input."""
    from .from_unlabelled import table_draft as unlabelled_draft

    plan = TableChoices("", "")
    columns = {one: _surveyed(frame, one) for one in frame.names}
    plan.left_out = {one: why for one in frame.names if (why := _why_not(frame, one, columns[one]))}
    _treat(frame, plan, columns)
    if len(plan.left_out) == len(columns):
        reasons = "; ".join(f"`{one_line(one)}` {why}" for one, why in plan.left_out.items())
        raise DataError(f"{data} has no column to learn from: {reasons}", hint="Add a column.")
    found = unlabelled_draft(data, path, name, frame, plan, list(_input_lines(plan, len(frame))))
    return Draft(found.text, (*found.notes, *_repeated(frame)))


def _of_texts(frame: Frame, plan: TableChoices) -> str:
    """The way to write a text from a text; empty where the target and what is left out are none."""
    texts = [name for name in plan.left_out if frame.sorts()[name] == "text"]
    if not texts or frame.sorts()[plan.target] != "text" or not _has_many_texts(frame, plan.target):
        return ""
    one, target = quoted(one_line(texts[0])), quoted(one_line(plan.target))
    inputs = f"inputs: {{{one}: text, so_far: {{shifted: {target}}}}}"
    return (
        f"`objective: translation` writes a text from another, with `{inputs}` and `targets: {{{target}: text}}` "
        "of a `table`: `dlx new FILE --starter zoo/translation` has a network."
    )


def _repeated(frame: Frame) -> Iterator[str]:
    """A sentence about rows that are there twice, of which one may be trained on and the other held out."""
    different = frame.table.group_by(frame.names).aggregate([]).num_rows
    if many := len(frame) - different:
        yield f"{plural(many, 'row')} repeat another one: `dlx doctor` says where parts share them"


def _odd_texts(frame: Frame, plan: TableChoices, inputs: Sequence[str]) -> Iterator[str]:
    """Sentences about columns whose texts look like mistakes in the file."""
    from ...data.tables.column_uses import WRITE_ONE_WAY, written_alike

    for name in inputs:
        if name not in plan.text and (about := frame.warnings.get(name)) is not None:
            yield about.sentence
    if plan.classes is not None and (alike := written_alike(plan.classes)):
        yield f"classes differ in spaces or capitals alone: {listed(alike)}. {WRITE_ONE_WAY}"


def _plan(frame: Frame, target: str | None) -> TableChoices:
    columns = {name: _surveyed(frame, name) for name in frame.names}
    left_out = {name: why for name in frame.names if (why := _why_not(frame, name, columns[name]))}
    plan = _target(frame, columns, left_out, target)
    plan.left_out = {name: why for name, why in left_out.items() if name != plan.target}
    _answers(frame, plan, columns[plan.target])
    _treat(frame, plan, columns)
    if plan.target in (lacking := _lacking(frame)):
        plan.missing[plan.target] = ("drop", lacking[plan.target])
    return plan


def _treat(frame: Frame, plan: TableChoices, columns: Mapping[str, Column | None]) -> None:
    """Find what is done to each column that is an input: categories, dates, texts and missing values."""
    lacking = _lacking(frame)
    for name, column in columns.items():
        if name == plan.target or name in plan.left_out or column is None:
            continue
        codes = column.sort == "number" and CODES.fullmatch(name) and _is_whole(frame, name)
        if codes and len(_different(frame, name)) <= FEW_CLASSES:
            plan.categorical.append(name)
        category = column.sort == "category" or name in plan.categorical
        if category and len(formats := _formats(frame, name)) == 1:
            plan.dates[name], category = formats[0], False
        elif column.sort == "category" and _has_many_texts(frame, name):
            plan.text.append(name)
        if name in lacking:
            middle = column.sort in ("number", "date") or name in plan.dates
            rule = "category" if category else "median" if middle else "most_frequent"
            plan.missing[name] = (rule, lacking[name])


def _surveyed(frame: Frame, name: str) -> Column | None:
    """Read a column as the data kind would; None where it would not."""
    from ...data.tables.columns import survey

    try:
        return survey(frame, name, False, False, None)
    except DataError:
        return None


def _different(frame: Frame, name: str) -> list[Any]:
    """The different values of a column but for missing ones."""
    values = frame.table.column(name).unique().to_pylist()
    return [value for value in values if value is not None and not (isinstance(value, float) and isnan(value))]


def _lacking(frame: Frame) -> dict[str, int]:
    """Count the missing values of each column."""
    from ...data.tables.missing_values import missing

    return {name: int(mask.sum()) for name, mask in missing(frame).items()}


def _is_whole(frame: Frame, name: str) -> bool:
    return all(float(value).is_integer() for value in _different(frame, name))


def _why_not(frame: Frame, name: str, column: Column | None) -> str:
    """Why a column is no input; empty where it is one."""
    values = _different(frame, name)
    if len(values) < 2:
        return "has no values" if not values else "has one value"
    if column is None:
        return f"holds {frame.table.schema.field(name).type}"
    if column.sort == "number":
        return _why_key(frame, name, values) if len(values) == len(frame) and _is_whole(frame, name) else ""
    return _why_no_texts(frame, name, values) if column.sort == "category" else ""


def _why_no_texts(frame: Frame, name: str, values: Sequence[Any]) -> str:
    """Why a column of texts is no input: it has too many, and they are neither sentences nor dates of one format."""
    if formats := _formats(frame, name):
        either = " or ".join(f'"{form}"' for form in formats)
        return "" if len(formats) == 1 else f"has dates of the format {either}: `dates` says which"
    if not _has_many_texts(frame, name) or _words(values) >= WORDS:
        return ""
    return "has another text in each row" if len(values) == len(frame) else f"has {len(values):,} different texts"


def _formats(frame: Frame, name: str) -> list[str]:
    """The formats of dates that are not in ISO 8601; none where most texts are no dates."""
    from ...data.tables.dates import proposed_formats, shaped_like_dates

    texts = [str(value).strip() for value in _different(frame, name)]
    return proposed_formats(texts) if shaped_like_dates(texts, name, "") is not None else []


def _has_many_texts(frame: Frame, name: str) -> bool:
    values = _different(frame, name)
    return len(values) > MANY_TEXTS or len(values) == len(frame)


def _words(texts: Sequence[str]) -> float:
    """Count the words of a text, in the mean."""
    return sum(len(str(text).split()) for text in texts) / len(texts)


def _why_key(frame: Frame, name: str, values: Sequence[float]) -> str:
    """Why a column of different whole numbers is no input: it counts the rows, or is called like a key."""
    numbers = sorted(values)
    if numbers[-1] - numbers[0] == len(frame) - 1 and values in (numbers, numbers[::-1]):
        return "counts the rows"
    return "is a key of each row" if IDS.fullmatch(name) else ""


def _target(
    frame: Frame, columns: Mapping[str, Column | None], left_out: Mapping[str, str], asked: str | None
) -> TableChoices:
    if asked is not None:
        if asked not in frame.names:
            hint = did_you_mean(asked, frame.names, "the columns")
            raise DataError(f"{frame.path} has no column `{one_line(asked)}`, which `--target` names", hint=hint)
        if _is_date(columns[asked]) or columns[asked] is None or len(_different(frame, asked)) < 2:
            why = left_out.get(asked, "holds dates")
            raise DataError(f"column `{one_line(asked)}` of {frame.path} {why}, and cannot be predicted")
        return TableChoices(asked, "`--target` names it")
    usable = [name for name in frame.names if name not in left_out and not _is_date(columns[name])]
    if not usable:
        reasons = "; ".join(f"`{one_line(one)}` {why}" for one, why in left_out.items())
        raise DataError(f"{frame.path} has no column to predict: {reasons}", hint="Name one: `--target COLUMN`.")
    by_name = {name.strip().lower(): name for name in reversed(usable)}
    for word in TARGETS:
        if word in by_name:
            return TableChoices(by_name[word], "chosen by its name")
    return TableChoices(usable[-1], "chosen as the last column")


def _is_date(column: Column | None) -> bool:
    return column is not None and column.sort == "date"


def _answers(frame: Frame, plan: TableChoices, column: Column | None) -> None:
    """Find whether the target has classes or values."""
    assert column is not None
    if column.sort != "number":
        plan.classes = column.texts
    else:
        values = _different(frame, plan.target)
        whole = all(float(value).is_integer() and value >= 0 for value in values)
        if whole and len(values) <= min(FEW_CLASSES, len(frame) // 5):
            plan.classes, plan.numbered = tuple(f"{value:g}" for value in sorted(values)), True
        else:
            known = frame.numbers(plan.target)
            plan.shift, plan.spread = float(np.nanmean(known)), float(np.nanstd(known))
    if plan.classes is not None:
        found = frame.table.column(plan.target).value_counts().to_pylist()
        plan.stratify = min(one["counts"] for one in found if one["values"] is not None) >= LEAST_ROWS


def _notes(plan: TableChoices) -> Iterator[str]:
    kind = f"{len(plan.classes)} classes" if plan.classes is not None else "values"
    yield f"target: {one_line(plan.target)}, {kind} ({plan.why}; `--target COLUMN` takes another)"
    for name, why in plan.left_out.items():
        yield f"left out: {one_line(name)}, which {why}"


def _table_lines(data: Path, path: str, name: str, frame: Frame, plan: TableChoices) -> Iterator[str]:
    rows = len(frame)
    yield f"# `dlx new --data {one_line(data.name)}`: {rows:,} rows, {len(frame.every)} columns"
    yield "dlx: 1"
    yield f"name: {name}"
    yield "data:"
    yield "  table:"
    yield f"    path: {path}"
    kind = f"{len(plan.classes)} classes: {listing(plan.classes)}" if plan.classes is not None else "values"
    yield with_comment(f"    target: {quoted(plan.target)}", f"{kind}; {plan.why}")
    if plan.numbered:
        yield with_comment("    task: classification", "its whole numbers are classes")
    yield from _input_lines(plan, rows)
    yield with_comment("    standardize: feature", "numbers to mean 0 and standard deviation 1")
    yield from held_out(rows)
    if plan.stratify:
        yield with_comment("    stratify: true", "classes as frequent in each part")
    yield "network:"
    yield "  layers:"
    hidden = 16 if rows < 500 else 32 if rows < 5_000 else 64 if rows < 50_000 else 128
    for _ in range(1 if rows < 200 else 2):
        yield f"    - linear: {hidden}"
        yield "    - relu"
    if plan.classes is not None and plan.numbered:
        yield with_comment(f"    - linear: {int(plan.classes[-1]) + 1}", "an output for each class from 0 on")
    elif plan.classes is not None:
        yield f"    - linear: {len(plan.classes)}"
    if plan.classes is not None:
        yield "objective: classification"
    else:
        yield "    - linear: 1"
        bias = f"{plan.shift / plan.spread:.4g}"
        yield with_comment(f"      values: {{bias: {bias}}}", "begins at the mean of the target")
        yield with_comment(f"    - scale: {plan.spread:.4g}", "its standard deviation")
        yield "objective: {regression: {metrics: [r2]}}"
    yield from training_lines(int(rows * 0.7), "{adamw: {lr: 3e-3, weight_decay: 0.01}}")


def _input_lines(plan: TableChoices, rows: int) -> Iterator[str]:
    """The lines on what is left out, and on how columns become inputs."""
    if plan.left_out:
        yield "    drop:"
        for one, why in plan.left_out.items():
            yield with_comment(f"      - {quoted(one)}", f"{why}")
    if plan.categorical:
        yield with_comment(f"    categorical: [{', '.join(map(quoted, plan.categorical))}]", "numbers that are names")
    yield from _column_lines(plan, rows)


def _column_lines(plan: TableChoices, rows: int) -> Iterator[str]:
    """The lines on dates, texts and missing values."""
    if plan.dates:
        yield "    dates:"
        for one, form in plan.dates.items():
            yield with_comment(f'      {quoted(one)}: {{format: "{form}"}}', "year, month, day, weekday")
    if plan.text:
        yield "    text:"
        for one in plan.text:
            yield with_comment(f"      {quoted(one)}: {{values: tfidf, max_features: 200}}", "a bag of words")
    if plan.missing:
        yield "    missing:"
        for one, (rule, count) in plan.missing.items():
            yield with_comment(f"      {quoted(one)}: {rule}", f"{count:,} of {rows:,}")
