"""`dlx ui`: MLflow's real server on the store of runs, and the service that a run's model is."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from commands import dlx

from dlx import track
from dlx.errors import DlxError, RunError
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.show.server import serve_line
from dlx.spec import load
from dlx.track import arrivals, server
from dlx.trained.predict import predict

SPEC = """
name: towns
data: {table: {path: t.csv, target: class, standardize: feature, test: 12}}
network: {layers: [{linear: 2}]}
train: {epochs: 3, batch_size: 20, optimizer: {adam: 0.02}}
track: {mlflow: false}
"""
pytestmark = pytest.mark.filterwarnings("ignore")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def got(url, content=None):
    """What a server answers; to JSON, where there is a content."""
    data = None if content is None else json.dumps(content).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
        return answer.read()


def until(true, seconds=300):
    patience = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < patience, f"not in {seconds} seconds"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def delivered(tmp_path_factory, empty_store):
    """A folder with `runs`: of two finished runs one is in MLflow, with its model."""
    folder = tmp_path_factory.mktemp("served")
    rows = [f"{i % 7},{'abc'[i % 3]},{'cheap' if i % 7 < 3 else 'dear'}" for i in range(60)]
    (folder / "t.csv").write_text("\n".join(["size,town,class", *rows]))
    (folder / "s.yaml").write_text(SPEC)
    run = runner.run(load(folder / "s.yaml"), folder / "runs").results[0].run
    shutil.copy(empty_store, folder / "runs" / "mlflow.db")
    spec = (run.dir / "spec.yaml").read_text()
    (run.dir / "spec.yaml").write_text(spec.replace("mlflow: false", "mlflow: true"))
    late = run.dir.with_name("20300101-000000-0000")
    shutil.copytree(run.dir, late)
    result = track.sync(run, f"sqlite:///{folder}/runs/mlflow.db")
    assert result.error == ""
    return folder, run, RunFolder(late)


def test_the_pages_show_the_runs_and_what_has_not_arrived(delivered):
    folder, run, late = delivered
    port = free_port()
    command = [sys.executable, "-m", "dlx", "ui", "runs", "--port", str(port), "--json"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            about = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            assert about["url"] == f"http://127.0.0.1:{port}"
            assert re.fullmatch(r".*/#/experiments/\d+/runs\?workflowType=machine_learning", about["page"])
            assert (about["behind"], about["others"]) == ([late.key], [])
            assert f"models:/{run.read_json('mlflow.json')['model']['model_id']} " in about["serve"]
            asked = {"experiment_ids": [run.read_json("mlflow.json")["experiment_id"]]}
            (there,) = json.loads(got(f"{about['url']}/api/2.0/mlflow/runs/search", asked))["runs"]
            assert {"key": "dlx.run", "value": run.key} in there["data"]["tags"]
            file = f"{about['url']}/get-artifact?path=spec.yaml&run_uuid={there['info']['run_id']}"
            assert got(file) == (run.dir / "spec.yaml").read_bytes()
            assert b"<title>MLflow</title>" in got(about["url"])
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not server.answers(f"http://127.0.0.1:{port}")


@pytest.mark.slow
def test_the_command_that_is_shown_serves_what_predict_answers(delivered):
    folder, run, _ = delivered
    line = serve_line(f"sqlite:///{folder}/runs/mlflow.db", run.read_json("mlflow.json")["model"]["model_id"])
    port = free_port()
    assert line.endswith(" --port 5001")
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S602  as a user types it
            line.replace("--port 5001", f"--port {port}"),
            shell=True,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(Path(track.__file__).parents[2])},
        )
    rows = [[3.0, "a"], [6.0, "b"], [0.0, "c"]]
    try:

        def ready():
            assert process.poll() is None, (folder / "serve.log").read_text()
            try:
                return got(f"http://127.0.0.1:{port}/ping") is not None
            except OSError:
                return False

        until(ready)
        content = {"dataframe_split": {"columns": ["size", "town"], "data": rows}}
        answers = json.loads(got(f"http://127.0.0.1:{port}/invocations", content))["predictions"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (folder / "new.csv").write_text("\n".join(["size,town", *(f"{size},{town}" for size, town in rows)]))
    expected = predict(run, folder / "new.csv")
    assert [one["class"] for one in answers] == [expected.labels[i] for i in expected.classes]
    assert [one["p(dear)"] for one in answers] == pytest.approx([p[1] for p in expected.probabilities], abs=1e-6)
    assert answers[0]["p(dear)"] != pytest.approx(answers[1]["p(dear)"], abs=1e-6)


# --- where there is nothing to show ---------------------------------------------------------------------------------


def test_what_cannot_be_shown_is_an_error_with_a_way_out(delivered, tmp_path):
    folder, run, _ = delivered
    nothing = dlx("ui", cwd=tmp_path)
    assert (nothing.returncode, "runs has no run that is in MLflow" in nothing.stderr) == (2, True)
    assert "`dlx train SPEC` makes one" in nothing.stderr
    shutil.copytree(run.dir, tmp_path / "runs" / "towns" / run.id, ignore=shutil.ignore_patterns("mlflow.json"))
    undelivered = dlx("ui", cwd=tmp_path)
    assert (undelivered.returncode, "no run in runs has arrived" in undelivered.stderr) == (2, True)
    assert "`dlx runs sync` delivers them" in undelivered.stderr
    missing = dlx("ui", "--uri", "sqlite:///gone.db", cwd=tmp_path)
    assert (missing.returncode, f"there is no store of MLflow at {tmp_path}/gone.db" in missing.stderr) == (2, True)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        taken = dlx("ui", "runs", "--port", one.getsockname()[1], cwd=folder)
    assert (taken.returncode, f"port {one}" not in taken.stderr) == (2, True)
    assert re.search(r"nothing can listen at port \d+ of 127.0.0.1: address already in use", taken.stderr)
    assert re.search(r"`--port \d+` is free", taken.stderr)
    elsewhere = dlx("ui", "runs", "--host", "192.0.2.1", cwd=folder)
    assert (elsewhere.returncode, "`--host 127.0.0.1` is this machine" in elsewhere.stderr) == (2, True)


def test_runs_on_a_server_are_opened_there(delivered, tmp_path):
    _, run, _ = delivered
    copy = tmp_path / "runs" / "towns" / run.id
    shutil.copytree(run.dir, copy)
    state = run.read_json("mlflow.json")
    RunFolder(copy).write_json("mlflow.json", state | {"uri": "http://192.0.2.1:5000"})

    done = dlx("ui", cwd=tmp_path, check=True)
    assert done.stdout == (
        "the runs of runs are on a server: open http://192.0.2.1:5000/#/experiments/"
        f"{state['experiment_id']}/runs?workflowType=machine_learning\n"
    )


def test_stores_beside_that_of_the_folder_are_named(delivered, tmp_path):
    _, run, _ = delivered
    state = run.read_json("mlflow.json")
    for number, uri in enumerate([f"sqlite:///{tmp_path}/runs/mlflow.db", "sqlite:////elsewhere/x.db"]):
        copy = tmp_path / "runs" / "towns" / f"2026010{number + 1}-000000-0000"
        shutil.copytree(run.dir, copy)
        RunFolder(copy).write_json("mlflow.json", state | {"uri": uri})
    (tmp_path / "runs" / "mlflow.db").touch()

    found = arrivals.arrivals(tmp_path / "runs")
    assert found.chosen() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert found.others(found.chosen()) == ["sqlite:////elsewhere/x.db"]
    assert [one.key for one in found.behind] == []
    (tmp_path / "runs" / "mlflow.db").unlink()
    with pytest.raises(DlxError, match=r"there is no store of MLflow at /elsewhere/x\.db"):
        found.chosen()


@pytest.mark.parametrize(
    ("change", "is_behind"),
    [
        ({}, False),
        ({"offset": 10}, True),
        ({"error": "MLflow cannot be reached"}, True),
        ({"model": {}}, True),
    ],
)
def test_a_run_is_behind_where_records_or_the_model_are_missing(delivered, tmp_path, change, is_behind):
    _, run, _ = delivered
    copy = tmp_path / "runs" / "towns" / run.id
    shutil.copytree(run.dir, copy)
    RunFolder(copy).write_json("mlflow.json", run.read_json("mlflow.json") | change)

    assert bool(arrivals.arrivals(tmp_path / "runs").behind) == is_behind


# --- the process ----------------------------------------------------------------------------------------------------


def stub(monkeypatch, text):
    """Let a script stand for MLflow's server; it finds its port as its last word."""

    def launch(uri, host, port, log):
        command = [sys.executable, "-c", text, str(port)]
        return subprocess.Popen(command, stdout=log, stderr=log, process_group=0)

    monkeypatch.setattr(server, "_launch", launch)


ANSWERING = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_server_ends_with_the_command(monkeypatch, number):
    stub(monkeypatch, ANSWERING)
    port = free_port()
    with pytest.raises(KeyboardInterrupt), server.serving("sqlite:///x.db", "127.0.0.1", port) as process:  # noqa: PT012
        assert server.answers(server.url_of("127.0.0.1", port))
        os.kill(os.getpid(), number)
        process.wait()
    assert process.poll() is not None
    assert not server.answers(server.url_of("127.0.0.1", port))


def test_a_server_that_ends_at_once_says_why(monkeypatch):
    stub(monkeypatch, "import sys; print('first'); sys.exit('no such table at sqlite://u:secret@h/x')")
    with pytest.raises(RunError, match=r"ended with 1: no such table at sqlite://u:\*\*\*@h/x$"):  # noqa: SIM117
        with server.serving("sqlite:///x.db", "127.0.0.1", free_port()):
            pass


def test_addresses_that_mean_all_of_a_machine_are_shown_as_its_own():
    assert server.url_of("0.0.0.0", 5000) == "http://127.0.0.1:5000"  # noqa: S104
    assert server.url_of("::1", 80) == "http://[::1]:80"
    assert server.url_of("example.org", 80) == "http://example.org:80"
