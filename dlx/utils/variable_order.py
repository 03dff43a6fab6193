"""The order in which an autoregressive model takes the variables of an example."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..lazy import np

Order = Literal["natural"] | Annotated[int, Field(ge=0)]
"""`natural`: as the values of an example lie, the last axis first; a number: drawn from that seed."""


def ranks(order: Order, variables: int) -> list[int]:
    """Return the place of each variable in the order, from 0."""
    if order == "natural":
        return list(range(variables))
    return [int(place) for place in np.random.default_rng(order).permutation(variables)]
