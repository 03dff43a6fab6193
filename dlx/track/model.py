"""Log the trained networks as MLflow's logged models: exported programs (`pt2`, no pickle) with their signatures."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..data import input_record
from ..data.text.fields import text_fields
from ..errors import RunError
from ..graph import Graph
from ..layers.measure import DTYPES
from ..lazy import np, torch
from ..runs.folder import RunFolder
from ..runs.records import RunRecord
from ..utils import imports
from . import content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.models import Model, ModelSignature
    from torch import Tensor, fx

    from ..data.input_record import InputRecord

ONE = "model"
"""Name of the model of a single network; several have their own names."""


@cache
def load_guests() -> None:
    """Import what logging a model takes (seconds), so that it is loaded when training ends."""
    with imports.uncollected():
        for name in (
            "mlflow.pytorch",
            "mlflow.pyfunc",
            "torch.export._trace",  # what `torch.export.export` imports when it is called
            "dlx.training.checkpoints.checkpoint",
        ):
            # what is needed of them says so when it is used; MLflow's own warnings are not for the user of dlx
            with suppress(ImportError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(name)


def deliver(
    client: MlflowClient,
    run: RunFolder,
    end: RunRecord | None,
    experiment_id: str,
    run_id: str,
    known: Mapping[str, str],
) -> dict[str, str]:
    """Log the final weights unless they are logged already, and return what `mlflow.json` records of them."""
    if not os.path.lexists(run.dir / "checkpoints" / "final.safetensors"):
        return dict(known)
    path = run.file("checkpoints/final.safetensors")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if known.get("checkpoint") == digest:
        return dict(known)
    ids = []
    networks = run.read_json("plan.json").get("networks") or {ONE: {}}
    for name in (name for name, plan in networks.items() if "from" not in plan):
        logged = _logged(client, experiment_id, run_id, digest, name)
        ids.append(logged.model_id if logged else _log(client, run, experiment_id, run_id, digest, name))
        _link(client, end or {}, run_id, ids[-1])
    return {"checkpoint": digest, "model_id": " ".join(ids)}


def _logged(client: MlflowClient, experiment_id: str, run_id: str, digest: str, name: str) -> LoggedModel | None:
    """Return the READY model of this name and these weights, left by an earlier try, and delete unfinished ones."""
    search = f"source_run_id = '{run_id}' AND tags.`dlx.checkpoint` = '{digest}'"
    ready = None
    for model in client.search_logged_models([experiment_id], search):
        if model.name != name:
            continue
        if model.status == "READY":
            ready = model
        else:
            client.delete_logged_model(model.model_id)
    return ready


def _log(client: MlflowClient, run: RunFolder, experiment_id: str, run_id: str, digest: str, name: str) -> str:
    load_guests()
    from mlflow.models import Model
    from mlflow.pytorch import save_model

    network, graph = _restore(run, name)
    inputs = _example(graph)
    signature = _signature(network, graph, inputs)
    tags = {"dlx.run": run.key, "dlx.checkpoint": digest}
    # MLflow keeps a logged model PENDING until it is finalized; a kill before that leaves one, which `_logged`
    # deletes
    made = client.create_logged_model(experiment_id, name, run_id, tags, model_type="dlx")
    about = Model(
        artifact_path=made.artifact_location, run_id=run_id, model_uuid=made.model_id, model_id=made.model_id
    )
    with tempfile.TemporaryDirectory() as folder:
        save_model(
            network,
            f"{folder}/model",
            mlflow_model=about,
            signature=signature,
            input_example=inputs[0] if len(inputs) == 1 else inputs,
            pip_requirements=_requirements(),
            serialization_format="pt2",
        )
        if name == ONE:
            _answer_as_predict(run, about, Path(folder) / "model")
        client.log_model_artifacts(made.model_id, f"{folder}/model")
    client.finalize_logged_model(made.model_id, "READY")
    return str(made.model_id)


PREDICTS = "dlx.api.mlflow_model"
"""Module that MLflow loads a model by: a floor above, so that it is named and not imported here."""
RECORD = "dlx"
"""Folder of a model with the files that it reads."""


def _answer_as_predict(run: RunFolder, about: Model, folder: Path) -> None:
    """Let the saved model take inputs before preprocessing and give answers with names, as `dlx predict` does.

    `mlflow.pytorch` loads the network as before. A run without a record of its inputs stays as MLflow saves it.
    """
    from mlflow.models import ModelSignature
    from mlflow.models.utils import _save_example
    from mlflow.pyfunc import add_to_model

    record = input_record.load(run.dir)
    if record is None:
        return
    (folder / RECORD).mkdir()
    for name in ("spec.yaml", input_record.FILE):
        shutil.copy(run.file(name), folder / RECORD / name)
    if (run.dir / "plugins").is_dir():
        shutil.copytree(run.dir / "plugins", folder / RECORD / "plugins")
    # MLflow has none for several inputs; without `data` it gives the loader the whole folder
    about.flavors.pop("python_function", None)
    add_to_model(  # type: ignore[no-untyped-call]
        about,
        loader_module=PREDICTS,
        model_config={"device": None},
        conda_env="conda.yaml",
        python_env="python_env.yaml",
    )
    example = _row(record) if record.columns else _arrays(record)
    about.signature = ModelSignature(_columns(record) if record.columns else _schema(example), params=_threshold())
    # that of the network was for its export
    single = not record.columns and len(example) == 1
    _save_example(about, next(iter(example.values())) if single else example, str(folder))
    about.save(str(folder / "MLmodel"))


def _arrays(record: InputRecord) -> dict[str, Any]:
    """Return one example of each array that the network takes, before preprocessing, by the name of its field."""
    return {name: np.zeros((1, *shape), DTYPES[shape.dtype]) for name, shape in record.arrays.items()}


def _row(record: InputRecord) -> Any:
    """Return a row of a table as its columns take it, as a DataFrame: an example of the form, not of the data."""
    import pandas as pd

    values: dict[str, Any] = {"number": 1.0, "boolean": True, "date": "2000-01-01"}
    row = {
        one["name"]: values.get(one["sort"], next(iter(one.get("texts") or ()), "a"))
        for one in record.reading.get("columns", ())
    }
    fields = text_fields(record.reading)
    row |= {column: fields[name].shortest() for name, column in record.text_columns.items()}
    return pd.DataFrame({name: [row[name]] for name in record.columns})


def _columns(record: InputRecord) -> Any:
    """Return the columns of a table as MLflow's schema."""
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType

    # MLflow refuses whole numbers for doubles, and numbers for strings; the network's own reading checks both
    anything: Any = AnyType()  # type: ignore[no-untyped-call]
    return Schema([ColSpec(anything, name) for name in record.columns])


def _threshold() -> Any:
    from mlflow.types import DataType, ParamSchema, ParamSpec

    return ParamSchema([ParamSpec("threshold", DataType.double, None)])


def _restore(run: RunFolder, name: str) -> tuple[fx.GraphModule, Graph]:
    from ..training.checkpoints.checkpoint import restore_all

    try:
        found = restore_all(run.dir)
        return found[name] if name in found else next(iter(found.values()))
    except Exception as error:
        raise RunError(f"the model of {run.key} could not be read back: {error}") from error


def _example(graph: Graph) -> tuple[Any, ...]:
    """Return two samples of each input: torch.export (2.13) takes a batch of one for a constant."""
    return tuple(np.zeros((2, *shape), DTYPES[shape.dtype]) for shape in graph.inputs.values())


def _signature(network: fx.GraphModule, graph: Graph, inputs: tuple[Any, ...]) -> ModelSignature:
    """Return types and shapes of inputs and outputs, with any number of samples; names where there are several."""
    from mlflow.models import ModelSignature

    with torch.no_grad():
        made = network(*map(torch.from_numpy, inputs))
    outputs: dict[str, Tensor] = made if isinstance(made, dict) else {"output": made}
    arrays = {name: tensor.numpy() for name, tensor in outputs.items()}
    return ModelSignature(_schema(dict(zip(graph.inputs, inputs, strict=True))), _schema(arrays))


def _schema(arrays: Mapping[str, Any]) -> Any:
    from mlflow.types import Schema, TensorSpec

    named = len(arrays) > 1
    return Schema([TensorSpec(a.dtype, (-1, *a.shape[1:]), name if named else None) for name, a in arrays.items()])


def _requirements() -> list[str]:
    """Return the packages that loading takes: without them MLflow infers them from the imports, which takes eight
    seconds.
    """
    import mlflow

    versions = {"dlx": __version__, "mlflow": mlflow.__version__, "torch": torch.__version__, "numpy": np.__version__}
    return [f"{package}=={version.partition('+')[0]}" for package, version in versions.items()]


def _link(client: MlflowClient, end: RunRecord, run_id: str, model_id: str) -> None:
    """Link the model to the run as an output, with the metrics that the run ended with."""
    from mlflow.entities import LoggedModelOutput, Metric

    outputs = client.get_run(run_id).outputs
    if model_id not in [known.model_id for known in (outputs.model_outputs if outputs else [])]:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, int(end.get("step", 0)))])
    # MLflow shows a metric at a model only if it was logged with its `model_id`
    histories = [client.get_metric_history(run_id, content.name(key)) for key in end.get("metrics", {})]
    final = [max(history, key=lambda m: (m.step, m.timestamp)) for history in histories if history]
    shown = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model_id, run_id=run_id) for m in final]
    client.log_batch(run_id, shown)
