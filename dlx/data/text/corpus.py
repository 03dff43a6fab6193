"""A text on disk: one file, the files of a folder, or a column of a table, read in pieces of bounded size."""

from __future__ import annotations

import codecs
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, did_you_mean
from ...utils import files
from ..cache import cache_folder
from ..file_reading import existing, files_inside

if TYPE_CHECKING:
    from ...text.tokenizer import Text

PIECE = 2**20
"""Bytes that are read at a time."""
TABLES = (".csv", ".tsv", ".parquet", ".arrow")
MARGIN = 2.0
"""Seconds since the last change of a file, before which it may change again without another time of change."""


@dataclass(frozen=True)
class Scan:
    """SHA-256 of the texts of a corpus, and the length of each document in order, found in one reading.

    Lengths are characters, or bytes where the tokens are bytes.
    """

    digest: str
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class Document:
    """One text of a corpus: where it comes from, and its pieces."""

    name: str
    pieces: Iterable[Text]


@dataclass(frozen=True)
class Corpus:
    """Documents in a fixed order: the text itself, a file, the files of a folder by path, or the rows of a column."""

    path: Path | None
    content: str | None = None
    column: str | None = None
    pattern: str = "*.txt"
    encoding: str = "utf-8"
    of_bytes: bool = False
    """Whether pieces are bytes as they lie, and nothing is decoded."""
    way_out: str = "`encoding: latin-1` reads such a file; `tokens: bytes` any."
    """What to do about a file of another encoding."""
    seen: dict[str, Scan] = field(default_factory=dict, compare=False)

    @property
    def is_table(self) -> bool:
        return self.path is not None and (self.column is not None or set(self.path.suffixes) & set(TABLES) != set())

    def documents(self) -> Iterator[Document]:
        """Yield the documents in order. DataError where one is missing, empty or of another encoding."""
        if self.content is not None:
            yield Document("`content`", [self.content.encode() if self.of_bytes else self.content])
            return
        assert self.path is not None
        if self.is_table:
            yield from self._rows(self.path)
            return
        for path in self.files():
            yield Document(str(path), self._pieces(path))

    def files(self) -> list[Path]:
        """Return the files in their order. DataError where there are none."""
        if self.path is None:
            return []
        if not existing(self.path).is_dir():
            return [self.path]
        found = sorted(p for p in self.path.rglob(self.pattern) if p.is_file() and not p.name.startswith("."))
        if not found:
            message = f"{self.path} holds no file that is called `{self.pattern}`"
            raise DataError(message, hint=f"{files_inside(self.path)} `files: '*.md'` takes others.")
        return found

    def _pieces(self, path: Path) -> Iterator[Text]:
        decoder = None if self.of_bytes else codecs.getincrementaldecoder(self.encoding)()
        before = 0
        with path.open("rb") as file:
            while piece := file.read(PIECE):
                if decoder is None:
                    yield piece
                    continue
                yield self._decoded(decoder, piece, before, path, end=False)
                before += len(piece)
            if decoder is not None and (rest := self._decoded(decoder, b"", before, path, end=True)):
                yield rest

    def _decoded(
        self, decoder: codecs.IncrementalDecoder, piece: bytes, before: int, path: Path, *, end: bool
    ) -> str:
        """Decode the next bytes of a file, after `before` others. DataError with the place of a mistake."""
        waiting = len(decoder.getstate()[0])
        try:
            return decoder.decode(piece, end)
        except UnicodeDecodeError as error:
            at = before - waiting + error.start
            with path.open("rb") as file:
                lines = _newlines(file, at)
            message = f"{path} is not {self.encoding.upper()}: byte {at:,} (line {lines + 1:,}) is "
            message += f"0x{error.object[error.start]:02x}"
            raise DataError(message, hint=self.way_out) from None

    def _rows(self, path: Path) -> Iterator[Document]:
        for i, text in enumerate(_column(existing(path, folder=False), self.column)):
            if text is None:
                message = f"row {i} of column `{self.column}` of {path} has no text"
                raise DataError(message, hint="Leave such rows out; an empty text is written as two quotes.")
            yield Document(f"row {i} of {path}", [text.encode() if self.of_bytes else text])

    def scan(self) -> Scan:
        """Return digest and lengths; of files that have not changed since they were read, from the cache."""
        name = self._stamp()
        if name and name in self.seen:
            return self.seen[name]
        known = _remembered(name) if name else None
        found = known or self._read_all()
        if name:
            self.seen[name] = found
            if known is None:
                _remember(name, found)
        return found

    def _read_all(self) -> Scan:
        digest, lengths = hashlib.sha256(), list[int]()
        for document in self.documents():
            length = 0
            digest.update(f"document {len(lengths)}\n".encode())
            for piece in document.pieces:
                digest.update(piece if isinstance(piece, bytes) else piece.encode())
                length += len(piece)
            lengths.append(length)
        if not any(lengths):
            raise DataError(f"{self.path or '`content`'} is empty: there is no text", hint="Give a text.")
        return Scan(digest.hexdigest(), tuple(lengths))

    def _stamp(self) -> str:
        """Return a name for the files as they are now; empty where one has changed just now."""
        if self.path is None:
            return ""
        stamps: list[Any] = [self.of_bytes, self.encoding, self.column, str(self.path.resolve())]
        for path in [existing(self.path, folder=False)] if self.is_table else self.files():
            status = path.stat()
            if status.st_mtime > time.time() - MARGIN:
                return ""
            stamps.append((str(path), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return hashlib.sha256(json.dumps(stamps).encode()).hexdigest()


def _newlines(file: Any, until: int) -> int:
    count = 0
    while until > 0 and (piece := file.read(min(PIECE, until))):
        count += piece.count(b"\n")
        until -= len(piece)
    return count


def _place_of(name: str) -> Path:
    return cache_folder() / "text" / "scans" / f"{name}.json"


def _remembered(name: str) -> Scan | None:
    try:
        saved = json.loads(_place_of(name).read_text())
        return Scan(str(saved["digest"]), tuple(map(int, saved["lengths"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(name: str, found: Scan) -> None:
    path = _place_of(name)
    with suppress(OSError):  # where nothing can be kept, the files are read again
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, json.dumps({"digest": found.digest, "lengths": list(found.lengths)}).encode())


def _column(path: Path, column: str | None) -> Iterator[str | None]:
    """Yield the texts of a column of a table, block by block. DataError where it is not there, or is no text."""
    import pyarrow as pa

    names, blocks = _parquet(path, column) if path.suffix in {".parquet", ".arrow"} else _csv(path, column)
    if column is None or column not in names:
        there = ", ".join(f"`{name}`" for name in names)
        message = f"{path} has no column `{column}`" if column else f"{path} is a table, and no column is named"
        raise DataError(message, hint=did_you_mean(column or "", names) or f"`column` names one: {there}.")
    for block in blocks():
        values = block if pa.types.is_large_string(block.type) or pa.types.is_string(block.type) else None
        if values is None:
            message = f"column `{column}` of {path} holds {block.type}, and a text is wanted"
            raise DataError(message, hint="Name a column of texts.")
        yield from values.to_pylist()


def _parquet(path: Path, column: str | None) -> tuple[list[str], Any]:
    from ..tables.parquet_rows import opened

    file = opened(path)
    return list(file.schema.names), lambda: (file.column(group, str(column)) for group in range(len(file.counts)))


def _csv(path: Path, column: str | None) -> tuple[list[str], Any]:
    """Return the names of the columns, and a function that reads one of them as texts, block by block."""
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter="\t" if ".tsv" in path.suffixes else ",", newlines_in_values=True)
    read = csv.ReadOptions(block_size=2**24)
    options = {"column_types": {column: pa.string()}, "include_columns": [column]} if column else {}

    def opened(**convert: Any) -> Any:
        try:
            return csv.open_csv(path, read, parse, csv.ConvertOptions(strings_can_be_null=False, **convert))
        except (pa.ArrowException, UnicodeDecodeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{path} cannot be read as CSV: {reason}", hint="Save it as CSV in UTF-8.") from None

    with opened() as file:
        names = list(file.schema.names)
    return names, lambda: (batch.column(0) for batch in opened(**options))
