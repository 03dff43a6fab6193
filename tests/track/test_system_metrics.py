"""Load of the machine beside a training: measured by MLflow's monitors, written once, delivered once."""

import json
import shutil
import signal
import time

import pytest
from commands import dlx, started

from dlx.errors import DlxError
from dlx.runs.folder import RunFolder
from dlx.track import mirror, store, sync, system_metrics
from dlx.track.scalars import ScalarFiles
from dlx.track.sync import RunDelivery
from dlx.track.system_metrics import SystemMetrics

NAMES = {
    "cpu_utilization_percentage",
    "disk_available_megabytes",
    "disk_usage_megabytes",
    "disk_usage_percentage",
    "network_receive_megabytes",
    "network_transmit_megabytes",
    "system_memory_usage_megabytes",
    "system_memory_usage_percentage",
}
"""As the documentation of MLflow lists them; those of GPUs come where there is one."""
SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 160, valid: 40, test: 40}}
network: {layers: [linear: 8, relu, linear: 4]}
train: {epochs: 100, batch_size: 8, save_every: 10, log_every: 10}
track: {system_metrics: true}
"""
START = {"record": "start", "time": 1_790_000_000.0}
END = {"record": "end", "time": 1_790_000_009.0, "step": 1, "status": "finished", "metrics": {}}


class Loads:
    """A monitor that measures 1, 2, 3, ..."""

    def __init__(self):
        self.now, self.since = 0, []

    def collect_metrics(self):
        self.now += 1
        self.since.append(self.now)

    def aggregate_metrics(self):
        return {"load": sum(self.since) / len(self.since)}

    def clear_metrics(self):
        self.since = []


@pytest.fixture
def loads(monkeypatch):
    monkeypatch.setattr(system_metrics, "monitors", lambda: [Loads()])


@pytest.fixture
def run(tmp_path):
    made = RunFolder.create(tmp_path, "s")
    made.write_text("spec.yaml", SPEC)
    made.append(START)
    yield made
    made.close()


def samples(run):
    return [json.loads(line) for line in (run.dir / "system.jsonl").read_text().splitlines()]


def values(run):
    return [(one["step"], one["metrics"]["load"]) for one in samples(run)]


def poll_at(one, moment, seconds, *, gone=False):
    moment[0] = seconds
    one.poll(gone)


def poll_to_the_end(one):
    while one.code is None:
        time.sleep(one.poll(gone=True))


def test_one_sample_each_ten_seconds_while_the_training_goes_on(run, loads):
    moment = [0.0]
    one = SystemMetrics([run.dir], clock=lambda: moment[0])
    for seconds in (1, 9.9, 10, 12, 19, 20.5, 31):
        poll_at(one, moment, seconds)
    assert values(run) == [(0, 1.0), (1, 2.0), (2, 3.0)]

    run.append(END)
    poll_at(one, moment, 32)
    assert one.code == 0
    assert len(samples(run)) == 3


def test_the_variables_of_mlflow_say_how_often_and_of_how_many_a_sample_is_the_mean(run, loads, monkeypatch):
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "2")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "3")
    moment = [0.0]
    one = SystemMetrics([run.dir], clock=lambda: moment[0])
    for seconds in range(1, 13):
        poll_at(one, moment, seconds)
    assert values(run) == [(0, 2.0), (1, 5.0)]


def test_monitors_that_began_late_measure_no_use_of_no_time(run, monkeypatch):
    moment = [0.0]

    def late():
        moment[0] = 30.0  # they were imported meanwhile, on a busy machine
        return [Loads()]

    monkeypatch.setattr(system_metrics, "monitors", late)
    one = SystemMetrics([run.dir], clock=lambda: moment[0])
    one.poll(gone=False)
    assert not (run.dir / "system.jsonl").exists()
    poll_at(one, moment, 30.2)
    assert values(run) == [(0, 1.0)]


@pytest.mark.parametrize("text", ["0", "-3", "often", ""])
def test_a_variable_that_is_no_time_counts_as_none(text):
    assert system_metrics.seconds_of(text) == 10
    assert system_metrics.count_of(text) == 1


def test_a_short_training_has_one_sample_of_its_end_and_all_its_seeds_the_same(tmp_path, loads):
    runs = [RunFolder.create(tmp_path, "s") for _ in range(2)]
    for one in runs:
        one.append(START, END)
    moment = [0.0]
    both = SystemMetrics([one.dir for one in runs], clock=lambda: moment[0])
    poll_at(both, moment, 1.0)
    poll_at(both, moment, 1.05)  # the processor's use would be of no time at all
    assert both.code is None
    poll_at(both, moment, 1.1)
    assert both.code == 0
    assert [values(one) for one in runs] == [[(0, 1.0)], [(0, 1.0)]]


def test_a_line_that_a_kill_has_torn_is_cut_off_and_the_steps_go_on(run, loads):
    for count in (0, 1, 40):
        system_metrics.append(run, {"load": 7.0})
        with (run.dir / "system.jsonl").open("ab") as file:
            file.write(b'{"step":9,"time":1790000000.0,"metrics":{"load":3}'[:count])
    system_metrics.append(run, {"load": 8.0})
    assert values(run) == [(0, 7.0), (1, 7.0), (2, 7.0), (3, 8.0)]


def test_a_damaged_file_is_told_and_nothing_is_written_into_it(run, loads, capsys):
    text = "nonsense\n"
    (run.dir / "system.jsonl").write_text(text)
    with pytest.raises(DlxError, match="is damaged: a line is no sample"):
        system_metrics.append(run, {"load": 7.0})
    poll_to_the_end(SystemMetrics([run.dir]))
    assert "cannot be written" in capsys.readouterr().out
    assert (run.dir / "system.jsonl").read_text() == text


def test_the_monitors_are_those_of_mlflow_by_their_names(run):
    poll_to_the_end(SystemMetrics([run.dir]))
    (sample,) = samples(run)
    assert {name for name in sample["metrics"] if not name.startswith("gpu_")} == NAMES
    assert 0 <= sample["metrics"]["cpu_utilization_percentage"] <= 100
    assert 0 < sample["metrics"]["system_memory_usage_percentage"] < 100


def test_a_gpu_whose_library_is_missing_is_told(monkeypatch):
    monkeypatch.setattr(system_metrics, "find_spec", lambda _: None)
    (note,) = system_metrics.notes("cuda")
    assert "`pip install nvidia-ml-py`" in note
    assert system_metrics.notes("cpu") == []
    monkeypatch.setattr(system_metrics, "find_spec", lambda _: object())
    assert system_metrics.notes("cuda") == []


def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def samples_in(runs):
    return [path.read_bytes().count(b"\n") for path in runs.glob("s/*/system.jsonl")]


def delivered(run):
    """By name, the steps and moments that MLflow has."""
    state = run.read_json("mlflow.json")
    client = store.connect(state["uri"])
    names = client.get_run(state["run_id"]).data.metrics
    history = {name: client.get_metric_history(state["run_id"], name) for name in names if name.startswith("system/")}
    return {name: sorted((one.step, one.timestamp, one.value) for one in found) for name, found in history.items()}


def recorded(run):
    found = {}
    for one in samples(run):
        for name, value in one["metrics"].items():
            found.setdefault(f"system/{name}", []).append((one["step"], round(one["time"] * 1000), value))
    return found


def test_mlflow_gets_each_sample_once_whatever_is_delivered_again(run, empty_store):
    shutil.copy(empty_store, run.root / "mlflow.db")
    system_metrics.append(run, {"cpu_utilization_percentage": 12.5})
    assert sync(run).complete
    system_metrics.append(run, {"cpu_utilization_percentage": 50.0})
    assert sync(run).complete
    # as a kill leaves it between a call and its record
    state = run.read_json("mlflow.json")
    run.write_json("mlflow.json", state | {"system": 0, "sure": False})
    assert sync(run).complete

    assert delivered(run) == recorded(run)
    assert [value for _, _, value in delivered(run)["system/cpu_utilization_percentage"]] == [12.5, 50.0]


def test_the_process_beside_a_training_measures_and_delivers_before_it_ends(run, loads, empty_store, monkeypatch):
    shutil.copy(empty_store, run.root / "mlflow.db")
    run.append(END)
    monkeypatch.setenv("DLX_MIRROR_FIGURES", "none")
    for flags in ([], ["--system-metrics"]):
        monkeypatch.setattr("sys.argv", ["dlx.track", str(run.dir), "--follow", str(2**22), *flags])
        assert mirror.main(RunDelivery, "dlx.track", ScalarFiles) == 0
        assert (run.dir / "system.jsonl").exists() == bool(flags)
    assert [value for _, _, value in delivered(run)["system/load"]] == [1.0]


@pytest.mark.slow
def test_two_seeds_that_are_killed_and_resumed_have_each_sample_once(tmp_path, empty_store):
    (tmp_path / "s.yaml").write_text(SPEC)
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(empty_store, runs / "mlflow.db")
    often = {
        "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "0.05",
        "DLX_MIRROR_FIGURES": "none",
        "DLX_MIRROR_PRIORITY": "normal",
    }
    training = started("train", "s.yaml", "train.seeds=2", "--runs", "runs", cwd=tmp_path, env=often)

    wait_for(lambda: any(b'"step":100,' in path.read_bytes() for path in runs.glob("s/*/metrics.jsonl")))
    training.send_signal(signal.SIGSTOP)
    wait_for(lambda: len(samples_in(runs)) == 2 and min(samples_in(runs)) > 2)
    training.send_signal(signal.SIGKILL)
    training.communicate()

    for folder in (runs / "s").iterdir():
        run = RunFolder(folder)
        assert run.end() is None
        before = len(samples(run))
        dlx("train", "--resume", str(folder), "--runs", "runs", cwd=tmp_path, env=often, check=True)
        wait_for(lambda: len(samples(run)) > before)  # noqa: B023
        assert sync(run).complete
        there = samples(run)
        assert [one["step"] for one in there] == [*range(len(there))]
        assert delivered(run) == recorded(run)
