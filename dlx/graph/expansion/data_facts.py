"""`data` in the expressions of layers: its classes and vocabulary; the shape, size and classes of each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from ...errors import did_you_mean
from ...spec.expressions import ExpressionError, UnknownValue

if TYPE_CHECKING:
    from ...data import Facts
    from ...data.base import Field, TextFacts

NAME = "data"
"""The name that they have, where no variable, argument, input or node is called so."""


@dataclass(frozen=True)
class DataFacts:
    """Facts of the data of a spec, None where they are not known."""

    facts: Facts | None
    is_there: bool
    """Whether the spec has data; what cannot be read is reported where it is written."""
    texts: Mapping[str, TextFacts] = field(default_factory=dict)
    """The inputs of the network that are texts, by name."""

    def attribute(self, name: str) -> Any:
        """Return `data.classes`, `data.vocabulary` or `data.fields`. ExpressionError where there is none."""
        if name not in ("classes", "vocabulary", "fields"):
            hint = "`data` has `classes`, `vocabulary`, and `fields.NAME`."
            raise ExpressionError(f"there is no `data.{name}`", hint)
        if self.facts is None:
            if self.is_there:
                raise UnknownValue
            raise ExpressionError(f"there is no data, of which `data.{name}` would be", "Write the section `data`.")
        if name == "fields":
            return FieldsOfData(self.facts)
        if name == "vocabulary":
            if self.facts.vocabulary is None:
                raise ExpressionError(
                    "the data has no `data.vocabulary`: it is no text", "`data: {text: ...}` has one."
                )
            return self.facts.vocabulary
        if self.facts.classes is None:
            of_classes = [
                f"`data.fields.{n}.classes`" for n, one in self.facts.fields.items() if one.classes is not None
            ]
            hint = f"There is {', '.join(of_classes)}." if of_classes else "It has values, whose number is `.size`."
            target = f"the target `{self.facts.target_name}`" if self.facts.target is not None else "it"
            raise ExpressionError(f"the data has no `data.classes`: {target} has none", hint)
        return self.facts.classes


@dataclass(frozen=True)
class FieldsOfData:
    """`data.fields`."""

    facts: Facts

    def attribute(self, name: str) -> Any:
        """Return a field by name. ExpressionError where the data has none of it."""
        fields = self.facts.fields
        if name not in fields:
            hint = did_you_mean(name, fields, "the fields")
            raise ExpressionError(f"the data has no field `{name}`", hint)
        return OneField(name, fields[name])


@dataclass(frozen=True)
class OneField:
    """`data.fields.NAME`."""

    name: str
    field: Field

    def attribute(self, name: str) -> Any:
        """Return `shape`, `size` (the number of values of an example), `classes` or `vocabulary`.

        ExpressionError for another.
        """
        if name == "shape":
            return self.field.shape
        if name == "size":
            return prod(self.field.shape)
        if name == "classes" and self.field.classes is not None:
            return self.field.classes
        if name == "vocabulary" and self.field.text is not None:
            return self.field.text.vocabulary
        what = f"`data.fields.{self.name}.{name}`"
        if name == "classes":
            raise ExpressionError(f"there is no {what}: the field has values", "Its `.size` is their number.")
        if name == "vocabulary":
            raise ExpressionError(f"there is no {what}: the field is no text", "`is: text` makes it one.")
        has = "`shape`, `size` and `classes`" + (", and a text its `vocabulary`" if self.field.text else "")
        raise ExpressionError(f"there is no {what}", f"A field has {has}.")
