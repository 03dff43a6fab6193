"""Other data for a trained network: fields of the run's own data changed, or a file like it, all of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data import Dataset, Sets
from ..data.file_reading import existing
from ..errors import DlxError, SpecError
from ..spec import Experiment

OF_PARTS = ("train", "valid", "test", "folds", "fold", "valid_path", "test_path", "split", "stratify", "seed")
"""Fields that say which examples of a source are in which part; none is for a file that is measured whole."""
OF_TRAINING = ("label_noise",)
"""Fields that are about training alone."""


def changed(experiment: Experiment, data: Sequence[str]) -> Experiment:
    """Return the experiment with other data: `test=500` is the field `test` of its data, `new.csv` a file like it.

    Errors: DlxError for a file that is missing or that the data does not take, SpecError for other mistakes.
    """
    assert experiment.data is not None
    kind = experiment.data.kind
    changes = [f"++data.{kind}.{change.removeprefix(f'{kind}.')}" for change in data if "=" in change]
    if (file := file_of(experiment.data, data)) is not None:
        changes = [*_whole(experiment.data, file), *changes]
    other = experiment.changed(changes)
    if other.problems:
        raise SpecError(*other.problems)
    return other


def file_of(source: Dataset, data: Sequence[str]) -> Path | None:
    """Return the file or folder that stands alone among `data`; None where all are `key=value`."""
    alone = [change for change in data if "=" not in change]
    if not alone:
        return None
    name, fields = alone[0], type(source).model_fields
    if name in fields and not Path(name).exists():
        raise DlxError(f"`--data {name}` says no value", hint=f"Write `--data {name}=VALUE`.")
    if "path" not in fields:
        files = ", ".join(f"`--data {one}=FILE`" for one in fields if one in ("images", "labels"))
        hint = f"Write {files}." if files else "Write `--data KEY=VALUE`, a field of it."
        raise DlxError(f"`--data {name}` is a file, and the data `{source.kind}` has no `path`", hint=hint)
    if len(alone) > 1:
        raise DlxError(f"`--data` names the files {' and '.join(alone[:2])}: give one")
    return existing(Path(name))


def _whole(source: Dataset, file: Path) -> list[str]:
    """Return the overrides by which all of a file is read, in its order."""
    kind, written = source.kind, source.model_fields_set
    dropped = [name for name in (*OF_PARTS, *OF_TRAINING) if name in written]
    in_order = [f"++data.{kind}.split=order"] if "split" in type(source).model_fields else []
    return [
        *(f"~data.{kind}.{name}" for name in dropped),
        f"++data.{kind}.path={json.dumps(str(file.absolute()), ensure_ascii=False)}",
        *in_order,
    ]


def measured_whole(sets: Sets) -> Sets:
    """Return the data of a file with all its examples as the test part, unless it has a test part of its own."""
    return sets if sets.test is not None else replace(sets, test=sets.train)
