"""Networks with the layers and weights of a finished run, or of an earlier stage: `{from: RUN}` under `networks`.

networks: {teacher: {from: runs/big/20260101-120000-0a1b}, student: {layers: [...]}}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from ...errors import DlxError, Problem, did_you_mean
from ...registry import Strict
from ..syntax.read import Node
from ..validation import build
from .initial_weights import make_absolute

CHECKPOINTS, SPEC = "checkpoints", "spec.yaml"
FINAL = "final"

# `from` is a word of Python, and no name of a field in the text of a class.
_From: Any = create_model(
    "_From",
    __base__=Strict,
    **{"from": (str, Field(min_length=1, description="a run, or an earlier stage"))},  # type: ignore[call-overload]
)


class FromRun(_From):
    """A network of a run or of an earlier stage: its layers and weights, which stay as they are."""

    network: str | None = Field(None, description="which, where it has several")
    checkpoint: str = Field(FINAL, description="of a run: final, best-1, ...")


@dataclass(frozen=True)
class NetworkSource:
    """Where the layers and weights of a network come from.

    Attributes:
        text: the run or the stage, as written.
        experiment: the spec of the run, or of the stage.
        network: its name there.
        checkpoint: name of the checkpoint.
        run: the folder of the run; None for a stage of the same run.
    """

    text: str
    experiment: Any
    network: str
    checkpoint: str
    run: Path | None

    def checkpoints(self, own: Path) -> Path:
        """Return the folder of its checkpoint; `own` is that of the run which has the stage."""
        return self.run / CHECKPOINTS if self.run is not None else own / CHECKPOINTS / self.text

    def as_json(self) -> dict[str, Any]:
        """Return what `inspect --json` says of it."""
        return {"stage" if self.run is None else "run": self.text, "network": self.network}


def parse_sources(
    networks: Mapping[str, Node], earlier: Mapping[str, Any], load: Callable[[Path], Any], problems: list[Problem]
) -> dict[str, NetworkSource]:
    """Return the sources of the networks that have one; mistakes go to `problems`.

    `earlier` are the experiments of earlier stages by name, `load` reads the spec of a run.
    """
    found = {}
    for name, node in networks.items():
        if node.is_map and "from" in node.map:
            source = _source(name, node, earlier, load, problems)
            if source is not None:
                found[name] = source
    return found


def _source(
    name: str, node: Node, earlier: Mapping[str, Any], load: Callable[[Path], Any], problems: list[Problem]
) -> NetworkSource | None:
    path = f"networks.{name}"
    if layers := [key for key in ("layers", "inputs", "outputs") if key in node.map]:
        message = f"`{path}` has `{layers[0]}` beside `from`, which brings layers and inputs"
        problems.append(Problem(message, "Keep one of the two.", node.map[layers[0]].mark, f"{path}.{layers[0]}"))
        return None
    source = node.map["from"]
    if source.value not in earlier:
        make_absolute(source)
    made = build(FromRun, node, path, problems)
    if made is None:
        return None
    text, mark = str(source.value), source.mark
    try:
        experiment = earlier[text] if text in earlier else _of_run(Path(text), made.checkpoint, earlier, load)
    except DlxError as error:
        problems += [Problem(p.message, p.hint, mark, f"{path}.from") for p in error.problems]
        return None
    there = list(experiment.networks) or ["network"]
    inside = made.network or (there[0] if len(there) == 1 else "")
    if inside not in there or inside in getattr(experiment, "sources", {}):
        own = [one for one in there if one not in experiment.sources]
        message = f"`{text}` has the networks {', '.join(f'`{one}`' for one in there)}" + (
            f", and `{inside}` is not trained there" if inside else ""
        )
        which = f"`{name}: {{from: ..., network: {own[0] if own else 'NAME'}}}`"
        hint = did_you_mean(inside, own) if inside else f"Say which: {which}."
        problems.append(Problem(message, hint, mark, f"{path}.network"))
        return None
    run = None if text in earlier else Path(text)
    return NetworkSource(text, experiment, inside, made.checkpoint if run is not None else FINAL, run)


def _of_run(run: Path, checkpoint: str, earlier: Mapping[str, Any], load: Callable[[Path], Any]) -> Any:
    """Return the experiment of a run that has the checkpoint. DlxError where there is none."""
    if not (run / SPEC).is_file():
        names = ", ".join(f"`{one}`" for one in earlier)
        or_stage = f", and the stages before this one are {names}" if earlier else ""
        hint = "Give a finished run: its folder, or `name/id` as `dlx runs` lists it."
        raise DlxError(f"there is no run `{run}`{or_stage}", hint=hint)
    if not (run / CHECKPOINTS / f"{checkpoint}.safetensors").is_file():
        there = sorted(_checkpoints(run))
        hint = f"It has {', '.join(there)}." if there else "Is it finished? `dlx train --resume RUN` goes on with it."
        raise DlxError(f"{run} has no checkpoint `{checkpoint}`", hint=hint)
    experiment = load(run / SPEC)
    if experiment.problems:
        first = experiment.problems[0]
        raise DlxError(f"the spec of {run} cannot be read: {first.message}", hint=first.hint)
    return experiment


def _checkpoints(run: Path) -> Iterator[str]:
    return (one.stem for one in (run / CHECKPOINTS).glob("*.safetensors") if not one.name.startswith("."))
