"""Metrics of slices of a part of the data: of the examples that have one value of a column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isclose, isfinite, sqrt
from typing import TYPE_CHECKING, Any

from ..data.batch import Batch
from ..errors import DlxError, did_you_mean
from ..lazy import np, torch
from ..objectives.heads import HeadMeters
from ..objectives.learned import parameters_of
from ..utils.intervals import half_interval
from .examples import batches_of, heads_of, losses_of, of_head

if TYPE_CHECKING:
    from torch import Tensor

    from ..data import Dataset, Sets
    from ..data.base import Role
    from ..objectives.supervised import EvaluationMeters
    from ..training.fit import Job

CLASS = "class"
"""Stands for the class of the first target that has classes, where no column has this name."""
MOST_SLICES = 100
MOST_NUMBERS = 20
"""Different numbers of a column, above which its slices are between quartiles."""
MISSING = "missing"
Z_95 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution."""
ROLES: tuple[Role, ...] = ("input", "target", "weight", "id")
COUNTED = ("accuracy", "error", "exact_match")
"""Metrics that are a share of the examples."""
Column = Mapping[str, Sequence[Any]]
"""Values of a column by the part of the data."""


@dataclass(frozen=True)
class Slice:
    """Metrics of the examples of a part that have one value of a column.

    `intervals` are the ends of 95 % intervals, of metrics that are means over independent examples: of a share of
    examples that of Wilson, of the loss that of Student's t.
    """

    part: str
    value: str
    count: int
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """Return the slice as JSON values."""
        ends = {name: list(pair) for name, pair in self.intervals.items()}
        about = {"part": self.part, "value": self.value, "examples": self.count}
        return about | {"metrics": dict(self.metrics), "interval95": ends}


def slice_table(name: str, slices: Sequence[Slice]) -> tuple[list[str], list[list[Any]]]:
    """Return the titles and the rows of a table: a row for each slice, and the ends of each interval."""
    metrics = list(dict.fromkeys(key.split("/", 1)[1] for one in slices for key in one.metrics))
    between = [m for m in metrics if any(f"{one.part}/{m}" in one.intervals for one in slices)]
    titles = ["part", name, "examples"]
    for metric in metrics:
        titles += [metric, f"{metric} low", f"{metric} high"] if metric in between else [metric]
    rows = []
    for one in slices:
        row: list[Any] = [one.part, one.value, one.count]
        for metric in metrics:
            key = f"{one.part}/{metric}"
            ends = one.intervals.get(key, (None, None)) if metric in between else ()
            row += [one.metrics.get(key), *ends]
        rows.append(row)
    return titles, rows


def column_of(source: Dataset, sets: Sets, name: str, parts: Sequence[str], option: str) -> Column:
    """Return a column of the source or a field of the data, by part; `class` is the true class.

    Raises DlxError where there is none, or its values are no single ones.
    """
    if name in (columns := source.source_columns()):
        return source.source_column(name, sets)
    fields = [one for role in ROLES for one in sets.named(role)]
    classes = [one for one in sets.named("target") if _values(sets, parts[0], one).dtype.kind in "iu"]
    field = classes[0] if name == CLASS and name not in fields and classes else name
    if field not in fields:
        known = list(dict.fromkeys([*columns, *fields, *([CLASS] if classes else [])]))
        hint = did_you_mean(name, known, "the columns")
        raise DlxError(f"the data has no column `{name}`, which `{option}` names", hint=hint)
    found = {part: _values(sets, part, field) for part in parts}
    if several := next((values[0].size for values in found.values() if values.size != len(values)), 0):
        message = f"`{name}` has {several:,} values for each example, and `{option}` takes one"
        raise DlxError(message, hint="Name a column of single values.")
    names = _class_names(sets, field) if field in classes else ()
    flat = {part: values.reshape(len(values)).tolist() for part, values in found.items()}
    return (
        {part: [names[i] if 0 <= i < len(names) else i for i in one] for part, one in flat.items()} if names else flat
    )


def _values(sets: Sets, part: str, field: str) -> Any:
    return np.asarray(sets.values(getattr(sets, part), field)[:])


def _class_names(sets: Sets, field: str) -> tuple[str, ...]:
    return sets.class_names if field == sets.named("target")[0] else sets.fields[field].names


def coded(column: Column, parts: Sequence[str], name: str) -> tuple[list[str], dict[str, Tensor]]:
    """Return the names of the slices, and the number of its slice for each example, by part.

    Numbers of which there are more than `MOST_NUMBERS` are cut at their quartiles over all parts. DlxError for more
    than `MOST_SLICES` values.
    """
    every = [value for part in parts for value in column[part]]
    there = [value for value in every if not _lacks(value)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
    if numbers and len(set(there)) > MOST_NUMBERS:
        edges = np.unique(np.quantile(np.asarray(there, float), [0, 0.25, 0.5, 0.75, 1]))
        names = [f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())]
        inner = edges[1:-1]

        def slice_of(value: Any) -> str:
            return names[int(np.searchsorted(inner, value, "right"))]
    else:
        names = [_text(value) for value in sorted(set(there), key=lambda v: v if numbers else str(v))]
        slice_of = _text
    if len(names) > MOST_SLICES:
        message = f"`{name}` has {len(names):,} different values, and there are up to {MOST_SLICES} slices"
        raise DlxError(message, hint="Name a column of fewer values, or of numbers.")
    names = [*dict.fromkeys(names), *([MISSING] if len(there) < len(every) else [])]
    number = {one: i for i, one in enumerate(names)}
    codes = {
        part: torch.tensor(
            [number[MISSING if _lacks(one) else slice_of(one)] for one in column[part]], dtype=torch.long
        )
        for part in parts
    }
    return names, codes


def _lacks(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not isfinite(value))


def _text(value: Any) -> str:
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.12g}" if isinstance(value, float) else str(value)
    )


def slices_of(jobs: Sequence[Job], part: str, names: Sequence[str], codes: Tensor) -> list[Slice]:
    """Return the metrics of each slice of a part, of one network or the average of several.

    `codes` (n,) are the numbers of the examples' slices.
    """
    job = jobs[0]
    heads, objective = heads_of(job, "--by"), job.supervised.objective
    meters: dict[int, EvaluationMeters] = {}
    losses: dict[str, list[Tensor]] = {head.name: [] for head in heads}
    first = 0
    for outputs, batch in batches_of(jobs, part):
        mine = codes[first : first + len(batch)]
        first += len(batch)
        for head in heads:
            losses[head.name].append(losses_of(head, *of_head(job, head, outputs, batch)))
        for code in sorted(set(mine.tolist())):
            index = (mine == code).nonzero()[:, 0].to(batch.y.device)
            some = Batch({key: values[index] for key, values in batch.fields.items()}, {}, batch.names)
            if code not in meters:
                meters[code] = objective.evaluation(parameters_of(job.network))
            with torch.inference_mode():
                meters[code].add(_rows(outputs, index), objective.target(some))
    found = []
    for code in sorted(meters):
        measured, which = meters[code], codes == code
        metrics = measured.result()
        ends: dict[str, tuple[float, float]] = {}
        for head in heads:
            own = measured.each[head.name] if isinstance(measured, HeadMeters) else measured
            for metric, pair in _intervals(own, torch.cat(losses[head.name])[which].tolist()).items():
                ends[f"{part}/{head.named(metric)}"] = pair
        of_part = {f"{part}/{key}": value for key, value in metrics.items()}
        found.append(Slice(part, names[code], int(which.sum()), of_part, ends))
    return found


def _rows(outputs: Any, index: Tensor) -> Any:
    if isinstance(outputs, Mapping):
        return {name: output[index] for name, output in outputs.items()}
    return outputs[index]


def _intervals(meters: EvaluationMeters, losses: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of the metrics of one head that are means over the examples, whose losses these are."""
    found, metrics, count = {}, meters.result(), len(losses)
    loss = metrics["loss"]
    # with class weights, or positions that do not count, the loss is another mean than that over examples
    of_examples = isclose(sum(losses) / count, loss, rel_tol=1e-4, abs_tol=1e-9)
    if of_examples and (half := half_interval(losses)) is not None:
        found["loss"] = loss - half, loss + half
    for name in COUNTED:
        counted = int(meters.means[name].count) if name in meters.means else 0
        if 0 < counted <= count:  # more are positions, which are not independent
            found[name] = wilson_interval(round(metrics[name] * counted), counted)
    return found


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.
    """
    z = Z_95**2 / trials
    share = successes / trials
    middle = (share + z / 2) / (1 + z)
    half = sqrt(share * (1 - share) * z + z * z / 4) / (1 + z)
    return max(middle - half, 0.0), min(middle + half, 1.0)
