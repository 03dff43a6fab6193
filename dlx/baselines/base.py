"""The base class of baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_serializer, model_validator

from ..data.preprocess import PREPROCESSING, Preprocess
from ..registry import FAMILIES, Choice, Declared, Registry, family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..data.base import Floats
    from ..shapes import Shape

BASELINES: Registry[Baseline] = FAMILIES["baseline"]

Learns = Literal["classes", "values"]
"""What the targets are: class numbers, or numbers."""


@family(BASELINES)
class Baseline(Declared):
    """Base class of all baselines.

    A subclass has a `kind`, pydantic fields with scikit-learn's names and defaults, and `estimator`. Defining the
    class registers it. Inputs reach it flat, (n, values), as the preprocessing of the data and its own leave them.
    """

    required = ("estimator",)

    learns: ClassVar[tuple[Learns, ...]] = ("classes", "values")
    """Targets that it can learn."""
    probabilities: ClassVar[bool] = True
    """Whether it has a probability of each class; otherwise `decision_function` has a score of each."""
    preprocess: Annotated[
        list[Preprocess],
        Choice(PREPROCESSING),
        Field(description="steps after those of the data, fitted to the training part, such as [hog, standardize]"),
    ] = Field([])

    @field_serializer("preprocess")
    def _by_kind(self, steps: list[Preprocess]) -> list[dict[str, Any]]:
        return [{step.kind: step.model_dump(mode="json")} for step in steps]

    @classmethod
    def first_field(cls) -> str | None:
        """Return the first field of its own."""
        return next((name for name in cls.model_fields if name != "preprocess"), None)

    def estimator(self, learns: Learns, seed: int) -> Any:
        """Return the estimator of scikit-learn, not yet fitted."""
        raise TypeError(f"{type(self).__name__} has no estimator()")

    several_values: ClassVar[bool] = True
    """Whether it learns targets of several values; otherwise one is fitted for each."""

    @property
    def is_random(self) -> bool:
        """Whether the seed changes what is fitted: such a kind is fitted once for each of `train.seeds`."""
        return False

    def remarks(self, fitted: Any, x: Floats) -> list[str]:
        """Return what is to be told of the answers to held-out inputs `x` (n, values), such as ties."""
        return []

    def found(self, fitted: Any) -> list[str]:
        """Return what is to be told of the fitted estimator, such as its coefficients."""
        return []

    def evaluations(self, fitted: int, asked: int) -> int:
        """Return how many distances the answers to `asked` examples take; 0 where they do not depend on `fitted`."""
        return 0

    @property
    def label(self) -> str:
        """The kind with what is not its default: `knn (n_neighbors 3, metric l1)`."""
        changed = [
            f"{name} {getattr(self, name)}"
            for name in type(self).model_fields
            if name != "preprocess" and getattr(self, name) != self.default_of(name)
        ]
        if self.preprocess:
            changed.append(f"of {' + '.join(step.kind for step in self.preprocess)}")
        return f"{self.kind} ({', '.join(changed)})" if changed else self.kind

    def options(self, *without: str) -> dict[str, Any]:
        """Return its fields as arguments of scikit-learn, without `preprocess` and some others."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in {"preprocess", *without}}


class OfSeries(Baseline):
    """Base class of baselines that forecast the next values of a series from its past alone.

    A subclass has `forecaster` in place of `estimator`. Inputs are windows (window, columns) in the scale of the
    series, targets (horizon,) or (horizon, values): the values that follow in the first columns.
    """

    required = ("forecaster",)

    learns: ClassVar[tuple[Learns, ...]] = ("values",)

    @model_validator(mode="after")
    def _as_they_are(self) -> Self:
        if self.preprocess:
            raise ValueError(
                f"{self.kind} goes on with the values as they are, and `preprocess` changes them: drop it"
            )
        return self

    def check(self, window: int) -> str:
        """Return a sentence on why windows of this length do not fit; empty where they do."""
        return ""

    def forecaster(self, shape: Shape, target: Shape, series: Sequence[Any]) -> Any:
        """Return a fitted forecaster, whose `predict` takes flat windows (n, window columns).

        Arguments:
            shape: shape of a window.
            target: shape of a target.
            series: the training part of each series (time, values), scaled as the windows are.
        """
        raise TypeError(f"{type(self).__name__} has no forecaster()")


class OfText(Baseline):
    """Base class of baselines that tell the next token of a text.

    A subclass has `counted` in place of `estimator`.
    """

    required = ("counted",)

    @model_validator(mode="after")
    def _as_they_are(self) -> Self:
        if self.preprocess:
            raise ValueError(f"{self.kind} counts tokens as they are, and `preprocess` changes them: drop it")
        return self

    @property
    def context(self) -> int:
        """Number of tokens that it sees before the one that it tells."""
        raise TypeError(f"{type(self).__name__} has no context")

    def counted(self, tokens: Any, documents: Any, vocabulary: int) -> Any:
        """Return what is counted in a training part, with `answers(tokens, documents)` for another one.

        Arguments:
            tokens: numbers of the tokens (n,).
            documents: the first token of each document, and n (documents + 1,).
            vocabulary: number of tokens that there are.
        """
        raise TypeError(f"{type(self).__name__} has no counted()")


@dataclass(frozen=True)
class Forecaster:
    """Goes on with windows by a function from (n, window, values) to (n, horizon, values)."""

    shape: Shape
    values: int
    go_on: Callable[[Any], Any]
    coefficients: Any = None
    """Constant and coefficients by value, where there are some."""

    def predict(self, x: Any) -> Any:
        """Return forecasts (n, horizon values) of flat windows (n, window columns)."""
        windows = x.reshape(len(x), *self.shape)[:, :, : self.values]
        return self.go_on(windows).reshape(len(x), -1)


def values_of(target: Shape) -> int:
    """Return the number of values of a series that a target has in each step."""
    return target[1] if target.rank == 2 else 1
