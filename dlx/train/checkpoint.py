"""Weights on disk: safetensors beside plain JSON with a checksum, written under another name and renamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import DlxError, RunError
from ..graph import Graph, trace
from ..lazy import torch
from ..network import build
from ..spec import load as load_spec

if TYPE_CHECKING:
    from torch import Tensor, fx, nn


def save(
    folder: Path, name: str, network: nn.Module, facts: dict[str, Any], more: Mapping[str, Tensor] | None = None
) -> None:
    """`folder/name.safetensors` and `.json`. RunError where a weight is not finite or the disk is full."""
    from safetensors.torch import save as to_bytes

    weights = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    bad = [key for key, value in weights.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise RunError(f"the weights of `{bad[0]}` are not finite", hint="Lower the learning rate.")
    data = to_bytes({**weights, **(more or {})})
    about = {**facts, "file": f"{name}.safetensors", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / f"{name}.safetensors", data)
        files.replace(folder / f"{name}.json", json.dumps(about, indent=2).encode())
    except OSError as error:
        raise RunError(f"the checkpoint could not be written to {folder}: {error.strerror}") from error


def read(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts and the tensors of a checkpoint. DlxError where it is missing or altered."""
    from safetensors.torch import load as from_bytes

    path = folder / f"{name}.safetensors"
    try:
        data = path.read_bytes()
        about: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
    except (OSError, ValueError) as error:
        raise DlxError(
            f"there is no checkpoint {path}", hint="A run keeps one from its first evaluation on."
        ) from error
    if hashlib.sha256(data).hexdigest() != about.get("sha256"):
        raise DlxError(
            f"{path} is not what was written: its checksum differs", hint="The file is torn or was altered."
        )
    return about, from_bytes(data)


def load_weights(network: nn.Module, folder: Path, name: str = "final") -> dict[str, Any]:
    """Fill `network` from a checkpoint and give its facts. DlxError where it is missing or altered."""
    facts, tensors = read(folder, name)
    network.load_state_dict({key: value for key, value in tensors.items() if not key.startswith("state/")})
    return facts


def restore(run: Path, name: str = "final") -> tuple[fx.GraphModule, Graph]:
    """The trained network of a run folder, on the CPU and in evaluation mode, and its graph."""
    graph = trace(load_spec(run / "spec.yaml"))
    network = build(graph)
    load_weights(network, run / "checkpoints", name)
    return network.eval(), graph
