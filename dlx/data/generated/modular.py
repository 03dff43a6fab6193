"""Arithmetic modulo a number: all pairs, of which a network sees some in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ...lazy import np
from ...shapes import Shape
from ..base import Facts, Sets
from ..splits import Pool, TestPart, ValidPart

if TYPE_CHECKING:
    from ..base import Labels

Operation = Literal["add", "subtract", "multiply", "divide", "squares"]


class Modular(Pool):
    """All pairs (a, b) of numbers from 0 to p - 1, p the modulus, with the class that an operation makes of them.

    Shapes: inputs (2, p), one 1 a row: that of a, then that of b; targets 0 to p - 1.
    Operations: add is a + b, subtract a - b, multiply a b, squares a^2 + b^2, all modulo p; divide is the c with
        b c = a modulo p, of pairs with b > 0.
    The pairs are split at random, half of them for validation where the spec says nothing: what a network answers
    there it has not seen.
    Errors: division by a modulus that is no prime; parts that do not fit into the pairs.
    Source: Power et al. 2022, Grokking, arXiv:2201.02177, section 2 and appendix A.1.1, with p = 97.
    """

    kind: ClassVar[str] = "modular"
    modulus: PositiveInt = Field(97, ge=2, le=1000, description="p: the numbers are 0 to p - 1")
    operation: Operation = Field("add", description="what the class is of a and b")
    valid: ValidPart = 0.5
    test: TestPart = None

    source: ClassVar[str] = "arithmetic modulo a number"

    @model_validator(mode="after")
    def _divides(self) -> Self:
        p = self.modulus
        if self.operation == "divide" and any(p % d == 0 for d in range(2, int(p**0.5) + 1)):
            raise ValueError(f"`divide` has one answer modulo a prime, and {p} is none")
        return self

    @classmethod
    def first_field(cls) -> str:
        return "modulus"

    @property
    def pairs(self) -> int:
        """Number of all pairs."""
        return self.modulus * (self.modulus - (self.operation == "divide"))

    def facts(self) -> Facts:
        examples, *_ = self.part_sizes(self.pairs)
        return self.facts_of(Shape((2, self.modulus)), classes=self.modulus, examples=examples)

    def load(self) -> Sets:
        p = self.modulus
        a, b = np.divmod(np.arange(p * p), p)
        if self.operation == "divide":
            a, b = a[b > 0], b[b > 0]
        x = np.eye(p, dtype=np.float32)[np.stack([a, b], 1)]
        names = tuple(map(str, range(p)))
        return self.assembled(self.split_pool(x, self._answers(a, b)), f"{self.source}: {self.operation}, {p}", names)

    def _answers(self, a: Labels, b: Labels) -> Labels:
        p = self.modulus
        if self.operation == "divide":  # b^(p - 2) is the inverse of b, by Fermat's little theorem
            inverse = np.array([pow(n, p - 2, p) for n in range(p)])
            return np.asarray(a * inverse[b] % p, np.int64)
        values = {"add": a + b, "subtract": a - b, "multiply": a * b, "squares": a * a + b * b}
        return np.asarray(values[self.operation] % p, np.int64)
