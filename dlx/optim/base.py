"""The base class of optimizers: fields with torch's names and defaults, and the torch.optim class that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from inspect import unwrap
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from ..lazy import torch
from ..registry import FAMILIES, Declared, Registry, family

if TYPE_CHECKING:
    from torch import Tensor

OPTIMIZERS: Registry[Optimizer] = FAMILIES["optimizer"]

Share = Annotated[float, Field(ge=0, lt=1)]
"""Decay rate of a running mean, from 0 to below 1."""
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]
FUSED = ("cpu", "cuda", "mps")
COUPLED = "coupled: added to the gradient as weight_decay * w"


@dataclass(frozen=True)
class WeightGroup:
    """Weights with a learning rate or weight decay of their own: an entry of torch's `param_groups`.

    Attributes:
        params: the weights.
        lr: learning rate; None for that of the optimizer.
        lr_scale: factor on the learning rate.
        weight_decay: weight decay; None for that of the optimizer.
    """

    params: list[Tensor]
    lr: float | None = None
    lr_scale: float = 1.0
    weight_decay: float | None = None
    table: bool = False
    """Whether the weights are the rows of an embedding."""


@family(OPTIMIZERS)
class Optimizer(Declared):
    """Base class of all optimizers.

    A subclass has a `kind`, pydantic fields with torch's names and defaults, and `torch_name`, or `made_of` for a
    class that torch.optim does not have. Defining the class registers it.
    """

    lr: NonNegativeFloat = Field(1e-3, description="learning rate")

    torch_name: ClassVar[str] = ""
    """Name of the class in torch.optim."""
    own: ClassVar[tuple[str, ...]] = ()
    """Fields that torch's class does not have."""
    fused: ClassVar[tuple[str, ...]] = ()
    """Types of devices on which torch has a fused kernel for the whole update."""
    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "gradient"
    """Input of a step: gradients; a closure that computes loss and gradients as often as it is called; or one
    for the loss."""
    whole: ClassVar[bool] = False
    """Whether a batch is the whole training set where the spec names no batch size."""
    only_whole: ClassVar[bool] = False
    """Whether a batch must be the whole training set."""
    spares_tables: ClassVar[bool] = False
    """Whether the rows of embeddings are updated in another way than other matrices."""
    grouped: ClassVar[bool] = True
    """Whether groups of weights may have options of their own."""
    most: ClassVar[int | None] = None
    """Largest number of weights that the optimizer can handle; None for no limit."""
    moves_by_rate: ClassVar[bool] = True
    """Whether the size of its steps is the rate, so that a rate of 0 moves no weight."""
    state_per_param: ClassVar[int] = 0
    """Values of state per learned value."""

    @classmethod
    def mistake(cls) -> str:
        names = cls.torch_name or cls.made_of is not Optimizer.made_of or cls.build is not Optimizer.build
        return super().mistake() if names else "has neither `torch_name` nor `made_of`"

    @property
    def state(self) -> int:
        """Largest number of values of state per learned value, for the memory forecast."""
        return self.state_per_param

    @property
    def decays(self) -> bool:
        """Whether the optimizer applies weight decay."""
        return bool(getattr(self, "weight_decay", 0))

    @property
    def stands_still(self) -> bool:
        """Whether the rate is 0, so that no weight moves."""
        return self.moves_by_rate and not self.lr

    def build(self, params: Iterable[Tensor] | Iterable[WeightGroup]) -> torch.optim.Optimizer:
        """Return the torch optimizer for `params`, with fused kernels where torch has them."""
        groups = as_groups(params)
        cls, options = self.made_of()
        if groups[0].params[0].device.type in self.fused and cls.__module__.startswith("torch."):
            options["fused"] = True
        bare = without_wrappers(cls)  # type: ignore[arg-type] # classes are hashable
        return bare([self.settings(group) for group in groups], **options)

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        """Return the torch class and its options."""
        return getattr(torch.optim, self.torch_name), self.options()

    def options(self) -> dict[str, Any]:
        """Return the fields as keyword arguments of the torch class."""
        fields = (name for name in type(self).model_fields if name not in self.own)
        return {name: tuple(value) if isinstance(value := getattr(self, name), list) else value for name in fields}

    def settings(self, group: WeightGroup) -> dict[str, Any]:
        """Return a group as an entry of torch's `param_groups`."""
        rate = self.lr if group.lr is None else group.lr
        own = {} if group.weight_decay is None else {"weight_decay": group.weight_decay}
        return {"params": group.params, "lr": rate * group.lr_scale, **own}


def as_groups(params: Iterable[Tensor] | Iterable[WeightGroup]) -> list[WeightGroup]:
    """Return groups as they are, and tensors as one group."""
    groups: list[Any] = list(params)
    return groups if groups and isinstance(groups[0], WeightGroup) else [WeightGroup(groups)]


@cache
def without_wrappers(cls: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return torch's class without the wrappers of its methods for torch.compile and the profiler.

    The first such wrapper to be called imports torch._dynamo, which takes longer than many a training here, and
    together they cost more than the fused update of a small network. The wrapped methods themselves are unchanged.
    """
    step = torch.no_grad()(unwrap(cls.step))
    step.hooked = True  # else the constructor adds the profiler's wrapper
    bare: dict[str, Any] = {
        name: unwrap(getattr(cls, name)) for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    }
    made: Callable[..., torch.optim.Optimizer] = type(
        cls.__name__, (cls,), {**bare, "step": step, "__module__": cls.__module__}
    )
    return made
