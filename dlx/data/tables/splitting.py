"""Parts of a table by columns of its own: one that names the part of each row, one of groups that stay together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ...errors import DataError
from ...lazy import np
from ..grouping import check_groups, grouped_folds, grouped_parts, named_parts
from ..splits import Order, random_parts

if TYPE_CHECKING:
    from ..base import Labels
    from ..splits import Indices
    from .frame import Frame
    from .table import Table

OUT_OF_FOLD = 1
"""Second word of the seed of the folds in which targets are encoded, so that they do not follow the split."""

SplitColumns = Annotated[dict[Literal["by", "group"], str], Field(min_length=1)]
SplitRows = Annotated[
    Order | SplitColumns,
    Field(
        description="draw the parts at random, or cut them in the order of the rows; `by: COLUMN` reads the part of "
        "each row from a column, `group: COLUMN` keeps rows of one value together"
    ),
]


def check_split(table: Table) -> None:
    """Raise a ValueError for fields that contradict a split by columns."""
    if isinstance(table.split, str):
        return
    by, group = table.split.get("by"), table.split.get("group")
    set_anew = [
        n for n in ("train", "valid", "test", "folds", "seed") if n in table.model_fields_set and getattr(table, n)
    ]
    if by is not None and set_anew:
        raise ValueError(
            f"`split` takes the parts from `{by}`, and `{set_anew[0]}` asks for one: keep one of the two"
        )
    if table.stratify:
        raise ValueError("`stratify` draws by class, and `split` goes by a column: keep one of the two")
    for name in dict.fromkeys(filter(None, (by, group))):
        if name in table.non_inputs:
            raise ValueError(f"`split` goes by `{name}`, which is the target: name another column")
    if by is not None and by == group:
        raise ValueError(f"`split` takes parts and groups from `{by}`: name two columns")
    if by is not None and by in (table.taken or []):
        raise ValueError(
            f"`split` takes the parts from `{by}`, and `columns` takes it for an input: take it out there"
        )


def split_rows(table: Table, frames: Sequence[Frame], y: Labels) -> list[Indices]:
    """Return the rows of train, valid and test of the first file. DataError where a group lies in two parts."""
    pool = frames[0]
    if isinstance(table.split, str):
        return table.rows(y)
    by, group = table.split.get("by"), table.split.get("group")
    if group is None:
        assert by is not None
        return _named(table, pool, by)
    where = f"column `{group}` of {pool.path}"
    names, codes = pool.categories(group)
    words = [str(name) for name in names]
    if by is not None:
        parts = _named(table, pool, by)
        check_groups(parts, words, codes, where)
    elif table.folds:
        parts = _grouped_folds(table, codes, where)
    else:
        counts = table.part_sizes(len(pool))
        parts = grouped_parts(counts, codes, where, table.seed, rest=table.train is None or sum(counts) == len(pool))
    for frame in frames[1:]:
        _check_test_file(frame, group, set(words), where)
    return parts


def _named(table: Table, pool: Frame, by: str) -> list[Indices]:
    where = f"column `{by}` of {pool.path}"
    names, codes = pool.categories(by)
    parts = named_parts([str(name) for name in names], codes, where)
    if table.test_path is not None and len(parts[2]):
        raise DataError(
            f"row {parts[2][0] + 1:,} of {where} is of the test part, and `test_path` brings that",
            hint="Leave out `test_path`, or those rows.",
        )
    return parts


def _grouped_folds(table: Table, codes: Indices, where: str) -> list[Indices]:
    total, rest = len(codes), np.arange(len(codes))
    test = rest[:0]
    if table.test is not None:
        size = table.part_sizes_of_folds(total)[-1]
        rest, _, test = grouped_parts((total - size, 0, size), codes, where, table.seed, rest=True)
        rest = np.sort(rest)
    groups = len(np.unique(codes[rest]))
    folds = groups if table.folds == "leave_one_out" else table.folds
    assert isinstance(folds, int)
    assert table.fold is not None
    if table.fold > folds:
        raise DataError(f"`fold` {table.fold:,} of {folds:,} folds", hint=f"Give 1 to {folds:,}.")
    found = [rest[rows] for rows in grouped_folds(folds, codes[rest], where, table.seed)]
    valid = found.pop(table.fold - 1)
    return [np.concatenate(found), valid, test]


def _check_test_file(frame: Frame, group: str, known: set[str], where: str) -> None:
    names, codes = frame.categories(group)
    for code, name in enumerate(map(str, names)):
        if name in known:
            row = int((codes == code).argmax())
            raise DataError(
                f"the group `{name}` of {where} lies in two parts: row {row + 1:,} of {frame.path} is in `test`",
                hint="Put all rows of a group into one file, or leave out `group`.",
            )


def encoding_folds(table: Table, pool: Frame, rows: Indices, y: Any, cv: int, column: str) -> list[Indices]:
    """Return folds of the training rows, as places in `rows`, in which targets are encoded.

    They are drawn as the parts are: of whole groups, in the order of the rows, or at random; for classes `y` in their
    proportions.
    """
    group = None if isinstance(table.split, str) else table.split.get("group")
    codes = None if group is None else pool.categories(group)[1][rows]
    most = len(rows) if codes is None else len(np.unique(codes))
    if cv > most:
        units = "rows" if codes is None else f"groups of `{group}`"
        raise DataError(
            f"`target_encoding` of `{column}` cuts the training part into {cv} folds, and it has {most:,} {units}",
            hint=f"Give a smaller number: `target_encoding: {{{column}: {{cv: {max(most, 2)}}}}}`.",
        )
    if codes is not None:
        return grouped_folds(cv, codes, f"column `{group}` of {pool.path}", [table.seed, OUT_OF_FOLD])
    counts = [(i + 1) * len(rows) // cv - i * len(rows) // cv for i in range(cv)]
    if table.split == "order":
        return np.split(np.arange(len(rows)), np.cumsum(counts))[:cv]
    return random_parts(counts, y, len(rows), [table.seed, OUT_OF_FOLD])
