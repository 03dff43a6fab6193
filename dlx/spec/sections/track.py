"""The section `track`: where a run is mirrored."""

from __future__ import annotations

from pydantic import Field

from ...registry import Strict


class Track(Strict):
    """Tracking of runs: MLflow, and files of their metrics."""

    mlflow: bool = Field(True, description="mirror the run to MLflow")
    uri: str | None = Field(None, description="MLflow's tracking URI; else MLFLOW_TRACKING_URI; else runs/mlflow.db")
    experiment: str | None = Field(None, description="MLflow's experiment; else the spec's name")
    csv: bool = Field(False, description="write the metrics to `metrics.csv` of the run, a row for each value")
    tensorboard: bool = Field(False, description="write an event file of TensorBoard in the run's folder")

    system_metrics: bool = Field(
        False, description="measure processor, memory, disk, network and GPUs beside the training, as MLflow does"
    )

    @property
    def mirrors(self) -> bool:
        """Whether a process beside the training has something to write."""
        return self.mlflow or self.csv or self.tensorboard or self.system_metrics


PASSWORDS = (
    "A password belongs into the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
    "or the whole address as MLFLOW_TRACKING_URI."
)
