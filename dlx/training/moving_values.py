"""Numbers of layers and of the objective that move over a training, set before each step.

They lie in tensors that stay where they are, so that recorded and packed steps read them too. An evaluation takes the
value of the last step, so that evaluations are of one objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ..lazy import torch
from ..objectives import Objective
from ..schedules import Timeline
from ..schedules.values import moving_fields, with_values

if TYPE_CHECKING:
    from torch import Tensor, nn

Task = TypeVar("Task", bound=Objective)


class MovingValues:
    """The moving numbers of networks and an objective; false where there are none."""

    def __init__(self, module: nn.Module, objective: Objective, span: Timeline) -> None:
        from ..modules.moving import Moving

        self.span = span
        found = {name: one for name, one in module.named_modules() if isinstance(one, Moving)}
        self.modules = {f"{name.replace('.', '/')}.{one.field}": one for name, one in found.items()}
        self.fields = moving_fields(objective)
        self.tensors: dict[str, Tensor] = {name: torch.tensor(float(one.start)) for name, one in self.fields.items()}
        self.values: dict[str, float] = {}
        """The values of the last step by the names that they have in a point of the curve."""

    def __bool__(self) -> bool:
        return bool(self.modules or self.fields)

    def of_objective(self, objective: Task) -> tuple[Task, Task]:
        """Return an objective as a step takes it, with tensors that move, and as an evaluation does, with numbers."""
        last: dict[str, Any] = {name: one.last(self.span) for name, one in self.fields.items()}
        return with_values(objective, self.tensors), with_values(objective, last)

    def set(self, step: int) -> None:
        """Set the values of the update number `step`, which counts from 0."""
        for name, module in self.modules.items():
            self.values[f"value/{name}"] = value = module.over_time.at(step, self.span)
            module.value.fill_(value)
        for name, over_time in self.fields.items():
            self.values[f"value/objective.{name}"] = value = over_time.at(step, self.span)
            self.tensors[name].fill_(value)
