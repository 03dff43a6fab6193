"""Arguments that several functions take: a spec, overrides, a run."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DlxError, with_article
from ..runs import lookup
from ..runs.folder import RunFolder
from ..spec import Experiment, from_python
from ..spec import load as read
from .run import Run

Spec = str | os.PathLike[str] | Mapping[str, Any] | Experiment
"""A path, a shipped spec by its name, a YAML or TOML text, a mapping of plain values, or a spec that is loaded."""
Overrides = str | Sequence[str] | Mapping[str, Any]
"""Changes in Hydra's grammar (`["train.epochs=5"]`), or values by key (`{"train.epochs": 5}`)."""
AnyRun = str | os.PathLike[str] | Run
"""A run, its folder, or a name that `dlx runs` knows: `last`, `name/id`, or the beginning of one."""


def experiment_of(spec: Spec, overrides: Overrides = ()) -> Experiment:
    """Load a spec with its overrides. Mistakes that do not stop the reading are in its `problems`."""
    changes = override_texts(overrides)
    if isinstance(spec, Experiment):
        return spec.changed(changes) if changes else spec
    if isinstance(spec, Mapping):
        return read(from_python.MAPPING, changes, from_python.mapping_root(spec))
    if isinstance(spec, str) and from_python.is_text(spec):
        return read(from_python.TEXT, changes, from_python.text_root(spec))
    return read(path_of(spec, "a spec is a path, a text or a mapping"), changes)


def path_of(value: object, wanted: str) -> Path:
    """Return a value as a path. DlxError, whose message begins with `wanted`, where it is none."""
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        if isinstance(text, str) and text:
            return Path(text)
    shown = "an empty text" if value == "" else with_article(type(value).__name__)
    raise DlxError(f"{wanted}, and not {shown}")


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise DlxError where the argument `name` is none of the choices."""
    if value not in choices:
        raise DlxError(f"`{name}` is one of {', '.join(choices)}, and not {value!r}")


def check_whole(name: str, value: object, least: int) -> None:
    """Raise DlxError where the argument `name` is no whole number from `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise DlxError(f"`{name}` is a whole number from {least}, and not {value!r}")


def override_texts(overrides: Overrides) -> list[str]:
    """Return overrides in the format of the command line. DlxError for values of another type."""
    if isinstance(overrides, str):
        return [overrides]
    if isinstance(overrides, Mapping):
        return [_override(str(key), value) for key, value in overrides.items()]
    texts = list(overrides) if isinstance(overrides, Sequence) else [overrides]
    if wrong := [text for text in texts if not isinstance(text, str)]:
        hint = 'Write ["train.epochs=5"], or {"train.epochs": 5}.'
        raise DlxError(
            f"overrides are texts or a mapping, and `{wrong[0]!r}` is {with_article(type(wrong[0]).__name__)}",
            hint=hint,
        )
    return [str(text) for text in texts]


def _override(key: str, value: Any) -> str:
    """Return `key=value`; `~key` where a key that begins so has no value to compare with."""
    from ..sweeps.space import hydra_text

    return key if key.startswith("~") and value is None else f"{key}={hydra_text(_plain(value))}"


def _plain(value: Any) -> Any:
    """Convert scalars and arrays of numpy and torch in a value of an override."""
    value = from_python.plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def is_overridden(spec: Spec) -> bool:
    """Whether overrides have changed a loaded spec, whose claims are about it as written."""
    return isinstance(spec, Experiment) and spec.is_overridden


def run_folder(run: AnyRun, runs: str | os.PathLike[str]) -> RunFolder:
    """Find the folder of a run. DlxError where there is none."""
    if isinstance(run, Run):
        return RunFolder(run.folder)
    return lookup.find(str(path_of(run, "a run is its folder or its name")), Path(runs))
