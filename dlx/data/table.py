"""Tables: rows of numbers, yes and no, and categories, from CSV or parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ..errors import DataError
from ..lazy import np
from ..registry import FilePath
from ..shapes import Shape
from .base import Facts, Sets, Split
from .columns import Column, Frame, coded, encoded, read, surveyed
from .preprocess import Standardize
from .reading import class_numbers, fits, listed
from .splits import Pool, assemble

if TYPE_CHECKING:
    from .base import Floats, Labels
    from .preprocess import Statistics


class Numbers(Standardize):
    """The step `standardize` for the inputs of a table: only those in `places` are moved."""

    places: list[int] = Field(description="inputs that are numbers")

    def fit(self, x: Floats) -> Statistics:
        found = super().fit(x)
        others = np.setdiff1d(np.arange(x.shape[1]), self.places)
        found["mean"][:, others], found["std"][:, others] = 0, 1
        return found


class Table(Pool):
    """Rows of a CSV or parquet file: one column is what to tell, the others what it is told from.

    Shapes: inputs (values,), the columns one after the other in the order of the file: a number is one value, a
        Boolean one value (0 or 1, or -1 or 1), a category of d texts d values, of which one is 1 and the others 0.
        Targets 0 to classes - 1 where the target is text or Boolean, in the order of the sorted texts; values (k,)
        where it is k columns of numbers. `task: classification` takes whole numbers for classes.
    `standardize: feature` moves the columns of numbers alone; `preprocess` sees all values.
    Errors: a column that is missing or holds dates; missing values, unless `missing: drop`; a category of more texts
        than `max_categories`; a text of the test file that the first file does not have.
    Source: Russell & Norvig, Artificial Intelligence: A Modern Approach, 4th edition, section 22.2.1.
    """

    kind: ClassVar[str] = "table"
    path: FilePath = Field(description="CSV file (gzipped or not, .tsv with tabs) or parquet file")
    target: str | list[str] = Field(description="column to tell, or several columns of numbers")
    test_path: FilePath | None = Field(None, description="file of test rows with the same columns")
    task: Literal["classification", "regression"] | None = Field(
        None, description="null: classes where the target is text or Boolean, else values"
    )
    columns: list[str] | None = Field(
        None, min_length=1, description="columns to tell it from; null takes all others"
    )
    drop: list[str] = Field([], description="columns to leave out")
    categorical: list[str] = Field([], description="columns of numbers that are names of categories")
    log: list[str] = Field([], description="columns of positive numbers to take the natural logarithm of")
    false_is: Literal[0, -1] = Field(0, description="what false becomes; true is 1")
    missing: Literal["refuse", "drop"] = Field("refuse", description="of a row that lacks a value")
    max_categories: PositiveInt = Field(100, description="most texts that a column may have")
    names: list[str] | None = Field(
        None, min_length=1, description="of the columns of a CSV file without a first line"
    )
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="between values; null: comma or tab")
    standardize: Literal["none", "feature"] = Field(
        "none", description="bring each column of numbers to mean 0 and standard deviation 1"
    )

    source: ClassVar[str] = "table"

    @classmethod
    def first_field(cls) -> str:
        return "path"

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.test_path and self.test:
            raise ValueError("`test` takes rows from `path`, and `test_path` brings them: give one of the two")
        if self.columns and self.drop:
            raise ValueError("`columns` and `drop` both choose what to tell it from: give one of the two")
        if self.task == "classification" and isinstance(self.target, list):
            raise ValueError("`task: classification` takes one column as `target`, and here is a list: give one name")
        return self

    @property
    def targets(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else self.target

    def facts(self) -> Facts:
        frame, *_ = frames = self._frames()
        columns, goal = self._survey(frames)
        self.counts(len(frame))
        shape = Shape((sum(column.width for column in columns),))
        if goal is not None:
            return self.seen(shape, classes=self._classes(goal, frames))
        return self.seen(shape, target=Shape((len(self.targets),)))

    def load(self) -> Sets:
        frames = self._frames()
        columns, goal = self._survey(frames)
        fits(sum(map(len, frames)), Shape((sum(c.width for c in columns),)), "choose `columns`, or rows")
        pool, *test = [Split(encoded(f, columns, self.false_is), self._answers(f, goal)) for f in frames]
        parts = self.split(pool.x, pool.y)
        steps = [*self._standardizing(columns), *self.preprocess]
        names = goal.texts if goal is not None else ()
        where = ", ".join(str(frame.path) for frame in frames)
        return assemble([*parts[:2], *(test or parts[2:])], "none", f"{self.source} {where}", names, steps)

    def _frames(self) -> list[Frame]:
        """The rows of each file, of the columns that are wanted, none of them lacking a value."""
        paths = [path for path in (self.path, self.test_path) if path is not None]
        frames = [read(Path(path), self.names, self.delimiter) for path in paths]
        return [frame.only(self._wanted(frame)).whole(self.missing) for frame in frames]

    def _wanted(self, frame: Frame) -> list[str]:
        for name in ("target", "columns", "drop", "categorical", "log"):
            given = self.targets if name == "target" else getattr(self, name) or []
            frame.check(given, name)
        inputs = self.columns or [n for n in frame.names if n not in (*self.drop, *self.targets)]
        if shared := set(inputs) & set(self.targets):
            raise DataError(f"{listed(shared)} is told and told from", hint="Take it out of `columns`.")
        if not inputs:
            raise DataError(f"{frame.path} has no column but the target", hint="Give a file with more columns.")
        return [*inputs, *self.targets]

    def _survey(self, frames: list[Frame]) -> tuple[list[Column], Column | None]:
        """How each input column is encoded, and how the target is where it is one of classes."""
        pool = frames[0]
        names = [name for name in pool.names if name not in self.targets]
        columns = [surveyed(pool, n, n in self.categorical, n in self.log, self.max_categories) for n in names]
        goals = [surveyed(pool, n, n in self.categorical, n in self.log, None) for n in self.targets]
        wordy = [goal for goal in goals if goal.sort != "number"]
        if wordy and (self.task == "regression" or len(goals) > 1):
            raise DataError(
                f"column `{wordy[0].name}` of {pool.path} holds {wordy[0].told}, and targets of values hold numbers",
                hint="Give one column of classes, or columns of numbers.",
            )
        goal = goals[0] if wordy or self.task == "classification" else None
        if goal is None and self.stratify:
            raise DataError(
                f"`stratify` keeps the proportions of classes, and the target {listed(self.targets)} is of numbers",
                hint="Leave out `stratify`, or write `task: classification`.",
            )
        return columns, goal

    def _answers(self, frame: Frame, goal: Column | None) -> Labels:
        if goal is None:
            values = [frame.numbers(name, name in self.log) for name in self.targets]
            return np.stack(values, 1).astype(np.float32)
        if goal.sort == "number":
            return class_numbers(frame.numbers(goal.name), f"column `{goal.name}` of {frame.path}")
        return coded(frame, goal)

    def _classes(self, goal: Column, frames: list[Frame]) -> int:
        return len(goal.texts) or max(int(self._answers(frame, goal).max()) for frame in frames) + 1

    def _standardizing(self, columns: list[Column]) -> list[Standardize]:
        sorts = [column.sort for column in columns for _ in range(column.width)]
        numbers = [place for place, sort in enumerate(sorts) if sort == "number"]
        return [Numbers(places=numbers)] if self.standardize == "feature" and numbers else []
