"""Files of named arrays: shapes and types from their headers, and each array on demand."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, TYPE_CHECKING, Any

from ...errors import DataError, did_you_mean, first_line, shortened
from ...lazy import np, torch
from ...shapes import by_x
from ..file_reading import existing
from ..streaming import Mapped

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class StoredArray:
    """An array in a file: its shape and type, a function that reads it, and one that maps it where the format
    allows.
    """

    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Array]
    mapped: Callable[[], Mapped] | None = None


def open_array(path: Path, name: str, *, text: bool = False) -> StoredArray:
    """Read the header of the array `name`; a .npy file has one array, whatever its name. DataError where that
    fails, or for texts in place of numbers unless `text` allows them.
    """
    reader = READERS.get(path.suffix)
    if reader is None:
        raise DataError(
            f"{path} ends in {path.suffix or 'nothing'}, and arrays are read from {', '.join(READERS)}",
            hint="Save the arrays with numpy.savez.",
        )
    with readable(existing(path, folder=False)):
        found = reader(path, name)
    if found.dtype.kind not in ("iubfU" if text else "iubf"):
        where = str(path) if path.suffix == ".npy" else f"`{name}` of {path}"
        raise DataError(f"{where} holds {found.dtype}, and real numbers are wanted", hint="Save them as float32.")
    return found


def names_in(path: Path) -> list[str]:
    """Return the names of the arrays in a file; empty for a format without names."""
    if path.suffix not in (".npz", ".safetensors", ".pt", ".pth"):
        return []
    with readable(existing(path, folder=False)):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as packed:
                return _members(packed)
        if path.suffix == ".safetensors":
            from safetensors import safe_open

            with safe_open(path, framework="numpy") as file:
                return list(file.keys())
        return [str(name) for name in _tensors(path)]


def _members(packed: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in packed.namelist() if name.endswith(".npy")]


def _npy(path: Path, _: str) -> StoredArray:
    with path.open("rb") as file:
        sizes, columns_first, dtype = _header(file, f"{path}", path.stat().st_size)
        offset = file.tell()
    read = lambda: np.load(path, allow_pickle=False)  # noqa: E731
    return StoredArray(sizes, dtype, read, lambda: Mapped(path, dtype, sizes, offset, columns_first))


def _npz(path: Path, name: str) -> StoredArray:
    with zipfile.ZipFile(path) as packed:
        inside = _members(packed)
        _check_name(path, name, inside)
        if inside.count(name) > 1:
            raise DataError(f"{path} holds two arrays `{name}`", hint="Write the file again.")
        member = packed.getinfo(f"{name}.npy")
        with packed.open(member) as file:
            sizes, _, dtype = _header(file, f"`{name}` of {path}", member.file_size)

    def read() -> Array:
        with readable(path), np.load(path, allow_pickle=False) as arrays:
            found: Array = arrays[name]
            return found

    return StoredArray(sizes, dtype, read)


def _header(file: IO[bytes], where: str, length: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type, from the header of a .npy file of `length` bytes."""
    form = np.lib.format
    try:
        major, _ = form.read_magic(file)
        sizes, columns_first, dtype = (form.read_array_header_1_0 if major == 1 else form.read_array_header_2_0)(file)
    except (ValueError, OverflowError, SyntaxError, EOFError, TypeError):
        raise DataError(f"{where} does not begin as an array of NumPy", hint=AGAIN) from None
    if dtype.hasobject:
        raise DataError(f"{where} holds Python objects, whose code is not run", hint="Save an array of numbers.")
    if not all(type(size) is int and size >= 0 for size in sizes) or len(sizes) > MOST_AXES:
        raise DataError(f"{where} promises an array of the impossible shape {shortened(str(sizes))}", hint=AGAIN)
    # np.load would allocate what the header claims before it reads a byte
    promised, there = prod(sizes) * dtype.itemsize, length - file.tell()
    if promised > there:
        values = f"{by_x(sizes)} values" if sizes else "one value"
        raise DataError(f"{where} promises {values} of {dtype}, {promised:,} bytes, and holds {there:,}", hint=AGAIN)
    return sizes, columns_first, dtype


def _safetensors(path: Path, name: str) -> StoredArray:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        _check_name(path, name, file.keys())
        one = file.get_slice(name)
        sizes, kind = tuple(one.get_shape()), one.get_dtype()
    foreign = kind not in SAFE

    def read() -> Array:
        with readable(path), safe_open(path, framework="pt" if foreign else "numpy") as file:
            found = file.get_tensor(name)
            array: Array = found.float().numpy() if foreign else found
            return array

    return StoredArray(sizes, np.dtype(SAFE.get(kind, "f4")), read)


SAFE = {"BOOL": "?", "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8"}
SAFE |= {f"{kind.upper()}{8 * size}": f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}
"""NumPy types of safetensors types; tensors of other types are read by torch, as float32."""


def _tensors(path: Path) -> Mapping[Any, Any]:
    """Return the tensors of a file of torch.save by name. DataError where it holds something else."""
    import warnings

    wanted = 'Save it as torch.save({"x": inputs, "y": targets}, path).'
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's are about how it was written
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        message = f"{path} holds Python objects, whose code is not run, or is no file of torch.save"
        raise DataError(message, hint=wanted) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise DataError(f"{path} is no file of torch.save, or a torn one", hint=wanted) from None
    if not isinstance(tensors, Mapping):
        found = _article(type(tensors).__name__)
        raise DataError(f"{path} holds {found}, and a mapping of names to tensors is wanted", hint=wanted)
    return tensors


def _torch(path: Path, name: str) -> StoredArray:
    tensors = _tensors(path)
    _check_name(path, name, map(str, tensors))
    tensor = tensors[name]
    if not isinstance(tensor, torch.Tensor):
        raise DataError(
            f"`{name}` of {path} is {_article(type(tensor).__name__)}, not a tensor", hint="Save a tensor."
        )
    kinds = {"nested": tensor.is_nested, "sparse": tensor.layout != torch.strided}
    kinds |= {"quantized": tensor.is_quantized, "meta": tensor.is_meta}
    if odd := [kind for kind, it_is in kinds.items() if it_is]:
        raise DataError(f"`{name}` of {path} is a {odd[0]} tensor, and dense ones are read", hint="Save a dense one.")
    plain = tensor.detach()
    # NumPy has neither bfloat16 nor the 8-bit floats
    if plain.is_floating_point() and plain.dtype not in (torch.float16, torch.float32, torch.float64):
        plain = plain.float()
    array = plain.contiguous().numpy(force=True)
    return StoredArray(tuple(tensor.shape), array.dtype, lambda: array)


READERS: dict[str, Callable[[Path, str], StoredArray]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}


AGAIN = "Fetch or write the file again."
MOST_AXES = 32


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Context in which errors of reading libraries become a DataError, without their advice on unsafe ways to
    read.
    """
    from safetensors import SafetensorError

    expected = (zipfile.BadZipFile, OSError, EOFError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError)
    try:
        yield
    except (*expected, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}", hint=AGAIN) from None


def _check_name(path: Path, name: str, names: Any) -> None:
    known = list(names)
    if name not in known:
        raise DataError(f"{path} has no array `{name}`", hint=did_you_mean(name, known, "its arrays"))


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"
