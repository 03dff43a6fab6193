"""The lock file: all that a result depends on apart from its spec, as versions, device, threads, commit and data."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .. import __version__
from ..data import Sets
from ..spec import Experiment, Train
from ..utils.passwords import masked


def software_environment() -> dict[str, Any]:
    """Return the versions of packages, the commit and the command, which all runs of a process share."""
    return {
        "dlx": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in ("torch", "numpy", "pydantic", "mlflow", "safetensors")},
        "commit": _commit(),
        "command": [masked(word) for word in sys.argv],
    }


def locked(
    experiment: Experiment,
    sets: Sets,
    train: Train,
    device: str,
    threads: int,
    environment: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of the lock file; `environment` is what `software_environment` returned before."""
    assert experiment.data is not None
    sizes = {name: len(part) for name in ("train", "valid", "test") if (part := getattr(sets, name)) is not None}
    data = {"kind": experiment.data.kind, "digest": sets.digest, "source": sets.source, **sizes}
    if sets.label_noise:
        data["label_noise"] = dict(sets.label_noise)
    if sets.preprocess:
        data["preprocess"] = [step.as_json() for step in sets.preprocess]
    return {
        **(environment or software_environment()),
        "device": device,
        "threads": threads,
        "spec": str(experiment.path),
        "spec_hash": hashlib.sha256(experiment.resolved().encode()).hexdigest(),
        "data": data,
        **({"plugins": {one.name: one.digest for one in experiment.plugins}} if experiment.plugins else {}),
        "seed": train.seed,
        "pid": os.getpid(),
    }


@cache
def _version(name: str) -> str | None:
    """Return the version of an installed package, read once a process: each look-up parses the package's metadata."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the working directory, with `+` where files differ from it; None outside a repository."""
    try:
        output = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return output.stdout.strip()
