"""Generated sequences with a target at each step: symbols to remember, and waves to go on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Split
from .mu_law import MuLaw
from .toys import Toy

if TYPE_CHECKING:
    from ..preprocess.sums import Doubles


class DelayedCopy(Toy):
    """Symbols that are to be told after a delay: the copying problem.

    The first `length` steps show one of `symbols` each, then come blanks, and in the last step of the delay a sign to
    begin; after it the symbols are to be told in their order, and a blank in all steps before.
    Shapes: inputs (steps, symbols + 2), one 1 a step: a symbol, a blank or the sign; targets (steps,), 0 to
        symbols - 1, or `symbols` for a blank; steps = delay + 2 length.
    Without memory the best answer is a blank up to the sign and any symbol after it: an accuracy of
        (delay + length + length / symbols) / steps and a loss of length log(symbols) / steps.
    Errors: none of its own.
    Source: Hochreiter & Schmidhuber 1997, Long short-term memory; Arjovsky, Shah & Bengio 2016, arXiv:1511.06464,
        section 5.1, with length 10 and symbols 8.
    """

    kind: ClassVar[str] = "delayed_copy"
    length: PositiveInt = Field(1, le=1_000_000, description="symbols to remember")
    delay: PositiveInt = Field(
        20, le=1_000_000, description="steps from the last symbol to the sign, which is the last of them"
    )
    symbols: PositiveInt = Field(8, le=1_000_000, ge=2, description="different symbols")

    source: ClassVar[str] = "generated sequences"

    @classmethod
    def first_field(cls) -> str:
        return "delay"

    @property
    def steps(self) -> int:
        """Steps of a sequence."""
        return self.delay + 2 * self.length

    def facts(self) -> Facts:
        return Facts(
            Shape((self.steps, self.symbols + 2)),
            classes=self.symbols + 1,
            target=Shape((self.steps,)),
            examples=self.train,
        )

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        remembered = rng.integers(0, self.symbols, (n, self.length))
        shown = np.full((n, self.steps), self.symbols)
        shown[:, : self.length] = remembered
        shown[:, self.length + self.delay - 1] = self.symbols + 1
        y = np.full((n, self.steps), self.symbols)
        y[:, self.length + self.delay :] = remembered
        return Split(np.eye(self.symbols + 2, dtype=np.float32)[shown], y)


class Waves(Toy):
    """Sums of sines of drawn frequencies; the target at each step is the value after it.

    Each sine has a frequency uniform between `low` and `high`, in turns a step, a uniform phase and a uniform share
    of the amplitude, which is 1 in all; noise is added, and what leaves -1 to 1 is cut off.
    Shapes: inputs (1, length); targets (1, length), or with `mu_law: Q` classes 0 to Q - 1 at each step (length,), of
        which the inputs are the decoded ones.
    Errors: frequencies that run backwards.
    Source: ITU-T G.711 for the mu-law, mu = Q - 1; van den Oord et al. 2016, WaveNet, arXiv:1609.03499, section 2.2.
    """

    kind: ClassVar[str] = "waves"
    length: PositiveInt = Field(256, le=1_000_000, description="steps of a wave")
    components: PositiveInt = Field(3, le=1_000_000, description="sines of a wave")
    low: PositiveFloat = Field(0.01, description="smallest frequency, in turns a step")
    high: PositiveFloat = Field(0.1, le=0.5, description="largest frequency, in turns a step")
    noise: NonNegativeFloat = Field(0.0, description="standard deviation of what is added to each step")
    mu_law: int | None = Field(None, ge=2, le=65_536, description="classes of a target; null: the value itself")

    source: ClassVar[str] = "generated waves"
    targets_are_next_inputs: ClassVar[bool] = True

    @classmethod
    def first_field(cls) -> str:
        return "length"

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"frequencies run from `low` {self.low:g} to `high` {self.high:g}: swap them")
        return self

    def facts(self) -> Facts:
        if self.mu_law is None:
            return Facts(Shape((1, self.length)), target=Shape((1, self.length)), examples=self.train)
        return Facts(Shape((1, self.length)), classes=self.mu_law, target=Shape((self.length,)), examples=self.train)

    def codes(self) -> MuLaw | None:
        return None if self.mu_law is None else MuLaw(self.mu_law)

    def values(self, n: int, rng: np.random.Generator) -> Doubles:
        """Draw waves (n, length + 1) from -1 to 1."""
        frequency = rng.uniform(self.low, self.high, (n, self.components, 1))
        phase = rng.uniform(0, 2 * np.pi, frequency.shape)
        share = rng.uniform(0, 1, frequency.shape)
        angle = 2 * np.pi * frequency * np.arange(self.length + 1) + phase
        clean = (share / share.sum(1, keepdims=True) * np.sin(angle)).sum(1)
        found: Doubles = np.clip(clean + self.noise * rng.standard_normal(clean.shape), -1, 1)
        return found

    def _part(self, n: int, rng: np.random.Generator) -> Split | None:
        if not n:
            return None
        values = self.values(n, rng)
        codes = self.codes()
        if codes is None:
            whole = values.astype(np.float32)[:, None]
            return Split(np.ascontiguousarray(whole[:, :, :-1]), np.ascontiguousarray(whole[:, :, 1:]))
        classes = codes.encoded(values)
        inputs = codes.decoded(classes[:, :-1]).astype(np.float32)
        return Split(inputs[:, None], np.ascontiguousarray(classes[:, 1:]))
