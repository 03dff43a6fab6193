"""A run on disk: `runs/<name>/<id>/`. The folder is the truth; whatever else shows a run reads it. No torch here.

spec.yaml        the resolved spec, to run again            lock.json   versions, device, commit, data digest, pid
plan.json        what `dlx inspect --json` says             mlflow.json how far MLflow's mirror is
metrics.jsonl    one record a line, only ever appended      checkpoints/{final, ...}.safetensors + .json
ensemble.json    the runs of its members, if it has any     inputs.safetensors  how inputs are preprocessed
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..errors import DlxError, RunError, shortened
from ..utils import files, json_documents
from ..utils.json_documents import nonfinite_as_words
from .records import RECORDS, RunRecord, encode, last_line, parse

ENSEMBLE = "ensemble.json"
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

    def append(self, *records: RunRecord) -> None:
        """More lines, out of this process's hands when this returns. RunError where the disk is full."""
        line = b"".join(map(encode, records))
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
                handle.truncate(last_line(path)[1])
                handle.seek(0, os.SEEK_END)
        except OSError as error:
            raise RunError(f"{path} cannot be written: {_reason(error)}") from error
        return handle

    def records(self) -> Iterator[RunRecord]:
        """Every record that stands; half a line at the end is left for later."""
        return (record for record, _ in self.records_from(0))

    def records_from(self, offset: int) -> Iterator[tuple[RunRecord, int]]:
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
                record = parse(line) if line.endswith(b"\n") else None
                if record is not None:
                    yield record, offset

    def last(self) -> RunRecord | None:
        """The last record, found from the end of the file. DlxError where its last line is none."""
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
        """The keys of the runs of an ensemble; empty for any other run."""
        found = self.read_json(ENSEMBLE).get("members", [])
        return [str(key) for key in found] if isinstance(found, list) else []

    def end(self) -> RunRecord | None:
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

    def numeric_settings(self) -> dict[str, Any]:
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


def new_id() -> str:
    """`20261121-053012-3fa9`: the second in UTC, and which 65,536th of it; so names sort by time."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H%M%S}-{(nanoseconds << 16) // 1_000_000_000:04x}"


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
