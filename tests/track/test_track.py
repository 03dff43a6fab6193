"""MLflow's mirror, against a real server on loopback and the SQLite store, read back by MLflow's own client."""

import functools
import json
import math
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import commands
import psutil
import pytest
from helpers import everywhere
from killed import killed_behind

from dlx import track
from dlx.runs.folder import RunFolder
from dlx.runs.records import RECORDS
from dlx.track import content, store
from dlx.track.store_errors import error_text

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torch.*"),
]

SPEC = """
dlx: 1
name: digits
source: "A book, page 1"
vars: {width: 4, sizes: [3, 5]}
network:
  inputs: {image: [1, 8, 8]}
  layers:
    - conv: {out_channels: "${width}", kernel_size: 3}
    - conv: {out_channels: 2, kernel_size: [3, 5]}
objective: {classification: {loss: cross_entropy}}
train: {steps: 20, optimizer: {adam: {lr: 0.01}}}
"""

PLAN = {
    "name": "digits",
    "params": 164,
    "trainable": 160,
    "buffers": 4,
    "macs": 5000,
    "activation_bytes": 1088,
    "receptive_field": {"size": [5, 7], "stride": [1, 1], "start": [0, 0]},
    "layers": [
        {"name": "conv_1", "kind": "conv", "inputs": ["image"], "shape": [4, 6, 6], "params": 40, "macs": 1296}
        | {"receptive_field": {"size": [3, 3], "stride": [1, 1], "start": [0, 0]}},
        {"name": "conv_2", "kind": "conv", "inputs": ["conv_1"], "shape": [2, 4, 2], "params": 124, "macs": 3704}
        | {"receptive_field": {"size": [5, 7], "stride": [1, 1], "start": [0, 0]}},
    ],
}

LOCK = {
    "dlx": "0.1.0",
    "python": "3.11.7",
    "platform": "Linux",
    "packages": {"torch": "2.13.0", "scikit-learn": None},
    "device": "cpu",
    "threads": 1,
    "commit": "0123abc",
    "spec_hash": "sha256:77",
    "data": {
        "kind": "digits",
        "digest": "sha256:" + "ab" * 32,
        "source": "UCI",
        "train": 1257,
        "valid": 180,
        "test": 360,
    },
    "seed": 0,
}

MEMORY = """{"experiment": "digits", "experiment_id": "1", "run_id": "00000000000000000000000000000000",
 "offset": 900, "records": 9, "sure": true, "last": {}, "status": "RUNNING", "files": {"spec.yaml": "?"}}"""

BEGAN = 1_790_000_000.25


def step(n, **metrics):
    values = metrics or {"train/running_loss": 1 / n, "lr": 0.01}
    return {"record": "step", "time": BEGAN + n, "step": n, "epoch": n / 10, "metrics": values}


def evaluation(n):
    values = {"valid/loss": 2 / n, "valid/accuracy": 1 - 1 / n}
    return {"record": "evaluation", "time": BEGAN + n + 0.5, "step": n, "epoch": n / 10, "metrics": values}


def end(n, status="finished", message=""):
    values = {"train/running_loss": 1 / n, "valid/loss": 2 / n, "valid/accuracy": 1 - 1 / n, "test/accuracy": 0.9}
    head = {"record": "end", "time": BEGAN + n + 1, "step": n, "seconds": 2.5, "status": status, "message": message}
    return head | {"metrics": values}


OPENED = []


@pytest.fixture(autouse=True)
def closed():
    """Every run of a test, at its end."""
    yield
    while OPENED:
        OPENED.pop().close()


def begin(root, pid=None):
    """A run folder as training leaves it when it starts."""
    run = RunFolder.create(root, "digits")
    OPENED.append(run)
    run.write_text("spec.yaml", SPEC)
    run.write_json("plan.json", PLAN)
    run.write_json("lock.json", LOCK | {"pid": os.getpid() if pid is None else pid})
    run.append({"record": "start", "time": BEGAN})
    return run


def steps(run, *numbers):
    for n in numbers:
        run.append(step(n))
        if n % 5 == 0:
            run.append(evaluation(n))


def weights(run, seed=0):
    """A final checkpoint, written by the real thing."""
    import torch

    from dlx.graph import trace
    from dlx.network import build
    from dlx.spec import load
    from dlx.training.checkpoints import checkpoint

    torch.manual_seed(seed)
    network = build(trace(load(run.dir / "spec.yaml"))).eval()
    checkpoint.save(run.dir / "checkpoints", "final", network, {"step": 20})
    return network


def finished(root, model=False):
    run = begin(root)
    steps(run, *range(1, 21))
    if model:
        weights(run)
    run.append(end(20))
    return run


def expected(run):
    """Every metric's (step, milliseconds, value), from the records alone; an end adds what is new in it."""
    curves = {}
    for record in run.records():
        for name, value in record.get("metrics", {}).items():
            curve = curves.setdefault(name, [])
            point = (record["step"], round(record["time"] * 1000), value)
            if record["record"] != "end" or not curve or (curve[-1][0], curve[-1][2]) != (point[0], value):
                curve.append(point)
        if record["record"] == "end":
            curves.setdefault("seconds", []).append((record["step"], round(record["time"] * 1000), record["seconds"]))
    return curves


class Reader:
    """What MLflow has of a run."""

    def __init__(self, uri, run):
        from mlflow import MlflowClient

        self.client = MlflowClient(uri)
        experiment = self.client.get_experiment_by_name("digits")
        self.experiment_id = experiment.experiment_id
        self.runs = self.client.search_runs([experiment.experiment_id], f"tags.`dlx.run` = '{run.key}'")
        self.run = self.runs[0]
        self.id = self.run.info.run_id

    def curves(self, *left_out):
        plan = {"params", "trainable", "macs", "buffers", "activation_bytes", "receptive_field", *left_out}
        keys = set(self.run.data.metrics) - plan
        return {
            k: sorted((m.step, m.timestamp, m.value) for m in self.client.get_metric_history(self.id, k))
            for k in keys
        }

    def text(self, name):
        with tempfile.TemporaryDirectory() as folder:
            return Path(self.client.download_artifacts(self.id, name, folder)).read_text()

    def table(self, name):
        with everywhere(self.client.tracking_uri):
            return self.client.load_table(self.experiment_id, name, [self.id])

    def models(self):
        return list(self.client.search_logged_models([self.experiment_id], f"source_run_id = '{self.id}'"))


class Server:
    """A real `mlflow server`, which can be killed and started again on the same store."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        places = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination",
            str(self.folder / "art"),
        ]
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--workers",
            "1",
        ]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--serve-artifacts", *places],
                stdout=log,
                stderr=log,
                # jobs of MLflow's own, in five processes more, are nothing that a run is delivered to
                env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        until(self.healthy, 300)
        return self

    def healthy(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:  # noqa: S310
                return answer.status == 200
        except OSError:
            return False

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def until(true, seconds):
    patience = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < patience, f"not in {seconds} seconds"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_store):
    """One for all tests here; it is up again after each."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "server.db")
    server = Server(folder).start()
    yield server
    server.kill()


@pytest.fixture
def root(tmp_path, empty_store, monkeypatch):
    """A folder for runs, with a blank and a store of its own in it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "my runs"
    root.mkdir()
    shutil.copy(empty_store, root / "mlflow.db")
    return root


@pytest.fixture(params=["sqlite", "server"])
def uri(request, root):
    return request.getfixturevalue("server").uri if request.param == "server" else f"sqlite:///{root}/mlflow.db"


def test_mlflow_has_all_that_the_run_folder_has(root, uri):
    run = finished(root)

    result = track.sync(run, uri)

    assert (result.sent, result.complete, result.uri, result.error) == (26, True, uri, "")
    there = Reader(uri, run)
    assert there.id == result.run_id
    assert there.curves() == expected(run)
    info, data = there.run.info, there.run.data
    assert (info.run_name, info.status) == (run.id, "FINISHED")
    assert (info.start_time, info.end_time) == (1_790_000_000_250, 1_790_000_021_250)
    plan = {
        "params": 164,
        "trainable": 160,
        "macs": 5000,
        "buffers": 4,
        "activation_bytes": 1088,
        "receptive_field": 5,
    }
    assert {k: data.metrics[k] for k in plan} == plan
    assert there.text("spec.yaml") == SPEC
    assert json.loads(there.text("lock.json")) == LOCK | {"pid": os.getpid()}
    assert json.loads(there.text("plan.json")) == PLAN
    assert data.tags["dlx.status"] == "finished"


def test_settings_environment_and_data_are_reported(root, uri):
    run = finished(root)
    track.sync(run, uri)

    there = Reader(uri, run)
    params, tags = there.run.data.params, there.run.data.tags
    settings = {
        "vars.width": "4",
        "vars.sizes": "[3, 5]",
        "objective": "classification",
        "objective.loss": "cross_entropy",
    }
    assert settings.items() <= params.items()
    settings = {"train.steps": "20", "train.optimizer": "adam", "train.optimizer.lr": "0.01", "train.shuffle": "true"}
    assert settings.items() <= params.items()
    assert params["receptive_field"] == "5x7"
    assert not [name for name in params if name.startswith("network")]
    expected_tags = {
        "dlx.device": "cpu",
        "dlx.python": "3.11.7",
        "dlx.packages.torch": "2.13.0",
        "dlx.commit": "0123abc",
    }
    assert expected_tags.items() <= tags.items()
    assert (tags["mlflow.source.git.commit"], tags["mlflow.note.content"]) == ("0123abc", "A book, page 1")
    used = {one.dataset.name: one for one in there.run.inputs.dataset_inputs}
    contexts = {name: [tag.value for tag in one.tags] for name, one in used.items()}
    assert contexts == {"digits train": ["training"], "digits valid": ["validation"], "digits test": ["test"]}
    assert {one.dataset.digest for one in used.values()} == {("ab" * 32)[:36]}
    assert json.loads(used["digits valid"].dataset.profile) == {"num_rows": 180}
    assert json.loads(used["digits train"].dataset.source)["digest"] == "ab" * 32


OVERRIDES = {"train.optimizer.adam.lr": 0.1, "network.layers.0": "relu", "~init": None, "track.uri": "http://x"}


def test_a_run_is_named_by_what_was_changed_and_has_it_as_parameters(root):
    run = finished(root)
    run.write_json("origin.json", {"overrides": OVERRIDES})
    track.sync(run)

    there = Reader(store.tracking_uri(run), run)
    assert there.run.info.run_name == "lr=0.1, layers.0=relu, no init"
    changed = {"train.optimizer.adam.lr": "0.1", "network.layers.0": "relu", "init": "null"}
    assert changed.items() <= there.run.data.params.items()
    assert "track.uri" not in there.run.data.params


def test_names_say_what_was_changed():
    named = content.run_name

    assert named({"train.lr": 0.1, "vars.lr": 2}) == "train.lr=0.1, vars.lr=2"  # the last word alone would be both
    assert named({"train.optimizer": {"sgd": {"lr": 0.1}}}, "", "seed 3") == 'optimizer={"sgd": {"lr": 0.1}}, seed 3'
    assert named({"objective": "x" * 300}) == f"objective={'x' * 37}..."
    assert len(named({f"vars.number_{i}": i for i in range(99)})) == content.LONGEST_NAME
    assert named({"track.csv": True}) == ""


def test_layers_are_a_table_that_mlflow_loads(root, uri):
    run = finished(root)
    track.sync(run, uri)

    table = Reader(uri, run).table("layers.json")
    assert table.to_dict("split")["columns"] == ["name", "kind", "shape", "params", "macs", "receptive_field"]
    assert table.values.tolist() == [
        ["conv_1", "conv", "4x6x6", 40, 1296, "3"],
        ["conv_2", "conv", "2x4x2", 124, 3704, "5x7"],
    ]


def test_the_model_loads_and_gives_the_same_outputs(root, uri):
    import mlflow
    import torch

    run = finished(root)
    network = weights(run)
    assert track.sync(run, uri).complete

    there = Reader(uri, run)
    (model,) = there.models()
    with everywhere(uri):
        loaded = mlflow.pytorch.load_model(model.model_uri)
        signature = mlflow.models.get_model_info(model.model_uri).signature
    x = torch.randn(7, 1, 8, 8)
    assert torch.allclose(loaded(x), network(x), rtol=0, atol=1e-6)
    assert [o.model_id for o in there.run.outputs.model_outputs] == [model.model_id]
    assert {m.key: m.value for m in model.metrics}["test/accuracy"] == 0.9
    assert there.curves() == expected(run)
    assert signature.inputs.inputs[0].shape == (-1, 1, 8, 8)
    assert signature.outputs.inputs[0].shape == (-1, 2, 4, 2)
    files = {Path(p.path).name for p in there.client.list_logged_model_artifacts(model.model_id, "data")}
    assert files == {"model.pt2"}


LENET = """
dlx: 1
network:
  inputs: {image: [1, 8, 8]}
  layers:
    - conv: {out_channels: 4, kernel_size: 3}
    - batch_norm
    - relu
    - max_pool: 2
    - dropout: 0.5
    - flatten
    - linear: 10
"""

TWO_IN_TWO_OUT = """
dlx: 1
network:
  inputs: {left: [6], right: [6]}
  layers:
    - linear: 4
      from: left
      name: a
    - linear: 4
      from: right
      name: b
    - add: {}
      from: [a, b]
      name: sum
  outputs: {both: sum, one: a}
"""


@pytest.mark.parametrize(("spec", "shapes"), [(LENET, [(1, 8, 8)]), (TWO_IN_TWO_OUT, [(6,), (6,)])])
def test_any_form_of_network_loads_again(root, spec, shapes):
    import mlflow
    import torch

    run = begin(root)
    run.write_text("spec.yaml", spec)
    network = weights(run)
    run.append(end(1))
    assert track.sync(run).error == ""

    (model,) = Reader(store.tracking_uri(run), run).models()
    with everywhere(store.tracking_uri(run)):
        loaded = mlflow.pytorch.load_model(model.model_uri)
    xs = [torch.randn(5, *shape) for shape in shapes]
    torch.testing.assert_close(loaded(*xs), network(*xs), rtol=0, atol=1e-6)


def test_a_second_sync_changes_nothing(root, uri):
    run = finished(root, model=True)
    first, before = track.sync(run, uri), run.read_json("mlflow.json")
    second = track.sync(run, uri)

    assert (second.sent, second.complete, second.run_id) == (0, True, first.run_id)
    assert run.read_json("mlflow.json") | {"began": before["began"]} == before
    there = Reader(uri, run)
    assert there.curves() == expected(run)
    assert (len(there.runs), len(there.models())) == (1, 1)


def test_a_lost_memory_is_made_up_from_what_mlflow_has(root, uri):
    run = finished(root, model=True)
    first = track.sync(run, uri)
    (run.dir / "mlflow.json").write_text('{"uri": "')
    second = track.sync(run, uri)

    assert (second.complete, second.run_id) == (True, first.run_id)
    there = Reader(uri, run)
    assert there.curves() == expected(run)
    assert (len(there.runs), len(there.models())) == (1, 1)
    assert len(there.table("layers.json")) == 2


def test_an_emptied_store_is_filled_again(root):
    run = finished(root)
    run.write_json("mlflow.json", json.loads(MEMORY) | {"uri": store.tracking_uri(run)})

    assert [track.sync(run).sent for _ in range(2)] == [26, 0]
    assert Reader(store.tracking_uri(run), run).curves() == expected(run)


def test_what_is_made_to_be_looked_at_arrives(root):
    """All of `artifacts/`, in its folders, but what is being written; what changes arrives anew."""
    run = finished(root)
    run.write_text("artifacts/samples/step-000010.txt", "to be")
    run.write_text("artifacts/samples/.step-000020.txt.77", "or n")
    track.sync(run)
    reader = Reader(store.tracking_uri(run), run)
    assert [one.path for one in reader.client.list_artifacts(reader.id, "samples")] == ["samples/step-000010.txt"]
    assert reader.text("samples/step-000010.txt") == "to be"

    run.write_text("artifacts/samples/step-000010.txt", "not to be")
    track.sync(run)
    assert reader.text("samples/step-000010.txt") == "not to be"


def test_records_arrive_as_they_come(root, uri):
    run = begin(root)
    sent = [track.sync(run, uri).sent]
    for numbers in ([1], [2, 3, 4, 5, 6], [], [7]):
        steps(run, *numbers)
        sent.append(track.sync(run, uri).sent)
        assert Reader(uri, run).curves() == expected(run)

    assert sent == [1, 1, 6, 0, 1]
    assert Reader(uri, run).run.info.status == "RUNNING"


def test_half_a_line_waits_until_it_is_whole(root):
    run = begin(root)
    steps(run, 1)
    line = json.dumps(step(2)).encode() + b"\n"
    with (run.dir / RECORDS).open("ab") as file:
        file.write(line[:-9])
    assert track.sync(run).sent == 2
    with (run.dir / RECORDS).open("ab") as file:
        file.write(line[-9:])

    assert track.sync(run).sent == 1
    assert Reader(store.tracking_uri(run), run).curves() == expected(run)


@pytest.mark.parametrize(
    ("status", "mlflow"), [("finished", "FINISHED"), ("failed", "FAILED"), ("stopped", "KILLED"), ("died", "KILLED")]
)
def test_each_end_has_its_status(root, status, mlflow):
    run = begin(root, pid=-1)
    steps(run, 1, 2)
    if status != "died":
        run.append(end(2, status, "the loss is not finite"))
    assert track.sync(run).complete

    there = Reader(store.tracking_uri(run), run)
    assert (there.run.info.status, there.run.data.tags["dlx.status"]) == (mlflow, status)
    assert there.run.info.end_time == round((BEGAN + (2 if status == "died" else 3)) * 1000)
    assert there.run.data.tags["dlx.message"] == ("" if status == "died" else "the loss is not finite")
    assert there.models() == []


def test_a_run_that_goes_on_after_its_end_stays_one_run(root):
    run = begin(root)
    steps(run, 1, 2)
    weights(run)
    run.append(end(2, "stopped"))
    track.sync(run)
    run.append({"record": "start", "time": BEGAN + 4})
    steps(run, 5, 6)
    track.sync(run)
    assert Reader(store.tracking_uri(run), run).run.info.status == "RUNNING"
    weights(run, seed=1)
    run.append(end(6))
    track.sync(run)

    there = Reader(store.tracking_uri(run), run)
    assert (there.run.info.status, len(there.runs), len(there.models())) == ("FINISHED", 1, 2)
    assert there.curves("seconds") == {k: v for k, v in expected(run).items() if k != "seconds"}


def test_numbers_that_are_none_arrive(root, uri):
    run = begin(root)
    run.append(step(1, **{"train/running_loss": math.nan, "a": math.inf, "b": -math.inf}))
    assert track.sync(run, uri).complete

    there = Reader(uri, run)
    metrics = there.run.data.metrics
    assert {name for name, value in metrics.items() if not math.isfinite(value)} == {"a", "b", "train/running_loss"}
    tag = "train/running_loss: nan at step 1; a: inf at step 1; b: -inf at step 1"
    assert there.run.data.tags["dlx.not_finite"] == tag
    run.append(step(2, **{"train/running_loss": 0.5, "a": math.nan, "c": 1.0}), step(3, a=math.inf))
    assert track.sync(run, uri).complete

    there = Reader(uri, run)
    assert there.run.data.tags["dlx.not_finite"] == tag.replace("inf at step 1;", "inf at step 1, nan at step 2;", 1)
    curve = [value for _, _, value in there.curves()["train/running_loss"]]
    assert (math.isnan(curve[0]), curve[1]) == (True, 0.5)


def test_mlflows_limits_are_respected(root, uri):
    run = begin(root)
    many = "".join(f", v{n}: {n}" for n in range(250))
    run.write_text("spec.yaml", SPEC.replace("vars: {", f"vars: {{long: {'x' * 9000}{many}, "))
    run.append(step(1, **{f"metric_{n}": n for n in range(2500)}))
    run.append(step(2, **{"train/running_loss (mean) = 100%": 1.0}))
    for n in range(3, 1500):
        run.append(step(n))
    result = track.sync(run, uri)

    assert (result.complete, result.sent) == (True, 1500)
    there = Reader(uri, run)
    params = there.run.data.params
    assert (params["vars.v249"], len(params["vars.long"])) == ("249", 6000)
    assert there.run.data.metrics["metric_2499"] == 2499
    assert there.run.data.metrics["train/running_loss _mean_ _ 100_"] == 1
    assert len(there.client.get_metric_history(there.id, "train/running_loss")) == 1497


@pytest.fixture
def client(root):
    """The client that `sync` uses for the runs' own store."""
    return store.connect(f"sqlite:///{root}/mlflow.db")


@pytest.mark.parametrize(
    "method", ["create_run", "log_batch", "log_inputs", "log_text", "set_terminated", "log_artifact"]
)
def test_a_lost_answer_is_not_a_lost_or_doubled_record(root, client, monkeypatch, method):
    run = finished(root)
    real, calls, sent = getattr(client, method), [], []

    @functools.wraps(real)
    def accepted_but_lost(*args, **kwargs):
        answer = real(*args, **kwargs)
        calls.append(method)
        sent.extend(
            (m.key, m.step, m.timestamp)
            for m in kwargs.get("metrics", args[1] if method == "log_batch" and args[1:] else [])
        )
        if len(calls) <= 9:
            raise ConnectionError("the answer was lost")
        return answer

    monkeypatch.setattr(client, method, accepted_but_lost)
    results = [track.sync(run) for _ in range(10)]

    assert results[0].error.endswith("did not take it: the answer was lost")
    assert results[-1].complete
    assert sum(r.sent for r in results) == 26
    assert len(sent) == len(set(sent))
    there = Reader(store.tracking_uri(run), run)
    assert (there.curves(), len(there.runs)) == (expected(run), 1)


@pytest.mark.parametrize("method", ["log_model_artifacts", "finalize_logged_model", "log_outputs"])
def test_a_model_that_was_cut_off_is_logged_once(root, client, monkeypatch, method):
    run, real = finished(root, model=True), getattr(client, method)

    def lost(*args, **kwargs):
        real(*args, **kwargs)
        raise ConnectionError("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(client, method, lost)
        assert not track.sync(run).complete
    assert Reader(store.tracking_uri(run), run).run.info.status == "FINISHED"
    assert track.sync(run).complete

    there = Reader(store.tracking_uri(run), run)
    assert [m.status for m in there.models()] == ["READY"]
    assert len(there.run.outputs.model_outputs) == 1


def test_a_checkpoint_that_is_torn_is_reported_and_costs_nothing_else(root):
    run = finished(root, model=True)
    (run.dir / "checkpoints" / "final.safetensors").write_bytes(b"torn")
    result = track.sync(run)

    assert not result.complete
    assert "final.safetensors is not what was written: its checksum differs" in result.error
    there = Reader(store.tracking_uri(run), run)
    assert (there.curves(), there.run.info.status) == (expected(run), "FINISHED")


def mirror_by_hand(run, *more):
    """A mirror that has imported MLflow; those of `track.start` do it themselves."""
    return commands.started(run.dir, *more, module="dlx.track", cwd=Path.cwd())


def test_two_runs_at_once_on_a_store_that_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    runs = [finished(tmp_path), finished(tmp_path)]
    both = [mirror_by_hand(run) for run in runs]
    expected_tags = ["".join(process.communicate(timeout=300)) for process in both]

    assert expected_tags == [f"delivered 26 records to sqlite:///{tmp_path}/mlflow.db\n"] * 2
    assert [process.returncode for process in both] == [0, 0]
    for run in runs:
        there = Reader(store.tracking_uri(run), run)
        assert (there.curves(), len(there.runs)) == (expected(run), 1)
    assert not Path("mlruns").exists()


def test_killed_anywhere_the_rest_arrives(root):
    run, enough = begin(root), threading.Event()

    def write():
        n = 0
        while not enough.wait(0.002):
            steps(run, n := n + 1)

    writing = threading.Thread(target=write)
    writing.start()
    for patience in (0.0, 0.15, 0.3):
        mirror = mirror_by_hand(run, "--follow", str(os.getpid()))
        sent = run.read_json("mlflow.json").get("records", 0)
        until(lambda sent=sent: run.read_json("mlflow.json").get("records", 0) > sent, 300)
        time.sleep(patience)
        mirror.kill()
        mirror.communicate()
    enough.set()
    writing.join()
    run.append(end(1_000_000))  # behind whatever was written meanwhile

    assert track.sync(run).complete
    there = Reader(store.tracking_uri(run), run)
    assert (there.curves(), len(there.runs)) == (expected(run), 1)


@pytest.mark.slow
def test_killed_behind_any_call_the_rest_arrives_once(root, empty_store, monkeypatch):
    run, uri, number = finished(root), f"sqlite:///{root}/mlflow.db", 0
    while True:
        number += 1
        (run.dir / "mlflow.json").unlink(missing_ok=True)
        store.connect(uri)._tracking_client.store.engine.dispose()
        store.connect.cache_clear()
        shutil.copy(empty_store, root / "mlflow.db")
        if not killed_behind(number, store.connect(uri), monkeypatch, lambda: track.sync(run)):
            break
        assert track.sync(run).complete
        there = Reader(uri, run)
        assert (there.curves(), there.run.info.status, len(there.runs)) == (expected(run), "FINISHED", 1), number
        assert there.run.data.params["train.steps"] == "20"
        assert there.run.data.metrics["params"] == 164
    assert number > 8


@pytest.mark.parametrize("asked", ["", "normal"])
def test_the_mirror_takes_what_time_training_leaves_unless_it_is_asked_to_compete(root, monkeypatch, asked):
    monkeypatch.setenv("DLX_MIRROR_PRIORITY", asked)
    process = track.start(begin(root)).process
    try:
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0)
        # what it keeps does the work, at the lowest priority
        if not asked and hasattr(os, "SCHED_IDLE"):
            until(lambda: psutil.Process(process.pid).children(), 120)
            (child,) = psutil.Process(process.pid).children()
            until(lambda: (os.sched_getscheduler(child.pid), child.nice()) == (os.SCHED_IDLE, 19), 120)
            child.kill()
    finally:
        process.kill()
        process.wait()


def test_the_mirror_follows_a_run_to_its_end(root):
    run = begin(root)
    began = time.monotonic()
    mirror = track.start(run)
    assert time.monotonic() - began < 5
    assert os.getpgid(mirror.process.pid) != os.getpgid(0)  # Ctrl-C is for the training
    assert mirror.finish(0) == "behind"
    steps(run, *range(1, 6))
    until(lambda: run.read_json("mlflow.json").get("records") == 7, 300)
    for n in range(6, 60):  # two processes deliver the same run from here on
        steps(run, n)
        assert track.sync(run).complete
    assert Reader(store.tracking_uri(run), run).run.info.status == "RUNNING"
    weights(run)
    run.append(end(60))

    assert mirror.finish(300) == "delivered"
    there = Reader(store.tracking_uri(run), run)
    assert (there.curves(), len(there.models())) == (expected(run), 1)
    assert (run.dir / "mlflow.log").read_text() == ""


def test_the_mirror_ends_with_a_training_that_was_killed(root):
    training = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = begin(root, pid=training.pid)
    steps(run, 1, 2)
    mirror = mirror_by_hand(run, "--follow", str(training.pid))
    until(lambda: run.read_json("mlflow.json").get("records") == 3, 300)
    training.kill()
    training.communicate()

    assert mirror.communicate(timeout=300) == ("", "")
    assert mirror.returncode == 0
    assert Reader(store.tracking_uri(run), run).run.info.status == "KILLED"


def test_a_server_that_dies_under_way_gets_the_rest_later(root, server, copied_mirrors):
    run = begin(root)
    mirror = track.start(run, server.uri)
    steps(run, *range(1, 11))
    until(lambda: run.read_json("mlflow.json").get("records") == 13, 300)
    server.kill()
    try:
        steps(run, *range(11, 31))
        time.sleep(1.5)
        steps(run, *range(31, 41))
        run.append(end(40))
        expected_tags = mirror.finish(300)
        log = (run.dir / "mlflow.log").read_text()
        later = track.sync(run)
    finally:
        server.start()

    sentence = f"MLflow at {server.uri} cannot be reached; `dlx runs sync` delivers the rest once it can"
    assert expected_tags == f"failed: {sentence}"
    assert sentence in log
    assert "Traceback" not in log
    assert (later.complete, later.error) == (False, sentence)
    assert run.status() == "finished"
    result = track.sync(run)
    assert (result.complete, result.uri) == (True, server.uri)
    there = Reader(server.uri, run)
    assert (there.curves(), len(there.runs), there.run.info.status) == (expected(run), 1, "FINISHED")


def test_a_mirror_that_cannot_start_is_reported_and_nothing_more(root, monkeypatch):
    run = begin(root)
    monkeypatch.setattr(sys, "executable", str(root / "no-python"))
    mirror = track.start(run)

    assert mirror.finish(1).startswith("failed: the mirror could not be started: ")


def test_a_mirror_that_breaks_is_reported(root, monkeypatch):
    run = begin(root)
    mirror = track.start(run)
    mirror.process.kill()

    assert mirror.finish(5) == f"failed: the mirror ended with -9; {run.dir / 'mlflow.log'} says more"


def test_what_a_user_can_mend_is_said_in_words(monkeypatch):
    from mlflow.exceptions import MlflowException

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as of a container whose user has no name
    with pytest.raises(RuntimeError) as homeless:
        Path("~").expanduser()
    assert error_text(homeless.value, "http://x") == (
        "MLflow needs a home folder, which this user lacks: set HOME to one, and `dlx runs sync` delivers"
    )
    refused = (
        "API request to endpoint /api/2.0/mlflow/runs/create failed with error code {} != 200. Response body: 'x'"
    )
    assert "does not know this user or password: put MLFLOW_TRACKING_USERNAME " in error_text(
        MlflowException(refused.format(401)), "http://x"
    )
    failing = "HTTPConnectionPool(host='x'): Max retries exceeded with url: /api (Caused by ResponseError('{}'))"
    assert error_text(MlflowException(failing.format("too many 500 error responses")), "http://x") == (
        "MLflow at http://x answers with error 500: its own log says why, as that its disk is full; "
        "`dlx runs sync` delivers the rest once it can"
    )
    assert "does not let this user write there" in error_text(MlflowException(refused.format(403)), "http://x")


def test_a_store_of_another_mlflow_is_reported_with_the_way_out(tmp_path, empty_store):
    newer = tmp_path / "newer.db"
    shutil.copy(empty_store, newer)
    with closing(sqlite3.connect(newer)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    run = finished(tmp_path / "runs")
    result = track.sync(run, f"sqlite:///{newer}")

    assert not result.complete
    assert result.error == (
        f"the database sqlite:///{newer} was written by another version of MLflow than the one installed here: "
        "install that one, or, where this one is newer, copy the database and run `mlflow db upgrade` with its "
        "address"
    )


def test_a_store_that_no_one_knows_is_reported(root):
    run = finished(root)
    result = track.sync(run, "ftp://nowhere")

    assert not result.complete
    assert result.error.startswith("MLflow at ftp://nowhere did not take it: ")
    assert run.status() == "finished"


def test_where_a_run_goes(root, monkeypatch):
    run = begin(root)
    own = f"sqlite:///{root}/mlflow.db"
    assert store.tracking_uri(run) == own
    run.write_json("mlflow.json", {"uri": "http://before"})
    assert store.tracking_uri(run) == "http://before"
    run.write_json("mlflow.json", {"uri": "http://me:***@before"})
    assert store.tracking_uri(run) == "http://me:***@before"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert store.tracking_uri(run) == "http://environment"
    run.write_text("spec.yaml", SPEC + "track: {uri: http://spec, experiment: mine}\n")
    assert store.tracking_uri(run) == "http://spec"
    assert store.tracking_uri(run, "sqlite:///here.db") == f"sqlite:///{Path.cwd()}/here.db"
    assert (store.experiment_name(run), store.experiment_name(run, "yours")) == ("mine", "yours")


def test_a_spec_that_declines_mlflow_is_left_alone(root):
    run = finished(root)
    run.write_text("spec.yaml", SPEC + "track: {mlflow: false}\n")

    assert (track.sync(run).complete, run.read_json("mlflow.json")) == (True, {})
    assert track.sync(run, f"sqlite:///{root}/mlflow.db").sent == 26


def test_passwords_stay_out_of_the_run_folder(root):
    run = finished(root)
    result = track.sync(run, "postgresql+none://me:secret@127.0.0.1:1/db")

    assert result.uri == "postgresql+none://me:***@127.0.0.1:1/db"
    assert "secret" not in (run.dir / "mlflow.json").read_text() + result.error


@pytest.mark.parametrize(
    ("seen", "metric", "param"),
    [
        ({"size": [7, 7], "stride": [1, 1], "start": [0, 0]}, 7, "7"),
        ({"size": ["global", 3], "stride": [1, 1], "start": [0, 0]}, None, "globalx3"),
        ("global", None, "global"),
        (None, None, None),
    ],
)
def test_a_receptive_field_is_a_number_where_it_is_one(seen, metric, param):
    metrics, params = content.totals(PLAN | {"receptive_field": seen})

    assert (metrics.get("receptive_field"), params.get("receptive_field")) == (metric, param)


def test_the_plan_of_several_networks_is_their_totals_and_their_layers_by_full_name():
    one = {"receptive_field": "global", "layers": PLAN["layers"][:1]}
    plan = {"name": "gan", "params": 7, "macs": 3, "networks": {"generator": one, "critic": PLAN}}
    metrics, params = content.totals(plan)
    assert metrics == {"params": 7.0, "macs": 3.0}
    assert params == {"receptive_field": "generator: global, critic: 5x7"}
    rows = json.loads(content.layer_table(plan))["data"]
    assert [row[0] for row in rows] == ["generator/conv_1", "critic/conv_1", "critic/conv_2"]


def test_settings_by_network_are_parameters_by_its_name(tmp_path):
    layers = "{inputs: [3], layers: [linear: 1]}"
    (tmp_path / "spec.yaml").write_text(
        f"networks: {{a: {layers}, b: {layers}}}\ninit: {{b: zeros}}\n"
        "train: {steps: 3, optimizer: {a: {adam: 0.5}, b: sgd}, average: {a: polyak}}\n"
    )
    params, _ = content.settings(tmp_path / "spec.yaml")
    found = {key: params[key] for key in params if key.startswith(("init", "train.optimizer", "train.average"))}
    assert found["train.optimizer.a"] == "adam"
    assert (found["train.optimizer.a.lr"], found["train.optimizer.b"]) == ("0.5", "sgd")
    assert (found["init.b"], found["train.average.a"]) == ("zeros", "polyak")
    assert "train.optimizer" not in found


def test_settings_of_stages_that_are_not_those_of_the_last_one_are_parameters_by_the_name_of_the_stage(tmp_path):
    (tmp_path / "spec.yaml").write_text(
        "data: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {steps: 3, optimizer: {adam: 0.5}}\n"
        "stages:\n"
        "  - {name: codes, objective: simclr, train: {batch_size: 20, augment: [{gaussian_noise: 0.1}]}}\n"
        "  - {name: classes, train: {steps: 7}}\n"
    )
    params, _ = content.settings(tmp_path / "spec.yaml")
    of_stages = {key: params[key] for key in params if key.startswith("stages.")}
    assert (params["train.steps"], params["train.optimizer.lr"]) == ("7", "0.5")
    assert (of_stages["stages.codes.objective"], of_stages["stages.codes.objective.temperature"]) == ("simclr", "0.5")
    assert (of_stages["stages.codes.train.steps"], of_stages["stages.codes.train.batch_size"]) == ("3", "20")
    assert not [key for key in of_stages if "optimizer" in key or key.startswith("stages.classes")]


def test_an_unreadable_spec_costs_only_its_settings(root):
    run = finished(root)
    run.write_text("spec.yaml", "network: [")

    assert track.sync(run).complete
    assert set(Reader(store.tracking_uri(run), run).run.data.params) == {"receptive_field"}


def dismissed(root, uri):
    """A run that was delivered and then deleted in MLflow, and the reader of what was there."""
    run = finished(root)
    assert track.sync(run, uri).complete
    there = Reader(uri, run)
    there.client.delete_run(there.id)
    return run, there


def test_a_run_that_was_deleted_there_is_said_and_can_be_sent_anew(root, uri):
    run, there = dismissed(root, uri)
    for _ in range(2):
        expected_tags = track.sync(run, uri)
        assert (expected_tags.complete, expected_tags.sent) == (False, 0)
        state_type = shlex.quote(str(run.dir / "mlflow.json"))
        assert expected_tags.error == (
            f"the MLflow run {there.id} of {run.key} was deleted there; `rm {state_type}` "
            f"and `dlx runs sync {run.argument}` send it anew, "
            f"`MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow runs restore --run-id {there.id}` brings it back"
        )
    (run.dir / "mlflow.json").unlink()
    again = track.sync(run, uri)

    assert (again.complete, again.sent) == (True, 26)
    assert again.run_id != there.id
    assert Reader(uri, run).curves() == expected(run)


@pytest.mark.slow
def test_a_run_that_was_deleted_and_brought_back_goes_on(root, uri):
    run, there = dismissed(root, uri)
    track.sync(run, uri)
    there.client.restore_run(there.id)

    assert track.sync(run, uri) == track.SyncResult(0, True, there.id, uri)


@pytest.mark.slow
def test_an_experiment_that_was_deleted_there_is_said_and_comes_back_with_what_is_sent_anew(root, uri):
    run = finished(root)
    assert track.sync(run, uri).complete
    there = Reader(uri, run)
    there.client.delete_experiment(there.experiment_id)
    expected_tags = track.sync(run, uri)
    assert expected_tags.error.startswith("experiment `digits` was deleted in MLflow, and with it the MLflow run ")
    assert expected_tags.error.endswith(
        f"`MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow experiments restore --experiment-id {there.experiment_id}` "
        "brings it back"
    )
    command = ["-m", "mlflow", "experiments", "restore", "--experiment-id", there.experiment_id]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    assert track.sync(run, uri).complete
    there.client.delete_experiment(there.experiment_id)
    (run.dir / "mlflow.json").unlink()

    assert track.sync(run, uri).complete
    assert Reader(uri, run).curves() == expected(run)


@pytest.mark.slow
def test_a_run_that_someone_else_ended_gets_the_rest(root, uri):
    run = begin(root)
    steps(run, 1, 2)
    track.sync(run, uri)
    Reader(uri, run).client.set_terminated(Reader(uri, run).id, "KILLED")
    steps(run, 3, 4)
    run.append(end(4))

    assert track.sync(run, uri).complete
    there = Reader(uri, run)
    assert (there.run.info.status, there.curves()) == ("FINISHED", expected(run))


def test_the_memory_of_another_run_is_not_taken_for_its_own(root, uri):
    """Nothing of one run arrives in the other."""
    one, other = finished(root), begin(root)
    steps(other, 1, 2)
    for run in (one, other):
        assert track.sync(run, uri).complete
    (other.dir / "mlflow.json").write_bytes((one.dir / "mlflow.json").read_bytes())
    steps(other, 3)

    assert track.sync(other, uri).complete
    for run in (one, other):
        assert Reader(uri, run).curves() == expected(run)


@pytest.mark.parametrize(
    "odd",
    [
        {"offset": "9"},
        pytest.param({"offset": 10**9}, marks=pytest.mark.slow),
        {"offset": 3},
        pytest.param({"last": {"valid/loss": 5}}, marks=pytest.mark.slow),
        pytest.param({"last": []}, marks=pytest.mark.slow),
        pytest.param({"files": {"spec.yaml": []}}, marks=pytest.mark.slow),
        {"end": {"record": "end"}},
        pytest.param({"end": "finished"}, marks=pytest.mark.slow),
        pytest.param({"run_id": None}, marks=pytest.mark.slow),
        pytest.param({"model": 7}, marks=pytest.mark.slow),
    ],
)
def test_a_memory_of_another_form_is_made_up_anew(root, odd):
    run = finished(root)
    first = track.sync(run)
    run.write_json("mlflow.json", run.read_json("mlflow.json") | odd)
    second = track.sync(run)

    assert (second.complete, second.error, second.run_id) == (True, "", first.run_id)
    assert Reader(store.tracking_uri(run), run).curves() == expected(run)


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("plan.json", '{"layers": 5}', "plan.json is damaged: it is not what dlx writes there"),
        ("plan.json", "[" * 100_000, "plan.json cannot be read: it is nested too deep"),
        ("lock.json", '{"data": 5}', "lock.json is damaged: `data` is an object, and here is 5"),
        ("metrics.jsonl", "{}\n", "metrics.jsonl is damaged: its last line is no record of a run"),
    ],
)
def test_a_damaged_file_is_named_and_mlflow_not_blamed(root, name, text, sentence):
    run = finished(root)
    (run.dir / name).write_text(text)
    expected_tags = track.sync(run)

    assert sentence in expected_tags.error
    assert "did not take it" not in expected_tags.error


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(root):
    for name in ("plan.json", "spec.yaml", "mlflow.json"):
        run = finished(root)
        (run.dir / name).unlink(missing_ok=True)
        os.mkfifo(run.dir / name)

        assert "it is a named pipe, and no file" in track.sync(run).error or name == "mlflow.json"
