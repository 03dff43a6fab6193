"""CSV files, read with the types that pyarrow infers, and as texts where inference could lose information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, first_line
from ...lazy import np
from ..file_reading import existing
from .cells import MISSING

if TYPE_CHECKING:
    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]

BLOCKS = (2**20, 2**24)
"""Bytes of a file that are read at a time; the second size is for rows longer than the first, and the limit."""
PIECES = 8
"""Pieces of a block of the first size in which a file is scanned."""
ZERO, DIGITS, SIGNS, QUOTE = ord("0"), b"0123456789xX", b"+-", ord('"')
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FORMS = {
    b"PK": "It is an Excel or a zip file: save the table as CSV.",
    b"\xff\xfe": "It is UTF-16: save it as UTF-8.",
    b"\xfe\xff": "It is UTF-16: save it as UTF-8.",
}


@dataclass(frozen=True)
class Delimited:
    """A CSV file and its notation. Without `delimiter` the separator is a comma, or a tab in .tsv."""

    path: Path
    names: Sequence[str] | None = None
    delimiter: str | None = None
    na_values: Sequence[str] = ()

    @property
    def separator(self) -> str:
        return self.delimiter or ("\t" if ".tsv" in self.path.suffixes else ",")

    @property
    def width(self) -> int:
        """Number of columns, from the first line."""
        with existing(self.path, folder=False).open(errors="replace") as file:
            return file.readline().count(self.separator) + 1

    def table(self) -> Any:
        """Read all columns with inferred types. DataError where pyarrow cannot read the file."""
        types = self._first_types() if self.path.stat().st_size > BLOCKS[0] else {}
        if types:
            # A third of the time of an inference that tries each type on each block anew
            with suppress(DataError):
                return self._read(column_types=types)
        return self._read()

    def _first_types(self) -> dict[str, Any]:
        """Return the types that are inferred from the first block, but for columns without values there."""
        from pyarrow import ArrowException, csv, types

        try:
            with csv.open_csv(self._first_block(), *self._options(BLOCKS[0])) as reader:
                return {field.name: field.type for field in reader.schema if not types.is_null(field.type)}
        except (ArrowException, OSError, UnicodeDecodeError):
            return {}

    def _first_block(self) -> Any:
        """Return the whole lines of the first block; the path where a line may end within quotes.

        Of a path, pyarrow would read blocks ahead.
        """
        import pyarrow as pa

        if self._scanned[1]:
            return self.path
        with pa.input_stream(str(self.path), compression="detect") as stream:
            lines, newline, _ = stream.read(BLOCKS[0]).rpartition(b"\n")
        return pa.BufferReader(lines + newline) if newline else self.path

    def texts(self, names: Sequence[str], rows: int) -> Any:
        """Read some columns as texts. DataError where the file has another number of rows than before."""
        import pyarrow as pa

        table = self._read(include_columns=names, column_types=dict.fromkeys(names, pa.string()))
        if table.num_rows != rows:
            raise DataError(f"{self.path} was changed while it was read", hint="Read it again when it is whole.")
        return table

    @property
    def padded(self) -> bool:
        """Whether a cell may be a hexadecimal number or one with a leading zero, which type inference would lose."""
        return self._scanned[0]

    @cached_property
    def _scanned(self) -> tuple[bool, bool]:
        """Whether a cell may have a leading zero, and whether there is a quote."""
        separator = self.separator
        starts = np.isin(np.arange(256), [*b'\t\n\f\r "', *separator.encode()])
        padded = quoted = False
        for piece in self._pieces():
            quoted = quoted or b'"' in piece.tobytes()
            padded = padded or _leading_zero(piece, starts, separator, quoted)
            if padded and quoted:
                break
        return padded, quoted

    def _pieces(self) -> Iterator[Bytes]:
        """Yield the decompressed bytes in pieces, each behind the last four bytes of the one before it.

        They are views of one buffer, which stays in the processor's cache.
        """
        import pyarrow as pa

        buffer = np.full(max(BLOCKS[0] // PIECES, 4) + 4, ord("\n"), np.uint8)
        with pa.input_stream(str(self.path), compression="detect") as stream:
            first = True
            while count := stream.readinto(buffer[4:]):
                if first and buffer[4:7].tobytes() == BYTE_ORDER_MARK:
                    buffer[4:7] = ord("\n")
                first = False
                yield buffer[: count + 4]
                buffer[:4] = buffer[count : count + 4].copy()
        buffer[4:6] = ord("\n")
        yield buffer[:6]

    def _options(self, block: int, threads: bool = True, **converting: Any) -> tuple[Any, Any, Any]:
        """Return pyarrow's options of reading, parsing and conversion."""
        from pyarrow import csv

        reading = csv.ReadOptions(column_names=self.names, block_size=block, use_threads=threads)
        parsing = csv.ParseOptions(delimiter=self.separator, newlines_in_values=self._scanned[1])
        return (
            reading,
            parsing,
            csv.ConvertOptions(
                # Columns that are left out need not be UTF-8; those in use are checked one by one, with their names
                check_utf8=False,
                null_values=[*MISSING, *self.na_values],
                strings_can_be_null=True,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
                **converting,
            ),
        )

    def _read(self, **converting: Any) -> Any:
        from pyarrow import ArrowException, csv

        # pyarrow refuses a row that does not fit into a block, and says which row it is where it has one thread
        for size, threads in ((BLOCKS[0], True), (BLOCKS[1], True), (BLOCKS[1], False)):
            try:
                return csv.read_csv(self.path, *self._options(size, threads, **converting))
            except (ArrowException, OSError, UnicodeDecodeError) as error:
                reason = first_line(error)
        raise DataError(f"{self.path} cannot be read as CSV: {reason}", hint=_way_out(self.path, reason)) from None


def _leading_zero(data: Bytes, starts: npt.NDArray[np.bool_], separator: str, quoted: bool) -> bool:
    """Whether a cell starts with 0, after a sign or not, followed by a digit or x, in quotes or not.

    `data` has two bytes before the first 0 and two after the last; `starts` are the bytes after which a cell starts;
    `quoted` is whether there may be a quote in `data`.
    """
    # Few passes over all bytes: a zero behind what starts a cell, a sign or few others, before no point or separator
    before, next_one = data[1:-3], data[3:-1]
    found = data[2:-2] == ZERO
    found &= (before < ord(".")) | (before == ord(separator)) if separator > "." else before < ord(".")
    found &= (next_one > ord("/")) | (next_one == QUOTE) if quoted else next_one > ord("/")
    at = np.flatnonzero(found) + 2
    if not len(at):
        return False
    signed = np.isin(data[at - 1], list(SIGNS)) & starts[data[at - 2]]
    at = at[starts[data[at - 1]] | signed]
    after = np.where(data[at + 1] == QUOTE, data[at + 2], data[at + 1])
    return bool(np.isin(after, list(DIGITS)).any())


def _way_out(path: Path, reason: str) -> str:
    """Return a hint on a file that cannot be read as CSV, from its first bytes and pyarrow's reason."""
    with path.open("rb") as file:
        first = file.read(2)
    names = "`names` gives the columns of a file without a first line, `delimiter` what stands between values."
    uneven = "A text with the delimiter in it stands in quotes, and a missing value is an empty cell. "
    return FORMS.get(first, uneven + names if " columns, got " in reason else names)
