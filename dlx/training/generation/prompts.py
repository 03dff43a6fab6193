"""Where a text begins: at a prompt, or at a token after which texts begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import DlxError, plural
from ...text import UnknownTextError

if TYPE_CHECKING:
    from torch import Tensor

    from ...objectives.language import Language
    from ...text import Tokenizer

BEGINNINGS = ("\n", " ")
"""Tokens after which a text begins where no prompt is given, in the order in which they are looked for."""


def logits_of(objective: Language, outputs: Tensor | Mapping[str, Tensor]) -> Tensor:
    """Return the logits (N, window, vocabulary)."""
    return objective.main(outputs).movedim(1, -1)


def beginning(prompt: str | None, tokenizer: Tokenizer) -> tuple[str, tuple[str, ...]]:
    """Return the text to go on with, and a note where it was not given. DlxError where it is empty."""
    if prompt == "":
        raise DlxError("the prompt is empty", hint="Give some text, or leave out --prompt.")
    if prompt is not None:
        return prompt, ()
    for text in BEGINNINGS:
        if len(_known(text, tokenizer)) == 1:
            return text, (f"no --prompt: it begins after {text!r}",)
    first = tokenizer.decode([0])
    return first, (f"no --prompt: it begins after {first!r}",)


def _known(text: str, tokenizer: Tokenizer) -> Sequence[int]:
    try:
        return [int(one) for one in tokenizer.encode(text)]
    except UnknownTextError:
        return ()


def tokens_of(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """Return the tokens of a prompt. DlxError where it has none, or one that is not in the vocabulary."""
    try:
        tokens = [int(one) for one in tokenizer.encode(prompt)]
    except UnknownTextError as error:
        message = f"the prompt has {error.text!r} at character {error.before + 1}, which is not in the vocabulary"
        some = " ".join(tokenizer.names[:12])
        raise DlxError(message, hint=f"The run knows {plural(tokenizer.size, 'token')}: {some} ...") from None
    if not tokens:
        raise DlxError(f"the prompt {prompt!r} has no token", hint="Give some words.")
    return tokens
