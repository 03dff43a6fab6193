"""Pictures of two figures with captions that name them and where they stand to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveInt

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets, Split, facts_of_fields
from ..base import Field as DataField
from ..file_reading import check_memory
from ..label_noise import with_label_noise
from ..splits import assemble
from ..text.fields import Form, TextField, TextOptions, recorded, text_fields
from ..text.new_inputs import with_begun_texts, with_begun_texts_of
from .shapes import inside
from .toys import SHARED, Toy

if TYPE_CHECKING:
    from pathlib import Path

    from ..base import Floats, Labels, Values
    from ..input_record import InputRecord
    from ..new_inputs import NewInputs
    from ..preprocess.sums import Doubles
    from ..python_inputs import Columns, FieldInputs

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
FIGURES = ("circle", "square", "triangle")
"""Names of the figures, in the order of `inside`."""
RELATIONS = ("above", "left of")
"""Where the first figure stands: with these two a picture has one caption alone."""
KINDS = tuple(product(COLOURS, FIGURES))
"""Colour and form of a figure."""
PICTURE, CAPTION, BEFORE = "picture", "caption", "before"
"""Names of the fields."""
FORMS: tuple[Form, Form] = ("target", "shifted")
"""Of the caption, and of what is before each of its words."""


@dataclass(frozen=True)
class Descriptions:
    """Scenes of n pictures: the kinds of both figures (n, 2), by `KINDS`, and the relation (n,), by `RELATIONS`."""

    kinds: Labels
    relation: Labels

    def captions(self) -> list[str]:
        """Return the caption of each, such as `red square above blue circle`."""
        each = zip(self.kinds.tolist(), self.relation.tolist(), strict=True)
        names = [" ".join(one) for one in KINDS]
        return [f"{names[first]} {RELATIONS[relation]} {names[second]}" for (first, second), relation in each]


class Scenes(Toy):
    """Two figures in colours, one above or left of the other, and a caption that tells them: an image to a text.

    A figure is a circle, a square or a triangle, in red, green, blue or yellow. The caption names the upper or the
    left one first: `red square above blue circle`. Of the 144 pairs of figures, in this order, the share `held_out`
    stands in the test alone, each with figures that the training shows in other pairs.
    Shapes: inputs picture (3, size, size), 0 to 1 before noise, and before, the caption behind `<begin>`, (length,);
        target caption (length,), words and `<end>`, -100 behind it. length = 7. `data.fields.caption.vocabulary`.
    Errors: more pictures than there is memory for; `held_out` that leaves a part no pair.
    Source: our own; held-out combinations as in Lake & Baroni 2018, arXiv:1711.00350, section 3.
    """

    kind: ClassVar[str] = "scenes"
    size: PositiveInt = Field(24, le=10_000, ge=16, description="height and width of a picture, in pixels")
    noise: NonNegativeFloat = Field(0.1, description="standard deviation of what is added to each value")
    held_out: float = Field(
        0.2, ge=0.01, le=0.5, description="share of the pairs of figures that are in the test alone"
    )

    source: ClassVar[str] = "drawn scenes"

    @classmethod
    def first_field(cls) -> str:
        return "size"

    @cached_property
    def pairs(self) -> tuple[Labels, Labels]:
        """The pairs of figures of the training, and those of the test, as numbers first * kinds + second."""
        order = np.random.default_rng([self.seed, SHARED]).permutation(len(KINDS) ** 2)
        held = round(self.held_out * len(order))
        return order[held:], order[:held]

    def sampled(self, n: int, rng: np.random.Generator, *, test: bool) -> Descriptions:
        """Draw scenes; the pairs of the test are those that are held out."""
        pair = rng.choice(self.pairs[test], n)
        return Descriptions(np.stack(np.divmod(pair, len(KINDS)), 1), rng.integers(0, len(RELATIONS), n))

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        return with_begun_texts(path, record)

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        from ..python_inputs import values_of

        return with_begun_texts_of({record.facts.input_name: values_of(inputs)}, record)

    def from_fields(self, inputs: FieldInputs, record: InputRecord) -> NewInputs:
        return with_begun_texts_of(inputs.arrays, record)

    def facts(self) -> Facts:
        return facts_of_fields(self._fields(self._text(self._scenes())), examples=self.train)

    def load(self) -> Sets:
        scenes = self._scenes()
        check_memory(
            sum(len(one.relation) for one in scenes if one), Shape((3, self.size, self.size)), "ask for fewer"
        )
        text = self._text(scenes)
        parts = [None if one is None else self._made(one, stream, text) for stream, one in enumerate(scenes)]
        sets = assemble(parts, self.standardize, f"{self.source}, seed {self.seed}", fields=self._fields(text))
        return with_label_noise(replace(sets, reading=recorded({CAPTION: text})), self)

    def caption_of(self, values: Labels) -> str:
        """Return the caption that some numbers of the vocabulary are."""
        return self._text(self._scenes()).decode(values.tolist())

    def _scenes(self) -> list[Descriptions | None]:
        """Return the scenes of each part; they are drawn before the pictures."""
        return [
            self.sampled(n, np.random.default_rng([self.seed, stream]), test=stream == 2) if n else None
            for n, stream in self._streams()
        ]

    def _text(self, scenes: list[Descriptions | None]) -> TextField:
        """Return the text field of the captions, with the words of the training part."""
        each = [one.captions() if one is not None else [] for one in scenes]
        options, known = TextOptions(), text_fields().get(CAPTION)
        return TextField.of(options, each[0], [text for one in each for text in one], "target", "captions", known)

    def _fields(self, text: TextField) -> dict[str, DataField]:
        return {
            PICTURE: DataField(Shape((3, self.size, self.size))),
            BEFORE: text.described("shifted", CAPTION),
            CAPTION: text.described("target"),
        }

    def _made(self, scenes: Descriptions, stream: int, text: TextField) -> Split:
        captions = scenes.captions()
        caption, before = (text.encode(captions, form, "captions") for form in FORMS)
        x = self._pictures(scenes, np.random.default_rng([self.seed, stream, 1]))
        return Split(x, caption, more={BEFORE: before})

    def _pictures(self, scenes: Descriptions, rng: np.random.Generator) -> Floats:
        """Draw the pictures (n, 3, size, size): along the relation a figure has a half of its own."""
        n, s = len(scenes.relation), self.size
        along = s * np.stack([rng.uniform(0.2, 0.27, n), rng.uniform(0.73, 0.8, n)], 1) - 0.5
        across = s * (rng.uniform(0.3, 0.7, (n, 1)) + rng.uniform(-0.08, 0.08, (n, 2))) - 0.5
        upright = (scenes.relation == 0)[:, None]
        rows, columns = np.where(upright, along, across), np.where(upright, across, along)
        radius = s * rng.uniform(0.12, 0.16, (n, 2))
        x = np.zeros((n, 3, s, s), np.float32)
        colours = np.array([COLOURS[colour] for colour, _ in KINDS], np.float32)
        steps = np.arange(s, dtype=np.float64)
        for i in range(2):
            kinds = scenes.kinds[:, i]
            away: tuple[Doubles, Doubles] = (
                (steps - rows[:, i, None])[:, :, None],
                (steps - columns[:, i, None])[:, None, :],
            )
            covered = inside(kinds % len(FIGURES), *away, radius[:, i])
            x = np.where(covered[:, None], colours[kinds][:, :, None, None], x)
        noisy: Floats = x + self.noise * rng.standard_normal(x.shape, np.float32)
        return noisy
