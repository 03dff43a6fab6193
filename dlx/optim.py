"""Optimizers. torch.optim is the implementation; names and defaults are torch's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from inspect import unwrap
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, NonNegativeFloat, model_validator

from .lazy import torch
from .registry import Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", "dlx.optim", "dlx.optimizers")
Beta = Annotated[float, Field(ge=0, lt=1)]


@family(OPTIMIZERS)
class Optimizer(Declared):
    """The root of all optimizers."""

    lr: NonNegativeFloat = Field(1e-3, description="learning rate")

    torch_name: ClassVar[str]
    state_per_param: ClassVar[int] = 0

    @property
    def state(self) -> int:
        """Values it keeps for each learned value."""
        return self.state_per_param

    def build(self, params: Iterable[Tensor]) -> torch.optim.Optimizer:
        """torch's optimizer over `params`, with fused kernels."""
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value := getattr(self, name), list) else value
            for name in type(self).model_fields
        }
        return _lean(self.torch_name)(list(params), **options, fused=True)


@cache
def _lean(name: str) -> Callable[..., torch.optim.Optimizer]:
    """torch's class without what its methods are wrapped in for torch.compile and the profiler.

    The first such wrapper to be called imports torch._dynamo, which takes longer than many a training here, and
    together they cost more than the fused update of a small network. What they wrap is run as it is.
    """
    cls = getattr(torch.optim, name)
    step = torch.no_grad()(unwrap(cls.step))
    step.hooked = True  # else the constructor adds the profiler's wrapper
    bare = {"step": step, "add_param_group": unwrap(cls.add_param_group), "__module__": cls.__module__}
    made: Callable[..., torch.optim.Optimizer] = type(name, (cls,), bare)
    return made


class SGD(Optimizer):
    """Stochastic gradient descent: g += weight_decay*w; v = momentum*v + (1 - dampening)*g; w -= lr*v.

    The velocity is torch's: the learning rate is applied to v, not to g. Nesterov uses g + momentum*v.
    Errors: nesterov without momentum, or with dampening. Source: Sutskever et al. 2013.
    """

    kind: ClassVar[str] = "sgd"
    momentum: NonNegativeFloat = Field(0, description="share of the velocity that is kept")
    dampening: float = Field(0, description="share of the gradient that does not enter the velocity")
    weight_decay: NonNegativeFloat = Field(0, description="coupled: added to the gradient as weight_decay * w")
    nesterov: bool = Field(False, description="look ahead along the velocity")

    torch_name: ClassVar[str] = "SGD"

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        return self

    @property
    def state(self) -> int:
        return int(self.momentum != 0)


class Adam(Optimizer):
    """Adam: running means m of g and v of g^2, bias-corrected; w -= lr * m / (sqrt(v) + eps).

    Weight decay is coupled (enters the gradient). Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1.
    """

    kind: ClassVar[str] = "adam"
    betas: list[Beta] = Field([0.9, 0.999], min_length=2, max_length=2, description="decay of m and of v")
    eps: NonNegativeFloat = Field(1e-8, description="added to sqrt(v)")
    weight_decay: NonNegativeFloat = Field(0, description="coupled: added to the gradient as weight_decay * w")
    amsgrad: bool = Field(False, description="divide by the largest v so far (Reddi et al. 2018)")

    torch_name: ClassVar[str] = "Adam"

    @property
    def state(self) -> int:
        return 3 if self.amsgrad else 2


class AdamW(Adam):
    """Adam with decoupled weight decay: w -= lr * weight_decay * w, apart from the gradient.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2.
    """

    kind: ClassVar[str] = "adamw"
    weight_decay: NonNegativeFloat = Field(1e-2, description="decoupled: w shrinks by lr * weight_decay * w a step")

    torch_name: ClassVar[str] = "AdamW"
