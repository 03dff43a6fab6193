"""The curves of a run as arrays, read with pyarrow: a hundred thousand records in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
KINDS = ("int64", "double", "null")
"""Types of columns of metrics that are read as they lie."""
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
    has_metrics = "metrics" in table.column_names and table.schema.field("metrics").type.num_fields
    if not has_metrics or table["record"].null_count:
        return None
    flat = table.flatten()
    numbers = all(str(one.type) in KINDS for one in flat.schema if one.name.startswith(METRICS))
    return flat if numbers else None


def _of_table(table: Any) -> Curves:
    is_start, is_step, is_evaluation = _which(table["record"], ("start", *MEASURED))
    measured = is_step | is_evaluation
    seconds = _seconds(is_start, _numbers(table["time"]))
    step, epoch = (_numbers(table[name]) for name in ("step", "epoch"))
    columns = {name.removeprefix(METRICS): name for name in table.column_names if name.startswith(METRICS)}
    has_stages = "stage" in table.column_names
    stages = np.asarray(table["stage"].fill_null("").to_numpy()) if has_stages else np.full(len(step), "")
    found = {}
    for name, column in columns.items():
        there = measured & _valid(table[column].combine_chunks())
        older = there & is_step if name == LOSS else np.zeros_like(there)
        for current, whole in ((name, there & ~older), *_renamed(older)):
            for stage in dict.fromkeys(stages[measured]) if has_stages else ("",):
                chosen = whole & (stages == stage) if has_stages else whole
                if chosen.any():
                    value = _numbers(table[column])[chosen].astype(float)
                    points = Points(step[chosen], epoch[chosen], seconds[chosen], value, stage)
                    found[in_stage(current, stage)] = points
    return found


def in_stage(name: str, stage: str) -> str:
    """Return the name of a metric of a stage."""
    return f"{stage}/{name}" if stage else name


# By the memory of columns: where pyarrow converts truth values or compares with a word, it imports pandas, which
# takes longer than to read a run.


def _which(column: Any, words: Sequence[str]) -> list[Array]:
    """Return for each word where a column of words has it."""
    coded = column.combine_chunks().dictionary_encode()
    codes, known = np.from_dlpack(coded.indices), coded.dictionary.to_pylist()
    return [codes == known.index(word) if word in known else np.zeros(len(codes), bool) for word in words]


def _valid(whole: Any) -> Array:
    import pyarrow as pa

    found: Array = np.from_dlpack(whole.is_valid().cast(pa.uint8()))
    return found.astype(bool)


def _numbers(column: Any) -> Array:
    """Return a column of numbers as an array, 0 where it has no value."""
    whole = column.combine_chunks()
    kind: Any = np.int64 if str(whole.type) == "int64" else np.float64
    values = np.frombuffer(whole.buffers()[1], kind)[whole.offset : whole.offset + len(whole)]
    return np.where(_valid(whole), values, kind(0)) if whole.null_count else values


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
