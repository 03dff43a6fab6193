"""The section `track`: where a run is mirrored."""

from __future__ import annotations

from pydantic import Field

from ...registry import Strict


class Track(Strict):
    """MLflow tracking of runs."""

    mlflow: bool = Field(True, description="mirror the run to MLflow")
    uri: str | None = Field(None, description="MLflow's tracking URI; else MLFLOW_TRACKING_URI; else runs/mlflow.db")
    experiment: str | None = Field(None, description="MLflow's experiment; else the spec's name")


PASSWORDS = (
    "A password belongs into the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
    "or the whole address as MLFLOW_TRACKING_URI."
)
