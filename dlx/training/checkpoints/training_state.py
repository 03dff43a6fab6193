"""Training states on disk, from which a killed run is resumed to the same bits.

A state has weights and buffers, optimizers, plateau and early stopping, the losses not yet written, every random
generator, the order of the epoch and the position in it. The two newest are kept, so that one is whole if a kill
tears the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DlxError, first_line
from ...lazy import np, torch
from . import checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from ..fit import Job

RETAINED_STATES = 2
NAME = "step-{:09d}"


@dataclass(frozen=True)
class Snapshot:
    """Copy of the training state at one step on the host, which later steps do not change."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    copied: Callable[[], object]
    """Waits until copies from a GPU are complete."""

    def write(self, folder: Path) -> None:
        """Write the state, then remove the oldest. RunError where a weight is not finite or the disk is full."""
        self.copied()
        checkpoint.write(folder, NAME.format(self.step), self.tensors, self.facts)
        for old in list(_names(folder))[RETAINED_STATES:]:
            for suffix in (".json", ".safetensors"):  # facts first: what a kill leaves of it is no state
                (folder / f"{old}{suffix}").unlink(missing_ok=True)


def snapshot(job: Job, facts: dict[str, Any], host_buffers: dict[str, Tensor]) -> Snapshot:
    """Copy the state of a training to the host; a GPU copies in its stream, and nothing waits for it here.

    `host_buffers` holds the copies by name, and the next snapshot reuses their memory: new memory has to be mapped
    page by page, and pinned memory is slow to allocate.
    """
    tensors = dict(job.network.state_dict())
    moved = _encoded(_state_of(job), tensors, "state")
    taken = {name: _copied(tensor, host_buffers.get(name)) for name, tensor in tensors.items()}
    host_buffers.clear()
    host_buffers.update(taken)
    on_gpu = any(tensor.is_cuda for tensor in tensors.values())
    done = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
    if done is not None:
        done.record()
    wait = done.synchronize if done is not None else lambda: None
    return Snapshot(job.progress.step, taken, {**facts, "moved": moved}, wait)


def _copied(tensor: Tensor, buffer: Tensor | None) -> Tensor:
    if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype):
        buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return buffer.copy_(tensor.detach(), non_blocking=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what a kill left of files that were being written, and of old states that were being removed."""
    for half in folder.glob(".*.*.*"):
        half.unlink(missing_ok=True)
    for old in list(_names(folder))[RETAINED_STATES:]:
        if not (folder / f"{old}.json").exists():
            (folder / f"{old}.safetensors").unlink(missing_ok=True)


def restore(job: Job, folder: Path, spec_hash: str = "") -> tuple[dict[str, Any] | None, list[str]]:
    """Restore a new job to the newest whole state; return its facts, or None, and notes on states passed over.

    DlxError where that is whole, and of another training than the one of the spec with `spec_hash`.
    """
    passed_over: list[str] = []
    for name in _names(folder):
        try:
            facts, tensors = checkpoint.read(folder, name)
        except (checkpoint.AlteredError, checkpoint.MissingError) as error:
            passed_over.append(f"{error.problems[0].message}; the checkpoint before it is used")
            continue
        path = folder / f"{name}.safetensors"
        checkpoint.fill(job.network, tensors, path)
        if spec_hash and facts.get("spec_hash", spec_hash) != spec_hash:
            raise DlxError(f"{path} is of the training of another spec than spec.yaml", hint=checkpoint.FOREIGN)
        step = facts.get("step", 0)
        if step > job.total_steps or name != NAME.format(step):
            there = f"it is of step {step:,}, and the training has {job.total_steps:,}"
            raise DlxError(f"{path} is not a state of this training: {there}", hint=checkpoint.FOREIGN)
        try:
            moved = _upgraded(_decoded(facts.pop("moved"), tensors))
            _check(job, moved, facts)
            _load_into(job, moved)
        except RESTORE_ERRORS as error:
            raise DlxError(
                f"{path} is not a state of this training: {first_line(error)}", hint=checkpoint.FOREIGN
            ) from error
        return facts, passed_over
    return None, passed_over


RESTORE_ERRORS = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, StopIteration, OverflowError)
"""Exceptions that restoring raises where a file, its checksum right, holds values of no training state."""


def _check(job: Job, moved: dict[str, Any], facts: dict[str, Any]) -> None:
    """Raise ValueError where a state does not have the names and forms of this training's own."""
    for part, own in _state_of(job).items():
        if lacking := own.keys() - moved.get(part, {}).keys() - OPTIONAL:
            raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
        for name, value in own.items():
            if name not in UNCHECKED and not _same_form(moved[part][name], value):
                raise ValueError(f"its `{name}` is not one of this training")
    counts = [moved["progress"]["step"], *(moved["feed"][name] for name in COUNTS if name in moved["feed"])]
    if counts[0] != facts["step"] or not all(type(one) is int and one >= 0 for one in counts):
        raise ValueError(f"its step, epoch and place are {counts}, and its facts are of step {facts['step']:,}")
    if type(moved["progress"]["loss"]) not in (int, float):
        raise ValueError("its `loss` is no number")


COUNTS = ("epoch", "position")
OPTIONAL = {"compute", "carried_over"}
"""Names that older states do not have."""
UNCHECKED = {"losses", "carried_over", "random", "compute", "paces", "order", "objective", "loss", *COUNTS}
"""Names whose values may differ in form from those of a training before its first step."""


def _same_form(there: Any, here: Any) -> bool:
    """Whether a value has the form of the one that a training has before its first step."""
    if isinstance(here, dict):
        same = isinstance(there, dict) and (not here or there.keys() == here.keys())
        return same and all(_same_form(there[key], value) for key, value in here.items())
    if isinstance(here, list):
        same = isinstance(there, list) and len(there) == len(here)
        return same and all(map(_same_form, there, here))
    if isinstance(here, torch.Tensor):
        return isinstance(there, torch.Tensor) and there.shape == here.shape
    if here is None or there is None:
        return not isinstance(there, dict | list | str | torch.Tensor)
    numbers = (int, float)
    return type(there) is type(here) or (type(there) in numbers and type(here) in numbers)


def exists(folder: Path) -> bool:
    """Whether a whole state exists to resume from."""
    for name in _names(folder):
        with suppress(DlxError):
            checkpoint.read(folder, name)
            return True
    return False


def newest(folder: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]] | None:
    """Return the name, facts and tensors of the newest whole state; None where there is none."""
    for name in _names(folder):
        with suppress(DlxError):
            return name, *checkpoint.read(folder, name)
    return None


def exists_at(folder: Path, step: int) -> bool:
    """Whether the state at this step exists."""
    return checkpoint.facts(folder, NAME.format(step)) is not None


def transfer_state(source: Path, folder: Path, step: int, job: Job) -> None:
    """Copy the state at a step into the run of `job`, with the settings of its own optimizers (PBT)."""
    facts, tensors = checkpoint.read(source, NAME.format(step))
    moved = _upgraded(_decoded(facts.pop("moved"), tensors))
    for name, scheduled in job.learner.optimizers.items():
        groups = moved["learner"]["paces"][name]["optimizer"]["param_groups"]
        for group, own in zip(groups, scheduled.optimizer.param_groups, strict=True):
            group.update({key: value for key, value in own.items() if key != "params"})
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("state/")}
    packed = _encoded(moved, weights, "state")
    about = {name: value for name, value in facts.items() if name not in checkpoint.OWN_FACTS}
    checkpoint.write(folder, NAME.format(step), weights, {**about, "moved": packed})


def _names(folder: Path) -> Iterator[str]:
    """Yield the names of the states in a folder, the newest first."""
    yield from sorted((path.stem for path in folder.glob("step-*.safetensors")), reverse=True)


def _state_of(job: Job) -> dict[str, dict[str, Any]]:
    return {"learner": job.learner.state(), "feed": job.feed.state(), "progress": job.progress.state()}


def _load_into(job: Job, moved: dict[str, Any]) -> None:
    job.learner.load(moved["learner"])
    job.feed.load(moved["feed"])
    job.progress.load(moved["progress"], job.network)


def _upgraded(moved: dict[str, Any]) -> dict[str, Any]:
    """Return a state by its parts (learner, feed, progress); states of earlier versions have all in one dict."""
    if "learner" in moved:
        return moved
    # packed trainings of those versions saved at the end of an epoch after the next one had begun: its number is one
    # too large
    between = moved["position"] == 0 and moved["step"] > 0
    scheduled = {name: moved[name] for name in ("optimizer", "rate", "watch")}
    average = moved["average"]
    return {
        "learner": {
            "paces": {"network": scheduled},
            "compute": moved.get("compute"),
            "averages": {} if average is None else {"network": average},
        },
        "feed": {"epoch": moved["epoch"] - between, "position": moved["position"], "order": moved["order"]},
        "progress": {name: moved[name] for name in ("step", "loss", "losses", "stopping", "random")},
    }


PLAIN = frozenset({bool, float, int, str, type(None)})
"""Types whose values JSON has as they are."""


def _encoded(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Return a value as JSON; its tensors go to `tensors`, and their names stand for them."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_encoded(k, tensors, ""), _encoded(v, tensors, f"{name}/{k}")] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        if PLAIN.issuperset(map(type, value)):  # the hundreds of numbers of a random generator, at every save
            items = list(value)
        else:
            items = [_encoded(v, tensors, f"{name}/{i}") for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if "numpy" in sys.modules and isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value


def _decoded(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "dict" in value:
        return {_decoded(k, tensors): _decoded(v, tensors) for k, v in value["dict"]}
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    kind, items = next(iter(value.items()))
    return (tuple if kind == "tuple" else list)(_decoded(item, tensors) for item in items)
