"""What a token of a text is, as a spec says it, and the tokenizer that follows from a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt

from ..registry import Strict

if TYPE_CHECKING:
    from .tokenizer import Text, Tokenizer

Unknown = Literal["error", "token"]
BYTES = 256


class TokenOptions(Strict):
    """Options of words and of byte pairs."""

    size: PositiveInt | None = Field(
        None, description="most tokens: of words the most frequent ones, of byte pairs the 256 bytes and the pairs"
    )


def _one_sort(tokens: Any) -> Any:
    if isinstance(tokens, str):
        return tokens
    if len(tokens) != 1:
        named = " and ".join(f"`{kind}`" for kind in tokens) or "none"
        raise ValueError(f"a text has one sort of tokens, and here is {named}: write `{{bpe: {{size: 1000}}}}`")
    size = tokens["bpe"].size if "bpe" in tokens else BYTES + 1
    if size is None or size <= BYTES:
        has = "no `size`" if size is None else f"`size` {size}"
        raise ValueError(f"`bpe` begins with the {BYTES} bytes, and has {has}: give {BYTES + 1} or more")
    return tokens


Tokens = Annotated[
    Literal["characters", "bytes", "words"] | dict[Literal["words", "bpe"], TokenOptions],
    AfterValidator(_one_sort),
    Field(description="characters, bytes, words, or with a size: {bpe: {size: 1000}}, {words: {size: 5000}}"),
]


def kind_of(tokens: Any) -> str:
    """Return the name of a sort of tokens."""
    return tokens if isinstance(tokens, str) else str(next(iter(tokens)))


def trained(tokens: Any, texts: Iterable[Text], unknown: Unknown) -> Tokenizer:
    """Return the tokenizer that follows from the texts of a training part."""
    from . import library, tokenizer

    kind = kind_of(tokens)
    size = None if isinstance(tokens, str) else tokens[kind].size
    if kind == "bytes":
        return tokenizer.Bytes()
    if kind == "characters":
        return tokenizer.Characters.of(texts, with_unknown=unknown == "token")
    if kind == "words":
        return library.WordTokenizer.of(texts, size, with_unknown=unknown == "token")
    assert size is not None
    return library.BpeTokenizer.of(texts, size)


def restored(document: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that `Tokenizer.as_json` describes. ValueError or KeyError where it describes none."""
    from . import library, specials, tokenizer

    if document["kind"] == specials.WithSpecials.kind:
        return specials.WithSpecials(restored(document["inner"]), bool(document.get("mask", False)))
    kinds = (tokenizer.Bytes, tokenizer.Characters, library.WordTokenizer, library.BpeTokenizer)
    by_kind: dict[str, Any] = {cls.kind: cls for cls in kinds}
    found: Tokenizer = by_kind[document["kind"]].from_json(document)
    return found
