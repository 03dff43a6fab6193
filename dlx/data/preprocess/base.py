"""What every step is, and steps fitted to the training part alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ...errors import DataError
from ...lazy import np
from ...registry import FAMILIES, Declared, Registry, family
from ...shapes import Shape
from ..streaming import Streamed

if TYPE_CHECKING:
    from ..base import Floats
    from .sums import Doubles

    Statistics = Mapping[str, Doubles]

SHORT = 16  # values that a summary writes out

PREPROCESSING: Registry[Preprocess] = FAMILIES["preprocess"]

Per = Annotated[
    Literal["all", "channel", "feature"],
    Field(description="one value for everything, one for each entry of the first axis, or one for each input value"),
]


@family(PREPROCESSING)
class Preprocess(Declared):
    """The root of all steps: `becomes` (the shape), `fit` (statistics of the training part), `apply` (any part)."""

    required = ("apply",)

    def output_shape(self, x: Shape) -> Shape:
        """What an input of shape `x` turns into. DataError where the step does not fit it."""
        return x

    def fit(self, x: Floats) -> Statistics:
        """What the step must remember of the training inputs (n, *shape), in double precision."""
        return {}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        """Inputs (n, *shape), changed by what was found in the training part."""
        raise TypeError(f"{type(self).__name__} has no apply()")


@dataclass(frozen=True)
class Fitted:
    """A step with the statistics of its training part: all it needs for inputs that come later."""

    step: Preprocess
    found: Statistics

    def __call__(self, x: Any) -> Any:
        """Inputs in memory, or those of a set that streams, which go through it when they are read."""
        return x.with_step(self) if isinstance(x, Streamed) else self.step.apply(x, self.found)

    def as_json(self) -> dict[str, Any]:
        """The step, and of each statistic its shape, the SHA-256 of its bytes, and its values where they are few."""
        statistics = {name: _summary(values) for name, values in self.found.items()}
        return {"kind": self.step.kind, **self.step.model_dump(mode="json"), "statistics": statistics}


@dataclass(frozen=True)
class EarlierFit:
    """Steps fitted to the training data of a run, and how its table was read, for other data of its kind."""

    run: str
    raw: Shape
    steps: tuple[Fitted, ...]
    reading: Mapping[str, Any]
    class_names: tuple[str, ...]


EARLIER_FIT: ContextVar[EarlierFit | None] = ContextVar("earlier", default=None)


@contextmanager
def using_earlier_fit(earlier: EarlierFit) -> Iterator[None]:
    """Data that is loaded meanwhile goes through what was fitted earlier; nothing is fitted to it."""
    token = EARLIER_FIT.set(earlier)
    try:
        yield
    finally:
        EARLIER_FIT.reset(token)


def _apply_earlier(earlier: EarlierFit, x: Any) -> tuple[list[Fitted], Any]:
    if tuple(x.shape[1:]) != tuple(earlier.raw):
        now = Shape(x.shape[1:])
        message = f"the data given has inputs of shape {now}, and {earlier.run} was trained on {earlier.raw}"
        raise DataError(message, hint="Give data like it.")
    for step in earlier.steps:
        x = step(x)
    return list(earlier.steps), x


def fit_steps(steps: Sequence[Preprocess], x: Any) -> tuple[list[Fitted], Any]:
    """The steps fitted one after the other to the training inputs, and what those become.

    Those that were fitted earlier are taken where there are any: `as_earlier`.
    """
    if (earlier := EARLIER_FIT.get()) is not None:
        return _apply_earlier(earlier, x)
    done = []
    for step in steps:
        step.output_shape(Shape(x.shape[1:]))
        done.append(Fitted(step, step.fit(x)))
        x = done[-1](x)
    return done, x


def shape_after(steps: Sequence[Preprocess], x: Shape) -> Shape:
    """The shape of an input after all steps. DataError where one does not fit."""
    for step in steps:
        x = step.output_shape(x)
    return x


def as_float32(x: Any) -> Any:
    """Inputs of which double precision is no longer wanted, as float32."""
    return x.as_float32() if isinstance(x, Streamed) else np.asarray(x, np.float32)


def _summary(values: Doubles) -> dict[str, Any]:
    plain = np.ascontiguousarray(values, "<f8")
    summary: dict[str, Any] = {"shape": list(values.shape), "sha256": hashlib.sha256(plain.data).hexdigest()}
    return summary | ({"values": values.reshape(-1).tolist()} if values.size <= SHORT else {})
