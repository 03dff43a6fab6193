"""Files of named arrays: what is in them, known from their headers, and each array when it is asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, did_you_mean
from ..lazy import np, torch
from .reading import existing
from .stream import Mapped

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Stored:
    """An array in a file: its sizes, how to read it, and how to leave it there where the file allows that."""

    sizes: tuple[int, ...]
    read: Callable[[], Array]
    mapped: Callable[[], Mapped] | None = None


def stored(path: Path, name: str) -> Stored:
    """The array `name` of a file. DataError where it cannot be had. A file .npy has one array, whatever its name."""
    reader = READERS.get(path.suffix)
    if reader is None:
        raise DataError(
            f"{path} ends in {path.suffix or 'nothing'}, and arrays are read from {', '.join(READERS)}",
            hint="Save the arrays with numpy.savez.",
        )
    with readable(existing(path, folder=False)):
        return reader(path, name)


def _npy(path: Path, _: str) -> Stored:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    dtype, shape, offset, columns_first = array.dtype, array.shape, array.offset, np.isfortran(array)
    return Stored(shape, lambda: np.array(array), lambda: Mapped(path, dtype, shape, offset, columns_first))


def _npz(path: Path, name: str) -> Stored:
    with zipfile.ZipFile(path) as packed:
        inside = [n.removesuffix(".npy") for n in packed.namelist()]
        _check_name(path, name, inside)
        with packed.open(f"{name}.npy") as file:
            major = np.lib.format.read_magic(file)[0]
            header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            sizes = header(file)[0]

    def read() -> Array:
        with readable(path), np.load(path, allow_pickle=False) as arrays:
            found: Array = arrays[name]
            return found

    return Stored(sizes, read)


def _safetensors(path: Path, name: str) -> Stored:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        _check_name(path, name, file.keys())
        sizes = tuple(file.get_slice(name).get_shape())

    def read() -> Array:
        with readable(path), safe_open(path, framework="numpy") as file:
            found: Array = file.get_tensor(name)
            return found

    return Stored(sizes, read)


def _torch(path: Path, name: str) -> Stored:
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(tensors, Mapping):
        raise DataError(
            f"{path} holds {_article(type(tensors).__name__)}, and a mapping of names to tensors is wanted",
            hint='Save it as torch.save({"x": inputs, "y": targets}, path).',
        )
    _check_name(path, name, map(str, tensors))
    tensor = tensors[name]
    if not isinstance(tensor, torch.Tensor):
        raise DataError(
            f"`{name}` of {path} is {_article(type(tensor).__name__)}, not a tensor", hint="Save a tensor."
        )
    plain = tensor.detach()
    return Stored(
        tuple(tensor.shape), lambda: (plain.float() if plain.dtype == torch.bfloat16 else plain).contiguous().numpy()
    )


READERS: dict[str, Callable[[Path, str], Stored]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _torch,
    ".pth": _torch,
}


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What fails while a file is read becomes a DataError."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    again = "Fetch or write the file again."
    try:
        yield
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, RuntimeError, SafetensorError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {_first_line(error)}", hint=again) from None
    except (ValueError, UnpicklingError) as error:
        objects = "allow_pickle" in str(error) or isinstance(error, UnpicklingError)
        hint = "It holds Python objects, whose code is not run: save plain arrays." if objects else again
        raise DataError(f"{path} cannot be read: {_first_line(error)}", hint=hint) from None


def _check_name(path: Path, name: str, names: Any) -> None:
    known = list(names)
    if name not in known:
        raise DataError(f"{path} has no array `{name}`", hint=did_you_mean(name, known, "its arrays"))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"
