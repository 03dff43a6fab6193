"""What is done to the inputs before training: a list of steps, each fitted to the training part alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from ..errors import DataError
from ..lazy import np
from ..registry import Declared, Registry, family
from ..shapes import Shape
from .stream import Streamed

if TYPE_CHECKING:
    import numpy.typing as npt

    from .base import Floats

    Doubles = npt.NDArray[np.float64]
    Statistics = Mapping[str, Doubles]

CHUNK = 4096  # examples turned to double precision at a time
VALUES = 2**22  # values of them at most
WIDEST = 2**14  # inputs whose covariance is still taken: 2 GiB
SHORT = 16  # values that a summary writes out

PREPROCESSING: Registry[Preprocess] = Registry("preprocessing step", "dlx.data.preprocess", "dlx.preprocessing")

Per = Annotated[
    Literal["all", "channel", "feature"],
    Field(description="one value for everything, one for each entry of the first axis, or one for each input value"),
]


@family(PREPROCESSING)
class Preprocess(Declared):
    """The root of all steps: `becomes` (the shape), `fit` (statistics of the training part), `apply` (any part)."""

    def becomes(self, x: Shape) -> Shape:
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
        return x.then(self) if isinstance(x, Streamed) else self.step.apply(x, self.found)

    def as_json(self) -> dict[str, Any]:
        """The step, and of each statistic its shape, the SHA-256 of its bytes, and its values where they are few."""
        told = {name: _summary(values) for name, values in self.found.items()}
        return {"kind": self.step.kind, **self.step.model_dump(mode="json"), "statistics": told}


@dataclass(frozen=True)
class Earlier:
    """Steps fitted to the training data of a run, and how its table was read, for other data of its kind."""

    run: str
    raw: Shape
    steps: tuple[Fitted, ...]
    reading: Mapping[str, Any]
    class_names: tuple[str, ...]


EARLIER: ContextVar[Earlier | None] = ContextVar("earlier", default=None)


@contextmanager
def as_earlier(earlier: Earlier) -> Iterator[None]:
    """Data that is loaded meanwhile goes through what was fitted earlier; nothing is fitted to it."""
    token = EARLIER.set(earlier)
    try:
        yield
    finally:
        EARLIER.reset(token)


def _refitted(earlier: Earlier, x: Any) -> tuple[list[Fitted], Any]:
    if tuple(x.shape[1:]) != tuple(earlier.raw):
        now = Shape(x.shape[1:])
        message = f"the data given has inputs of shape {now}, and {earlier.run} was trained on {earlier.raw}"
        raise DataError(message, hint="Give data like it.")
    for step in earlier.steps:
        x = step(x)
    return list(earlier.steps), x


def fitted(steps: Sequence[Preprocess], x: Any) -> tuple[list[Fitted], Any]:
    """The steps fitted one after the other to the training inputs, and what those become.

    Those that were fitted earlier are taken where there are any: `as_earlier`.
    """
    if (earlier := EARLIER.get()) is not None:
        return _refitted(earlier, x)
    done = []
    for step in steps:
        step.becomes(Shape(x.shape[1:]))
        done.append(Fitted(step, step.fit(x)))
        x = done[-1](x)
    return done, x


def after(steps: Sequence[Preprocess], x: Shape) -> Shape:
    """The shape of an input after all steps. DataError where one does not fit."""
    for step in steps:
        x = step.becomes(x)
    return x


def single(x: Any) -> Any:
    """Inputs of which double precision is no longer wanted, as float32."""
    return x.single() if isinstance(x, Streamed) else np.asarray(x, np.float32)


class _Affine(Preprocess):
    """(x - shift) / scale."""

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return rescaled(x, found["mean"], found["std"])


class Center(_Affine):
    """Subtract the mean of the training inputs.

    Shapes: unchanged. `per: feature` subtracts the mean image, as AlexNet did; `channel` a mean colour, as VGG did.
    Source: Krizhevsky, Sutskever & Hinton 2012, section 2; Simonyan & Zisserman 2014, arXiv:1409.1556, section 2.1.
    """

    kind: ClassVar[str] = "center"
    per: Per = "feature"

    def fit(self, x: Floats) -> Statistics:
        mean, scale = moments(x, axes_of(x, self.per))
        return {"mean": mean, "std": np.ones_like(scale)}


class Standardize(_Affine):
    """Bring the training inputs to mean 0 and standard deviation 1.

    Shapes: unchanged. What is constant in the training part is divided by 1. The deviation is that of the part itself
    (divided by n, not n - 1).
    Source: LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", section 4.3.
    """

    kind: ClassVar[str] = "standardize"
    per: Per = "feature"

    def fit(self, x: Floats) -> Statistics:
        mean, scale = moments(x, axes_of(x, self.per))
        return {"mean": mean, "std": scale}


class Normalize(_Affine):
    """Subtract a given mean and divide by a given standard deviation, such as those a trained network was fed.

    Shapes: unchanged. One value for everything, or one a channel.
    Errors: lists of another length than there are channels.
    Source: the transform of that name in torchvision.
    """

    kind: ClassVar[str] = "normalize"
    mean: list[float] = Field(min_length=1, description="to subtract: one value, or one a channel")
    std: list[PositiveFloat] = Field([1.0], min_length=1, description="to divide by: one value, or one a channel")

    def becomes(self, x: Shape) -> Shape:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, x[0]):
                raise DataError(
                    f"`{name}` of `normalize` has {len(values)} values, and inputs of shape {x} have {x[0]} channels",
                    hint="Give one value, or one a channel.",
                )
        return x

    def fit(self, x: Floats) -> Statistics:
        ones = (1,) * (x.ndim - 2)
        return {
            "mean": np.reshape(np.array(self.mean, np.float64), (1, -1, *ones)),
            "std": np.reshape(np.array(self.std, np.float64), (1, -1, *ones)),
        }


class Fill(Preprocess):
    """Put a value where one is missing, which is where an input is nan; a table adds it where `missing` asks for it.

    Shapes: unchanged. The value is that of the training part, one for each input value; 0 where it has none there.
    Source: Little & Rubin 2002, Statistical analysis with missing data, section 4.2.
    """

    kind: ClassVar[str] = "fill"
    by: Literal["mean", "median"] = Field("mean", description="of what the training part has there")

    def fit(self, x: Floats) -> Statistics:
        known = ~np.isnan(x).all(0)
        value = np.zeros(x.shape[1:], np.float64)
        middle = np.nanmean if self.by == "mean" else np.nanmedian
        value[known] = middle(np.asarray(x[:, known], np.float64), axis=0)
        return {"value": value}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return np.where(np.isnan(x), found["value"].astype(x.dtype), x)


class Rescale(Preprocess):
    """Bring the training inputs into a fixed range; other parts may leave it.

    Shapes: unchanged. What is constant in the training part becomes `low`.
    Errors: a range that runs backwards.
    Source: Russell & Norvig, Artificial Intelligence: A Modern Approach, 4th edition, section 22.2.1.
    """

    kind: ClassVar[str] = "rescale"
    low: float = Field(0.0, description="what the smallest training value becomes")
    high: float = Field(1.0, description="what the largest becomes")
    per: Per = "feature"

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"`rescale` runs from {self.low:g} to {self.high:g}: give the smaller number first")
        return self

    def fit(self, x: Floats) -> Statistics:
        axes = axes_of(x, self.per)
        ends = [(c.min(axes, keepdims=True), c.max(axes, keepdims=True)) for c in chunks(x)]
        low, high = (np.stack(each).astype(np.float64) for each in zip(*ends, strict=True))
        return {"min": low.min(0), "max": high.max(0)}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        width = np.where(found["max"] == found["min"], 1.0, found["max"] - found["min"])
        size = self.high - self.low
        return _joined((c - found["min"]) / width * size + self.low for c in chunks(x))


class PCA(Preprocess):
    """Keep the coordinates along the longest axes of the training inputs: their principal components.

    Shapes: (*s) -> (components,), the longest axis first. Each axis points to where its largest entry is positive.
    With `whiten`, each coordinate is divided by its standard deviation (that of the part, divided by n).
    Cost: the eigenvectors of a matrix of inputs x inputs. Their last bits can differ between machines.
    Errors: more components than input values; inputs too wide for that matrix.
    Source: Pearson 1901, "On lines and planes of closest fit"; Hotelling 1933.
    """

    kind: ClassVar[str] = "pca"
    components: PositiveInt | None = Field(None, description="how many axes to keep; null keeps all")
    whiten: bool = Field(False, description="bring each coordinate to standard deviation 1")
    epsilon: NonNegativeFloat = Field(1e-5, description="added to variances before their root is divided by")

    def becomes(self, x: Shape) -> Shape:
        wide = _width(x, self.kind)
        if self.components and self.components > wide:
            raise DataError(
                f"`pca` is to keep {self.components:,} components of {wide:,} input values {x}",
                hint=f"Give {wide:,} at most.",
            )
        return Shape((self.components or wide,))

    def fit(self, x: Floats) -> Statistics:
        mean, variances, axes = principal(x)
        kept = self.components or len(variances)
        variances, axes = variances[:kept], axes[:, :kept]
        scale = np.sqrt(variances + self.epsilon) if self.whiten else np.ones(kept)
        return {"mean": mean, "axes": axes, "variances": variances, "std": np.where(scale > 0, scale, 1.0)}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return _turned(x, found["mean"], found["axes"] / found["std"])


class Whiten(Preprocess):
    """Make the covariance of the training inputs the identity, and stay as near to them as that allows (ZCA).

    Shapes: unchanged: a whitened image is still an image. `pca: {whiten: true}` gives the coordinates instead.
    Cost: the eigenvectors of a matrix of inputs x inputs. Their last bits can differ between machines.
    Errors: inputs too wide for that matrix.
    Source: Bell & Sejnowski 1997, "The 'independent components' of natural scenes are edge filters", section 2.
    """

    kind: ClassVar[str] = "whiten"
    epsilon: NonNegativeFloat = Field(
        1e-5, description="added to variances before their root is divided by: more leaves faint directions faint"
    )

    def becomes(self, x: Shape) -> Shape:
        _width(x, self.kind)
        return x

    def fit(self, x: Floats) -> Statistics:
        mean, variances, axes = principal(x)
        scale = np.sqrt(variances + self.epsilon)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        return {"mean": mean, "matrix": (axes * inverse) @ axes.T, "variances": variances}

    def apply(self, x: Floats, found: Statistics) -> Floats:
        return np.reshape(_turned(x, found["mean"], found["matrix"]), x.shape)


def axes_of(x: Floats, per: str) -> tuple[int, ...]:
    """The axes of (n, *shape) that a statistic is taken over."""
    return tuple({"all": range(x.ndim), "channel": (0, *range(2, x.ndim)), "feature": (0,)}[per])


def moments(x: Floats, axes: tuple[int, ...]) -> tuple[Doubles, Doubles]:
    """Mean and standard deviation over `axes` (kept as ones), in double precision; 1 for a constant.

    The inputs are read once. Source: Chan, Golub & LeVeque 1983, Algorithms for computing the sample variance.
    """
    count, mean, squares = 0.0, np.zeros(()), np.zeros(())
    low, high = np.full((), np.inf), np.full((), -np.inf)
    for c in chunks(x):
        here = c.mean(axes, dtype=np.float64, keepdims=True)
        many, gap = c.size / here.size, here - mean
        mean = mean + gap * (many / (count + many))
        squares = squares + np.square(c - here).sum(axes, keepdims=True) + gap**2 * (count * many / (count + many))
        low = np.minimum(low, c.min(axes, keepdims=True))
        high = np.maximum(high, c.max(axes, keepdims=True))
        count += many
    return mean, np.where(low == high, 1.0, np.sqrt(squares / count))


def principal(x: Floats) -> tuple[Doubles, Doubles, Doubles]:
    """Mean (d,), variances (d,) from the largest down, and axes (d, d) as columns, of inputs of d values."""
    count, mean, products = 0.0, np.zeros(()), np.zeros(())
    for c in chunks(x):
        flat = c.reshape(len(c), -1)
        here = flat.mean(0, dtype=np.float64)
        many, gap = len(flat), here - mean
        mean = mean + gap * (many / (count + many))
        away = flat - here
        products = products + away.T @ away + np.outer(gap, gap) * (count * many / (count + many))
        count += many
    covariance = products / count
    variances, axes = np.linalg.eigh(covariance)
    variances, axes = np.maximum(variances[::-1], 0), axes[:, ::-1]
    largest = axes[np.abs(axes).argmax(0), np.arange(len(axes))]
    return mean, variances, axes * np.sign(largest)


def rescaled(x: Floats, mean: Doubles, scale: Doubles) -> Floats:
    return _joined((c - mean) / scale for c in chunks(x))


def chunks(x: Any) -> Iterator[Floats]:
    """Some examples at a time, as many for a set on disk as for one in memory, so that sums have the same bits."""
    size = max(1, min(CHUNK, VALUES // max(1, prod(x.shape[1:]))))
    return (x[i : i + size] for i in range(0, len(x), size))


def _turned(x: Floats, mean: Doubles, matrix: Doubles) -> Floats:
    return _joined((c - mean) @ matrix for c in chunks(x.reshape(len(x), -1)))


def _joined(pieces: Iterator[Doubles]) -> Floats:
    """The pieces one after the other as float32, one of them at a time in double precision."""
    return np.concatenate([piece.astype(np.float32) for piece in pieces])


def _width(x: Shape, kind: str) -> int:
    wide = prod(x)
    if wide > WIDEST:
        raise DataError(
            f"`{kind}` takes the covariance of {wide:,} input values {x}, a matrix of {8 * wide**2 / 2**30:,.1f} GiB",
            hint=f"It takes {WIDEST:,} at most: make the inputs smaller, or use `center` or `standardize`.",
        )
    return wide


def _summary(values: Doubles) -> dict[str, Any]:
    plain = np.ascontiguousarray(values, "<f8")
    told: dict[str, Any] = {"shape": list(values.shape), "sha256": hashlib.sha256(plain.data).hexdigest()}
    return told | ({"values": values.reshape(-1).tolist()} if values.size <= SHORT else {})
