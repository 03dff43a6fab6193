"""Windows of series: parts by time, scales from the training part, and arrays of past, known values and targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from ...errors import DataError, plural
from ...lazy import np
from ..base import Split
from ..splits import part_size

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..preprocess.sums import Doubles
    from .base import SeriesData
    from .content import SeriesRows

    Indices = npt.NDArray[np.int64]

ALL = "*"
"""Name under which the scale of all series together is kept."""
PARTS = ("train", "valid", "test")


@dataclass(frozen=True)
class Parts:
    """The rows of each series that targets of a part may be in, as (first, end) by part."""

    of: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of_rows(cls, source: SeriesData, content: SeriesRows) -> Self:
        """Cut all series at the same times: `test` of them last, `valid` before. DataError where nothing is left."""
        moments = np.unique(content.times)
        held = {name: part_size(getattr(source, name), len(moments), name) for name in ("valid", "test")}
        first = len(moments) - sum(held.values())
        if first < 1:
            text = " + ".join(f"`{name}` {count:,}" for name, count in held.items() if count)
            message = f"no times are left to train on: {text} out of {len(moments):,}"
            raise DataError(message, hint="Hold out less.")
        borders = [first, first + held["valid"], len(moments)]
        ends = [np.inf if border == len(moments) else moments[border] for border in borders]
        found = []
        for rows in content.rows:
            cuts = [0, *(int(np.searchsorted(content.times[rows], end)) for end in ends)]
            found.append(tuple(pairwise(cuts)))
        return cls(tuple(found))

    def starts(self, source: SeriesData, content: SeriesRows) -> list[list[Indices]]:
        """Return for each part and series where targets begin, counted in the rows of the series.

        All targets of an example lie within its part; its past may reach into the parts before. DataError where a
        series is too short for one example, or a part has none.
        """
        need = source.window + source.horizon
        for name, rows in zip(content.names, content.rows, strict=True):
            if len(rows) < need:
                message = f"{f'the series `{name}`' if name else content.where} has {plural(len(rows), 'row')}"
                message += (
                    f", and an example takes `window` {source.window:,} + `horizon` {source.horizon:,} = {need:,}"
                )
                raise DataError(message, hint=f"Give a smaller `window`{', or take its rows out' if name else ''}.")
        found = []
        for part, name in enumerate(PARTS):
            each = [np.arange(max(a, source.window), b - source.horizon + 1, source.stride)
                    for a, b in (of[part] for of in self.of)]  # fmt: skip
            if not sum(map(len, each)) and (name == "train" or getattr(source, name)):
                most = max(of[part][1] - of[part][0] for of in self.of)
                takes = f"`window` {source.window:,} + `horizon` {source.horizon:,}" if name == "train" else ""
                takes = takes or f"`horizon` {source.horizon:,}"
                message = (
                    f"the part `{name}` has {plural(most, 'time')} of a series at most, and one example takes {takes}"
                )
                hint = "Hold out less, or give a smaller `window`." if name == "train" else f"Give a larger `{name}`."
                raise DataError(message, hint=hint)
            found.append(each)
        return found


@dataclass(frozen=True)
class Scales:
    """Mean, standard deviation and naive error of the columns of the past, by series; of known columns the first two.

    `past` maps a series to (3, columns); one entry, `*`, has the mean and deviation for every series that has none of
    its own. `known` is (2, columns). A deviation of 0 is 1; a naive error of 0 stands for none.
    """

    past: Mapping[str, Doubles]
    known: Doubles

    @classmethod
    def fitted(cls, source: SeriesData, content: SeriesRows, parts: Parts) -> Self:
        """Return the scales of the training rows. DataError where a series of its own scale has none."""
        train = [rows[: of[0][1]] for rows, of in zip(content.rows, parts.of, strict=True)]
        every = np.concatenate(train)
        own = source.standardize == "series"
        shared = _moments(content.past[every], source.standardize != "none")
        past = {}
        for name, rows in zip(content.names, train, strict=True):
            if own and len(rows) < 2:
                has = f"the series `{name}` has {plural(len(rows), 'row')} in the training part"
                hint = "`standardize: global` scales all series alike; or take its rows out."
                raise DataError(f"{has}, and `standardize: series` scales it by these", hint=hint)
            moments = _moments(content.past[rows], True) if own else shared
            past[name] = np.stack([*moments, _naive_error(content.past[rows], source.period)])
        past[ALL] = np.stack([*shared, np.zeros(content.past.shape[1])])
        return cls(past, np.stack(_moments(content.known[every], source.standardize != "none")))

    def of(self, name: str) -> Doubles:
        """Return mean, deviation and naive error of the columns (3, columns) of a series."""
        return self.past.get(name, self.past[ALL])

    def training_series(self, content: SeriesRows, parts: Parts, count: int) -> tuple[Doubles, ...]:
        """Return the training rows of each series (rows, count) as a whole: the columns that are forecast, scaled."""
        found = []
        for name, rows, of in zip(content.names, content.rows, parts.of, strict=True):
            mine = self.of(name)[:, :count]
            found.append((content.past[rows[: of[0][1]], :count] - mine[0]) / mine[1])
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Return the scales as JSON values, which `of_json` reads."""
        return {"past": {name: one.tolist() for name, one in self.past.items()}, "known": self.known.tolist()}

    @classmethod
    def of_json(cls, saved: Mapping[str, Any]) -> Self:
        """Return scales that were saved with a run."""
        past = {str(name): np.asarray(one, np.float64) for name, one in saved["past"].items()}
        columns = len(saved["known"][0])
        return cls(past, np.asarray(saved["known"], np.float64).reshape(2, columns))


def _moments(values: Doubles, scaled: bool) -> tuple[Doubles, Doubles]:
    """Return mean and standard deviation of columns (rows, columns); 0 and 1 where nothing is `scaled`."""
    if not scaled or not values.shape[1]:
        return np.zeros(values.shape[1]), np.ones(values.shape[1])
    std = values.std(0)
    return values.mean(0), np.where(std > 0, std, 1.0)


def _naive_error(values: Doubles, period: int) -> Doubles:
    """Return the mean of |y(t) - y(t - period)| by column; 0 where there are too few rows."""
    if len(values) <= period:
        return np.zeros(values.shape[1])
    error: Doubles = np.abs(values[period:] - values[:-period]).mean(0)
    return error


def split_of(source: SeriesData, content: SeriesRows, starts: Sequence[Indices], scales: Scales) -> Split | None:
    """Return the examples whose targets begin at `starts` of each series, as one part; None for no example."""
    from numpy.lib.stride_tricks import sliding_window_view as views

    count, window, horizon = len(source.forecast), source.window, source.horizon
    x, y, known, scale, ids, origins = [], [], [], [], [], []
    for name, rows, at in zip(content.names, content.rows, starts, strict=True):
        if not len(at):
            continue
        mine, values = scales.of(name), content.past[rows]
        scaled = ((values - mine[0]) / mine[1]).astype(np.float32)
        x.append(views(scaled, window, 0)[at - window].swapaxes(1, 2))
        y.append(views(values[:, :count].astype(np.float32), horizon, 0)[at].swapaxes(1, 2))
        if source.known_ahead:
            ahead = ((content.known[rows] - scales.known[0]) / scales.known[1]).astype(np.float32)
            known.append(views(ahead, window + horizon, 0)[at - window].swapaxes(1, 2))
        scale.append(np.broadcast_to(mine[:, :count].astype(np.float32), (len(at), 3, count)))
        origins.append(rows[at - 1])
        ids += [f"{name} {content.labels[row]}".strip() for row in rows[at - 1]]
    if not x:
        return None
    targets = _joined(y)
    more = {"known": _joined(known)} if source.known_ahead else {}
    more |= {"scale": _joined(scale), "id": np.array(ids)}
    return Split(_joined(x), targets[:, :, 0] if count == 1 else targets, np.concatenate(origins), more)


def _joined(pieces: Sequence[Any]) -> Any:
    return np.ascontiguousarray(np.concatenate(pieces))
