"""Tokens of the parts of a corpus in the cache folder: one file a part, in the narrowest type that holds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ...lazy import np
from ...text import BEGIN, END, Tokenizer, UnknownTextError, WithSpecials, kind_of, restored, trained
from ...utils import files
from ..cache import cache_folder, cached_file
from .corpus import Document
from .windows import TokenFile

if TYPE_CHECKING:
    from .text import Text as TextData

HEADER = 128
"""Bytes before the tokens of a file .npy."""
FORMAT = 2
"""Changes with what the files hold."""


def versions() -> list[str]:
    """Return the versions that trained tokenizers depend on."""
    from importlib.metadata import version

    return [f"format {FORMAT}", f"tokenizers {version('tokenizers')}"]


def tokenizer_of(data: TextData) -> Tokenizer:
    """Return the tokenizer of the training part, from the cache where it was trained before.

    What it depends on names it: the texts, the options, and the version of the library.
    """
    key = [data.scan().digest, data.parts_as_json(), data.tokens_as_json(), data.unknown, versions()]
    key += [["specials", data.mask]] if data.has_specials else []
    path = cache_folder() / "text" / "tokenizers" / f"{_hashed(key)}.json"
    try:
        return restored(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    made = trained(data.tokens, _training_pieces(data), data.unknown)
    made = WithSpecials(made, data.mask) if data.has_specials else made
    with suppress(OSError):  # where nothing can be kept it is trained again
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, json.dumps(made.as_json()).encode())
    return made


def _training_pieces(data: TextData) -> Iterator[str | bytes]:
    """Yield the texts of the training part; a word ends with its document."""
    # characters and bytes would gain a line break
    between = "" if kind_of(data.tokens) in ("characters", "bytes") else "\n"
    for number, document in enumerate(data.documents_of("train")):
        if number and between:
            yield between
        yield from document.pieces


def token_file(data: TextData, part: str, tokenizer: Tokenizer) -> TokenFile:
    """Return the tokens of a part, which are written to the cache where they are not there."""
    delimited = data.documents != "cut"
    what = [data.scan().digest, data.parts_as_json(), part, tokenizer.digest, versions()]
    key = _hashed(what + (["delimited"] if delimited else []))
    documents = cache_folder() / "text" / f"{key}.documents.npy"

    def write(path: Path) -> None:
        counts = _write(path, data.documents_of(part), tokenizer, part, delimited)
        packed = BytesIO()
        np.save(packed, np.cumsum([0, *counts]))
        files.replace(documents, packed.getvalue())

    path = cached_file(f"text/{key}.npy", write)
    if not documents.is_file():
        path.unlink()
        path = cached_file(f"text/{key}.npy", write)
    # copy on write, as torch warns of tensors that must not be written to; nothing writes to it
    tokens: Any = np.load(path, mmap_mode="c")
    return TokenFile(tokens, np.load(documents), tokenizer.lengths)


def dtype_of(size: int) -> Any:
    """Return the narrowest unsigned type for numbers below `size`."""
    return np.min_scalar_type(max(size - 1, 0))


def _write(
    path: Path, documents: Iterable[Document], tokenizer: Tokenizer, part: str, delimited: bool = False
) -> list[int]:
    """Write the tokens of some documents, with their begin and end where `delimited`; return how many each has."""
    dtype, counts = dtype_of(tokenizer.size), []
    with path.open("wb") as file:
        file.write(bytes(HEADER))
        for document in documents:
            counts.append(0)
            pieces = encoded(document, tokenizer, part)
            for numbers in chain([[BEGIN]], pieces, [[END]]) if delimited else pieces:
                file.write(np.ascontiguousarray(numbers, dtype).data)
                counts[-1] += len(numbers)
        file.seek(0)
        header = BytesIO()
        shape = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (sum(counts),)}
        np.lib.format.write_array_header_1_0(header, shape)
        assert len(header.getvalue()) == HEADER
        file.write(header.getvalue())
    return counts


def encoded(document: Document, tokenizer: Tokenizer, part: str) -> Iterator[Any]:
    """Yield the numbers of the tokens of a document. DataError where the vocabulary lacks one."""
    try:
        yield from tokenizer.encode_pieces(document.pieces)
    except UnknownTextError as error:
        what = f"`{error.text}`"
        what += f" (U+{ord(error.text):04X})" if len(error.text) == 1 else ""
        message = f"the part `{part}` has {what} after {error.before:,} characters of its text in {document.name}, "
        message += "and the training part, whose vocabulary it is, has none"
        hint = "`unknown: token` gives all such a number of their own; `tokens: bytes` and `bpe` know every text."
        raise DataError(message, hint=hint) from None


def _hashed(key: list[Any]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
