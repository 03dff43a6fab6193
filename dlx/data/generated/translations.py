"""Sentences of a small grammar in three languages, as pairs of which one is to be translated into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from ...errors import DataError
from ...lazy import np
from ...text import WithSpecials
from ..base import Dataset, Facts, Sets, Split, facts_of_fields
from ..splits import assemble
from ..tables.text_columns import texts_of
from ..text.fields import TextField, recorded, text_fields
from ..text.new_inputs import with_begun_texts, with_begun_texts_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..base import Field as DataField
    from ..base import Values
    from ..input_record import InputRecord
    from ..new_inputs import NewInputs
    from ..python_inputs import Columns, FieldInputs

Language = Literal["english", "spanish", "portuguese"]
Pair = Annotated[list[Language], Field(min_length=2, max_length=2)]
TO: dict[Language, str] = {"english": "2en", "spanish": "2es", "portuguese": "2pt"}
"""The tokens that say what a sentence is to be translated into."""
COMBINATIONS = 3
"""Stream of random numbers of what is held out; those of train, valid and test are 0, 1 and 2."""

# each noun: english; spanish and portuguese with their genders, which differ for `tree` and `bridge`
NOUNS = (
    ("cat", "gato", "m", "gato", "m"),
    ("dog", "perro", "m", "cachorro", "m"),
    ("house", "casa", "f", "casa", "f"),
    ("table", "mesa", "f", "mesa", "f"),
    ("book", "libro", "m", "livro", "m"),
    ("flower", "flor", "f", "flor", "f"),
    ("tree", "árbol", "m", "árvore", "f"),
    ("bridge", "puente", "m", "ponte", "f"),
)
# each adjective: english; masculine and feminine in spanish and portuguese
ADJECTIVES = (
    ("red", "rojo", "roja", "vermelho", "vermelha"),
    ("old", "viejo", "vieja", "velho", "velha"),
    ("new", "nuevo", "nueva", "novo", "nova"),
    ("white", "blanco", "blanca", "branco", "branca"),
    ("small", "pequeño", "pequeña", "pequeno", "pequena"),
    ("beautiful", "bonito", "bonita", "bonito", "bonita"),
)
# each verb: english with and without its ending; spanish; portuguese
VERBS = (
    ("sees", "see", "ve", "vê"),
    ("finds", "find", "encuentra", "encontra"),
    ("paints", "paint", "pinta", "pinta"),
    ("covers", "cover", "cubre", "cobre"),
    ("hides", "hide", "esconde", "esconde"),
    ("moves", "move", "mueve", "move"),
)
ARTICLES = {
    "english": (("the", "the"), ("this", "this")),
    "spanish": (("el", "la"), ("este", "esta")),
    "portuguese": (("o", "a"), ("este", "esta")),
}
"""The two words that may stand before a noun, masculine and feminine."""


@dataclass(frozen=True)
class Phrase:
    """A noun with its article (0 the, 1 this) and its adjective, by number; None for none."""

    article: int
    noun: int
    adjective: int | None

    def words(self, language: Language) -> list[str]:
        """Return its words: an adjective stands before its noun in English, behind it in the others, and agrees."""
        if language == "english":
            adjective = [] if self.adjective is None else [ADJECTIVES[self.adjective][0]]
            return [ARTICLES[language][self.article][0], *adjective, NOUNS[self.noun][0]]
        place = 1 if language == "spanish" else 3
        feminine = NOUNS[self.noun][place + 1] == "f"
        adjective = [] if self.adjective is None else [ADJECTIVES[self.adjective][place + feminine]]
        return [ARTICLES[language][self.article][feminine], NOUNS[self.noun][place], *adjective]


@dataclass(frozen=True)
class Sentence:
    """Who does what to whom, or does not."""

    subject: Phrase
    verb: int
    negated: bool
    thing: Phrase

    def text(self, language: Language) -> str:
        """Return the sentence in a language."""
        verb = VERBS[self.verb]
        if language == "english":
            does = ["does", "not", verb[1]] if self.negated else [verb[0]]
        else:
            no = "no" if language == "spanish" else "não"
            does = [*([no] if self.negated else []), verb[2 if language == "spanish" else 3]]
        return " ".join([*self.subject.words(language), *does, *self.thing.words(language)])


class Translations(Dataset):
    """Sentences in one language with their translation: a grammar of articles, adjectives, nouns, verbs and `not`.

    English puts an adjective before its noun, Spanish and Portuguese behind it, and there articles and adjectives
    have the gender of the noun; `does not see` is `no ve`. Of all pairs of adjective and noun a share is held out:
    no training sentence has one, and each of the validation and the test does.
    With `held_out: 0` none is, and the test has other sentences than the training.
    With `pairs` the sentences of training and validation are in several pairs of languages, each in one of them, in
    turn, and the test is `from` one language `to` another, which need not be among them (zero-shot). A source begins
    with a token that names the language of its target, as in `2es o gato`: `2en`, `2es` or `2pt`.
    Fields: `source`, a text; `so_far`, what the decoder has written, shifted from the target; `target`, a text. The
        vocabularies are those of the languages, the same for all seeds; with `pairs` one of all three languages.
    Errors: one language twice; `from` or `to` that no pair has at its place.
    Source: Lake & Baroni 2018, arXiv:1711.00350, for the held-out combinations of known words; Johnson et al. 2017,
        arXiv:1611.04558, section 3, for several pairs in one network.
    """

    kind: ClassVar[str] = "translations"
    source_language: Language = Field("english", alias="from", description="language of the source")
    target_language: Language = Field("spanish", alias="to", description="language that it is translated into")
    pairs: list[Pair] | None = Field(
        None, min_length=1, description="pairs of languages that training and validation have; null: `from` and `to`"
    )
    train: PositiveInt = Field(2000, le=10_000_000, description="sentences to train on, each in one of the pairs")
    valid: NonNegativeInt | None = Field(None, le=10_000_000, description="sentences held out for validation")
    test: NonNegativeInt | None = Field(500, le=10_000_000, description="sentences held out for the test")
    held_out: float = Field(
        0.25, ge=0, lt=1, description="share of the pairs of adjective and noun that no training sentence has"
    )
    seed: NonNegativeInt = Field(0, description="of the sentences, and of what is held out")

    source: ClassVar[str] = "generated sentences"

    @classmethod
    def first_field(cls) -> str:
        return "train"

    @model_validator(mode="after")
    def _two_languages(self) -> Self:
        if self.source_language == self.target_language:
            raise ValueError(f"`from` and `to` are both `{self.target_language}`: give two languages")
        for name, place, language in (("from", 0, self.source_language), ("to", 1, self.target_language)):
            known = {pair[place] for pair in self.pairs or ()}
            if known and language not in known:
                many = ", ".join(f"`{one}`" for one in sorted(known))
                raise ValueError(f"`{name}` is `{language}`, and `pairs` have {many} there: nothing trains it")
        return self

    @model_validator(mode="after")
    def _others_for_the_test(self) -> Self:
        if not self.held_out and self.train > SENTENCES // 2:
            message = (
                f"`train` is {self.train:,}, and of {SENTENCES:,} sentences `held_out: 0` leaves the test those "
            )
            raise ValueError(f"{message}that no training has: give at most {SENTENCES // 2:,}")
        return self

    def texts(self) -> dict[str, TextField]:
        """Return the text fields: those of the run that goes on, or else of all words of the languages."""
        if self.pairs is None:
            made = {"source": field_of(self.source_language), "target": field_of(self.target_language)}
        else:
            made = dict.fromkeys(("source", "target"), joint_field(get_args(Language)))
        return made | text_fields()

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        return with_begun_texts(path, record)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        """Take sentences in a column `source`, or their tokens (n, length)."""
        from ..python_inputs import Columns, frame_of

        if not isinstance(inputs, Columns):
            return with_begun_texts_of({"source": inputs}, record)
        frame = frame_of(inputs)
        if "source" not in frame.names:
            raise DataError(f"{frame.path} have no column `source`", hint="Give sentences, in a column `source`.")
        field = text_fields(record.reading)["source"]
        numbers = field.encode(texts_of(frame, "source"), "input", f"column `source` of {frame.path}")
        return replace(with_begun_texts_of({"source": numbers}, record), names=inputs.names)

    def from_fields(self, inputs: FieldInputs, record: InputRecord) -> NewInputs:
        return with_begun_texts_of(inputs.arrays, record)

    def facts(self) -> Facts:
        return facts_of_fields(self._fields(), examples=self.train)

    def _fields(self) -> dict[str, DataField]:
        texts = self.texts()
        return {
            "source": texts["source"].described(),
            "so_far": texts["target"].described("shifted", "target"),
            "target": texts["target"].described("target"),
        }

    def load(self) -> Sets:
        every = [self.sentences(part) for part in range(3)]
        asked: Pair = [self.source_language, self.target_language]
        trained = self.pairs or [asked]
        languages = (trained, trained, [asked])
        parts = [self._split(some, of) if some else None for some, of in zip(every, languages, strict=True)]
        source = f"{self.source}: {' to '.join(asked)}, seed {self.seed}"
        sets = assemble(parts, "none", source, fields=self._fields())
        return replace(sets, reading=recorded(self.texts(), {"source": "source"}))

    def _split(self, sentences: list[Sentence], languages: Sequence[Pair]) -> Split:
        """Return sentences in pairs of languages, in turn."""
        texts, pairs = self.texts(), [languages[i % len(languages)] for i in range(len(sentences))]
        token = {to: f"{name} " if self.pairs else "" for to, name in TO.items()}
        read = [token[to] + one.text(source) for one, (source, to) in zip(sentences, pairs, strict=True)]
        written = [one.text(to) for one, (_, to) in zip(sentences, pairs, strict=True)]
        x = texts["source"].encode(read, "input", "the sentences")
        so_far = texts["target"].encode(written, "shifted", "the sentences")
        return Split(x, texts["target"].encode(written, "target", "the sentences"), more={"so_far": so_far})

    def combinations(self) -> frozenset[tuple[int, int]]:
        """Return the pairs of an adjective and a noun that no training sentence has, by number.

        Of each noun as many adjectives are held out, and others are left.
        """
        if not self.held_out:
            return frozenset()
        rng, held = np.random.default_rng([self.seed, COMBINATIONS]), max(1, round(self.held_out * len(ADJECTIVES)))
        held = min(held, len(ADJECTIVES) - 1)
        first = rng.permutation(len(ADJECTIVES))
        # in turns, so that each adjective is left with some nouns
        return frozenset(
            (int(first[(noun + i * 2) % len(ADJECTIVES)]), noun) for noun in range(len(NOUNS)) for i in range(held)
        )

    def sentences(self, part: int) -> list[Sentence]:
        """Return the sentences of train (0), valid (1) or test (2)."""
        count, rng = (self.train, self.valid, self.test)[part] or 0, np.random.default_rng([self.seed, part])
        held, found = self.combinations(), list[Sentence]()
        trained = set(self.sentences(0)) if part > 0 and not held else set[Sentence]()
        while len(found) < count:
            one = _random_sentence(rng)
            has = any((phrase.adjective, phrase.noun) in held for phrase in (one.subject, one.thing))
            if has == (part > 0 and bool(held)) and one not in trained:
                found.append(one)
        return found


def field_of(language: Language) -> TextField:
    """Return the text field of a language: its words in the order of the alphabet, and its longest sentence."""
    from ...text.library import WordTokenizer

    words, longest = vocabulary(language)
    return TextField(WithSpecials(WordTokenizer(words, with_unknown=False)), longest + 1)


def joint_field(languages: Sequence[Language]) -> TextField:
    """Return the text field of several languages: first the tokens that name them, then the words of all."""
    from ...text.library import WordTokenizer

    each = [vocabulary(language) for language in languages]
    words = sorted(set[str]().union(*(words for words, _ in each)))
    tokenizer = WordTokenizer([*(TO[language] for language in languages), *words], with_unknown=False)
    return TextField(WithSpecials(tokenizer), max(longest for _, longest in each) + 1)


def vocabulary(language: Language) -> tuple[list[str], int]:
    """Return the words of a language, and the number of words of its longest sentence."""
    found, longest = set[str](), 0
    for noun in range(len(NOUNS)):
        for adjective in range(len(ADJECTIVES)):
            for verb in range(len(VERBS)):
                for negated in (False, True):
                    one = Sentence(Phrase(0, noun, adjective), verb, negated, Phrase(1, noun, adjective))
                    words = one.text(language).split()
                    found.update(words)
                    longest = max(longest, len(words))
    return sorted(found), longest


def _random_sentence(rng: np.random.Generator) -> Sentence:
    first, second = (
        Phrase(
            int(rng.integers(2)),
            int(rng.integers(len(NOUNS))),
            int(rng.integers(len(ADJECTIVES))) if rng.random() < ADJECTIVE_SHARE else None,
        )
        for _ in range(2)
    )
    return Sentence(first, int(rng.integers(len(VERBS))), bool(rng.random() < NEGATED_SHARE), second)


SENTENCES = (2 * len(NOUNS) * (len(ADJECTIVES) + 1)) ** 2 * len(VERBS) * 2
"""Number of different sentences."""
ADJECTIVE_SHARE, NEGATED_SHARE = 0.75, 0.25
"""Share of nouns with an adjective, and of sentences with a negation."""
