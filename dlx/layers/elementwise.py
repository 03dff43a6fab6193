"""Functions of each value that are not activations by custom: sine, cosine, exponential, logarithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..shapes import Shape
from .activation import Pointwise
from .base import Saved

if TYPE_CHECKING:
    from torch.nn import Module


class _Function(Pointwise):
    """Base class of functions of torch that have no module; the name of a class is that of the module here."""

    def module(self, *_: Shape) -> Module:
        from ..modules import elementwise

        made: Module = getattr(elementwise, type(self).__name__)()
        return made


class Sin(_Function):
    """sin(x), of x in radians

    `- scale: 30` before it gives the frequency of a sinusoidal representation network.

    Source: Sitzmann et al. 2020, arXiv:2006.09661, section 3. torch: none; it is torch.sin.
    """

    kind: ClassVar[str] = "sin"


class Cos(_Function):
    """cos(x), of x in radians

    Source: Tancik et al. 2020, arXiv:2006.10739, section 4 (Fourier features). torch: none; it is torch.cos.
    """

    kind: ClassVar[str] = "cos"


class Exp(_Function):
    """exp(x); infinite above x = 88.7 in float32

    Source: Kingma & Welling 2013, arXiv:1312.6114, appendix C.2 (a deviation from its logarithm). torch: none; it is
        torch.exp.
    """

    kind: ClassVar[str] = "exp"
    saved: ClassVar[Saved] = ("output",)


class Log(_Function):
    """The natural logarithm of x; -infinity at 0, and NaN below

    Source: Eigen et al. 2014, arXiv:1406.2283, section 3.2 (depth in logarithms). torch: none; it is torch.log.
    """

    kind: ClassVar[str] = "log"
