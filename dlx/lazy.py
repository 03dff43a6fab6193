"""Heavy packages, imported on first use: `from dlx.lazy import nn` is free until a module is built.

A type checker sees the real modules; a running program sees stand-ins that import on the first access.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from .utils.imports import uncollected

if TYPE_CHECKING:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from torch import nn
else:

    class _LazyModule:
        """Stand-in for a module, which is imported when an attribute is read."""

        def __init__(self, name: str) -> None:
            self.__dict__["_name"] = name

        def __getattr__(self, attribute: str) -> Any:
            # what is there already is looked up all the same: another thread may still be importing it
            with nullcontext() if self._name in sys.modules else uncollected():
                module = importlib.import_module(self._name)
            value = getattr(module, attribute)
            self.__dict__[attribute] = value  # the next look-up is a plain attribute
            return value

        def __repr__(self) -> str:
            return f"<lazy module {self._name}>"

    np = _LazyModule("numpy")
    torch = _LazyModule("torch")
    nn = _LazyModule("torch.nn")
    F = _LazyModule("torch.nn.functional")

__all__ = ["F", "nn", "np", "torch"]
