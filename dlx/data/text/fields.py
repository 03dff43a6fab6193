"""Texts as fields: tokens padded to one length, by a tokenizer that is trained on the training part and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from ...errors import DataError, plural
from ...lazy import np
from ...shapes import Shape
from ...text import BEGIN, END, PADDING, Tokenizer, Tokens, UnknownTextError, WithSpecials, kind_of, restored, trained
from ..base import Field as DataField
from ..base import TextFacts
from .recorded import recorded_texts
from .windows import MASKED

if TYPE_CHECKING:
    from ..base import Labels

Form = Literal["input", "target", "shifted"]
"""An input has the tokens; a target has `<end>` behind them; a shifted one `<begin>` before them, and no end."""
KEY = "texts"
"""Key of the text fields in what a run needs to read later inputs."""


class TextOptions(BaseModel):
    """How a text becomes integers."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    tokens: Tokens = "words"
    length: Annotated[
        PositiveInt | None,
        Field(description="tokens of the field, those of padding among them; null: as many as the longest text has"),
    ] = None
    cut: bool = Field(False, description="whether longer texts are cut off at `length`; else they are an error")
    unknown: Literal["error", "token"] = Field(
        "error", description="of what other parts have besides the vocabulary: an error, or a token of its own"
    )


@dataclass(frozen=True)
class TextField:
    """A text field as a run keeps it: its tokenizer, its length, and whether longer texts are cut."""

    tokenizer: Tokenizer
    length: int
    cut: bool = False

    @classmethod
    def of(
        cls,
        options: TextOptions,
        training: Iterable[str],
        texts: Sequence[str],
        form: Form = "input",
        where: str = "text",
        run: TextField | None = None,
    ) -> TextField:
        """Return the field whose tokenizer is trained on the texts `training`; `texts` are those of all parts.

        `run` is that of the run that goes on, or is asked: it is taken as it is.
        """
        if run is not None:
            return run
        lines = training if kind_of(options.tokens) == "characters" else (f"{text}\n" for text in training)
        tokenizer = WithSpecials(trained(options.tokens, lines, options.unknown))
        length = options.length
        if length is None:
            each = _encoded(tokenizer, texts, where)
            length = max(1, max(map(len, each), default=0) + (form != "input"))
        return cls(tokenizer, length, options.cut)

    def encode(self, texts: Sequence[str], form: Form, where: str) -> Labels:
        """Return the numbers (n, length) of some texts.

        Raises:
            DataError: a text has a part that is not in the vocabulary, is longer than `length`, or is an input
                without tokens.
        """
        found = np.full((len(texts), self.length), MASKED if form == "target" else PADDING, np.int64)
        for row, numbers in enumerate(_encoded(self.tokenizer, texts, where)):
            whole = numbers if form == "input" else np.concatenate([numbers, [END]])
            if not len(whole):
                message = f"row {row + 1:,} of {where} has no token: an empty text says nothing"
                raise DataError(message, hint="Leave the row out.")
            if len(whole) > self.length and not self.cut:
                has = plural(len(numbers), "token") + (" and `<end>`" if form != "input" else "")
                message = f"row {row + 1:,} of {where} has {has}, and `length` is {self.length:,}"
                hint = f"`length: {len(whole)}` takes it whole, `cut: true` its first {self.length:,}."
                raise DataError(message, hint=hint)
            whole = whole[: self.length]
            if form == "shifted":
                whole = np.concatenate([[BEGIN], whole[:-1]])
            found[row, : len(whole)] = whole
        return found

    def longer(self, texts: Sequence[str], form: Form, where: str) -> int:
        """Return how many of some texts have more tokens than there is room for."""
        room = self.length - (form != "input")
        return sum(len(numbers) > room for numbers in _encoded(self.tokenizer, texts, where))

    def shortest(self) -> str:
        """Return a text of one token that the tokenizer knows, and that can be read."""
        every = (self.tokenizer.decode([number]) for number in range(END + 1, self.tokenizer.size))
        return next((text for text in every if text.strip() and text.isprintable()), "a")

    def begun(self, count: int) -> Labels:
        """Return the shifted input (count, length) of texts of which nothing is written."""
        found = np.full((count, self.length), PADDING, np.int64)
        found[:, 0] = BEGIN
        return found

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of some numbers, up to its `<end>`."""
        found: list[int] = []
        for number in numbers:
            if number == END:
                break
            if number >= 0:
                found.append(int(number))
        return self.tokenizer.decode(found)

    def described(self, form: Form = "input", of: str = "") -> DataField:
        """Return the field of a batch; `of` is the target that a shifted input is of."""
        text = TextFacts(self.tokenizer.names, of if form == "shifted" else "")
        shape, size = Shape((self.length,), "int"), text.vocabulary
        if form == "target":
            return DataField(shape, "target", size, text.names, text)
        return DataField(shape, "input", size, text=text)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"tokenizer": self.tokenizer.as_json(), "length": self.length, "cut": self.cut}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> TextField:
        """Return the field that `as_json` describes."""
        return cls(restored(saved["tokenizer"]), int(saved["length"]), bool(saved["cut"]))


def recorded(fields: Mapping[str, TextField], columns: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what a run keeps of its text fields, for `Sets.reading`; empty without any.

    `columns` are those of new inputs that are texts, by field.
    """
    found = {KEY: {name: one.as_json() for name, one in fields.items()}} if fields else {}
    return found | ({"text_columns": dict(columns)} if columns else {})


def text_fields(reading: Mapping[str, Any] | None = None) -> dict[str, TextField]:
    """Return the text fields in `reading`, else those of the run that goes on or is asked; empty where it has none.

    DataError where they are damaged.
    """
    saved = reading.get(KEY, {}) if reading is not None else recorded_texts()
    try:
        return {name: TextField.from_json(one) for name, one in saved.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the tokenizer of the run is damaged: {error}", hint="Train anew.") from None


def _encoded(tokenizer: Tokenizer, texts: Sequence[str], where: str) -> list[Any]:
    """Return the numbers of each text. DataError with the row of what is not in the vocabulary."""
    try:
        return tokenizer.encode_each(texts)
    except UnknownTextError:
        pass
    for row, text in enumerate(texts):
        try:
            tokenizer.encode(text)
        except UnknownTextError as error:
            what = f"`{error.text}`" + (f" (U+{ord(error.text):04X})" if len(error.text) == 1 else "")
            message = f"row {row + 1:,} of {where} has {what} at character {error.before + 1:,}, and the training "
            message += "part, whose vocabulary it is, has none"
            hint = "`unknown: token` gives all such a number of their own; `tokens: bytes` and `bpe` know every text."
            raise DataError(message, hint=hint) from None
    raise AssertionError("a text was not in the vocabulary, and each one is")
