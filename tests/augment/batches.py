"""What tests of augmentations share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dlx.augment import AUGMENTATIONS, Augmentation


def made(kind: str, **options: Any) -> Augmentation:
    return AUGMENTATIONS[kind].model_validate(options)


def after(kind: str, x: Tensor, seed: int = 0, **options: Any) -> Tensor:
    """A batch after one augmentation."""
    torch.manual_seed(seed)
    step = made(kind, **options)
    return step.fitted(lambda: x)(x)


def numbered(*shape: int) -> Tensor:
    """1, 2, 3, ..."""
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).view(shape)


def same(x: Tensor, count: int) -> Tensor:
    """One example `count` times."""
    return x.expand(count, *x.shape).clone()


def kinds_of(x: Tensor) -> set[tuple[float, ...]]:
    """The different examples of a batch."""
    return {tuple(one.flatten().tolist()) for one in x}
