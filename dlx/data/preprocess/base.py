"""The base class of preprocessing steps, and fitting them to the training part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
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
    """Base class of all preprocessing steps.

    A subclass has a `kind`, pydantic fields, `output_shape`, `fit` (statistics of the training part) and `apply`.
    Defining the class registers it.
    """

    required = ("apply",)

    def output_shape(self, x: Shape) -> Shape:
        """Return the shape of an input of shape `x` after the step. DataError where the step does not fit it."""
        return x

    def fit(self, x: Floats) -> Statistics:
        """Return the statistics of the training inputs (n, *shape) that `apply` needs, by name, as float64."""
        return {}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        """Apply the step to inputs (n, *shape), with the statistics `found` by `fit`."""
        raise TypeError(f"{type(self).__name__} has no apply()")


@dataclass(frozen=True)
class Fitted:
    """A step with the statistics of the training part."""

    step: Preprocess
    found: Statistics

    def __call__(self, x: Any) -> Any:
        """Apply the step to inputs in memory, or add it to those of inputs that stream."""
        return x.with_step(self) if isinstance(x, Streamed) else self.step.apply(x, self.found)

    def as_json(self) -> dict[str, Any]:
        """Return the step, and for each statistic its shape, the SHA-256 of its bytes, and up to 16 values."""
        statistics = {name: _summary(values) for name, values in self.found.items()}
        return {"kind": self.step.kind, **self.step.model_dump(mode="json"), "statistics": statistics}


@dataclass(frozen=True)
class EarlierFit:
    """Preprocessing steps fitted to the data of an earlier run, and how its table was read.

    Attributes:
        run: name of the run, for messages.
        raw: shape of its raw inputs.
        steps: its fitted steps.
        reading: JSON values needed to read its table.
        class_names: names of its classes.
    """

    run: str
    raw: Shape
    steps: tuple[Fitted, ...]
    reading: Mapping[str, Any]
    class_names: tuple[str, ...]
    raw_more: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of further raw inputs, by name."""
    steps_more: Mapping[str, tuple[Fitted, ...]] = field(default_factory=dict)
    """Fitted steps of further inputs, by name."""


EARLIER_FIT: ContextVar[EarlierFit | None] = ContextVar("earlier", default=None)


@contextmanager
def using_earlier_fit(earlier: EarlierFit) -> Iterator[None]:
    """Context in which data is preprocessed by the steps of an earlier run, and nothing is fitted."""
    token = EARLIER_FIT.set(earlier)
    try:
        yield
    finally:
        EARLIER_FIT.reset(token)


def _apply_earlier(earlier: EarlierFit, x: Any, name: str) -> tuple[list[Fitted], Any]:
    raw = earlier.raw_more.get(name) if name else earlier.raw
    if raw is None or tuple(x.shape[1:]) != tuple(raw):
        now = Shape(x.shape[1:])
        what = f"inputs `{name}`" if name else "inputs"
        message = f"the data given has {what} of shape {now}, and {earlier.run} was trained on {raw or 'none'}"
        raise DataError(message, hint="Give data like it.")
    steps = earlier.steps_more.get(name, ()) if name else earlier.steps
    return list(steps), applied(steps, x)


def applied(steps: Sequence[Fitted], x: Any) -> Any:
    """Apply fitted steps one after the other."""
    for step in steps:
        x = step(x)
    return x


def fit_steps(steps: Sequence[Preprocess], x: Any, name: str = "") -> tuple[list[Fitted], Any]:
    """Fit the steps one after the other to the training inputs; return the fitted steps and the preprocessed inputs.

    `name` is that of a further input. Within `using_earlier_fit` the steps of the earlier run are applied instead.
    """
    if (earlier := EARLIER_FIT.get()) is not None:
        return _apply_earlier(earlier, x, name)
    done = []
    for step in steps:
        step.output_shape(Shape(x.shape[1:]))
        done.append(Fitted(step, step.fit(x)))
        x = done[-1](x)
    return done, x


def shape_after(steps: Sequence[Preprocess], x: Shape) -> Shape:
    """Return the shape of an input after all steps. DataError where one does not fit."""
    for step in steps:
        x = step.output_shape(x)
    return x


def as_float32(x: Any) -> Any:
    """Return inputs as float32."""
    return x.as_float32() if isinstance(x, Streamed) else np.asarray(x, np.float32)


def _summary(values: Doubles) -> dict[str, Any]:
    plain = np.ascontiguousarray(values, "<f8")
    summary: dict[str, Any] = {"shape": list(values.shape), "sha256": hashlib.sha256(plain.data).hexdigest()}
    return summary | ({"values": values.reshape(-1).tolist()} if values.size <= SHORT else {})
