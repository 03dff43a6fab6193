"""How weights begin. `default` leaves each layer as torch makes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, PrivateAttr, model_validator

from .lazy import nn
from .registry import Choice, Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

INITIALIZERS: Registry[Initializer] = Registry("initialiser", "dlx.init", "dlx.initializers")


@family(INITIALIZERS)
class Initializer(Declared):
    """The root of all initialisers.

    They touch weights of two and more axes and the biases beside those. Scales of norms keep their ones, or what
    `values: {weight: 0}` on the layer says.
    """

    touches: ClassVar[bool] = True

    def of(self, name: str) -> Initializer:
        """The initialiser of the node called `name`."""
        return self

    def within(self, scope: str) -> Initializer:
        """The initialiser for a part of a whole, whose NODE is called `scope/NODE` there."""
        return self

    def patterns(self) -> Iterator[str]:
        """Names with `*` that must match a node with weights."""
        return iter(())

    def fill(self, weight: Tensor) -> None:
        """Draw the values of one weight, in place, from torch's global generator."""
        raise TypeError(f"{type(self).__name__} has no fill()")

    def fill_bias(self, bias: Tensor, weight: Tensor | None) -> None:
        """Set a bias, in place; `weight` stands beside it, filled already."""
        nn.init.zeros_(bias)


class Default(Initializer):
    """What torch's layers do by themselves: uniform in +-1/sqrt(fan_in) for linear and conv, biases too."""

    kind: ClassVar[str] = "default"
    touches: ClassVar[bool] = False

    def fill(self, weight: Tensor) -> None:
        """Nothing."""


class ByName(Initializer):
    """Other initialisers for nodes with other names: the first pattern that matches, and `default` for the rest.

    A pattern is the name of a node or scope, with `*` for any letters: `fc_*`, `stage_1`, `*/conv_3`. What stands
    beside a weight goes with it. The last layer of each residual branch at zero lets a deep network begin as the
    identity: `{match: {"*/conv_3": zeros}, default: he_normal}`.
    Errors: a pattern that matches no node with weights to draw.
    """

    kind: ClassVar[str] = "by_name"
    match: Annotated[dict[str, Initializer], Choice(INITIALIZERS)] = Field(
        min_length=1, max_length=100, description="initialisers by name of the node"
    )
    default: Annotated[Initializer, Choice(INITIALIZERS)] = Field(
        Default(), description="for nodes that no pattern matches"
    )

    _scope: str = PrivateAttr("")

    @model_validator(mode="after")
    def _flat(self) -> Self:
        if any(isinstance(one, ByName) for one in (self.default, *self.match.values())):
            raise ValueError("by_name stands inside by_name: write all patterns in one")
        return self

    def of(self, name: str) -> Initializer:
        whole = f"{self._scope}/{name}" if self._scope else name
        hits = (one for pattern, one in self.match.items() if named(whole, pattern))
        return next(hits, self.default)

    def within(self, scope: str) -> Initializer:
        made = self.model_copy()
        made._scope = scope
        return made

    def patterns(self) -> Iterator[str]:
        return iter(self.match)


def named(name: str, pattern: str) -> bool:
    """Whether a pattern means the node called `name`, or a scope around it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}/*")


class _Filling(Initializer):
    """What has a number for the biases; `drawn` for those that know a standard deviation."""

    draws: ClassVar[bool] = False
    bias: float | Literal["drawn"] = Field(
        0.0, description="value of each bias; drawn: as the weight beside it, by the same fan"
    )

    @classmethod
    def first_field(cls) -> str | None:
        return next((name for name in cls.model_fields if name != "bias"), None)

    @model_validator(mode="after")
    def _can_draw(self) -> Self:
        if self.bias == "drawn" and not self.draws:
            raise ValueError(f"{self.kind} cannot draw biases: give `bias` a number")
        return self

    def fill_bias(self, bias: Tensor, weight: Tensor | None) -> None:
        if isinstance(self.bias, float | int):
            nn.init.constant_(bias, self.bias)
        elif weight is not None:
            self.draw(bias, weight)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        """Draw `values` with the spread that `weight` has by its shape."""


# --- given values ---------------------------------------------------------------------------------------------------


class Constant(_Filling):
    """Every weight the same. Units of one layer then stay alike for ever: for zero, or to show just that.

    torch: constant_. Source: Deitke, CNNs for Visual Recognition, section 6.3.
    """

    kind: ClassVar[str] = "constant"
    value: float = Field(description="of each weight")

    def fill(self, weight: Tensor) -> None:
        nn.init.constant_(weight, self.value)


class Zeros(_Filling):
    """Every weight zero; with `by_name`, for the last layer of a residual branch. torch: zeros_.

    Source: Goyal et al. 2017, arXiv:1706.02677, section 5.1, which does so to the last scale of a block.
    """

    kind: ClassVar[str] = "zeros"

    def fill(self, weight: Tensor) -> None:
        nn.init.zeros_(weight)


class Identity(_Filling):
    """Hand the input on: ones on the diagonal, or at the centre of a kernel from each channel to its own.

    Where there are more outputs than inputs, the others are zero. torch: eye_ and, for convolutions, dirac_ with
    groups = 1, so that of a grouped convolution only the first channels pass.
    """

    kind: ClassVar[str] = "identity"

    def fill(self, weight: Tensor) -> None:
        fill = nn.init.eye_ if weight.dim() == 2 else nn.init.dirac_
        fill(weight)


class Orthogonal(_Filling):
    """A random matrix whose rows, or columns if fewer, are orthonormal, times `gain`: lengths are kept.

    A kernel is taken as the matrix (out, in * taps). torch: orthogonal_. Source: Saxe et al. 2014, arXiv:1312.6120.
    """

    kind: ClassVar[str] = "orthogonal"
    gain: float = Field(1.0, description="factor on the matrix; sqrt(2) suits ReLU")

    def fill(self, weight: Tensor) -> None:
        nn.init.orthogonal_(weight, self.gain)


class DeltaOrthogonal(Orthogonal):
    """An orthogonal matrix at the centre of each kernel, zero elsewhere: what trained plain nets of 10,000 layers.

    It keeps lengths where a layer has no fewer outputs than inputs. Of a matrix it is `orthogonal`.
    Source: Xiao et al. 2018, arXiv:1806.05393, algorithm 1.
    """

    kind: ClassVar[str] = "delta_orthogonal"

    def fill(self, weight: Tensor) -> None:
        matrix = weight.new_empty(weight.shape[:2])
        nn.init.orthogonal_(matrix, self.gain)
        nn.init.zeros_(weight)
        centre = weight.data
        for size in weight.shape[:1:-1]:
            centre = centre[..., size // 2]
        centre.copy_(matrix)


class LSUV(Orthogonal):
    """Orthogonal, then each weight layer scaled until a batch of the training set leaves it with variance 1.

    Layer by layer from the input on, in evaluation mode: W / std of the output, again until the variance is within
    `tol` of 1. The batch is drawn by `train.seed`. Where there is no data, as in `dlx verify`, it stays orthogonal;
    embeddings do too, and weights given with `values` stay as they are.
    Source: Mishkin & Matas 2016, arXiv:1511.06422, algorithm 1.
    """

    kind: ClassVar[str] = "lsuv"
    tol: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="how far from 1 the variance may be")
    max_iters: PositiveInt = Field(10, description="times that a layer is scaled at most")
    samples: PositiveInt = Field(256, description="examples of the training set that are looked at")


# --- of one spread --------------------------------------------------------------------------------------------------


class Normal(_Filling):
    """Normal, with the same spread everywhere. torch: normal_, where `std` is 1 unless given."""

    kind: ClassVar[str] = "normal"
    draws: ClassVar[bool] = True
    std: NonNegativeFloat = Field(description="standard deviation")
    mean: float = Field(0.0, description="middle of the distribution")

    def fill(self, weight: Tensor) -> None:
        nn.init.normal_(weight, self.mean, self.std)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        self.fill(values)


class TruncatedNormal(Normal):
    """Normal, drawn again where a value is further from the mean than `cut` deviations.

    The spread that results is a little smaller: 0.880 `std` for a cut of 2. torch: trunc_normal_, whose cuts are
    absolute values, -2 and 2.
    """

    kind: ClassVar[str] = "trunc_normal"
    std: PositiveFloat = Field(description="standard deviation")
    cut: Annotated[float, Field(gt=0)] = Field(2.0, description="standard deviations from the mean that are left")

    def fill(self, weight: Tensor) -> None:
        far = self.cut * self.std
        nn.init.trunc_normal_(weight, self.mean, self.std, self.mean - far, self.mean + far)


class Uniform(_Filling):
    """Uniform between two values: variance (b - a)^2 / 12. torch: uniform_, which has 0 to 1 unless given."""

    kind: ClassVar[str] = "uniform"
    draws: ClassVar[bool] = True
    b: float = Field(description="largest value")
    a: float | None = Field(None, description="smallest value; else -b")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.b:
            raise ValueError(f"uniform from a = {self.low:g} to b = {self.b:g} is empty: let a be the smaller one")
        return self

    @property
    def low(self) -> float:
        return -self.b if self.a is None else self.a

    def fill(self, weight: Tensor) -> None:
        nn.init.uniform_(weight, self.low, self.b)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        self.fill(values)


# --- by the size of the layer ---------------------------------------------------------------------------------------


def fans(weight: Tensor) -> tuple[int, int]:
    """fan_in and fan_out as torch counts them: axis 1 and axis 0 of the weight, times the taps of a kernel.

    For a transposed convolution, whose weight is (in, out, *taps), they have changed places.
    """
    taps = math.prod(weight.shape[2:])
    return weight.shape[1] * taps, weight.shape[0] * taps


class _Scaled(_Filling):
    """What knows the standard deviation from the fans; a kind of its own says how it is drawn."""

    draws: ClassVar[bool] = True
    uniform: ClassVar[bool] = False

    def std(self, fan_in: int, fan_out: int) -> float:
        raise TypeError(f"{type(self).__name__} has no std()")

    def fill(self, weight: Tensor) -> None:
        self.draw(weight, weight)

    def draw(self, values: Tensor, weight: Tensor) -> None:
        std = self.std(*fans(weight))
        if self.uniform:
            bound = math.sqrt(3.0) * std
            nn.init.uniform_(values, -bound, bound)
        else:
            nn.init.normal_(values, 0.0, std)


class _He(_Scaled):
    mode: Literal["fan_in", "fan_out"] = Field("fan_in", description="keep the variance going forward or backward")
    a: float = Field(0.0, description="slope below zero of the leaky ReLU or PReLU that follows")

    def std(self, fan_in: int, fan_out: int) -> float:
        return math.sqrt(2.0 / (1 + self.a**2)) / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


class HeNormal(_He):
    """Normal with variance 2/fan, for ReLU; 2/((1 + a^2) fan) for a slope of `a` below zero.

    The fan of a convolution counts its taps: 2/(9 C) for 3x3 on C channels. torch: kaiming_normal_, whose `a` and
    nonlinearity "leaky_relu" are this `a`. Source: He et al. 2015, arXiv:1502.01852, equations 10 and 15.
    """

    kind: ClassVar[str] = "he_normal"


class HeUniform(_He):
    """Uniform with variance 2/fan, for ReLU. torch: kaiming_uniform_. Source: He et al. 2015, arXiv:1502.01852."""

    kind: ClassVar[str] = "he_uniform"
    uniform: ClassVar[bool] = True


class _Glorot(_Scaled):
    gain: NonNegativeFloat = Field(1.0, le=1e10, description="factor on the standard deviation; 5/3 suits tanh")

    def std(self, fan_in: int, fan_out: int) -> float:
        return self.gain * math.sqrt(2.0 / float(fan_in + fan_out))


class GlorotNormal(_Glorot):
    """Normal with variance 2/(fan_in + fan_out). The other reading, "He without the two", is `lecun_normal`.

    torch: xavier_normal_. Source: Glorot & Bengio 2010, equation 12.
    """

    kind: ClassVar[str] = "glorot_normal"


class GlorotUniform(_Glorot):
    """Uniform with variance 2/(fan_in + fan_out). torch: xavier_uniform_.

    Source: Glorot & Bengio 2010, equation 16.
    """

    kind: ClassVar[str] = "glorot_uniform"
    uniform: ClassVar[bool] = True


class _Lecun(_Scaled):
    gain: NonNegativeFloat = Field(1.0, le=1e10, description="factor on the standard deviation")

    def std(self, fan_in: int, fan_out: int) -> float:
        return self.gain / math.sqrt(fan_in)


class LecunNormal(_Lecun):
    """Normal with variance 1/fan_in: inputs of variance 1 give sums of variance 1.

    Some books call this Glorot's, He's "without the factor of two". Keras cuts its own off at two deviations.
    Source: LeCun et al. 1998, Efficient BackProp, equation 16; Prince 2023, Understanding Deep Learning, notes of
    chapter 7.
    """

    kind: ClassVar[str] = "lecun_normal"


class InverseSqrt(LecunNormal):
    """Normal, divided by sqrt(fan_in): `lecun_normal` under the name of the code that does it.

    Source: Deitke, CNNs for Visual Recognition, section 6.3.
    """

    kind: ClassVar[str] = "inverse_sqrt"


class LecunUniform(_Lecun):
    """Uniform with variance 1/fan_in, so in +-sqrt(3/fan_in). Source: LeCun et al. 1998, Efficient BackProp."""

    kind: ClassVar[str] = "lecun_uniform"
    uniform: ClassVar[bool] = True
