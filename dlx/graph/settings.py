"""What a spec sets for its data and its training, by the names that figures use: `${train.steps}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ..errors import did_you_mean
from ..spec.expressions import ExpressionError

if TYPE_CHECKING:
    from ..spec import Experiment

NAMES = ("train", "data", "objective")
"""Sections whose settings figures can name."""


@dataclass(frozen=True)
class Settings:
    """A section, or a kind in it, with its fields and their defaults; `called` is its name in an expression."""

    called: str
    of: BaseModel

    def attribute(self, name: str) -> Any:
        """Return a field; the kind of a field that holds one may be written between: `train.optimizer.sgd.lr`.

        ExpressionError where there is none, where it is not set, or where it is no number, word or list.
        """
        called = f"{self.called}.{name}"
        if name == getattr(self.of, "kind", None):
            return Settings(called, self.of)
        if name not in type(self.of).model_fields:
            hint = did_you_mean(name, type(self.of).model_fields, f"the fields of `{self.called}`")
            raise ExpressionError(f"there is no `{called}`", hint)
        value = getattr(self.of, name)
        if isinstance(value, BaseModel):
            return Settings(called, value)
        if value is None:
            raise ExpressionError(f"`{called}` is not set", "Set it, or name what is.")
        if isinstance(value, tuple):
            value = list(value)
        if not isinstance(value, bool | int | float | str | list):
            raise ExpressionError(f"`{called}` is no number", "A figure takes numbers, words and lists of them.")
        return value


def settings_of(experiment: Experiment) -> dict[str, Settings]:
    """Return the sections of a spec that a figure can name; of one with stages those of the last."""
    last = experiment.last_stage
    found = {name: getattr(last, name) for name in NAMES}
    return {name: Settings(name, one) for name, one in found.items() if isinstance(one, BaseModel)}
