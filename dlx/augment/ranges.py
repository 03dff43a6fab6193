"""Ranges of random numbers, as field types."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

T = TypeVar("T", bound=float)
Range = Annotated[list[T], Field(min_length=2, max_length=2)]
Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Width = Annotated[float, Field(gt=0, le=100)]
"""Standard deviation of a Gaussian over positions; bounded, since its kernel takes memory in proportion."""
NotNegative = Annotated[float, Field(ge=0)]


def ordered(name: str) -> AfterValidator:
    """Return a validator that refuses a range with `low` above `high`."""

    def check(value: Any) -> Any:
        if isinstance(value, list):
            for low, high in zip(value[::2], value[1::2], strict=False):
                if low > high:
                    raise ValueError(f"`{name}` runs from {low:g} to {high:g}: give the smaller number first")
        return value

    return AfterValidator(check)


def symmetric_range(value: float | list[float]) -> tuple[float, float]:
    """Return a range as it is, and a number as the range from its negative to it."""
    return (value[0], value[1]) if isinstance(value, list) else (-value, value)
