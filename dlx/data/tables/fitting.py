"""Encodings that are fitted to the training part: vocabularies of texts, means of targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...lazy import np
from .bags import TextOptions, fitted_bag
from .columns import Column, column_codes
from .frame import Frame, plain
from .splitting import encoding_folds
from .target_means import Means, TargetEncoding, fitted_means, out_of_fold, target_matrix

if TYPE_CHECKING:
    from ..base import Labels, Values
    from ..splits import Indices
    from .table import Table


def unfitted_means(table: Table, name: str, width: int) -> Means:
    """Return the encoding of a column by means of `width` targets, before it is fitted."""
    named = table.target_encoding
    options = named[name] if isinstance(named, dict) else TargetEncoding()
    return Means(width, options.smooth, options.cv)


def with_vocabularies(table: Table, pool: Frame, columns: Sequence[Column], rows: Indices) -> list[Column]:
    """Return the columns with the vocabularies of the training rows; those that have one keep it."""
    return [
        _with_vocabulary(table, pool, column, rows) if column.sort == "text" and column.bag is None else column
        for column in columns
    ]


def _with_vocabulary(table: Table, pool: Frame, column: Column, rows: Indices) -> Column:
    import pyarrow as pa

    options = table.text[column.name] if isinstance(table.text, dict) else TextOptions()
    texts = plain(pool.table.column(column.name)).take(pa.array(rows)).to_pylist()
    vocabulary, bag = fitted_bag(texts, options, f"column `{column.name}` of {pool.path}")
    return replace(column, texts=vocabulary, bag=bag)


def with_means(
    table: Table, pool: Frame, columns: Sequence[Column], rows: Indices, y: Labels, classes: int | None
) -> tuple[list[Column], dict[str, Values]]:
    """Return the columns with the means of the targets `y` (rows of the pool,) of the training rows.

    Beside them, by column, the encodings of the training rows themselves, each by the means of the other folds.
    """
    done: list[Column] = []
    own: dict[str, Values] = {}
    seen = np.asarray(y)[rows]
    for column in columns:
        if column.means is None or column.means.means:
            done.append(column)
            continue
        codes, values = column_codes(pool, column)[rows], target_matrix(seen, classes)
        folds = encoding_folds(table, pool, rows, seen if classes is not None else None, column.means.cv, column.name)
        many = len(column.texts)
        own[column.name] = out_of_fold(column.means, codes, values, many, folds)
        done.append(replace(column, means=fitted_means(column.means, codes, values, many)))
    return done, own


def put_own(x: Values, columns: Sequence[Column], own: dict[str, Values]) -> None:
    """Write the encodings of the training rows into their inputs `x`."""
    place = 0
    for column in columns:
        if column.name in own:
            x[:, place : place + column.values] = own[column.name]
        place += column.width
