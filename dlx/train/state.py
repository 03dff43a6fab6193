"""All that a training moves, to disk and back, so that a run that was killed goes on to the same bits.

Weights and buffers, the optimizer, what lowers the rate, the losses not yet told, every random generator, the order
of the epoch and the place in it. The two newest states are kept: one that is torn is passed over.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError, first_line
from ..lazy import np, torch
from . import checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .fit import Job

KEPT = 2
NAME = "step-{:09d}"


def seed_all(seed: int) -> None:
    """Start every random generator from one number: torch's, Python's and NumPy's."""
    if torch.backends.cuda.is_built():  # type: ignore[no-untyped-call]
        torch.manual_seed(seed)
    else:  # that would write down where it was called from, once for each device that is not there
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def host_random() -> dict[str, Any]:
    """The states of Python's generator and of NumPy's."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(legacy=True) if "numpy" in sys.modules else None,
    }


@dataclass(frozen=True)
class Snapshot:
    """All that a training moved at one step, copied to the host: what it does next changes nothing here."""

    step: int
    tensors: dict[str, Tensor]
    facts: dict[str, Any]
    copied: Callable[[], object]
    """Waits until the tensors have arrived."""

    def write(self, folder: Path) -> None:
        """A new state, and the oldest goes. RunError where a weight is not finite or the disk is full."""
        self.copied()
        checkpoint.write(folder, NAME.format(self.step), self.tensors, self.facts)
        for old in list(_names(folder))[KEPT:]:
            for suffix in (".json", ".safetensors"):
                (folder / f"{old}{suffix}").unlink(missing_ok=True)


def snapshot(job: Job, facts: dict[str, Any], room: dict[str, Tensor]) -> Snapshot:
    """Copy a training as it stands, in the time of one pass over its memory; a GPU copies when it comes to it.

    The copies lie in `room`, which the next snapshot takes again: memory that was used before is there at once.
    """
    tensors = dict(job.network.state_dict())
    moved = _packed(_moved(job), tensors, "state")
    taken = {name: _copied(tensor, room.get(name)) for name, tensor in tensors.items()}
    room.clear()
    room.update(taken)
    on_gpu = any(tensor.is_cuda for tensor in tensors.values())
    done = torch.cuda.Event() if on_gpu else None  # type: ignore[no-untyped-call]
    if done is not None:
        done.record()
    wait = done.synchronize if done is not None else lambda: None
    return Snapshot(job.step, taken, {**facts, "moved": moved}, wait)


def _copied(tensor: Tensor, room: Tensor | None) -> Tensor:
    if room is None or (room.shape, room.dtype) != (tensor.shape, tensor.dtype):
        room = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return room.copy_(tensor.detach(), non_blocking=True)


def clear(folder: Path) -> None:
    """Take away what a kill left half written."""
    for half in folder.glob(".*.*.*"):
        half.unlink(missing_ok=True)


def restore(job: Job, folder: Path, spec_hash: str = "") -> tuple[dict[str, Any] | None, list[str]]:
    """Bring a fresh job to the newest state that is whole: its facts, or None; and what was passed over.

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
            moved = _unpacked(facts.pop("moved"), tensors)
            _check(job, moved, facts)
            _move(job, moved)
        except MISFIT as error:
            raise DlxError(
                f"{path} is not a state of this training: {first_line(error)}", hint=checkpoint.FOREIGN
            ) from error
        return facts, passed_over
    return None, passed_over


MISFIT = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, StopIteration, OverflowError)
"""Exceptions raised while values that no state has are restored."""


def _check(job: Job, moved: dict[str, Any], facts: dict[str, Any]) -> None:
    """ValueError where what was moved is not what this training moves."""
    if lacking := WANTED - moved.keys():
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    counts = [moved[name] for name in ("step", "epoch", "position")]
    if moved["step"] != facts["step"] or not all(type(one) is int and one >= 0 for one in counts):
        raise ValueError(f"its step, epoch and place are {counts}, and its facts are of step {facts['step']:,}")
    groups, own_groups = moved["optimizer"]["param_groups"], job.optimizer.param_groups
    sizes = [[len(group["params"]) for group in some] for some in (groups, own_groups)]
    fields = [set[str]().union(*some) for some in (groups, own_groups)]
    if sizes[0] != sizes[1] or not (fields[0] <= fields[1] or fields[1] <= fields[0]):
        raise ValueError("it is of another optimizer, or of other groups of weights")
    for name, own in (("watch", job.watch), ("average", job.average), ("stopping", job.stopping)):
        if not _like(moved[name], own.state() if own is not None else None):
            raise ValueError(f"its `{name}` is not one of this training")
    if not all(type(moved[name]) in (int, float) for name in ("rate", "loss")):
        raise ValueError("its `rate` and `loss` are no numbers")


def _like(there: Any, here: Any) -> bool:
    """Whether a value is such a one as a training has before its first step."""
    if isinstance(here, dict):
        same = isinstance(there, dict) and (not here or there.keys() == here.keys())
        return same and all(_like(there[key], value) for key, value in here.items())
    if isinstance(here, list):
        same = isinstance(there, list) and len(there) == len(here)
        return same and all(map(_like, there, here))
    if isinstance(here, torch.Tensor):
        return isinstance(there, torch.Tensor) and there.shape == here.shape
    if here is None or there is None:
        return not isinstance(there, dict | list | str | torch.Tensor)
    numbers = (int, float)
    return type(there) is type(here) or (type(there) in numbers and type(here) in numbers)


WANTED = {
    *("step", "epoch", "position", "rate", "loss", "losses", "optimizer"),
    *("watch", "average", "stopping", "order", "random"),
}
"""Names and types of the entries of every state."""


def is_there(folder: Path) -> bool:
    """Whether a state is whole, so that a run can go on from it."""
    for name in _names(folder):
        with suppress(DlxError):
            checkpoint.read(folder, name)
            return True
    return False


def is_at(folder: Path, step: int) -> bool:
    """Whether the state at this step stands."""
    return checkpoint.facts(folder, NAME.format(step)) is not None


def hand_over(source: Path, folder: Path, step: int, job: Job) -> None:
    """The state at a step for a run that goes on from it with the optimizer that `job` has."""
    facts, tensors = checkpoint.read(source, NAME.format(step))
    moved = _unpacked(facts.pop("moved"), tensors)
    groups = moved["optimizer"]["param_groups"]
    for group, own in zip(groups, job.optimizer.param_groups, strict=True):
        group.update({name: value for name, value in own.items() if name != "params"})
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith("state/")}
    packed = _packed(moved, weights, "state")
    about = {name: value for name, value in facts.items() if name not in {"sha256", "bytes", "file", "spec_hash"}}
    checkpoint.write(folder, NAME.format(step), weights, {**about, "moved": packed})


def _names(folder: Path) -> Iterator[str]:
    """The states there are, the newest first."""
    yield from sorted((path.stem for path in folder.glob("step-*.safetensors")), reverse=True)


def _moved(job: Job) -> dict[str, Any]:
    return {
        "step": job.step,
        "epoch": job.epoch,
        "position": job.position,
        "rate": job.rate,
        "loss": job.loss,
        "losses": torch.cat([loss.reshape(-1) for loss in job.losses]) if job.losses else None,
        "optimizer": job.optimizer.state_dict(),
        "compute": job.compute.state(),
        "watch": job.watch.state() if job.watch is not None else None,
        "average": job.average.state() if job.average is not None else None,
        "stopping": job.stopping.state() if job.stopping is not None else None,
        "order": job.began if job.began is not None else job.order.get_state(),
        "random": {
            **(job.host_random or host_random()),
            "torch": torch.get_rng_state() if job.chance is None else job.chance.get_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
        },
    }


def _move(job: Job, moved: dict[str, Any]) -> None:
    job.step, job.epoch, job.position = moved["step"], moved["epoch"], moved["position"]
    if job.position == 0 and 0 < job.step < job.total_steps:
        job.epoch -= 1  # older states of packed trainings were taken after the next epoch had begun
    job.rate, job.loss = moved["rate"], moved["loss"]
    device = next(iter(job.network.parameters())).device
    job.losses[:] = [moved["losses"].to(device)] if moved["losses"] is not None else []
    job.optimizer.load_state_dict(moved["optimizer"])
    job.compute.restore(moved.get("compute"))
    if job.watch is not None:
        job.watch.restore(moved["watch"])
    if job.average is not None:
        job.average.restore(moved["average"])
    if job.stopping is not None:
        job.stopping.restore(moved["stopping"], job.network)
    job.began = moved["order"]
    job.order.set_state(moved["order"])
    chance = moved["random"]
    random.setstate(chance["python"])
    if chance["numpy"] is not None:
        np.random.set_state(chance["numpy"])
    torch.set_rng_state(chance["torch"])
    if chance["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(chance["cuda"])


def _packed(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """A value as JSON; its tensors join `tensors` and leave their names."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_packed(k, tensors, ""), _packed(v, tensors, f"{name}/{k}")] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [_packed(v, tensors, f"{name}/{i}") for i, v in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if "numpy" in sys.modules and isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value


def _unpacked(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "dict" in value:
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in value["dict"]}
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"])
    kind, items = next(iter(value.items()))
    return (tuple if kind == "tuple" else list)(_unpacked(item, tensors) for item in items)
