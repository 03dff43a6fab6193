"""Convert the files of a run to metrics, parameters and tags of MLflow, as plain values within MLflow's limits."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from ..errors import DlxError
from ..registry import Declared
from ..runs.records import RunRecord
from ..shapes import by_x

if TYPE_CHECKING:
    from ..spec import Experiment

KEY, VALUE, TAG, DIGEST = 250, 6000, 5000, 36
"""Longest name, parameter, tag and dataset digest that MLflow takes, in characters. MLflow 3.17 cuts a longer
parameter without a word, so dlx cuts first and marks it with `...`."""

LONGEST_NAME, WORD = 120, 40
"""Longest name of a run, and of the value of an override in it, in characters."""

Point = tuple[str, float, int, int]
"""Name and value of a metric, milliseconds of Unix time, step."""


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def points(record: RunRecord, last: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Return the metrics of a record as points; those of a stage have its name first.

    An end record repeats what was measured last: a metric of which `last` has the same step and value is left out.
    """
    step, when = int(record.get("step", 0)), milliseconds(record["time"])
    stage = f"{record['stage']}/" if "stage" in record else ""
    found = record.get("metrics", {})
    metrics = {f"{stage}{key}": float(v) for key, v in found.items() if isinstance(v, int | float)}
    if record["record"] == "end":
        metrics = {key: v for key, v in metrics.items() if list(last.get(key, ())) != [step, repr(v)]}
        metrics |= {"seconds": float(record["seconds"])} if "seconds" in record else {}
    return [(name(key), value, when, step) for key, value in metrics.items()]


def storable_points(points: Iterable[Point]) -> list[Point]:
    """Replace infinities by NaN, which every store of MLflow keeps as it is.

    MLflow 3.17 on a database reads an infinity back as the largest float, 1.797e308.
    """
    return [(key, value if isfinite(value) else nan, when, step) for key, value, when, step in points]


def not_finite(points: Iterable[Point], known: Mapping[str, str]) -> dict[str, str]:
    """Return which metrics were infinite or NaN: by metric, the value and the first step."""
    found = dict(known)
    for key, value, _, step in points:
        word = f"{value} at step {step}"
        before = found.get(key, "")
        if not isfinite(value) and not any(one.startswith(f"{value} ") for one in before.split(", ")):
            found[key] = f"{before}, {word}" if before else word
    return found


def not_finite_tag(found: Mapping[str, str]) -> dict[str, str]:
    """Return the tag that lists metrics that were not finite; empty where all were finite."""
    return (
        {"dlx.not_finite": cut("; ".join(f"{key}: {values}" for key, values in found.items()), TAG)} if found else {}
    )


def settings(spec: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings of a resolved spec by dotted name, defaults included, and its source as a description.

    The network is structure and no setting. Of a spec with stages they are those of the last one, and below
    `stages.NAME` those of each stage that are others. Both are empty where this dlx cannot read the spec.
    """
    from ..spec import load

    try:
        experiment = load(spec)
    except DlxError:
        return {}, {}
    params = _settings_of(experiment)
    for stage in experiment.stages:
        own = _settings_of(stage.experiment).items()
        params |= {name(f"stages.{stage.name}.{key}"): value for key, value in own if params.get(key) != value}
    return params, {"mlflow.note.content": cut(experiment.source, TAG)} if experiment.source else {}


def overrides(values: Mapping[str, Any]) -> dict[str, str]:
    """Return overrides, or the point of a trial, as parameters under the keys that the command has; those of `track`
    change nothing of a run.
    """
    own = {key.removeprefix("~"): value for key, value in values.items() if not _is_tracking(key)}
    return {name(key): cut(as_text(value), VALUE) for key, value in own.items()}


def run_name(values: Mapping[str, Any], *parts: str) -> str:
    """Return a name that says what was changed: `lr=0.01, no init, seed 3`; `parts` stand at its end.

    A key is its last word where that is the only one; the value of a long one is cut.
    """
    changed = {key: value for key, value in values.items() if not _is_tracking(key)}
    each = [
        f"no {word}" if key.startswith("~") else f"{word}={cut(as_text(value), WORD)}"
        for word, (key, value) in zip(short_keys(changed), changed.items(), strict=True)
    ]
    return cut(", ".join([*each, *filter(None, parts)]), LONGEST_NAME)


def short_keys(keys: Iterable[str]) -> list[str]:
    """Return the last word of each key where no other ends in it, else the whole key."""
    whole = [key.removeprefix("~") for key in keys]
    last = [_last_word(key) for key in whole]
    return [word if last.count(word) == 1 else key for word, key in zip(last, whole, strict=True)]


def _last_word(key: str) -> str:
    """Return the last word of a key, with the one before where it is the number of an item."""
    *before, last = key.split(".")
    return f"{before[-1]}.{last}" if last.isdigit() and before else last


def _is_tracking(key: str) -> bool:
    return key.removeprefix("~").split(".")[0] == "track"


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _settings_of(experiment: Experiment) -> dict[str, str]:
    """Return the settings of one training by dotted name."""
    sections = {key: getattr(experiment, key) for key in ("vars", "data", "objective", "init", "weights", "train")}
    sections["init"] = experiment.inits or experiment.init
    sections["train"] = experiment.train and experiment.train.values()
    return {name(key): cut(value, VALUE) for key, value in _flat(sections, "")}


def _flat(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Declared):
        yield key, value.kind
    if isinstance(value, BaseModel):
        value = {field: getattr(value, field) for field in type(value).model_fields}
    if isinstance(value, Mapping):
        for child, inner in value.items():
            yield from _flat(inner, f"{key}.{child}" if key else str(child))
    elif value is not None:
        yield key, value if isinstance(value, str) else json.dumps(value, default=_worded)


def _worded(value: Any) -> Any:
    """Convert an item of a list for JSON: a declaration by its kind and fields."""
    return {value.kind: value.model_dump()} if isinstance(value, Declared) else str(value)


def run_tags(key: str) -> dict[str, str]:
    """Return the tags by which a run is found again, and its user."""
    try:
        user = {"mlflow.user": getpass.getuser()}
    except (OSError, KeyError):  # a container without a user list
        user = {}
    return {"dlx.run": key, "mlflow.source.name": "dlx", "mlflow.source.type": "LOCAL", **user}


def environment_tags(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment in lock.json as tags: `dlx.device`, `dlx.packages.torch`, the commit."""
    named = {key: lock.get(key) for key in ("python", "platform", "device", "threads", "commit", "spec_hash", "seed")}
    values = {"version": lock.get("dlx"), **named, "packages": lock.get("packages")}
    tags = {name(f"dlx.{key}"): cut(value, TAG) for key, value in _flat(values, "")}
    return tags | ({"mlflow.source.git.commit": str(lock["commit"])} if lock.get("commit") else {})


def totals(plan: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the sums of the plan as metrics, and as a parameter a receptive field that is no single number."""
    sums = ("params", "trainable", "remaining", "macs", "buffers", "activation_bytes")
    metrics = {key: float(plan[key]) for key in sums if isinstance(plan.get(key), int | float)}
    networks = _networks(plan)
    if "" not in networks:
        words = [f"{name}: {word}" for name, each in networks.items() if (word := _fields_of(each))]
        return metrics, {"receptive_field": cut(", ".join(words), VALUE)} if words else {}
    seen = plan.get("receptive_field")
    size = seen.get("size", []) if isinstance(seen, dict) else []
    if size and isinstance(size[0], int | float):
        metrics["receptive_field"] = float(size[0])
    text = _fields_of(plan)
    return metrics, {"receptive_field": cut(text, VALUE)} if text else {}


def _networks(plan: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return the plan of each network by name; that of a single `network` under an empty name."""
    return plan["networks"] if isinstance(plan.get("networks"), dict) else {"": plan}


def _fields_of(plan: Mapping[str, Any]) -> str:
    """Format the receptive field of a network, by input where there are several."""
    fields = plan.get("receptive_fields") or {}
    several = len(fields) > 1
    return (
        ", ".join(f"{k}: {_field(of)}" for k, of in fields.items())
        if several
        else _field(plan.get("receptive_field"))
    )


def layer_table(plan: Mapping[str, Any]) -> str:
    """Return the layers as JSON in the form that MLflow shows and loads as a table."""
    columns = ["name", "kind", "shape", "params", "macs", "receptive_field"]
    rows = [
        [
            f"{network}/{layer['name']}".lstrip("/"),
            layer["kind"],
            by_x(layer["shape"]),
            layer["params"],
            layer["macs"],
            ", ".join(dict.fromkeys(filter(None, map(_field, _fields(layer))))),
        ]
        for network, each in _networks(plan).items()
        for layer in each.get("layers", [])
    ]
    return json.dumps({"columns": columns, "data": rows})


def _fields(layer: Mapping[str, Any]) -> list[Any]:
    """Return the receptive field of each input that a layer depends on."""
    return list(layer["receptive_fields"].values()) if layer.get("receptive_fields") else [layer["receptive_field"]]


def _field(seen: Any) -> str:
    """Format a receptive field: `5`, `5x3`, `5~`, `global`, `unknown from reshape_1 on`, or nothing."""
    if not isinstance(seen, dict):
        return str(seen or "")
    if "unknown" in seen:
        return f"unknown from {seen['unknown']} on"
    sizes = seen["size"] if len(set(seen["size"])) > 1 else seen["size"][:1]
    return by_x(sizes) + ("" if seen.get("aligned", True) else "~")


def name(key: str) -> str:
    """Replace characters that MLflow refuses: names have letters, digits, `_`, `-`, `.`, space, `:` and `/`."""
    return re.sub(r"[^/\w.\- :]", "_", key)[:KEY]


def cut(value: object, length: int) -> str:
    """Shorten a text to `length` characters, the last three of them `...`."""
    text = str(value)
    return text if len(text) <= length else text[: length - 3] + "..."
