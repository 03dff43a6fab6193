"""Initialisers by the name of the node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Self

from pydantic import Field, PrivateAttr, model_validator

from ..registry import Choice
from .base import INITIALIZERS, Default, Initializer, named


class ByName(Initializer):
    """Initialisers by the name of the node: the first pattern that matches, and `default` for the rest.

    A pattern is the name of a node or scope, with `*` for any letters: `fc_*`, `stage_1`, `*/conv_3`. What stands
    beside a weight goes with it. The last layer of each residual branch at zero lets a deep network begin as the
    identity: `{match: {"*/conv_3": zeros}, default: he_normal}`.
    Errors: a pattern that matches no node with weights to draw.
    """

    kind: ClassVar[str] = "by_name"
    match: Annotated[dict[str, Initializer], Choice(INITIALIZERS)] = Field(
        min_length=1, max_length=100, description="initialisers by name of the node"
    )
    default: Annotated[Initializer, Choice(INITIALIZERS)] = Field(
        Default(), description="for nodes that no pattern matches"
    )

    _scope: str = PrivateAttr("")

    @model_validator(mode="after")
    def _flat(self) -> Self:
        if any(isinstance(one, ByName) for one in (self.default, *self.match.values())):
            raise ValueError("by_name stands inside by_name: write all patterns in one")
        return self

    def of(self, name: str) -> Initializer:
        whole = f"{self._scope}/{name}" if self._scope else name
        hits = (one for pattern, one in self.match.items() if named(whole, pattern))
        return next(hits, self.default)

    def within(self, scope: str) -> Initializer:
        made = self.model_copy()
        made._scope = scope
        return made

    def patterns(self) -> Iterator[str]:
        return iter(self.match)
