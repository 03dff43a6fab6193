"""All that a training moves, to disk and back, so that a run that was killed goes on to the same bits.

Weights and buffers, the optimizer, what lowers the rate, the losses not yet told, every random generator, the order
of the epoch and the place in it. The two newest states are kept: one that is torn is passed over.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DlxError
from ..lazy import np, torch
from . import checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from .fit import Job

KEPT = 2
NAME = "step-{:09d}"


def save(folder: Path, job: Job, facts: dict[str, Any]) -> None:
    """A new state, and the oldest goes. RunError where a weight is not finite or the disk is full."""
    tensors: dict[str, Tensor] = {}
    moved = _packed(_moved(job), tensors, "state")
    checkpoint.save(folder, NAME.format(job.step), job.network, {**facts, "moved": moved}, tensors)
    for old in list(_names(folder))[KEPT:]:
        for suffix in (".json", ".safetensors"):
            (folder / f"{old}{suffix}").unlink(missing_ok=True)


def restore(job: Job, folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Bring a fresh job to the newest state that is whole: its facts, or None; and what was passed over."""
    passed_over: list[str] = []
    for name in _names(folder):
        try:
            facts, tensors = checkpoint.read(folder, name)
        except DlxError as error:
            passed_over.append(f"{error.problems[0].message}; the checkpoint before it is used")
            continue
        job.network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("state/")})
        _move(job, _unpacked(facts.pop("moved"), tensors))
        return facts, passed_over
    return None, passed_over


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
        "losses": torch.stack(job.losses) if job.losses else None,
        "optimizer": job.optimizer.state_dict(),
        "watch": job.watch.state() if job.watch is not None else None,
        "order": job.began if job.began is not None else job.order.get_state(),
        "random": {
            "python": random.getstate(),
            "numpy": np.random.get_state(legacy=True) if "numpy" in sys.modules else None,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,  # type: ignore[no-untyped-call]
        },
    }


def _move(job: Job, moved: dict[str, Any]) -> None:
    job.step, job.epoch, job.position = moved["step"], moved["epoch"], moved["position"]
    job.rate, job.loss = moved["rate"], moved["loss"]
    device = next(iter(job.network.parameters())).device
    job.losses[:] = list(moved["losses"].to(device).unbind()) if moved["losses"] is not None else []
    job.optimizer.load_state_dict(moved["optimizer"])
    if job.watch is not None:
        job.watch.restore(moved["watch"])
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
        tensors[name] = value.detach().cpu().clone().contiguous()
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
