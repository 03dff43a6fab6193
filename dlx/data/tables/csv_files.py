"""CSV files, read with the types that pyarrow infers, and as texts where inference could lose information."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

BLOCKS = (2**22, 2**24)
"""Bytes of a file that are read at a time; the second size is for rows longer than the first, and the limit."""
ZERO, DIGITS, SIGNS = ord("0"), b"0123456789xX", b"+-"
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
        return self._read()

    def texts(self, names: Sequence[str], rows: int) -> Any:
        """Read some columns as texts. DataError where the file has another number of rows than before."""
        import pyarrow as pa

        table = self._read(include_columns=names, column_types=dict.fromkeys(names, pa.string()))
        if table.num_rows != rows:
            raise DataError(f"{self.path} was changed while it was read", hint="Read it again when it is whole.")
        return table

    @cached_property
    def padded(self) -> bool:
        """Whether a cell may be a hexadecimal number or one with a leading zero, which type inference would lose."""
        starts = np.isin(np.arange(256), [*b'\t\n\f\r "', *self.separator.encode()])
        return any(_leading_zero(np.frombuffer(piece, np.uint8), starts, self.separator) for piece in self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        """Yield the decompressed bytes in pieces, each with the last four bytes of the one before it."""
        import pyarrow as pa

        with pa.input_stream(str(self.path), compression="detect") as stream:
            before, piece = b"\n" * 4, stream.read(BLOCKS[0]).removeprefix(b"\xef\xbb\xbf")
            while piece:
                yield before + piece
                before, piece = (before + piece)[-4:], stream.read(BLOCKS[0])
            yield before + b"\n\n"

    def _read(self, **converting: Any) -> Any:
        from pyarrow import ArrowException, csv

        parsing = csv.ParseOptions(delimiter=self.separator, newlines_in_values=True)
        options = csv.ConvertOptions(
            # Columns that are left out need not be UTF-8; those in use are checked one by one, with their names
            check_utf8=False,
            null_values=[*MISSING, *self.na_values],
            strings_can_be_null=True,
            true_values=["true", "True", "TRUE"],
            false_values=["false", "False", "FALSE"],
            **converting,
        )
        # pyarrow refuses a row that does not fit into a block
        for size in BLOCKS:
            reading = csv.ReadOptions(column_names=self.names, block_size=size)
            try:
                return csv.read_csv(self.path, reading, parsing, options)
            except (ArrowException, OSError, UnicodeDecodeError) as error:
                reason = first_line(error)
        raise DataError(f"{self.path} cannot be read as CSV: {reason}", hint=_other_form(self.path)) from None


def _leading_zero(data: Bytes, starts: npt.NDArray[np.bool_], separator: str) -> bool:
    """Whether a cell starts with 0, after a sign or not, followed by a digit or x, in quotes or not.

    `data` has two bytes before the first 0 and two after the last; `starts` are the bytes after which a cell starts.
    """
    before = data[1:-3]
    low = (before < ord(".")) | (before == ord(separator))  # those that start a cell, signs, and few others
    at = np.flatnonzero((data[2:-2] == ZERO) & low) + 2
    signed = np.isin(data[at - 1], list(SIGNS)) & starts[data[at - 2]]
    at = at[starts[data[at - 1]] | signed]
    after = np.where(data[at + 1] == ord('"'), data[at + 2], data[at + 1])
    return bool(np.isin(after, list(DIGITS)).any())


def _other_form(path: Path) -> str:
    """Return a hint on the format of a file that is not CSV, from its first bytes."""
    with path.open("rb") as file:
        first = file.read(2)
    names = "`names` gives the columns of a file without a first line, `delimiter` what stands between values."
    return FORMS.get(first, names)
