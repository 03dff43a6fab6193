"""The models of runs as MLflow's python functions: inputs as users have them, answers with names.

MLflow imports this module by its name, which stands in the file `MLmodel` of each model that dlx logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import python_inputs
from ..errors import DlxError
from ..lazy import torch
from ..runs.folder import RunFolder
from ..trained.predict import Predicted, predict
from . import frames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FOLDER = "dlx"
"""Folder of a model with the spec of its run, the record of its inputs, and its plugins."""
WEIGHTS = Path("data") / "model.pt2"


@dataclass(frozen=True)
class Model:
    """A trained network that takes inputs before preprocessing, as `dlx predict` does."""

    folder: Path
    weights: Mapping[str, Tensor]

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Return the answers as a DataFrame with a row for each input, box or joint, or as arrays by name.

        Arguments:
            model_input: a DataFrame with the columns of the table, or an array (n, *shape).
            params: `threshold`, as `dlx predict` takes it.
        """
        threshold = (params or {}).get("threshold")
        run = RunFolder(self.folder / FOLDER)
        found = predict(run, python_inputs.read(model_input), threshold=threshold, weights=self.weights)
        return _table(found, model_input) if found.in_rows else found.arrays


def _table(found: Predicted, model_input: Any) -> Any:
    """Return the answers as a DataFrame; those with one row for each input have the index of `model_input`."""
    titles, rows = found.rows()
    if found.several_rows:
        return frames.table(titles, rows)
    frame = frames.table(titles[1:], [row[1:] for row in rows])
    index = getattr(model_input, "index", None)
    if index is None:
        return frame
    # rows of series have one answer for each series, which bears its name
    named = frame.set_axis(list(found.names), axis=0).rename_axis(titles[0])
    return frame.set_index(index) if len(index) == len(frame) else named


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Model:  # noqa: ARG001 - MLflow gives it
    """Load a model from its folder; the name is MLflow's, `model_config` has its device."""
    folder = Path(path)
    try:
        weights = torch.export.load(folder / WEIGHTS).state_dict
    except (OSError, RuntimeError, ValueError) as error:
        raise DlxError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    return Model(folder, weights)
