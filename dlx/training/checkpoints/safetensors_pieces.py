"""The safetensors format in pieces, so that a checkpoint is hashed while it is written, without a second copy.

The library writes a file in one call that holds Python's lock, and the training would wait for it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

PIECE_BYTES = 1 << 22
"""Bytes that are hashed and written at once."""
DTYPE_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "complex64": "C64",
    "bool": "BOOL",
}
"""Names of torch's types in the format; integers are `I64` or `U8`."""


def pieces(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a file with these tensors, contiguous on the CPU. Source: the format of safetensors."""
    # by falling size of an item, then by name, so that each tensor is aligned
    named = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header, end = {}, 0
    for name, tensor in named:
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _dtype_name(tensor), "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for _, tensor in named:
        data = tensor.detach().reshape(-1).view(torch.uint8).numpy().data
        yield from (data[i : i + PIECE_BYTES] for i in range(0, len(data), PIECE_BYTES))


def _dtype_name(tensor: Tensor) -> str:
    name = str(tensor.dtype).removeprefix("torch.")
    return DTYPE_NAMES.get(name) or name.replace("uint", "U").replace("int", "I")


def digests(path: Path) -> dict[str, str]:
    """Return the SHA-256 of each tensor of a file, its type and shape included, by name. torch is not needed."""
    found = {}
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        for name, about in json.loads(file.read(size)).items():
            begin, end = about["data_offsets"]
            file.seek(8 + size + begin)
            digest = hashlib.sha256(f"{about['dtype']} {about['shape']}\n".encode())
            while begin < end:
                data = file.read(min(PIECE_BYTES, end - begin))
                digest.update(data)
                begin += len(data) or end
            found[name] = digest.hexdigest()
    return found
