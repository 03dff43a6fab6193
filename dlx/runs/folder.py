"""A run on disk: `runs/<name>/<id>/`, from which everything that shows a run reads. No torch here.

spec.yaml        the resolved spec, to run again            lock.json   versions, device, commit, data digest, pid
plan.json        what `dlx inspect --json` says             mlflow.json what has arrived in MLflow
metrics.jsonl    one record a line, only ever appended      checkpoints/{final, ...}.safetensors + .json
ensemble.json    the runs of its members, if it has any     inputs.safetensors  how inputs are preprocessed
baseline.json    the estimator, of `dlx baseline`       origin.json how it came about: overrides, seeds
tags.json        what people wrote to it with `dlx runs tag`
seeds/           pictures of all seeds of one command, in the folder of the first
time.json        how long it was forecast to take from its first steps, and how long it took
system.jsonl     load of the machine beside the training, where `track` asks for it
artifacts/       what is made to be looked at: texts and pictures of samples, coloured texts
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..errors import DlxError, not_written, shortened
from ..utils import files, json_documents
from .records import RECORDS, RunRecord, encode, last_line, parse

ENSEMBLE = "ensemble.json"
BASELINE = "baseline.json"
TAGS = "tags.json"
TIME = "time.json"
"""Forecast and fact of its time."""
SYSTEM_METRICS = "system.jsonl"
ARTIFACTS = "artifacts"
"""Folder of what is made for people to look at, such as texts; MLflow gets all of it."""
SEEDS_ARTIFACTS = "seeds"
"""The same of all seeds of one command, in the folder of the first."""
ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")


class RunFolder:
    """Folder of one run. Reading never changes it; `append` holds one handle open until an end record or `close`."""

    def __init__(self, folder: Path | str) -> None:
        self.dir = Path(folder)
        self._handle: BinaryIO | None = None

    @classmethod
    def create(cls, root: Path | str, name: str) -> RunFolder:
        """Create a new, empty run. Raises DlxError where nothing can be written."""
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

    @cached_property
    def _place(self) -> Path:
        """The folder from the root of the file system on; lists of runs ask for parts of it again and again."""
        return self.dir.absolute()

    @property
    def name(self) -> str:
        return self._place.parent.name

    @property
    def id(self) -> str:
        return self._place.name

    @property
    def key(self) -> str:
        """`name/id`, by which commands and MLflow know it."""
        return f"{self.name}/{self.id}"

    @property
    def argument(self) -> str:
        """The run as an argument of commands: its key if it lies in `./runs`, else its path."""
        return self.key if self.root == Path("runs").absolute() else shlex.quote(str(self.dir))

    @property
    def root(self) -> Path:
        """The folder that holds all runs."""
        return self._place.parent.parent

    def __repr__(self) -> str:
        return f"Run({str(self.dir)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, *records: RunRecord) -> None:
        """Append records, which then survive a kill of this process. NotWrittenError where the disk is full."""
        line = b"".join(map(encode, records))
        # unbuffered, and one write for all of them: a kill can only cut off the end
        handle = self._handle = self._handle or self._open()
        before = handle.tell()
        try:
            if handle.write(line) < len(line):
                handle.truncate(before)
                raise OSError(errno.ENOSPC, "the disk is full")  # noqa: TRY301
        except OSError as error:
            self.close()
            raise not_written(self.dir / RECORDS, error) from error
        if records[-1]["record"] == "end":
            self.close()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _open(self) -> BinaryIO:
        """Open the records for appending, and cut off an unfinished line that a kill has left."""
        path = self.dir / RECORDS
        try:
            handle = path.open("ab", buffering=0)
            size = handle.tell()
            if size:
                handle.truncate(last_line(path)[1])
                handle.seek(0, os.SEEK_END)
        except OSError as error:
            raise not_written(path, error) from error
        return handle

    def records(self) -> Iterator[RunRecord]:
        """Yield every complete record; an unfinished line at the end is left for later."""
        return (record for record, _ in self.records_from(0))

    def records_from(self, offset: int) -> Iterator[tuple[RunRecord, int]]:
        """Yield the records from an offset in bytes on, each with the offset of its end."""
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
                record = parse(line) if line.endswith(b"\n") else None
                if record is not None:
                    yield record, offset

    def last(self) -> RunRecord | None:
        """Return the last record, read from the end of the file. Raises DlxError where the last line is no record."""
        path = self.dir / RECORDS
        try:
            line, end = last_line(files.regular(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(path, error) from error
        record = parse(line) if line else None
        if record is None and end:
            hint = "Take away what was put behind the records, or the folder."
            raise DlxError(f"{path} is damaged: its last line is no record of a run", hint=hint)
        return record

    def members(self) -> list[str]:
        """Return the keys of the runs of an ensemble; empty for any other run."""
        found = self.read_json(ENSEMBLE).get("members", [])
        return [str(key) for key in found] if isinstance(found, list) else []

    def baseline(self) -> str:
        """Return the baseline that it is the run of, such as `knn (n_neighbors 3)`; empty for a training."""
        return str(self.read_json(BASELINE).get("label", ""))

    def tags(self) -> dict[str, str]:
        """Return what people wrote to it, by key; empty where they wrote nothing."""
        return {str(key): str(value) for key, value in self.read_json(TAGS).items()}

    def end(self) -> RunRecord | None:
        """Return the end record, if the run has ended and was not resumed since."""
        last = self.last()
        return last if last is not None and last["record"] == "end" else None

    def status(self) -> str:
        """Return finished, failed or stopped, as the end record says; else running, or died without a process."""
        end = self.end()
        if end is not None:
            return str(end["status"])
        try:
            pid, since = self.lock().get("pid"), (self.dir / "lock.json").stat().st_mtime
        except FileNotFoundError:
            return "died"
        return "running" if isinstance(pid, int) and alive(pid, since) else "died"

    def started(self) -> float:
        """Return the start of the run, in seconds of Unix time."""
        first = next(self.records(), None)
        if first is not None:
            return float(first["time"])
        if not ID.fullmatch(self.id):
            return self.dir.stat().st_mtime
        return datetime.strptime(self.id[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()

    def read_json(self, name: str) -> dict[str, Any]:
        """Read the object in a file; empty where there is no file. Raises DlxError where it is something else."""
        return json_documents.read(self.dir / name)

    def lock(self) -> dict[str, Any]:
        """Read lock.json; empty where there is none. Raises DlxError where a value of it has the wrong type."""
        lock = self.read_json("lock.json")
        data = lock.get("data", {})
        values = {**lock, **{f"data.{key}": value for key, value in data.items()}} if isinstance(data, dict) else lock
        for name, (fits, what) in LOCKED.items():
            if name in values and not fits(values[name]):
                shown = shortened(json.dumps(values[name]))
                message = f"{self.dir / 'lock.json'} is damaged: `{name}` is {what}, and here is {shown}"
                raise DlxError(message, hint=json_documents.ALTERED)
        return lock

    def threads(self) -> int:
        """Return the number of threads that it was computed with."""
        return int(self.lock().get("threads") or 1)

    def file(self, name: str) -> Path:
        """Return the path of one of its files. Raises DlxError where it is missing, or is no regular file."""
        path = self.dir / name
        try:
            return files.regular(path)
        except OSError as error:
            raise _unreadable(path, error) from error

    def numeric_settings(self) -> dict[str, Any]:
        """Return the values of its lock that decide about the last bits of its results: `threads` and `packed`."""
        lock = self.lock()
        return {name: lock[name] for name in ("threads", "packed") if name in lock}

    def write_json(self, name: str, value: object) -> None:
        self.write_text(name, json_documents.dumps(value, indent=1) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file of text, as `write_bytes` does."""
        self.write_bytes(name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, in a folder of its own where the name has one; after a kill or on a full disk it has its
        previous content. A run that was removed meanwhile stays removed.
        """
        path = self.dir / name
        try:
            if self.dir.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
            files.replace(path, content)
        except OSError as error:
            raise not_written(path, error) from error


def new_id() -> str:
    """Return an id such as `20261121-053012-3fa9`: the second in UTC, and its 65,536th; so names sort by time."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H%M%S}-{(nanoseconds << 16) // 1_000_000_000:04x}"


def alive(pid: int, since: float | None = None) -> bool:
    """Whether a process is running. With `since`, one that started later does not count: its number was reused."""
    import psutil

    try:
        process = psutil.Process(pid)
        # psutil adds the start of a process to the boot time, which Linux gives in whole seconds: hence a tolerance
        young = since is not None and process.create_time() > since + 2
        return not young and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _unreadable(path: Path, error: OSError) -> DlxError:
    return DlxError(f"{path} cannot be read: {files.reason(error)}", hint=json_documents.ALTERED)


def _holds_objects(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())


LOCKED: dict[str, tuple[Callable[[object], bool], str]] = {
    "threads": (lambda value: json_documents.is_count(value) and 0 < value <= MOST_THREADS, "a number of threads"),
    "packed": (lambda value: isinstance(value, bool), "true or false"),
    "seed": (json_documents.is_count, "a whole number"),
    "device": (lambda value: isinstance(value, str), "a text"),
    "spec_hash": (lambda value: isinstance(value, str), "a text"),
    "stages": (_holds_objects, "an object of objects"),
    "weights": (lambda value: isinstance(value, dict), "an object"),
    "networks": (lambda value: isinstance(value, dict), "an object"),
    "data": (lambda value: isinstance(value, dict), "an object"),
    "data.digest": (lambda value: isinstance(value, str), "a text"),
    "compute": (lambda value: isinstance(value, dict), "an object"),
    "way": (lambda value: isinstance(value, dict), "an object"),
}
"""Check and description of each value of a lock that other code reads."""
MOST_THREADS = 4096
