"""The base class of data of series: windows of the past, and what comes after each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ...shapes import Shape
from ..base import ColumnUse, Dataset, Facts, Sets, facts_of_fields
from ..base import Field as DataField
from ..file_reading import check_memory
from ..preprocess import EARLIER_FIT
from ..read_once import facts_once, taken
from ..splits import TestPart, ValidPart, digest
from .windows import PARTS, Parts, Scales, split_of

if TYPE_CHECKING:
    from .content import SeriesRows


class SeriesData(Dataset):
    """Base class of data of series. A subclass has `content`, and the names of its columns."""

    window: PositiveInt = Field(24, description="rows of the past that an example has")
    horizon: PositiveInt = Field(1, description="rows after them that are forecast")
    stride: PositiveInt = Field(1, description="rows from one example to the next")
    period: PositiveInt = Field(
        1, description="rows of a season: the naive error, by which MASE divides, is that of the value so far back"
    )
    standardize: Literal["none", "global", "series"] = Field(
        "none", description="bring each column to mean 0 and deviation 1, over all series or each series by itself"
    )
    valid: ValidPart = None
    test: TestPart = None

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        fractions = [one for one in (self.valid, self.test) if isinstance(one, float)]
        if sum(fractions) >= 1:
            raise ValueError(f"`valid` {self.valid:g} + `test` {self.test:g} leave nothing to train on: lower one")
        return self

    @property
    def forecast(self) -> list[str]:
        """Columns that are forecast."""
        raise TypeError(f"{type(self).__name__} has no forecast()")

    @property
    def also_past(self) -> list[str]:
        """Further columns that are known up to now."""
        return []

    @property
    def known_ahead(self) -> list[str]:
        """Columns that are known ahead."""
        return []

    @property
    def files(self) -> list[Path]:
        """Files that the content comes from."""
        return []

    @property
    def origin(self) -> str:
        """Origin of the data, in words."""
        return f"{self.source}: {self.kind}"

    def content(self) -> SeriesRows:
        """Return all rows. DataError where they cannot be read."""
        raise TypeError(f"{type(self).__name__} has no content()")

    def uses(self) -> tuple[ColumnUse, ...]:
        """Return the use of each column of the source, where it has some."""
        return ()

    def facts(self) -> Facts:
        return facts_once(self, self.files, self._read_facts)

    def _read_facts(self) -> tuple[Facts, Any]:
        """Return the facts, and the rows with their parts."""
        content = self.content()
        parts = Parts.of_rows(self, content)
        starts = parts.starts(self, content)
        examples = sum(map(len, starts[0]))
        return facts_of_fields(self._fields(), self.uses(), examples=examples), (content, parts, starts)

    def _fields(self) -> dict[str, DataField]:
        count = len(self.forecast)
        target = (self.horizon,) if count == 1 else (self.horizon, count)
        found = {"input": DataField(Shape((self.window, count + len(self.also_past))))}
        if self.known_ahead:
            found["known"] = DataField(Shape((self.window + self.horizon, len(self.known_ahead))))
        found["target"] = DataField(Shape(target), "target")
        found["scale"] = DataField(Shape((3, count)), "scale")
        return found | {"id": DataField(Shape((), "int"), "id")}

    def load(self) -> Sets:
        content, parts, starts = taken(self, self.files) or self._read_facts()[1]
        examples = sum(len(one) for each in starts for one in each)
        width = (self.window + self.horizon) * (len(self.forecast) + len(self.also_past) + len(self.known_ahead))
        check_memory(examples, Shape((width,)), "give a larger `stride`, or a smaller `window`")
        earlier = EARLIER_FIT.get()
        scales = Scales.fitted(self, content, parts) if earlier is None else Scales.of_json(earlier.reading["scales"])
        train, valid, test = (split_of(self, content, each, scales) for each in starts)
        assert train is not None, "it was checked that the training part has examples"
        return Sets(
            train,
            valid,
            test,
            digest((train, valid, test)),
            self.origin,
            notes=_notes(content, starts),
            reading={"told": self._labels(), "scales": scales.as_json(), "columns": self._columns()},
            fields=self._fields(),
            series=scales.training_series(content, parts, len(self.forecast)),
        )

    def _columns(self) -> list[dict[str, str]]:
        """Return the columns of the source by name, as new inputs have them; none for generated series."""
        return [{"name": use.name} for use in self.uses()]

    def _labels(self) -> list[str]:
        """Return the names of the values of a target: column and step ahead."""
        return [f"{name}+{step}" for step in range(1, self.horizon + 1) for name in self.forecast]


def _notes(content: SeriesRows, starts: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    there = len(content.names)
    out = {part: sum(not len(one) for one in each) for part, each in zip(PARTS, starts, strict=True)}
    return tuple(
        f"{count:,} of {there:,} series have no example in the part `{part}`"
        for part, count in out.items()
        if 0 < count < there
    )
