#!/bin/sh
# Package    mlflow 3.17.2, one batch of metrics logged to a SQLite store and to a file store, read back with MlflowClient
# Does       SQLite keeps equal points once and gives the history sorted by value within a step; the file store keeps each, in
#            the order of logging. Of a NaN and a number at one step and time the latest is the number in SQLite, whichever
#            came first; in the file store it is the one that was logged first
# Seen       2, 2, 1 at one step and time: SQLite [1.0, 2.0], file store [2.0, 2.0, 1.0]; latest of (NaN, 1) and (1, NaN):
#            SQLite 1, 1; file store NaN, 1
# One would  guess that a run reads the same from every store, and that the latest value is the one logged last
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2
cd "$folder"
MLFLOW_ALLOW_FILE_STORE=true "$folder/venv/bin/python" -W ignore - 2>log <<'PY' || { cat log; exit 1; }
import math

from mlflow import MlflowClient
from mlflow.entities import Metric


def read_back(uri: str) -> tuple[list[float], list[float]]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("one")

    def logged(*values: float):
        run = client.create_run(experiment).info.run_id
        client.log_batch(run, metrics=[Metric("loss", value, 1, 0) for value in values])
        return run

    history = [point.value for point in client.get_metric_history(logged(2.0, 2.0, 1.0), "loss")]
    latest = [client.get_run(logged(*pair)).data.metrics["loss"] for pair in ((math.nan, 1.0), (1.0, math.nan))]
    return history, latest


seen = {"sqlite": read_back("sqlite:///one.db"), "file": read_back("file:./mlruns")}
print(seen)
assert repr(seen) == "{'sqlite': ([1.0, 2.0], [1.0, 1.0]), 'file': ([2.0, 2.0, 1.0], [nan, 1.0])}", seen
PY
