"""The encoding of each column of a table, chosen by the fields of the spec and what the files hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import DataError
from ..file_reading import SEVERAL_LABELS, listed
from ..preprocess import EARLIER_FIT, EarlierFit
from .columns import Column, category_codes, ordered, saved_columns, survey, yes_or_no
from .frame import LIKE, Frame
from .missing_values import check_sort, drop_incomplete, missing, rule_of

if TYPE_CHECKING:
    from .table import Table


def encodings_of(table: Table, frames: list[Frame]) -> tuple[list[Column], Column | None]:
    """Return the encodings of the input columns, and that of a target of classes."""
    pool = frames[0]
    names = [name for name in pool.names if name not in table.targets]
    lacking = {name for frame in frames for name in missing(frame)}
    earlier = EARLIER_FIT.get()
    if earlier is not None:
        columns = _as_earlier(frames, earlier)
    else:
        columns = [_column(table, pool, name, name in lacking) for name in names]
    goals = [survey(pool, n, n in table.categorical, n in table.log, None) for n in table.targets]
    wordy = [goal for goal in goals if goal.sort != "number"]
    if wordy and (table.task == "regression" or len(goals) > 1):
        raise DataError(
            f"column `{wordy[0].name}` of {pool.path} holds {wordy[0].contents}, and targets of values hold numbers",
            hint="Give one column of classes, or columns of numbers."
            + f" {SEVERAL_LABELS}" * all(goal.sort == "boolean" for goal in goals),
        )
    goal = goals[0] if wordy or table.task == "classification" else None
    if goal is not None and goal.texts and earlier is not None:
        goal = replace(goal, texts=earlier.class_names)
    if goal is None and table.stratify:
        raise DataError(
            f"`stratify` keeps the proportions of classes, and the target {listed(table.targets)} is of numbers",
            hint="Leave out `stratify`, or write `task: classification`.",
        )
    return columns, goal


def _as_earlier(frames: list[Frame], earlier: EarlierFit) -> list[Column]:
    """Return the column encodings of an earlier run. DataError where the data does not have its columns."""
    columns = saved_columns(earlier.reading)
    for frame in frames:
        if lacking := [column.name for column in columns if column.name not in frame.names]:
            message = f"{frame.path} has no column {listed(lacking)}, which {earlier.run} was trained on"
            raise DataError(message, hint=LIKE)
        for column in columns:
            check_same_sort(frame, column)
        filled = {column.name for column in columns if column.filled or column.marked}
        drop_incomplete(frame, {name: "mean" if name in filled else "refuse" for name in frame.names})
    return columns


def _column(table: Table, pool: Frame, name: str, lacking: bool) -> Column:
    """Return the encoding of an input column, with the method for its missing values."""
    if name in table.ordinal:
        column = ordered(pool, name, table.ordinal[name])
    else:
        column = survey(pool, name, name in table.categorical, name in table.log, table.max_categories)
        column = yes_or_no(column) if "false_is" in table.model_fields_set else column
    if not lacking:
        return column
    rule = rule_of(table.missing, name)
    check_sort(column, rule, str(pool.path))
    return replace(column, filled=rule != "category", marked=rule in ("category", "indicator"))


def check_same_sort(frame: Frame, column: Column) -> None:
    """Raise a DataError where a column of a later file holds something else than that of the training."""
    if column.sort == "ordinal" or (column.sort == "boolean" and column.texts != ("false", "true")):
        category_codes(frame, column)
        return
    found = survey(frame, column.name, column.sort == "category", column.log, None)
    if found.sort != column.sort:
        where = f"column `{column.name}` of {frame.path}"
        raise DataError(f"{where} holds {found.contents}, and {column.contents} were trained on", hint=LIKE)
