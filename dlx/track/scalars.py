"""Files of a run's scalars beside its records: `metrics.csv`, and event files of TensorBoard.

Both follow from `metrics.jsonl` alone, so what a kill has cut off is mended by the next process that writes them.
Metrics have the names that MLflow has.
"""

from __future__ import annotations

import csv
import io
import os
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, Problem, SpecError
from ..runs.folder import RunFolder
from ..runs.records import RECORDS, RunRecord
from ..utils import files
from . import at_work, content, store

if TYPE_CHECKING:
    from ..spec import Experiment

CSV = "metrics.csv"
COLUMNS = ("run", "seed", "step", "epoch", "time", "metric", "value")
EVENTS = "events.out.tfevents."
"""First part of the name of an event file, by which TensorBoard finds it."""
LOCK = ".scalars.lock"
LOOK, PAUSE = 0.1, 1.0
"""Seconds between two looks at the records, and between two that found some."""
TENSORBOARD = "`pip install 'dlx[tensorboard]'` brings it."

Point = tuple[RunRecord, list[content.Point]]
"""A record that has metrics, and these as points."""


class ScalarFile(ABC):
    """A file that grows with the records of a run."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file."""

    @abstractmethod
    def begin(self) -> int:
        """Mend the file, and return how many of the records with metrics it has."""

    @abstractmethod
    def write(self, points: Sequence[Point]) -> None:
        """Append what follows."""


class CsvFile(ScalarFile):
    """A row for each value: run, seed, step, epoch, seconds of Unix time, metric, value.

    Written anew by each process that begins with it, since tables are opened and saved by other programs.
    """

    fresh = True

    @property
    def path(self) -> Path:
        return self.run.dir / CSV

    def begin(self) -> int:
        self.fresh = True
        return 0

    def write(self, points: Sequence[Point]) -> None:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        if self.fresh:
            table.writerow(COLUMNS)
        seed = self.run.lock().get("seed", "")
        for record, several in points:
            epoch = record.get("epoch", "")
            table.writerows(
                (self.run.key, seed, step, epoch, when / 1000, name, repr(value))
                for name, value, when, step in several
            )
        if self.fresh:
            files.replace(self.path, text.getvalue().encode())
        else:
            _append(self.path, text.getvalue().encode())
        self.fresh = False


class EventFile(ScalarFile):
    """An event file: a record of the version, then one for each record with metrics, with all of its values.

    TensorBoard's format has single precision. A torn event at its end is cut off; TensorBoard may read on meanwhile.
    """

    @property
    def path(self) -> Path:
        there = sorted(self.run.dir.glob(f"{EVENTS}*.dlx"))
        return there[0] if there else self.run.dir / f"{EVENTS}{int(self.run.started())}.dlx"

    def begin(self) -> int:
        count, end = whole_events(self.path)
        if count:
            os.truncate(self.path, end)
            return count - 1
        files.replace(self.path, framed([version_event(self.run.started())]))
        return 0

    def write(self, points: Sequence[Point]) -> None:
        _append(self.path, framed([event_of(several) for _, several in points]))


def _append(path: Path, text: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        if file.write(text) < len(text):
            raise OSError(28, "no space left on device")


def event_of(points: Sequence[content.Point]) -> Any:
    """Return the event of a record's points, which have one step and one time."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    _, _, when, step = points[0]
    values = [Summary.Value(tag=name, simple_value=value) for name, value, _, _ in points]
    return Event(wall_time=when / 1000, step=step, summary=Summary(value=values))


def version_event(when: float) -> Any:
    """Return the event with which each file begins."""
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(wall_time=when, file_version="brain.Event:2")


def framed(events: Sequence[Any]) -> bytes:
    """Return events as TensorBoard's own writer frames them, with lengths and checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    text = io.BytesIO()
    writer = RecordWriter(text)
    for event in events:
        writer.write(event.SerializeToString())
    return text.getvalue()


def whole_events(path: Path) -> tuple[int, int]:
    """Return the number of whole events in a file, and the end of the last one in bytes; none where there is no file.

    An event is its length in eight bytes, a checksum of that in four, its text, and a checksum of that.
    """
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    if not path.exists():
        return 0, 0
    count, end, text = 0, 0, path.read_bytes()
    while len(text) >= end + 16:
        length, checksum = struct.unpack_from("<QI", text, end)
        after = end + 16 + length
        if masked_crc32c(text[end : end + 8]) != checksum or after > len(text):
            break
        count, end = count + 1, after
    return count, end


class ScalarFiles:
    """Files that a run's `track` section asks for, written beside its training."""

    def __init__(self, folder: Path) -> None:
        self.run = RunFolder(folder)
        asked = store.track_section(self.run)
        kinds = {"csv": CsvFile, "tensorboard": EventFile}
        self.files = [kind(self.run) for name, kind in kinds.items() if asked.get(name) is True]
        self.sizes: dict[Path, int | None] = {}
        """Size of each file as this process left it."""
        self.ahead: dict[Path, int] = {}
        """Records with metrics that a file has, and this process has not read again."""
        self.offset, self.last = 0, dict[str, list[Any]]()
        self.read: int | None = None
        """Size of the records when they were read."""
        self.writing = self.run.dir / LOCK
        """File that is being written, for errors."""
        self.due = 0.0
        self.code: int | None = None
        """Exit status: 0 if all is written, 1 if the end could not be; None while more may come."""

    def update(self) -> None:
        """Write what the files lack. DlxError where one cannot be written."""
        if not self.files or _size(self.run.dir / RECORDS) == self.read:
            return
        try:
            with at_work.held(self.run.dir / LOCK):
                self._update()
        except ImportError as error:
            raise DlxError(f"the event file of {self.run.key} takes TensorBoard", hint=TENSORBOARD) from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise DlxError(f"{self.writing} cannot be written: {reason}") from error

    def _update(self) -> None:
        # another process may have written them since, `dlx runs sync` beside a training
        if any(_size(one.path) != self.sizes.get(one.path, -1) for one in self.files):
            self.offset, self.last = 0, {}
            self.ahead = {one.path: one.begin() for one in self.files}
        read, points = _size(self.run.dir / RECORDS), list(self._points())
        for one in self.files:
            self.writing = one.path
            skipped = min(self.ahead[one.path], len(points))
            self.ahead[one.path] -= skipped
            if points[skipped:] or not one.path.exists():
                one.write(points[skipped:])
        self.sizes = {one.path: _size(one.path) for one in self.files}
        self.read = read

    def _points(self) -> Iterator[Point]:
        """Yield the records with metrics that this process has not read, as MLflow gets them."""
        for record, offset in self.run.records_from(self.offset):
            found = content.points(record, self.last)
            self.last.update({name: [step, repr(value)] for name, value, _, step in found})
            self.offset = offset
            if found:
                yield record, found

    def poll(self, gone: bool) -> float:
        """Write what is new, and return the seconds until the next call; `gone` if training has ended."""
        final = gone or self.run.end() is not None
        size = _size(self.run.dir / RECORDS) or 0
        if final or (size > self.offset and time.monotonic() >= self.due):
            self.due = time.monotonic() + PAUSE
            self.code = _exit_code(self, final)
        return LOOK


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.exists() else None


class FilesOfMany:
    """The files of several runs, which become more, as those of a study do."""

    def __init__(self, folder: Path, runs: Callable[[], Iterable[Path]]) -> None:
        self.folder, self.runs = folder, runs
        self.each: dict[Path, ScalarFiles] = {}
        self.due = 0.0
        self.code: int | None = None

    def update(self) -> None:
        """Write what the files of all runs lack. DlxError where one cannot be written."""
        for path in self.runs():
            if path not in self.each and (path / RECORDS).exists():
                self.each[path] = ScalarFiles(path)
        for one in self.each.values():
            one.update()

    def poll(self, gone: bool) -> float:
        """Write what is new, and return the seconds until the next call; `gone` if the study has ended."""
        began = time.monotonic()
        if gone or began >= self.due:
            self.code = _exit_code(self, gone)
            ended = time.monotonic()
            self.due = ended + max(PAUSE, 4 * (ended - began))
        return LOOK


def error_of(each: ScalarFiles | FilesOfMany) -> str:
    """Write what files lack, and return the error where one cannot be written; else an empty text."""
    try:
        each.update()
    except DlxError as error:
        return error.problems[0].message
    return ""


def _exit_code(each: ScalarFiles | FilesOfMany, final: bool) -> int | None:
    """Write what files lack, with an error to the log, and return the exit status; None while more may come."""
    if error := error_of(each):
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {error}", flush=True)
    return int(bool(error)) if final else None


def check(experiment: Experiment) -> None:
    """Raise SpecError where a spec asks for event files and TensorBoard is not installed."""
    if experiment.track.tensorboard and find_spec("tensorboard") is None:
        message = "`tensorboard: true` takes TensorBoard, which is not installed"
        raise SpecError(Problem(message, TENSORBOARD, experiment.place("track", "tensorboard"), "track.tensorboard"))


def scalar_files(run: RunFolder) -> list[Path]:
    """Return the files of scalars that a run has."""
    return [path for path in (CsvFile(run).path, EventFile(run).path) if path.exists()]
