"""Texts of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DlxError
from ...objectives.language import Language
from ...training.generation import prompts
from .forms import Beginning, Sample, bits_of

if TYPE_CHECKING:
    from torch import Tensor

    from ...text import Tokenizer
    from ...training.generation.decoding import Generated


@dataclass(frozen=True)
class TextSample(Sample):
    """One text, and the whole of it with the prompt before."""

    text: str
    whole: str

    def as_json(self) -> dict[str, Any]:
        return {"text": self.text, **super().as_json()}


@dataclass(frozen=True)
class Texts:
    """Tokens that stand for pieces of a text."""

    objective: Language
    tokenizer: Tokenizer
    window: int
    unit: str = "token"

    @property
    def size(self) -> int:
        return self.tokenizer.size

    def inputs(self, tokens: Tensor) -> Tensor:
        return tokens

    def logits(self, outputs: Any) -> Tensor:
        return prompts.logits_of(self.objective, outputs)

    def beginning(self, prompt: Any) -> Beginning:
        if prompt is not None and not isinstance(prompt, str):
            raise DlxError(f"a language model goes on with a text, and the prompt is {type(prompt).__name__}")
        text, notes = prompts.beginning(prompt, self.tokenizer)
        return Beginning(prompts.tokens_of(text, self.tokenizer), text, notes)

    def sample(self, made: Generated, before: Sequence[int]) -> TextSample:
        decode = self.tokenizer.decode
        return TextSample(made.tokens, bits_of(made), decode(made.tokens), decode([*before, *made.tokens]))
