"""Texts, of which a network tells each token from those before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import Field, PositiveInt, field_validator, model_validator

from ...errors import DataError, plural
from ...lazy import np
from ...registry import FilePath
from ...shapes import Shape
from ...text import BEGIN, PADDING, Tokenizer, Tokens, kind_of
from ..base import Dataset, Facts, Sets, Split, TextFacts
from ..file_reading import existing
from ..images.image import SUFFIXES as PICTURES
from ..input_record import reading_of
from ..new_inputs import NewInputs
from ..splits import PartSize, part_size, random_parts
from .corpus import Corpus, Document, Scan
from .packed import PackedWindows, ranges
from .recorded import recorded_tokenizer
from .token_files import token_file, tokenizer_of
from .windows import TokenFile, Windows

if TYPE_CHECKING:
    from ...text.tokenizer import Text as Piece
    from ..input_record import InputRecord
    from ..python_inputs import Columns

PARTS = ("train", "valid", "test")
TEXT = "text"
"""Name of the input where it is padded."""


class Text(Dataset):
    """Windows of tokens of a text; the target of each token is the one that follows it.

    Shapes: inputs (window,) of integers below the size of the vocabulary, targets (window,) of the same, -100 where
        none counts. `data.vocabulary` is the size, which an `embedding` takes where it names no `num_embeddings`.
    Tokens: `characters` and `words` of the training part, `bytes`, or byte pairs that it is cut into (`bpe`). The
        tokenizer is trained once and kept with the run; resume, predict and evaluate load it.
    Documents: a file is one, a folder has one a file, a table one a row of its `column`. A window never goes beyond
        its document. Of one document `valid` and `test` are the last characters, or bytes where the tokens are
        bytes; of several they are whole documents, the last ones, or drawn ones with `split: random`.
        With `documents: pad` or `pack` a document stands between `<begin>` and `<end>`, and what is left of a window
        is `<padding>`: of its last window, or of one that holds as many whole documents as fit. Then the input is
        called `text`, and beside it are `text.padding`, `text.length`, `text.document` (the number of each token's
        document in the window, from 0 on; -1 of padding) and `text.position` (of each token in it).
    Windows begin every `stride` tokens; in `valid` and `test` a token that two windows have counts in the first.
    With `carry` the part is cut into `batch_size` streams of consecutive windows: the state in which a recurrent
        layer ends a window is where it begins the next, without gradients; it is zero where a stream or a document
        begins, and in evaluations alike.
    Tokens lie in the cache folder, one file a part, and are mapped from there: memory does not grow with the text.
    Errors: a character or word that the training part does not have, unless `unknown: token`; a part without a
        window; a file of another encoding; a column that is not there; an empty file.
    Source: for `carry` Russell & Norvig 2021, section 22.6; Sutskever 2013, "Training recurrent neural networks",
        section 2.8.6 (truncated back-propagation through time).
    """

    kind: ClassVar[str] = "text"
    path: FilePath | None = Field(None, description="file, folder of files, or table (.csv, .parquet) with `column`")
    content: str | None = Field(None, min_length=1, description="the text itself, in place of a file")
    tokens: Tokens = "characters"
    tokenizer_of: FilePath | None = Field(
        None, description="folder of a run whose tokenizer is taken, with its vocabulary, in place of `tokens`"
    )
    window: PositiveInt = Field(64, description="tokens that the network sees at once")
    stride: PositiveInt | None = Field(
        None, description="tokens from the beginning of a window to that of the next; null: `window`"
    )
    documents: Literal["cut", "pad", "pack"] = Field(
        "cut",
        description="cut: windows of their tokens; pad: with begin and end, and padding; pack: several in a window",
    )
    mask: bool = Field(False, description="give the vocabulary a token `<mask>`, for `masked_language`")
    carry: bool = Field(False, description="go on with the states of recurrent layers from window to window")
    train: Annotated[PartSize | None, Field(description="to train on: a fraction, a count, or null for the rest")] = (
        None
    )
    valid: Annotated[PartSize | None, Field(description="to validate on: a fraction, a count, or null")] = None
    test: Annotated[PartSize | None, Field(description="to test on: a fraction, a count, or null")] = None
    split: Literal["order", "random"] = Field("order", description="of several documents: as they lie, or drawn")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the draw that splits the documents")
    unknown: Literal["error", "token"] = Field(
        "error", description="of what other parts have besides the vocabulary: an error, or a token of its own"
    )
    column: str | None = Field(None, description="column of a table that has the texts")
    files: str = Field("*.txt", min_length=1, description="pattern of the files of a folder, at any depth")
    encoding: str = Field("utf-8", description="of the files; Python's names")

    source: ClassVar[str] = "text"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, value: str) -> str:
        import codecs

        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"there is no encoding `{value}`: utf-8, latin-1 and cp1252 are frequent") from None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.path is None) == (self.content is None):
            raise ValueError("a text is a file or is written down: give `path` or `content`, one of the two")
        if self.carry and self.stride not in (None, self.window):
            raise ValueError(
                f"`carry` goes on where a window ends, and `stride` {self.stride} begins the next elsewhere "
                f"(`window` {self.window}): leave one out"
            )
        if self.documents == "pack" and (self.carry or self.stride is not None):
            both = "carry" if self.carry else "stride"
            raise ValueError(f"`documents: pack` fills windows with whole documents, and `{both}` goes through them")
        if self.tokenizer_of is not None and self.has_specials:
            what = "mask: true" if self.mask else f"documents: {self.documents}"
            raise ValueError(
                f"`{what}` gives the vocabulary special tokens, and `tokenizer_of` names one that stands"
            )
        if self.tokenizer_of is not None and "tokens" in self.model_fields_set:
            raise ValueError("`tokens` are trained, and `tokenizer_of` names a run that has its own: leave one out")
        if self.split == "order" and "seed" in self.model_fields_set:
            raise ValueError("`seed` is of the draw, and `split: order` draws nothing: leave one of the two out")
        if self.content is not None and (named := {"column", "files", "encoding"} & self.model_fields_set):
            raise ValueError(f"`{min(named)}` is of files, and `content` is the text itself: leave it out")
        fractions = [part for part in (self.train, self.valid, self.test) if isinstance(part, float)]
        if sum(fractions) > 1 + 1e-9:
            raise ValueError(f"the fractions of the parts add up to {sum(fractions):g}: give 1 at most")
        return self

    # --- the corpus and its parts -----------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Tokens from one window to the next."""
        return self.stride or self.window

    @property
    def has_specials(self) -> bool:
        """Whether the vocabulary begins with special tokens."""
        return self.mask or self.documents != "cut"

    @cached_property
    def corpus(self) -> Corpus:
        """The documents; what was found by reading them is kept with it."""
        return Corpus(self.path, self.content, self.column, self.files, self.encoding, self.of_bytes)

    def scan(self) -> Scan:
        return self.corpus.scan()

    def tokens_as_json(self) -> Any:
        if isinstance(self.tokens, str):
            return self.tokens
        return {kind: options.model_dump(mode="json") for kind, options in self.tokens.items()}

    def parts_as_json(self) -> list[Any]:
        """Return all that says which characters are in which part."""
        return [self.train, self.valid, self.test, self.split, self.seed, self.of_bytes]

    def sizes(self, total: int, unit: str) -> dict[str, int]:
        """Return the size of each part. DataError where they do not fit."""
        valid, test = (part_size(getattr(self, name), total, name) for name in ("valid", "test"))
        train = total - valid - test if self.train is None else part_size(self.train, total, "train")
        if train < 1 or train + valid + test > total:
            asked = " + ".join(
                f"`{name}` {n:,}" for name, n in (("train", train), ("valid", valid), ("test", test)) if n > 0
            )
            raise DataError(f"{asked} {unit} are asked for, and there are {total:,}", hint="Ask for less.")
        return {"train": train, "valid": valid, "test": test}

    def documents_of(self, part: str) -> Iterator[Document]:
        """Yield the documents of a part, of one document its piece of it."""
        lengths = self.scan().lengths
        if len(lengths) == 1:
            if self.split == "random":
                raise DataError(
                    f"`split: random` draws documents, and {self.corpus.path or '`content`'} is one",
                    hint="Leave it out: parts are cut in the order of the text.",
                )
            sizes = self.sizes(lengths[0], "bytes" if self.of_bytes else "characters")
            begin = sum(sizes[name] for name in PARTS[: PARTS.index(part)])
            for one in self.corpus.documents():
                yield Document(one.name, _cut(one.pieces, begin, begin + sizes[part]))
            return
        chosen = self._rows(len(lengths))[part]
        for i, one in enumerate(self.corpus.documents()):
            if i in chosen:
                yield one

    def _rows(self, count: int) -> dict[str, set[int] | range]:
        """Return the numbers of the documents of each part."""
        sizes = self.sizes(count, "documents")
        if self.split == "random":
            chosen = random_parts(list(sizes.values()), None, count, self.seed)
            return {name: set(rows.tolist()) for name, rows in zip(sizes, chosen, strict=True)}
        begins = dict(zip(PARTS, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        return {name: range(begins[name], begins[name] + sizes[name]) for name in PARTS}

    # --- facts and data ---------------------------------------------------------------------------------------------

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the training part, or the one that a run has recorded."""
        return recorded_tokenizer() or self._tokenizer_of_run or tokenizer_of(self)

    @cached_property
    def _tokenizer_of_run(self) -> Tokenizer | None:
        if self.tokenizer_of is None:
            return None
        found = recorded_tokenizer(reading_of(existing(self.tokenizer_of, folder=True)), ask_context=False)
        if found is None:
            message = f"{self.tokenizer_of} is no run that was trained on `data: text`, whose tokenizer it would have"
            raise DataError(message, hint="Name the folder of such a run, or leave `tokenizer_of` out.")
        return found

    @property
    def of_bytes(self) -> bool:
        """Whether texts are read as bytes."""
        own = self._tokenizer_of_run
        return (own.kind if own is not None else kind_of(self.tokens)) == "bytes"

    def facts(self) -> Facts:
        names = self.tokenizer().names
        shape = Shape((self.window,), "int")
        own: dict[str, Any] = {"input_name": TEXT, "texts": {TEXT: TextFacts(names)}} if self.has_specials else {}
        return Facts(shape, len(names), Shape((self.window,)), class_names=names, vocabulary=len(names), **own)

    def load(self) -> Sets:
        tokenizer = self.tokenizer()
        sizes = self.sizes(*self._total())
        there = {name: token_file(self, name, tokenizer) for name in PARTS if sizes[name]}
        parts = {name: self._split(name, file) for name, file in there.items()}
        what = [self.scan().digest, self.parts_as_json(), tokenizer.digest, self.window, self.step, self.carry]
        what += [self.documents] if self.documents != "cut" else []
        digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()
        source = f"{self.source} {self.path}" if self.path is not None else f"{self.source} of the spec"
        counts = ", ".join(f"{name} {len(file.tokens):,}" for name, file in there.items())
        note = f"{plural(tokenizer.size, 'token')} in the vocabulary; tokens of the text: {counts}"
        return Sets(
            parts["train"],
            parts.get("valid"),
            parts.get("test"),
            digest,
            source,
            tokenizer.names,
            notes=(note,),
            reading={"tokenizer": tokenizer.as_json()},
            fields=self.facts().fields if self.has_specials else {},
        )

    def _total(self) -> tuple[int, str]:
        lengths = self.scan().lengths
        if len(lengths) > 1:
            return len(lengths), "documents"
        return lengths[0], "bytes" if self.of_bytes else "characters"

    def _split(self, part: str, file: TokenFile) -> Split:
        if self.documents == "pack":
            bounds = ranges(file, self.window)
            both = [PackedWindows(file, self.window, self.window, bounds, role) for role in ("input", "target")]
            return Split(*cast("Any", both))
        firsts = file.firsts(self.window, self.step)
        short = len(file.documents) == 2 and len(file.tokens) <= self.window and self.documents == "cut"
        if firsts[-1] == 0 or short:
            have = plural(len(file.tokens), "token")
            message = f"the part `{part}` has {have}, and a window of {self.window:,} and the one to tell take "
            message += f"{self.window + 1:,}"
            raise DataError(message, hint="Give a smaller `window`, or more text.")
        inputs = Windows(file, self.window, self.step, firsts, carry=self.carry)
        targets = Windows(file, self.window, self.step, firsts, "target", part != "train" and self.step < self.window)
        x: Any = inputs
        y: Any = targets
        return Split(x, y)

    def text_of(self, values: Any) -> str:
        return self.tokenizer().decode([int(number) for number in values if number >= 0])

    # --- inputs that come later -------------------------------------------------------------------------------------

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        """Cut the text of a file into windows; the last one ends with the text. DataError for a picture."""
        if path.suffix.lower() in PICTURES and not self.of_bytes:
            raise DataError(f"{path} is a picture, and this run reads texts", hint="Give a file of text.")
        way_out = f"Give a file of text in {self.encoding.upper()}, as the texts of the run are."
        corpus = Corpus(path, None, None, "*", self.encoding, self.of_bytes, way_out=way_out)
        (document,) = corpus.documents()
        return self._windows_of(document, record)

    def from_memory(self, inputs: Columns | Any, record: InputRecord) -> NewInputs:
        """Take tokens (n, window), or one text."""
        if isinstance(inputs, str):
            return self._windows_of(Document("the text", [inputs]), record)
        return super().from_memory(inputs, record)

    def _windows_of(self, document: Document, record: InputRecord) -> NewInputs:
        from .token_files import encoded

        tokenizer = recorded_tokenizer(record.reading)
        assert tokenizer is not None
        numbers = np.concatenate([np.empty(0, np.int64), *encoded(document, tokenizer, "inputs")]).astype(np.int64)
        (window,) = record.raw
        if self.documents != "cut":
            numbers = np.concatenate([[BEGIN], numbers])
            empty = max(0, window - len(numbers))
            numbers = np.concatenate([numbers, np.full(empty, PADDING)])
        if len(numbers) < window:
            message = (
                f"{document.name} has {plural(len(numbers), 'token')}, and the network takes windows of {window:,}"
            )
            raise DataError(message, hint="Give a longer text.")
        begins = [*range(0, len(numbers) - window + 1, window)]
        if begins[-1] + window < len(numbers):
            begins.append(len(numbers) - window)
        x = np.stack([numbers[i : i + window] for i in begins])
        return NewInputs(x, tuple(f"tokens {i} to {i + window - 1}" for i in begins))


def _cut(pieces: Any, begin: int, end: int) -> Iterator[Piece]:
    """Yield what pieces have from `begin` on, up to `end` without it."""
    at = 0
    for piece in pieces:
        if at >= end:
            return
        if at + len(piece) > begin:
            yield piece[max(0, begin - at) : end - at]
        at += len(piece)
