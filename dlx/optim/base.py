"""What every optimizer is: torch's names and defaults, and the torch.optim class that runs."""

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
"""What a running mean keeps of itself."""
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]
FUSED = ("cpu", "cuda", "mps")
COUPLED = "coupled: added to the gradient as weight_decay * w"


@dataclass(frozen=True)
class WeightGroup:
    """Weights that are trained in their own way: at their own rate, at a part of the rate, with their own decay."""

    params: list[Tensor]
    lr: float | None = None
    lr_scale: float = 1.0
    weight_decay: float | None = None
    table: bool = False
    """Whether they are rows that an embedding looks up."""


@family(OPTIMIZERS)
class Optimizer(Declared):
    """The root of all optimizers."""

    lr: NonNegativeFloat = Field(1e-3, description="learning rate")

    torch_name: ClassVar[str] = ""
    """The class in torch.optim."""
    own: ClassVar[tuple[str, ...]] = ()
    """Fields that torch's class does not have."""
    fused: ClassVar[tuple[str, ...]] = ()
    """Devices on which torch has the whole update in one kernel."""
    takes: ClassVar[Literal["gradient", "closure", "loss"]] = "gradient"
    """What a step wants: gradients; a function that computes them anew as often as it is called; one for the loss."""
    whole: ClassVar[bool] = False
    """A batch is the whole training set where the spec does not say."""
    only_whole: ClassVar[bool] = False
    """A batch is never less than the whole training set."""
    spares_tables: ClassVar[bool] = False
    """Whether rows of embeddings move in another way than other matrices."""
    grouped: ClassVar[bool] = True
    """Whether parts of the weights can be trained in their own way."""
    most: ClassVar[int | None] = None
    """The most weights it can work on."""
    state_per_param: ClassVar[int] = 0

    @property
    def state(self) -> int:
        """Values it keeps for each learned value, at most."""
        return self.state_per_param

    @property
    def decays(self) -> bool:
        """Whether it makes weights smaller by themselves."""
        return bool(getattr(self, "weight_decay", 0))

    def build(self, params: Iterable[Tensor] | Iterable[WeightGroup]) -> torch.optim.Optimizer:
        """The optimizer over `params`, with fused kernels where torch has them."""
        groups = as_groups(params)
        cls, options = self.made_of()
        if groups[0].params[0].device.type in self.fused and cls.__module__.startswith("torch."):
            options["fused"] = True
        bare = without_wrappers(cls)  # type: ignore[arg-type] # classes are hashable
        return bare([self.settings(group) for group in groups], **options)

    def made_of(self) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
        """The class that runs, and its options."""
        return getattr(torch.optim, self.torch_name), self.options()

    def options(self) -> dict[str, Any]:
        """The fields as torch takes them."""
        fields = (name for name in type(self).model_fields if name not in self.own)
        return {name: tuple(value) if isinstance(value := getattr(self, name), list) else value for name in fields}

    def settings(self, group: WeightGroup) -> dict[str, Any]:
        """A group as torch takes it."""
        rate = self.lr if group.lr is None else group.lr
        own = {} if group.weight_decay is None else {"weight_decay": group.weight_decay}
        return {"params": group.params, "lr": rate * group.lr_scale, **own}


def as_groups(params: Iterable[Tensor] | Iterable[WeightGroup]) -> list[WeightGroup]:
    """Groups as they are, tensors as one group."""
    groups: list[Any] = list(params)
    return groups if groups and isinstance(groups[0], WeightGroup) else [WeightGroup(groups)]


@cache
def without_wrappers(cls: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """torch's class without what its methods are wrapped in for torch.compile and the profiler.

    The first such wrapper to be called imports torch._dynamo, which takes longer than many a training here, and
    together they cost more than the fused update of a small network. What they wrap is run as it is.
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
