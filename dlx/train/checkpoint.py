"""Weights on disk: safetensors beside plain JSON with a checksum of each, written under another name and renamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..documents import ALTERED, parsed
from ..errors import DlxError, RunError
from ..graph import Graph, trace
from ..lazy import torch
from ..network import build
from ..spec import load as load_spec
from .tensors import pieces

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


class NotWrittenError(RunError):
    """The disk did not take a checkpoint; those before it are whole."""


def save(folder: Path, name: str, network: nn.Module, facts: dict[str, Any]) -> None:
    """`folder/name.safetensors` and `.json`. RunError where a weight is not finite or the disk is full."""
    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    write(folder, name, weights, facts)


def write(folder: Path, name: str, tensors: Mapping[str, Tensor], facts: dict[str, Any]) -> None:
    """The same for tensors on the CPU; those below `state/` are no weights."""
    bad = next((key for key, value in tensors.items() if not key.startswith("state/") and not _finite(value)), None)
    if bad is not None:
        raise RunError(f"the weights of `{bad}` are not finite", hint="Lower the learning rate.")
    digest, size = hashlib.sha256(), 0

    def hashed() -> Iterator[bytes | memoryview]:
        nonlocal size
        for piece in pieces(tensors):
            digest.update(piece)
            size += len(piece)
            yield piece

    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / f"{name}.safetensors", hashed())
        _tell(folder, name, {**facts, "sha256": digest.hexdigest(), "bytes": size})
    except OSError as error:
        message = f"the checkpoint could not be written to {folder}: {error.strerror}"
        raise NotWrittenError(message, hint="Make room on the disk.") from error


def _tell(folder: Path, name: str, facts: dict[str, Any]) -> None:
    about = {**facts, "file": f"{name}.safetensors"}
    text = json.dumps({**about, "facts_sha256": _digest(about)}, indent=2)
    files.replace(folder / f"{name}.json", text.encode())


def facts(folder: Path, name: str) -> dict[str, Any] | None:
    """The facts of a checkpoint without its tensors; None where there are none, or not those that were written."""
    try:
        return _about(files.read(folder / f"{name}.json"))
    except OSError:
        return None


def rename(folder: Path, old: str, new: str, about: dict[str, Any] | None = None) -> None:
    """Another name for a checkpoint, its facts those beside it or `about`. Nothing may have the name."""
    about = about or facts(folder, old)
    assert about is not None
    (folder / f"{old}.safetensors").replace(folder / f"{new}.safetensors")
    _tell(folder, new, about)
    (folder / f"{old}.json").unlink(missing_ok=True)


def _finite(value: Tensor) -> bool:
    if not value.is_floating_point() or not value.numel():
        return True
    return bool(torch.isfinite(torch.stack(value.aminmax())).all())  # no mask as large as the weights


def _digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and the tensors of a checkpoint. DlxError where it is missing or altered."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    path, beside = folder / f"{name}.safetensors", folder / f"{name}.json"
    data, text = (_content(one, path) for one in (path, beside))
    about = _about(text)
    if about is None:
        raise DlxError(f"{beside} is not what was written: its checksum differs", hint=ALTERED)
    if hashlib.sha256(data).hexdigest() != about.get("sha256"):
        raise DlxError(f"{path} is not what was written: its checksum differs", hint=ALTERED)
    try:
        return about, from_bytes(data)
    except SafetensorError as error:
        raise DlxError(f"{path} holds no tensors: {error}", hint=ALTERED) from error


def _content(one: Path, path: Path) -> bytes:
    """All of a file of a checkpoint. DlxError where it cannot be had."""
    try:
        return files.read(one)
    except FileNotFoundError as error:
        hint = "A run keeps one from its first evaluation on."
        raise DlxError(f"there is no checkpoint {path}", hint=hint) from error
    except OSError as error:
        raise DlxError(f"{one} cannot be read: {files.reason(error)}", hint=ALTERED) from error


def misfit(path: Path, error: Exception) -> DlxError:
    """That a checkpoint is whole and is not one of this network; torch tells where on the lines behind the first."""
    told = str(error).splitlines()[1:2] or [f"{type(error).__name__}: {error}"]
    hint = "Put the run's own one back, or take this one away."
    return DlxError(f"{path} is a checkpoint of another network: {told[0].strip()}", hint=hint)


def _about(text: bytes) -> dict[str, Any] | None:
    """The facts beside a checkpoint, or None where they are not those that were written."""
    try:
        about: Any = parsed(text)
    except ValueError:
        return None
    if not isinstance(about, dict) or about.pop("facts_sha256", None) != _digest(about):
        return None
    kinds: dict[str, type | tuple[type, ...]] = {"step": int, "epoch": (int, float), "metrics": dict, "metric": str}
    kinds |= {"value": (int, float), "sha256": str, "moved": dict}
    return about if all(isinstance(about[key], kind) for key, kind in kinds.items() if key in about) else None


def load_weights(network: nn.Module, folder: Path, name: str = "final") -> dict[str, Any]:
    """Fill `network` from a checkpoint and give its facts. DlxError where it is missing or altered."""
    facts, tensors = read(folder, name)
    try:
        network.load_state_dict({key: value for key, value in tensors.items() if not key.startswith("state/")})
    except RuntimeError as error:
        raise misfit(folder / f"{name}.safetensors", error) from error
    return facts


def restore(run: Path, name: str = "final") -> tuple[fx.GraphModule, Graph]:
    """The trained network of a run folder, on the CPU and in evaluation mode, and its graph."""
    graph = trace(load_spec(run / "spec.yaml"))
    network = build(graph)
    load_weights(network, run / "checkpoints", name)
    return network.eval(), graph
