"""The header of a safetensors file: names, types and shapes of its tensors, read without torch or numpy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import DlxError

MOST_BYTES = 100_000_000
"""Bytes of a header, as the format bounds them: https://huggingface.co/docs/safetensors."""


@dataclass(frozen=True)
class TensorInfo:
    """Shape and type of a stored tensor; `dtype` is called as in safetensors: F32, BF16, I64."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        return self.dtype.startswith(("F", "BF"))


def read(path: Path) -> dict[str, TensorInfo]:
    """Return all tensors of a file by name. DlxError where it is no safetensors file; OSError where it is missing."""
    text = _text(path)
    try:
        header = json.loads(text)
        return {
            name: TensorInfo(tuple(map(int, one["shape"])), str(one["dtype"]))
            for name, one in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DlxError(
            f"{path} is no safetensors file", hint="torch's own files end in .pt, .pth or .bin."
        ) from error


def metadata(path: Path) -> dict[str, str]:
    """Return the texts that a file holds beside its tensors. DlxError where it is no safetensors file; OSError."""
    try:
        return dict(json.loads(_text(path))["__metadata__"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise DlxError(f"{path} is no safetensors file with metadata") from error


def _text(path: Path) -> bytes:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return file.read(size) if 2 <= size <= MOST_BYTES else b""
