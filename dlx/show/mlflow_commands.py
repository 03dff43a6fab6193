"""Commands of MLflow as a user of this terminal would write them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def program() -> str:
    """Return the command `mlflow`, with its path where the shell does not find it."""
    return "mlflow" if shutil.which("mlflow") else from_here(Path(sys.executable).parent / "mlflow")


def from_here(path: Path) -> str:
    """Make a path relative where it is below the working directory."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
