"""Tables of numbers, booleans and categories, from CSV or parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from ...lazy import np
from ...registry import FilePath, NotBoolean
from ...shapes import Shape
from ..base import ColumnValues, Facts, Sets, Split
from ..file_reading import check_memory, class_numbers
from ..label_noise import with_label_noise
from ..preprocess.affine import Standardize
from ..read_once import facts_once, taken
from ..splits import Pool, assemble
from ..text.fields import TextField, recorded, text_fields
from .bags import Texts
from .cells import Notation
from .column_uses import uses, warnings
from .column_values import cells_of, columns_of, values_of
from .columns import Column, category_codes, saved_columns
from .date_parts import DateOptions, Dates
from .encodings import check_same_sort, encodings_of
from .fitting import put_own, with_means, with_vocabularies
from .frame import Frame, chosen, plain, read, rows_of
from .missing_values import FillColumns, Rules, drop_incomplete, fill_step, rule_of
from .plain_rows import plain_facts
from .splitting import SplitRows, check_split, split_rows
from .table_fields import (
    TASKS,
    InputFields,
    TargetFields,
    check_fields,
    fields_of,
    further_goals,
    further_of,
    groups_of,
    ids_of,
    inputs_of,
    inputs_of_parts,
    main_input,
    named_facts,
)
from .table_files import all_rows, frames_of
from .target_means import TargetEncodings
from .text_columns import first_target_is_text, fitted_texts, text_arrays, text_columns, text_notes

if TYPE_CHECKING:
    from ..base import Floats, Labels, Values
    from ..input_record import InputRecord
    from ..new_inputs import NewInputs
    from ..preprocess.base import Statistics
    from ..python_inputs import Columns


class StandardizeColumns(Standardize):
    """The step `standardize` for a table: only the inputs in `places` are standardised."""

    places: list[int] = Field(description="inputs that are numbers")

    def fit(self, x: Floats) -> Statistics:
        found = super().fit(x)
        others = np.setdiff1d(np.arange(x.shape[1]), self.places)
        found["mean"][:, others], found["std"][:, others] = 0, 1
        return found


class Table(Pool):
    """Rows of a CSV or parquet file; one column is the target, the others are the inputs.

    Shapes: inputs (values,), the columns one after the other in the order of the file: a number is one value, a
        Boolean one value (0 or 1, or -1 or 1), a category of d texts d values, of which one is 1 and the others 0.
        Targets 0 to classes - 1 where the target is text or Boolean, in the order of the sorted texts; values (k,)
        where it is k columns of numbers. `task: classification` takes whole numbers for classes.
    Without labels: `target: null`; all columns are inputs then, for objectives that read no target.
    Missing values: `drop` leaves out the rows, `mean`, `median`, `most_frequent` and `{constant: 0}` fill them in,
        `indicator` gives numbers their mean, and one input more that is 1 there; `category` gives texts an input of
        their own for it. What fills in is found in the training part alone, and recorded with the run.
    `standardize: feature` moves the columns of numbers alone; `preprocess` sees all values.
    Dates and times, in ISO 8601 or of a named `format`: `dates: {sold: [year, month, weekday]}` chooses their
        parts; a part that repeats is the sine and cosine of its phase.
    Errors: a column that is missing; a date that cannot be read; missing values, unless `missing` says what to do; a
        category of more texts than `max_categories`; a text of the test file that the first file does not have.
    Source: Russell & Norvig, Artificial Intelligence: A Modern Approach, 4th edition, section 22.2.1.
    """

    kind: ClassVar[str] = "table"
    split: SplitRows = "random"  # type: ignore[assignment]
    path: FilePath = Field(description="CSV file (gzipped or not, .tsv with tabs) or parquet file")
    target: str | list[str] | None = Field(
        None, description="column to tell, or several columns of numbers; null: rows without labels"
    )
    targets: TargetFields = None
    inputs: InputFields = None
    weights: str | None = Field(None, description="column of the weight of each row in the loss of training")
    ids: str | None = Field(None, description="column of a name for each row, which predictions bear")
    test_path: FilePath | None = Field(None, description="file of test rows with the same columns")
    task: Literal["classification", "regression", "multilabel"] | None = Field(
        None,
        description="null: classes where the target is text or Boolean, else values; multilabel: several of 0 and 1",
    )
    columns: list[str] | None = Field(None, min_length=1, description="columns of the inputs; null takes all others")
    drop: list[str] = Field([], description="columns to leave out")
    categorical: list[str] = Field([], description="columns of numbers that are names of categories")
    log: list[str] = Field([], description="columns of positive numbers to take the natural logarithm of")
    false_is: Annotated[Literal[0, -1], NotBoolean] = Field(
        0, description="what false becomes; true is 1. Where it is given, columns of yes and no are Boolean too"
    )
    missing: Rules = Field(
        "refuse", description="what is done about values that are missing: one way, or one a column, `*` for the rest"
    )
    ordinal: list[str] | dict[str, list[str]] = Field(
        {}, description="columns of texts to number, in sorted order, or their texts from the lowest up: 0, 1, 2, ..."
    )
    target_encoding: TargetEncodings = Field({})
    text: Texts = Field({})
    dates: Dates = Field({})
    max_categories: PositiveInt = Field(100, description="most texts that a column may have")
    names: list[str] | None = Field(
        None, min_length=1, description="of the columns of a CSV file without a first line"
    )
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="between values; null: comma or tab")
    thousands: str | None = Field(
        None, min_length=1, max_length=1, description="between groups of three digits, in a CSV file"
    )
    decimal: str = Field(".", min_length=1, max_length=1, description="before a fraction, in a CSV file")
    na_values: list[str] = Field([], description="further texts of a CSV file that stand for a missing value")
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
            raise ValueError("`columns` and `drop` both choose the inputs: give one of the two")
        if self.thousands == self.decimal:
            raise ValueError(f"`thousands` and `decimal` are both `{self.decimal}`: give two different ones")
        options = {name: list(getattr(self, name)) for name in ("ordinal", "target_encoding", "text", "dates")}
        for option, named in options.items():
            others = [*self.categorical, *self.log, *(n for one in options if one != option for n in options[one])]
            if both := [name for name in named if name in others]:
                raise ValueError(f"`{option}` and another option are both for `{both[0]}`: keep one")
        if isinstance(rest := self.dates.get("*"), DateOptions) and rest.format:
            raise ValueError("`dates` gives `*` a format, and it is for dates in ISO 8601: name the columns")
        if self.task == "classification" and isinstance(self.target, list):
            raise ValueError("`task: classification` takes one column as `target`, and here is a list: give one name")
        if self.label_noise is not None and self.target_encoding:
            raise ValueError("`target_encoding` takes means of the targets before `label_noise` is on them: drop one")
        check_fields(self)
        check_split(self)
        return self

    @property
    def notation(self) -> Notation:
        return Notation(self.thousands, self.decimal)

    @property
    def standardizes(self) -> bool:
        """Whether the first step subtracts the mean of numbers."""
        return self.standardize != "none" or bool(self.preprocess)

    @property
    def has_fields(self) -> bool:
        """Whether fields have names of their own: several inputs or targets, none of them, weights, ids."""
        return bool(self.inputs or self.targets or self.weights or self.ids or self.unlabelled)

    @property
    def unlabelled(self) -> bool:
        """Whether no column is a target, by `target: null`."""
        return self.target is None and self.targets is None

    @property
    def goal_columns(self) -> list[str]:
        """Columns of the first target."""
        if self.targets is not None:
            name, first = next(iter(self.targets.items()))
            return [first.column or name]
        return [self.target] if isinstance(self.target, str) else self.target or []

    @property
    def goal_task(self) -> Literal["classification", "regression"] | None:
        """Task of the first target; None where its values decide. Several labels are values."""
        if self.task == "multilabel":
            return "regression"
        return self.task if self.targets is None else TASKS.get(next(iter(self.targets.values())).form)

    @property
    def non_inputs(self) -> list[str]:
        """Columns that are no inputs: those of all targets, of weights and of ids."""
        further = [one.column or name for name, one in (self.targets or {}).items()]
        others = [name for name in (self.weights, self.ids) if name is not None]
        return list(dict.fromkeys([*self.goal_columns, *further, *others]))

    @property
    def taken(self) -> list[str] | None:
        """Columns that the spec names as inputs; None where it names none."""
        if self.inputs is None:
            return self.columns
        return list(dict.fromkeys(name for group in self.inputs.values() for name in group.columns))

    @property
    def looked_up(self) -> list[str]:
        """Columns that are integers, for an `embedding`."""
        groups = (self.inputs or {}).values()
        return [name for group in groups if group.form == "integers" for name in group.columns]

    @property
    def split_columns(self) -> list[str]:
        """Columns by which the rows are split; that of the groups is the last one."""
        return (
            [] if isinstance(self.split, str) else [self.split[key] for key in ("by", "group") if key in self.split]
        )

    def inputs_among(self, names: Sequence[str]) -> list[str]:
        """Return the columns that may be inputs: no targets; what the rows are split by if `columns` names it."""
        others = {*self.non_inputs, *self.split_columns, *text_columns(self).values()} - {*(self.taken or [])}
        return [name for name in names if name not in others]

    @property
    def files(self) -> list[Path]:
        """The files of the rows."""
        return [path for path in (self.path, self.test_path) if path is not None]

    def facts(self) -> Facts:
        return facts_once(self, self.files, self._read_facts)

    def _read_facts(self) -> tuple[Facts, list[Frame] | None]:
        """Return the facts and the frames that they are of; None where no frames were needed."""
        plain = plain_facts(self)
        return (plain, None) if plain is not None else self._facts_of_frames()

    def _facts_of_frames(self) -> tuple[Facts, list[Frame]]:
        frame, *_ = frames = frames_of(self)
        columns, goal = encodings_of(self, frames)
        texts: dict[str, TextField] = {}
        if not isinstance(self.split, str) or any(column.sort == "text" for column in columns) or text_columns(self):
            rows = split_rows(self, frames, self._targets_of(frame, goal))
            columns = with_vocabularies(self, frame, columns, rows[0])
            texts, examples = fitted_texts(self, frames, rows[0]), len(rows[0])
        else:
            examples, *_ = self.part_sizes(len(frame))
        shape = Shape((sum(column.width for column in columns),))
        if goal is not None:
            facts = self.facts_of(shape, classes=self.classes_of(goal, frames), examples=examples)
        else:
            facts = self.facts_of(shape, target=Shape((len(self.goal_columns),)), examples=examples)
        problems = warnings(self, frame, columns, goal)
        labels = self.task == "multilabel"
        facts = replace(facts, columns=uses(self, frame, columns, goal, texts), warnings=problems, labels=labels)
        return named_facts(fields_of(self, frames, columns, goal, texts), facts), frames

    def column_values(self) -> tuple[ColumnValues, ...]:
        return tuple(values_of(name, column) for name, column in columns_of(all_rows(self)[0]))

    def cells(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        return cells_of(frames_of(self)[0], rows)

    def load(self) -> Sets:
        frames = taken(self, self.files) or frames_of(self)
        columns, goal = encodings_of(self, frames)
        y = [self._targets_of(frame, goal) for frame in frames]
        rows = split_rows(self, frames, y[0])
        columns = with_vocabularies(self, frames[0], columns, rows[0])
        texts = fitted_texts(self, frames, rows[0])
        classes = None if goal is None else self.classes_of(goal, frames)
        columns, own = with_means(self, frames[0], columns, rows[0], y[0], classes)
        of_texts = [text_arrays(self, frame, texts) for frame in frames]
        if first_target_is_text(self):
            y = [one.pop(next(iter(self.targets or {}))) for one in of_texts]
        else:
            y = [one if classes is not None else one.astype(np.float32) for one in y]
        check_memory(sum(map(len, frames)), Shape((sum(c.width for c in columns),)), "choose `columns`, or rows")
        groups, goals = groups_of(self, columns), further_goals(self, frames[0])
        steps = {n: [*self._filling(g), *self._standardizing(g), *self.preprocess] for n, g in groups.items()}
        x = inputs_of_parts(self, frames[0], columns, steps, rows)
        for name, group in groups.items():
            put_own(x[0][name], group, own)
        x += [inputs_of(self, frame, columns, steps) for frame in frames[1:]]
        further = [further_of(self, f, goals) | texts for f, texts in zip(frames, of_texts, strict=True)]
        targets = [y[0][part] for part in rows] + y[1:]
        more = [{name: one[part] for name, one in further[0].items()} for part in rows] + further[1:]
        main = main_input(self)
        every = [
            _split(main, b, part, inputs | others) if len(b) else None
            for inputs, b, part, others in zip(x, targets, [*rows, None], more, strict=False)
        ]
        names = goal.texts if goal is not None else ()
        where = ", ".join(str(frame.path) for frame in frames)
        fields = fields_of(self, frames, columns, goal, texts)
        own_steps = steps.get(main, [])
        sets = assemble([*every[:2], every[-1]], "none", f"{self.source} {where}", names, own_steps, fields, steps)
        messages = tuple(one.sentence for one in warnings(self, frames[0], columns, goal))
        messages += tuple(text_notes(self, frames, texts))
        # "told" is a key of the files of earlier versions, which are still read
        reading = {"columns": [asdict(column) for column in columns], "told": self._target_names()}
        reading |= recorded(texts, text_columns(self, targets=False))
        return with_label_noise(replace(sets, notes=messages, reading=reading), self)

    def new_inputs(self, path: Path, record: InputRecord) -> NewInputs:
        frame = rows_of(path, (), self.names, self.non_inputs, self.delimiter, self.na_values)
        new = self._as_new_inputs(frame, record)
        return replace(self._named_by_ids(new, frame), table=frame.table)

    def _named_by_ids(self, new: NewInputs, frame: Frame) -> NewInputs:
        """Return inputs with the names that their column of ids gives, where they have it."""
        if self.ids is None or self.ids not in frame.names:
            return new
        return replace(new, names=tuple(ids_of(self, frame)))

    def from_memory(self, inputs: Columns | Values, record: InputRecord) -> NewInputs:
        from ..python_inputs import Columns, frame_of

        frame = frame_of(inputs)
        names = inputs.names if isinstance(inputs, Columns) else ()
        new = self._as_new_inputs(frame, record)
        return self._named_by_ids(replace(new, names=names), frame)

    def source_columns(self) -> list[str]:
        return [name for name in read(self.path, self.names, self.delimiter, self.na_values).names if name]

    def source_column(self, name: str, sets: Sets) -> dict[str, Sequence[Any]]:
        columns = [plain(frame.table.column(name)).to_pylist() for frame in frames_of(self, [name])]
        parts = sets.parts().items()
        return {n: columns[-1] if part.rows is None else [columns[0][i] for i in part.rows] for n, part in parts}

    def _as_new_inputs(self, frame: Frame, record: InputRecord) -> NewInputs:
        from ..new_inputs import NewInputs  # not at the top: it reads pictures and archives too

        columns = saved_columns(record.reading)
        of_texts = text_columns(self, targets=False)
        frame = chosen(frame, list(dict.fromkeys([*(column.name for column in columns), *of_texts.values()])))
        like = {column.name: column.stored for column in columns if column.stored}
        like |= dict.fromkeys(of_texts.values(), "text")
        forms = {column.name: column.date.format for column in columns if column.date is not None}
        frame = frame.typed(self.notation, like=like, dates=forms)
        for column in columns:
            check_same_sort(frame, column)
        filled = {column.name for column in columns if column.takes_missing}
        whole = drop_incomplete(frame, {name: "mean" if name in filled else "refuse" for name in frame.names})
        inputs = inputs_of(self, whole, columns)
        inputs |= text_arrays(self, whole, text_fields(record.reading), targets=False)
        return NewInputs(inputs.pop(main_input(self)), more=inputs)

    def _target_names(self) -> list[str]:
        """Return the names of the target values."""
        return [f"log({name})" if name in self.log else name for name in self.goal_columns]

    def _filling(self, columns: list[Column]) -> list[FillColumns]:
        rules = {column.name: rule_of(self.missing, column.name) for column in columns}
        step = fill_step(columns, rules, self.false_is, str(self.path))
        return [step] if step is not None else []

    def _targets_of(self, frame: Frame, goal: Column | None) -> Labels:
        return self.targets_from(frame, goal, self.goal_columns)

    def targets_from(self, frame: Frame, goal: Column | None, names: Sequence[str]) -> Labels:
        """Return class numbers (rows,), or values (rows, targets) in double precision; of a text zeros.

        Without labels they are (rows, 0).
        """
        if self.unlabelled:
            return np.zeros((len(frame), 0))
        if goal is None and first_target_is_text(self) and list(names) == self.goal_columns:
            return np.zeros((len(frame), 1))
        if goal is None:
            return np.stack([frame.numbers(name, name in self.log) for name in names], 1)
        if goal.sort == "number":
            return class_numbers(frame.numbers(goal.name), f"column `{goal.name}` of {frame.path}")
        return category_codes(frame, goal)

    def classes_of(self, goal: Column, frames: list[Frame]) -> int:
        return len(goal.texts) or max(int(self.targets_from(frame, goal, ()).max()) for frame in frames) + 1

    def _standardizing(self, columns: list[Column]) -> list[Standardize]:
        starts = [sum(column.width for column in columns[:i]) for i in range(len(columns))]
        numbers = [start + i for start, column in zip(starts, columns, strict=True) for i in column.numbers]
        return [StandardizeColumns(places=numbers)] if self.standardize == "feature" and numbers else []


def _split(main: str, y: Labels, rows: Any, fields: dict[str, Any]) -> Split:
    """Return a part of named fields, of which `main` is the main input."""
    return Split(fields.pop(main), y, rows, fields)
