"""A run on disk: `runs/<name>/<id>/`. The folder is the truth; whatever else shows a run reads it. No torch here.

    spec.yaml        the resolved spec, to run again            lock.json   versions, device, commit, data digest, pid
    plan.json        what `dlx inspect --json` says             mlflow.json how far MLflow's mirror is
    metrics.jsonl    one record a line, only ever appended      checkpoints/{final, ...}.safetensors + .json
    ensemble.json    the runs of its members, if it has any     inputs.safetensors  how inputs are preprocessed

Records are `{"record": "start" | "step" | "evaluation" | "end", "time": ..., ...}`; one stands once its line ended.
A step record has `train/running_loss`; the end record has `train/loss`, an evaluation of the final weights. Runs from
before 2026-11-28 call both `train/loss`, and it is the running loss at the end, too.
"""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..errors import DlxError, RunError, did_you_mean, plural, shortened
from ..metrics import RUNNING_LOSS
from ..utils import files, json_documents
from ..utils.json_documents import nonfinite_as_words

Record = dict[str, Any]

RECORDS, ENSEMBLE = "metrics.jsonl", "ensemble.json"
LOSS = "train/loss"
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


class Run:
    """One run's folder. Reading never changes it; `append` keeps one handle open until an end record or `close`."""

    def __init__(self, folder: Path | str) -> None:
        self.dir = Path(folder)
        self._handle: BinaryIO | None = None

    @classmethod
    def create(cls, root: Path | str, name: str) -> Run:
        """A new, empty run. DlxError where nothing can be written."""
        home = Path(root) / name
        try:
            home.mkdir(parents=True, exist_ok=True)
            while True:
                run = cls(home / new_id())
                try:
                    (run.dir / "checkpoints").mkdir(parents=True)
                except FileExistsError:  # another process took the same instant
                    continue
                return run
        except OSError as error:
            hint = "Choose another folder with `--runs DIR`, or fix its permissions."
            raise DlxError(f"runs cannot be written to {home}: {_reason(error)}", hint=hint) from error

    @property
    def name(self) -> str:
        return self.dir.absolute().parent.name

    @property
    def id(self) -> str:
        return self.dir.absolute().name

    @property
    def key(self) -> str:
        """`name/id`, as people and MLflow call it."""
        return f"{self.name}/{self.id}"

    @property
    def argument(self) -> str:
        """The run as commands take it: its key where it lies in the `runs` that they look through, else its path."""
        return self.key if self.root == Path("runs").absolute() else shlex.quote(str(self.dir))

    @property
    def root(self) -> Path:
        """The folder that holds all runs."""
        return self.dir.absolute().parent.parent

    def __repr__(self) -> str:
        return f"Run({str(self.dir)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, *records: Record) -> None:
        """More lines, out of this process's hands when this returns. RunError where the disk is full."""
        line = b"".join(map(_line, records))
        handle = self._handle = self._handle or self._open()
        before = handle.tell()
        try:
            if handle.write(line) < len(line):
                handle.truncate(before)
                raise OSError("the disk is full")  # noqa: TRY301
        except OSError as error:
            raise RunError(f"{self.dir / RECORDS} cannot be written: {_reason(error)}") from error
        if records[-1]["record"] == "end":
            self.close()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _open(self) -> BinaryIO:
        """The records, ready for the next; what a kill left of half a line is cut off."""
        path = self.dir / RECORDS
        try:
            handle = path.open("ab", buffering=0)
            size = handle.tell()
            if size:
                handle.truncate(_last_line(path)[1])
                handle.seek(0, os.SEEK_END)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {_reason(error)}") from error
        return handle

    def records(self) -> Iterator[Record]:
        """Every record that stands; half a line at the end is left for later."""
        return (record for record, _ in self.records_from(0))

    def records_from(self, offset: int) -> Iterator[tuple[Record, int]]:
        """The records behind a place in the file, each with the place behind it."""
        path = self.dir / RECORDS
        try:
            handle = files.regular(path).open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unreadable(path, error) from error
        with handle:
            handle.seek(offset)
            for line in handle:
                offset += len(line)
                record = _parsed(line) if line.endswith(b"\n") else None
                if record is not None:
                    yield record, offset

    def last(self) -> Record | None:
        """The last record, found from the end of the file. DlxError where its last line is none."""
        path = self.dir / RECORDS
        try:
            line, end = _last_line(files.regular(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        record = _parsed(line) if line else None
        if record is None and end:
            hint = "Take away what was put behind the records, or the folder."
            raise DlxError(f"{path} is damaged: its last line is no record of a run", hint=hint)
        return record

    def members(self) -> list[str]:
        """The keys of the runs of an ensemble; empty for any other run."""
        found = self.read_json(ENSEMBLE).get("members", [])
        return [str(key) for key in found] if isinstance(found, list) else []

    def end(self) -> Record | None:
        """The end record, once the run has one and was not taken up again."""
        last = self.last()
        return last if last is not None and last["record"] == "end" else None

    def status(self) -> str:
        """finished, failed or stopped, as the end record says; else running, or died where its process is gone."""
        end = self.end()
        if end is not None:
            return str(end["status"])
        try:
            pid, since = self.lock().get("pid"), (self.dir / "lock.json").stat().st_mtime
        except FileNotFoundError:
            return "died"
        return "running" if isinstance(pid, int) and alive(pid, since) else "died"

    def started(self) -> float:
        """When the run began, in Unix time."""
        first = next(self.records(), None)
        if first is not None:
            return float(first["time"])
        if not ID.fullmatch(self.id):
            return self.dir.stat().st_mtime
        return datetime.strptime(self.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()

    def read_json(self, name: str) -> dict[str, Any]:
        """A file's object; empty where there is no file. DlxError where it is something else."""
        return json_documents.read(self.dir / name)

    def lock(self) -> dict[str, Any]:
        """The contents of its lock; empty where there is none. DlxError where a value of it has the wrong type."""
        lock = self.read_json("lock.json")
        data = lock.get("data", {})
        values = {**lock, **{f"data.{key}": value for key, value in data.items()}} if isinstance(data, dict) else lock
        for name, (fits, what) in LOCKED.items():
            if name in values and values[name] is not None and not fits(values[name]):
                shown = shortened(json.dumps(values[name]))
                message = f"{self.dir / 'lock.json'} is damaged: `{name}` is {what}, and here is {shown}"
                raise DlxError(message, hint=json_documents.ALTERED)
        return lock

    def threads(self) -> int:
        """With how many threads it was computed."""
        return int(self.lock().get("threads") or 1)

    def file(self, name: str) -> Path:
        """The path of one of its files. DlxError where it is not there, or is something else than a file."""
        path = self.dir / name
        try:
            return files.regular(path)
        except OSError as error:
            raise _unreadable(path, error) from error

    def manner(self) -> dict[str, Any]:
        """What its lock says of how it is computed, as far as that decides about the last bits."""
        lock = self.lock()
        return {name: lock[name] for name in ("threads", "packed") if name in lock}

    def write_json(self, name: str, value: object) -> None:
        self.write_text(name, json.dumps(nonfinite_as_words(value), indent=1, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """All of it or, after a kill or on a full disk, what was there before."""
        path = self.dir / name
        try:
            files.replace(path, text.encode())
        except OSError as error:
            raise RunError(f"{path} cannot be written: {_reason(error)}") from error


def is_old(record: Record) -> bool:
    """Whether it is a point of the loss curve as older runs wrote it."""
    return record["record"] == "step" and LOSS in record["metrics"]


def running(metrics: dict[str, float]) -> dict[str, float]:
    """Metrics of a training on its way, by today's names: what older runs call `train/loss` there is running."""
    return {RUNNING_LOSS if name == LOSS else name: value for name, value in metrics.items()}


def new_id() -> str:
    """`20261121-053012-3fa9`: the second in UTC, and which 65,536th of it; so names sort by time."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H%M%S}-{(nanoseconds << 16) // 1_000_000_000:04x}"


def all_runs(root: Path | str) -> list[Run]:
    """The runs below a folder, the newest first."""
    folders = [folder for folder in Path(root).glob("*/*") if ID.fullmatch(folder.name) and folder.is_dir()]
    return [Run(folder) for folder in sorted(folders, key=lambda folder: (folder.name, folder), reverse=True)]


def find(text: str, root: Path | str) -> Run:
    """The run that is meant: a folder, `last`, `name/id`, an id, or a beginning of those that only one run has."""
    for folder in _folders(text, Path(root)):
        if any(os.path.lexists(folder / name) for name in (RECORDS, "lock.json")):
            return Run(folder)
    runs = all_runs(root)
    if not runs:
        raise DlxError(f"there is no run `{text}`: {root} holds none", hint="`dlx train SPEC` makes one.")
    if text == "last":
        return next((run for run in runs[1:] if runs[0].key in _members_of(run)), runs[0])
    exact = [run for run in runs if text in (run.key, run.id)]
    meant = exact or [run for run in runs if text and (run.key.startswith(text) or run.id.startswith(text))]
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(run.key for run in meant[:3]) + (", ..." if len(meant) > 3 else "")
        raise DlxError(f"`{text}` may be any of {plural(len(meant), 'run')}: {names}", hint="Write more of it.")
    known = {name for run in runs for name in (run.key, run.id, run.name)}
    hint = did_you_mean(text, known) if len(known) <= 12 else did_you_mean(text, known).partition("There are")[0]
    raise DlxError(f"there is no run `{text}` in {root}", hint=hint or "`dlx runs` lists them.")


def _folders(text: str, root: Path) -> Iterator[Path]:
    """Where a run may lie that is called by its path, or by its key where it is the trial of a study."""
    with suppress(RuntimeError):  # `~name` for a user that there is not
        yield Path(text).expanduser()
    yield root / text


def _members_of(run: Run) -> list[str]:
    try:
        return run.members()
    except DlxError:
        return []


def alive(pid: int, since: float | None = None) -> bool:
    """Whether a process goes on, and is no later one that was given the same number after `since`."""
    import psutil

    try:
        process = psutil.Process(pid)
        young = since is not None and process.create_time() > since + 2
        return not young and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _last_line(path: Path) -> tuple[bytes, int]:
    """The last line that has ended (empty if none has), and where it ends."""
    with path.open("rb") as handle:
        size = handle.seek(0, os.SEEK_END)
        reach = 1 << 14
        while True:
            start = max(0, size - reach)
            handle.seek(start)
            tail = handle.read(size - start)
            end = tail.rfind(b"\n") + 1
            begin = tail.rfind(b"\n", 0, max(0, end - 1)) + 1
            if start == 0 or (end and begin):
                return tail[begin:end], start + end
            reach *= 4


def _parsed(line: bytes) -> Record | None:
    """The record of a line, its metrics as numbers; None where the line holds none."""
    try:
        record = json_documents.loads(line)
        return _checked(record) if isinstance(record, dict) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def is_record(value: object) -> bool:
    """Whether a value is a record as dlx writes them."""
    return isinstance(value, dict) and _parsed(json.dumps(value).encode()) is not None


def _checked(record: Record) -> Record:
    """A record with its figures as numbers. An error of any kind where it is none that dlx writes."""
    kind, known = record["record"], {"step": _count, "seconds": json_documents.number, "epoch": json_documents.number}
    record["time"] = _finite(record["time"])
    record |= {name: read(record[name]) for name, read in known.items() if name in record}
    if kind in {"step", "evaluation", "end"}:
        record["step"] = _count(record["step"])
        record["metrics"] = {str(name): json_documents.number(v) for name, v in record["metrics"].items()}
    if kind == "end":
        record["status"] = _text(record["status"])
        if record.get("best") is not None:
            record["best"]["value"] = json_documents.number(record["best"]["value"])
        for one in record.get("kept") or []:
            name, step = _text(one["name"]), _count(one["step"])
            one |= {"name": name, "step": step, "value": json_documents.number(one["value"])}
    return record


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _count(value: object) -> int:
    if not json_documents.is_count(value):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _finite(value: Any) -> float:
    if not math.isfinite(json_documents.number(value)):
        raise ValueError(f"{value!r} is no moment")
    return float(value)


_WRITER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def _line(record: Record) -> bytes:
    try:
        text = _WRITER.encode(record)
    except ValueError:  # not a number
        text = _WRITER.encode(nonfinite_as_words(record))
    return text.encode() + b"\n"


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _unreadable(path: Path, error: OSError) -> DlxError:
    return DlxError(f"{path} cannot be read: {files.reason(error)}", hint=json_documents.ALTERED)


LOCKED: dict[str, tuple[Callable[[object], bool], str]] = {
    "threads": (lambda value: json_documents.is_count(value) and 0 < value <= MOST_THREADS, "a number of threads"),
    "packed": (lambda value: isinstance(value, bool), "true or false"),
    "device": (lambda value: isinstance(value, str), "a text"),
    "data": (lambda value: isinstance(value, dict), "an object"),
    "data.digest": (lambda value: isinstance(value, str), "a text"),
    "compute": (lambda value: isinstance(value, dict), "an object"),
    "way": (lambda value: isinstance(value, dict), "an object"),
}
"""Check and description of each value of a lock that other code reads."""
MOST_THREADS = 4096
