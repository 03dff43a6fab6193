"""A text that a decoder writes from a prompt: the source of a translation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...data.text.fields import TextField, text_fields
from ...errors import DataError, DlxError, plural
from ...lazy import torch
from ...modules.decoder import BEGIN, END, Decoder, Ending, goes_by_steps

if TYPE_CHECKING:
    from torch import fx

    from ...data.input_record import InputRecord
    from ...objectives.translation import Translation
    from ...training.generation.decoding import Generated


@dataclass(frozen=True)
class Source:
    """The input of text that a prompt is, among those of a network whose decoder takes another."""

    text: TextField
    name: str
    objective: Translation
    record: InputRecord

    @classmethod
    def of(cls, objective: Translation, record: InputRecord, run: str) -> Source:
        """Return the source of a run. DlxError where the network takes something else beside the decoder's input."""
        shifted = objective.causal_input(record.taken, "")
        others, texts = [name for name in record.taken if name != shifted], text_fields(record.reading)
        if len(others) != 1 or others[0] not in texts:
            message = f"a prompt is a text, and {run} writes from {', '.join(f'`{name}`' for name in others)}"
            raise DlxError(message, hint=f"Ask it about a file: `dlx predict {run} FILE`.")
        return cls(texts[others[0]], others[0], objective, record)

    def model(self, network: fx.GraphModule, prompt: str | None, rows: int) -> Ending:
        """Return what writes `rows` texts from a prompt. DlxError where it is empty, too long, or of other tokens."""
        if prompt is None:
            message = f"a text is written from `{self.name}`, and there is no prompt"
            raise DlxError(message, hint="Give it by `--prompt`.")
        try:
            source = self.text.encode([prompt], "input", "the prompt")
        except DataError as error:
            message = error.problems[0].message.removeprefix("row 1 of ")
            hint = f"A prompt has one to {plural(self.text.length, 'token')}, of those that the run knows."
            raise DlxError(message, hint=hint) from None
        texts = {self.name: torch.from_numpy(source).expand(rows, -1)}
        inputs = [texts.get(name, self.beginning(rows)) for name in self.record.taken]
        place = 1 - self.record.taken.index(self.name)
        look: Any = self.objective.logits
        by_steps = goes_by_steps(network, look, inputs, place)
        return Ending(Decoder(network, look, inputs, place, self.limit, by_steps=by_steps))

    @property
    def limit(self) -> int:
        """Most tokens of a text, its end among them."""
        return self.objective.written.length

    def beginning(self, rows: int) -> torch.Tensor:
        """Return the decoder's input before anything is written (rows, length)."""
        found = torch.zeros(rows, self.limit, dtype=torch.long)
        found[:, 0] = BEGIN
        return found

    def ended(self, made: Generated) -> tuple[int, ...]:
        """Return the tokens of a text, its end the last of them."""
        tokens = made.tokens
        return tokens[: tokens.index(END) + 1] if END in tokens else tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens."""
        return self.objective.written.decode(tokens)
