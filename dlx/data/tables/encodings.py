"""The encoding of each column of a table, chosen by the fields of the spec and what the files hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import DataError, listed
from ..file_reading import SEVERAL_LABELS
from ..preprocess import EARLIER_FIT, EarlierFit
from .columns import Column, category_codes, ordered, saved_columns, survey, yes_or_no
from .date_parts import check_same_dates, date_encoding
from .fitting import unfitted_means
from .frame import LIKE, Frame, plain
from .missing_values import REST, check_sort, drop_incomplete, missing, rule_of
from .text_columns import first_target_is_text

if TYPE_CHECKING:
    from .table import Table


def encodings_of(table: Table, frames: list[Frame]) -> tuple[list[Column], Column | None]:
    """Return the encodings of the input columns, and that of a target of classes."""
    pool = frames[0]
    names = table.inputs_among(pool.names)
    lacking = {name for frame in frames for name in missing(frame)}
    earlier = EARLIER_FIT.get()
    if earlier is not None:
        columns = _as_earlier(frames, earlier)
    else:
        columns = [_column(table, pool, name, name in lacking) for name in names]
    of_text = first_target_is_text(table)
    goal = None if of_text or table.unlabelled else goal_of(table, pool, table.goal_columns, table.goal_task)
    if goal is not None and goal.texts and earlier is not None:
        goal = replace(goal, texts=earlier.class_names)
    if goal is None and table.stratify:
        what = "a text" if of_text else "of numbers"
        raise DataError(
            f"`stratify` keeps the proportions of classes, and the target {listed(table.goal_columns)} is {what}",
            hint="Leave out `stratify`, or write `task: classification`.",
        )
    return [_with_width(table, column, goal, frames) for column in columns], goal


def goal_of(table: Table, pool: Frame, names: list[str], task: str | None) -> Column | None:
    """Return the encoding of a target of classes, in the columns `names`; None for one of values."""
    goals = [survey(pool, n, n in table.categorical, n in table.log, None) for n in names]
    _check_targets(goals, pool)
    wordy = [goal for goal in goals if goal.sort != "number"]
    if wordy and (task == "regression" or len(goals) > 1):
        raise DataError(
            f"column `{wordy[0].name}` of {pool.path} holds {wordy[0].contents}, and targets of values hold numbers",
            hint="Give one column of classes, or columns of numbers."
            + f" {SEVERAL_LABELS}" * all(goal.sort == "boolean" for goal in goals),
        )
    return goals[0] if wordy or task == "classification" else None


def _with_width(table: Table, column: Column, goal: Column | None, frames: list[Frame]) -> Column:
    """Return a column whose categories become means of targets with the number of them."""
    if column.sort != "target" or column.means is not None:
        return column
    classes = None if goal is None else table.classes_of(goal, frames)
    width = len(table.goal_columns) if classes is None else 1 if classes == 2 else classes
    return replace(column, means=unfitted_means(table, column.name, width))


def _check_targets(goals: list[Column], pool: Frame) -> None:
    for goal in goals:
        if goal.sort == "date":
            raise DataError(
                f"column `{goal.name}` of {pool.path} holds dates, and targets are numbers or classes",
                hint="Write it as a number, such as the days since a day.",
            )


def _as_earlier(frames: list[Frame], earlier: EarlierFit) -> list[Column]:
    """Return the column encodings of an earlier run. DataError where the data does not have its columns."""
    columns = saved_columns(earlier.reading)
    for frame in frames:
        if lacking := [column.name for column in columns if column.name not in frame.names]:
            message = f"{frame.path} has no column {listed(lacking)}, which {earlier.run} was trained on"
            raise DataError(message, hint=LIKE)
        for column in columns:
            check_same_sort(frame, column)
        filled = {column.name for column in columns if column.takes_missing}
        drop_incomplete(frame, {name: "mean" if name in filled else "refuse" for name in frame.names})
    return columns


def _column(table: Table, pool: Frame, name: str, lacking: bool) -> Column:
    """Return the encoding of an input column, with the method for its missing values."""
    where = f"column `{name}` of {pool.path}"
    if name in table.ordinal:
        column = _ordinal(table, pool, name)
    elif name in table.text:
        column = Column(name, "text")
        _check_texts(pool, name)
    elif name in table.target_encoding:
        column = replace(survey(pool, name, True, False, None), sort="target")
    else:
        most = None if name in table.looked_up else table.max_categories
        column = survey(pool, name, name in table.categorical, name in table.log, most)
        column = yes_or_no(column) if "false_is" in table.model_fields_set else column
    if column.sort == "date":
        options = table.dates.get(name, table.dates.get(REST))
        kind = pool.table.schema.field(name).type
        column = replace(column, date=date_encoding(kind, options, name, where))
    if not lacking:
        return column
    rule = rule_of(table.missing, name)
    check_sort(column, rule, str(pool.path))
    if column.sort == "target":
        return column
    return replace(column, filled=rule != "category", marked=rule in ("category", "indicator"))


def _ordinal(table: Table, pool: Frame, name: str) -> Column:
    """Return the encoding of a column as the place of its category, in the given order or the sorted one."""
    if isinstance(table.ordinal, dict):
        return ordered(pool, name, table.ordinal[name])
    return replace(survey(pool, name, True, False, None), sort="ordinal")


def _check_texts(frame: Frame, name: str) -> None:
    from pyarrow import types

    kind = plain(frame.table.column(name)).type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind)):
        raise DataError(
            f"column `{name}` of {frame.path} holds {kind}, and `text` takes texts",
            hint=f"Take `{name}` out of `text`.",
        )


def check_same_sort(frame: Frame, column: Column) -> None:
    """Raise a DataError where a column of a later file holds something else than that of the training."""
    if column.bag is not None:
        _check_texts(frame, column.name)
        return
    if column.sort == "ordinal" or (column.sort == "boolean" and column.texts != ("false", "true")):
        category_codes(frame, column)
        return
    categorical = column.sort in ("category", "target")
    found = survey(frame, column.name, categorical, column.log, None)
    where = f"column `{column.name}` of {frame.path}"
    if column.date is not None and found.sort == "date":
        check_same_dates(column.date, frame.table.schema.field(column.name).type, where)
    if found.sort != ("category" if categorical else column.sort):
        raise DataError(f"{where} holds {found.contents}, and {column.contents} were trained on", hint=LIKE)
