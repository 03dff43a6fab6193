"""The curves of a run as arrays, read with pyarrow: a hundred thousand records in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import np
from ..runs.folder import RunFolder
from ..runs.records import LOSS, RECORDS, has_old_loss_name, with_current_names
from ..utils import files
from ..utils.json_documents import ALTERED

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MEASURED = ("step", "evaluation")
"""Records that are points of the curves."""
METRICS = "metrics."
LARGEST_RECORD = 1 << 22
"""Bytes that the parser reads at once, and so the longest record that it takes."""


@dataclass(frozen=True)
class Points:
    """The points of one metric of a run, in the order of its records.

    Attributes:
        step: updates before each (n,).
        epoch: epoch of each, counted from 1 (n,).
        seconds: since the training began, without the time between a halt and a resumption (n,).
        value: what was measured (n,).
        stage: name of the stage of the run; empty where it has none.
    """

    step: Array
    epoch: Array
    seconds: Array
    value: Array
    stage: str = ""

    def __len__(self) -> int:
        return len(self.step)

    def last_of_epochs(self) -> Points:
        """Return the last point of each epoch."""
        last = np.append(self.epoch[1:] != self.epoch[:-1], len(self) > 0)
        return Points(self.step[last], self.epoch[last], self.seconds[last], self.value[last], self.stage)


Curves = Mapping[str, Points]
"""By the name of the metric; in a run with stages the stage is before it, as in MLflow: `probe/valid/error`."""


def curves_of(run: RunFolder) -> Curves:
    """Read the curves of a run; those of one without a record are empty. DlxError where they cannot be read."""
    try:
        content = files.read(run.dir / RECORDS)
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"{run.dir / RECORDS} cannot be read: {files.reason(error)}"
        raise DlxError(message, hint=ALTERED) from error
    whole = content[: content.rfind(b"\n") + 1]  # a line that has not ended is left for later
    table = _parsed(whole)
    return _of_table(table) if table is not None else _of_records(run)


def _parsed(content: bytes) -> Any:
    """Return the records as a table with a column for each metric; None where a value is no number, or is damaged."""
    import pyarrow as pa
    from pyarrow import json

    if not content:
        return None
    known = pa.schema([("record", pa.string()), ("time", pa.float64()), ("step", pa.int64()), ("epoch", pa.int64())])
    try:
        table = json.read_json(
            pa.BufferReader(content),
            json.ReadOptions(block_size=min(max(len(content), 1 << 16), LARGEST_RECORD)),
            json.ParseOptions(explicit_schema=known),
        )
    except pa.ArrowException:  # a figure that is not finite is a word; or a line is damaged
        return None
    if "metrics" not in table.column_names or not table.schema.field("metrics").type.num_fields:
        return None
    kinds = [field.type for field in table.schema.field("metrics").type]
    # of a metric that was never finite there are words alone, which the parser takes for texts
    is_numbers = all(pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_null(one) for one in kinds)
    return table.flatten() if is_numbers else None


def _of_table(table: Any) -> Curves:
    kind = np.asarray(table["record"].to_numpy())
    time = table["time"].to_numpy()
    measured = np.isin(kind, MEASURED)
    seconds = _seconds(kind == "start", time)
    step, epoch = (table[name].fill_null(0).to_numpy() for name in ("step", "epoch"))
    columns = {name.removeprefix(METRICS): name for name in table.column_names if name.startswith(METRICS)}
    has_stages = "stage" in table.column_names
    stages = np.asarray(table["stage"].fill_null("").to_numpy()) if has_stages else np.full(len(kind), "")
    found = {}
    for name, column in columns.items():
        there = measured & table[column].is_valid().to_numpy()
        older = there & (kind == "step") if name == LOSS else np.zeros_like(there)
        for current, whole in ((name, there & ~older), *_renamed(older)):
            for stage in dict.fromkeys(stages[measured]) if has_stages else ("",):
                chosen = whole & (stages == stage) if has_stages else whole
                if chosen.any():
                    value = table[column].fill_null(0).to_numpy()[chosen].astype(float)
                    points = Points(step[chosen], epoch[chosen], seconds[chosen], value, stage)
                    found[in_stage(current, stage)] = points
    return found


def in_stage(name: str, stage: str) -> str:
    """Return the name of a metric of a stage."""
    return f"{stage}/{name}" if stage else name


def _renamed(older: Array) -> Iterator[tuple[str, Array]]:
    """Yield the name by which the running loss of an older run is known now, with where its points are."""
    for name in with_current_names({LOSS: 0.0}):
        yield name, older


def _seconds(starts: Array, time: Array) -> Array:
    """Return the seconds of training before each record: a resumed run waited before each start but its first."""
    before = np.concatenate([time[:1], time[:-1]])
    passed = np.where(starts, 0.0, time - before)
    seconds: Array = np.cumsum(np.maximum(passed, 0.0))
    return seconds


def _of_records(run: RunFolder) -> Curves:
    """Read the curves record by record, as any run can be read."""
    rows: dict[tuple[str, str], list[tuple[int, int, float, float]]] = {}
    before, seconds = None, 0.0
    for record in run.records():
        now = record["time"]
        seconds += max(now - before, 0.0) if before is not None and record["record"] != "start" else 0.0
        before = now
        if record["record"] in MEASURED:
            metrics = with_current_names(record["metrics"]) if has_old_loss_name(record) else record["metrics"]
            for name, value in metrics.items():
                at = str(record.get("stage", "")), name
                rows.setdefault(at, []).append((record["step"], int(record["epoch"]), seconds, value))
    return {in_stage(name, stage): _points(points, stage) for (stage, name), points in rows.items()}


def _points(rows: list[tuple[int, int, float, float]], stage: str) -> Points:
    step, epoch, seconds, value = (np.array(column) for column in zip(*rows, strict=True))
    return Points(step, epoch, seconds, value.astype(float), stage)
