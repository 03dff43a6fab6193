"""Examples of one side that an objective turns into such of another, as `cycle` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data import input_record
from ...data.new_inputs import NewInputs, read, scaled, shaped
from ...data.preprocess import applied, as_float32
from ...errors import DlxError, did_you_mean
from ...lazy import np, torch
from . import completions

if TYPE_CHECKING:
    from torch import Tensor

    from ...objectives import Objective
    from ...runs.folder import RunFolder
    from ..evaluate import Loaded


def side(objective: Objective, to: str | None, run: RunFolder) -> str:
    """Return the field that examples are turned into, by default the first that the objective names."""
    if not objective.sides:
        message = f"{objective.kind} turns no examples into others, and --to asks for some of `{to}`"
        raise DlxError(message, hint="Leave out --to.")
    if to is not None and to not in objective.sides:
        hint = did_you_mean(to, objective.sides, "the sides")
        raise DlxError(f"{run.key} turns no examples into such of `{to}`", hint=hint)
    return to or next(iter(objective.sides))


def examples(known: Any, of: str, loaded: Loaded) -> tuple[Tensor, tuple[str, ...]]:
    """Return examples (n, *shape) of the field `of` as the networks take them, and their names where files have some.

    `known` is an array, or a file of arrays, a .csv with a line an example, a picture or a folder of those, as they
    are before preprocessing. DlxError for other shapes, and for values that are missing.
    """
    record = input_record.of(loaded.source, loaded.sets, {})
    main = of == record.facts.input_name
    raw = record.raw if main else record.raw_more[of]
    steps = record.steps if main else record.steps_more.get(of, ())
    found = _read(known, raw)
    if np.isnan(found.x).any():  # empty cells of a .csv
        raise DlxError(f"{known} has missing values, which become nothing", hint="Fill them in first.")
    return torch.from_numpy(np.ascontiguousarray(as_float32(applied(steps, found.x)))), found.names


def _read(known: Any, raw: Any) -> NewInputs:
    if not isinstance(known, str | Path):
        name = Path("what is given")
        return NewInputs(shaped(scaled(np.asarray(known), name), raw, name))
    path = Path(known)
    if path.suffix == ".csv":
        return NewInputs(completions.values_of(path, raw))
    return read(path, raw)
