"""Names of torch that are not public, read only here, so that a torch without one of them does not crash dlx.

Code that uses them is faster than torch's public names, and `training/fallback.py` replaces it by those.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class MissingNameError(Exception):
    """The installed torch does not have a name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"torch {torch.__version__} has no {name}")


def private(name: str) -> Any:
    """Return a value of torch by its full name, such as `torch._C._set_grad_enabled`. MissingNameError."""
    value: Any = import_module("torch")
    for part in name.split(".")[1:]:
        value = _found(value, part, name)
    return value


def attribute(value: Any, name: str) -> Any:
    """Return an attribute of an object of torch. MissingNameError."""
    return _found(value, name, f"{type(value).__name__}.{name}")


def schema_of(op: Any) -> Any:
    """Return the schema of an operation: name, arguments, results. MissingNameError."""
    return attribute(op, "_schema")


def storage(tensor: Tensor) -> int:
    """Return a number that the storage of a tensor alone has while it lives. MissingNameError."""
    if tensor.is_mkldnn:  # what is in oneDNN's layout has memory, and no storage of torch's
        pointer: int = private("torch.ops.mkldnn.data_ptr")(tensor)
        return pointer
    # `data_ptr()`, which is public, is 0 for each storage without bytes
    number: int = attribute(tensor.untyped_storage(), "_cdata")
    return number


def _found(value: Any, part: str, name: str) -> Any:
    try:
        return getattr(value, part)
    except AttributeError as error:
        raise MissingNameError(name) from error


FOREACH = {
    "add": "torch._foreach_add",
    "add_": "torch._foreach_add_",
    "addcdiv_": "torch._foreach_addcdiv_",
    "addcmul_": "torch._foreach_addcmul_",
    "div": "torch._foreach_div",
    "lerp": "torch._foreach_lerp",
    "lerp_": "torch._foreach_lerp_",
    "mul_": "torch._foreach_mul_",
    "sqrt_": "torch._foreach_sqrt_",
}


class ForeachOps:
    """Operations on lists of tensors in one call each; tensor by tensor where this torch lacks the call."""

    def __init__(self) -> None:
        self.missing: list[MissingNameError] = []
        for name, full in FOREACH.items():
            setattr(self, name, self._operation(name, full))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(name)  # tells a type checker that the names of FOREACH are functions

    def _operation(self, name: str, full: str) -> Callable[..., Any]:
        try:
            found: Callable[..., Any] = private(full)
        except MissingNameError as error:
            self.missing.append(error)
            return _one_by_one(name)
        return found


def _one_by_one(name: str) -> Callable[..., Any]:
    """Return a method of tensors for lists of them: arguments that are lists are zipped, others are shared."""

    def operation(tensors: list[Any], *args: Any, **kwargs: Any) -> list[Any]:
        return [
            getattr(tensor, name)(*(arg[i] if isinstance(arg, list | tuple) else arg for arg in args), **kwargs)
            for i, tensor in enumerate(tensors)
        ]

    return operation
