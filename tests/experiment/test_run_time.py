"""How long a training takes: `dlx inspect --time`, what a run has of it, and `dlx runs`."""

import json
import os

import pytest

from dlx.experiment import forecast, run_time, runner
from dlx.runs.folder import RunFolder
from dlx.show import training_time
from dlx.spec import load
from dlx.training import pace

SPEC = """
dlx: 1
name: timed
data: {synthetic: {shape: [4], classes: 2, train: 200, valid: 40, test: 40, seed: 0}}
network: {layers: [{linear: 2}]}
objective: classification
train: {steps: 400, batch_size: 10, seed: 0, threads: 1}
track: {mlflow: false}
"""
STAGED = SPEC + "stages: [{name: first, train: {steps: 100}}, {name: second, train: {steps: 100}}]\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A forecast after a hundredth of a second of steps, in place of a whole one, whatever evaluates later."""
    monkeypatch.setattr(pace, "MEASURED_SECONDS", 0.005)
    monkeypatch.setattr(pace, "AWAITED_SECONDS", 0.0)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "timed.yaml"
    path.write_text(SPEC)
    return path


def test_nothing_of_a_forecast_stays(spec, tmp_path):
    """It says all that the time is spent on, and there is no run afterwards."""
    found = forecast.forecast(load(spec), tmp_path / "runs")
    document = found.as_json()

    assert set(document["by"]) == {"steps", "evaluations", "checkpoints", "end"}
    assert document["counts"]["steps"] == 400
    assert document["seconds"] == pytest.approx(document["start"] + sum(document["by"].values()), abs=0.01)
    assert (document["trainings"], document["packed"], document["at_most"]) == (1, False, False)
    assert not (tmp_path / "runs").exists()


def test_seeds_count_all_and_stages_each(spec, tmp_path):
    four = forecast.forecast(load(spec, ["train.seeds=4"]), tmp_path / "runs").parts[""]
    assert (four.trainings, four.packed) == (4, True)

    spec.write_text(STAGED)
    found = forecast.forecast(load(spec), tmp_path / "runs")
    assert list(found.parts) == ["first", "second"]
    assert [one.counts["steps"] for one in found.parts.values()] == [100, 100]
    assert set(found.as_json()["stages"]["first"]["by"]) >= {"steps"}


def test_early_stopping_makes_it_at_most(spec, tmp_path):
    found = forecast.forecast(load(spec, ["++train.early_stopping.patience=50"]), tmp_path / "runs")

    assert found.at_most
    assert "at most" in training_time.sentences(found)[0]


def test_a_study_takes_its_trainings_in_turn_each_as_long_as_that_of_the_spec(spec):
    space = ["++sweep.space={train.steps: [100, 200, 400]}", "++sweep.seeds=2"]
    asked = training_time.of(load(spec, space))
    training = asked.training
    one = training.parts[""].seconds
    assert [(s.command, s.count, s.seeds) for s in asked.studies] == [("sweep", 3, 2)]
    assert asked.studies[0].seconds == pytest.approx(training.start + 6 * one)
    assert training_time.document(asked)["time"]["sweep"]["trials"] == 3
    assert training_time.study_sentence(asked.studies[0]).startswith(
        "`dlx sweep` trains 3 trials of 2 seeds each: about"
    )
    (early,) = training_time.of(load(spec, [*space[:1], "++sweep.scheduler=median"])).studies
    assert early.at_most
    assert "at most" in training_time.study_sentence(early)
    assert not training_time.of(load(spec)).studies


def test_a_cross_validation_takes_the_time_of_all_its_folds(tmp_path):
    path = tmp_path / "folded.yaml"
    data = "{digits: {folds: 5, fold: 1, test: 0.2}}"
    network = "{layers: [flatten, {linear: 10}]}"
    train = "{steps: 200, seeds: 2, optimizer: {adam: 0.01}}"
    path.write_text(
        f"dlx: 1\nname: folded\ndata: {data}\nnetwork: {network}\ntrain: {train}\ntrack: {{mlflow: false}}\n"
    )
    asked = training_time.of(load(path))
    (folds,) = asked.studies
    assert (folds.command, folds.count, folds.seeds) == ("crossval", 5, 2)
    assert folds.seconds == pytest.approx(asked.training.start + 5 * asked.training.parts[""].seconds)
    assert training_time.document(asked)["time"]["crossval"]["folds"] == 5


def test_a_stage_that_calls_the_network_of_an_earlier_one_has_its_time_too(tmp_path):
    path = tmp_path / "taught.yaml"
    network = "{layers: [{linear: 2}]}"
    path.write_text(
        SPEC.replace(f"network: {network}", f"networks: {{teacher: {{from: first}}, student: {network}}}").replace(
            "objective: classification", "objective: {distillation: {temperature: 2, alpha: 0.5}}"
        )
        + f"stages: [{{name: first, network: {network}, objective: classification}}, {{name: second}}]\n"
    )
    found = forecast.forecast(load(path), tmp_path / "runs")
    assert list(found.parts) == ["first", "second"]
    assert all(one.seconds > 0 for one in found.parts.values())
    assert not (tmp_path / "runs").exists()


def test_a_training_that_is_over_at_once_is_its_own_forecast(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(pace, "MEASURED_SECONDS", 60.0)
    found = forecast.forecast(load(spec, ["train.steps=3"]), tmp_path / "runs").parts[""]

    assert (found.whole, found.counts) == (True, {"steps": 3})


def test_a_run_has_what_was_forecast_and_what_it_took(spec, tmp_path):
    runs = tmp_path / "runs"
    told = []
    result = runner.run(load(spec), runs, on_forecast=lambda _, found: told.append(found)).results[0]
    found = result.run.read_json("time.json")

    assert found["forecast"] == told[0].as_json()
    assert found["fact"]["seconds"] == pytest.approx(result.seconds, abs=0.05)
    assert found["fact"]["processes"] == 1
    assert sum(found["fact"]["last"].values()) == pytest.approx(result.seconds, abs=0.05)


def test_a_run_that_goes_on_adds_up_and_its_first_forecast_stays(spec, tmp_path):
    from dlx.experiment.session import Session

    runs, experiment = tmp_path / "runs", load(spec)
    prepared = runner.prepare(experiment)
    from dlx.experiment.recorder import RunRecorder
    from dlx.experiment.session import new_run, train_run

    folder = new_run(prepared, runs)
    half = train_run(RunRecorder(folder), prepared, Session(until=200))
    first = folder.read_json("time.json")
    _, results = runner.resume(RunFolder(folder.dir))
    both = folder.read_json("time.json")

    assert half.status == "stopped"
    assert both["forecast"] == first["forecast"]
    assert both["fact"]["processes"] == 2
    assert both["fact"]["seconds"] >= first["fact"]["seconds"] + results.results[0].seconds - 0.01


def test_a_process_that_was_killed_counts_up_to_its_last_record():
    """Two processes: one of 10 s without an end, one of 5 s with one; and a stage begins anew."""
    records = [
        {"record": "start", "time": 100.0},
        {"record": "step", "time": 110.0},
        {"record": "start", "time": 200.0},
        {"record": "end", "time": 205.0, "seconds": 4.9},
    ]
    assert run_time.seconds_of(records) == (15.0, 2)
    assert run_time.seconds_of([*records[:2], {"record": "stage", "time": 112.0}]) == (0.0, 0)


def test_runs_show_how_far_off_forecasts_were_where_it_is_asked_for(spec, tmp_path):
    from dlx.trained import run_list

    runs = tmp_path / "runs"
    folder = runner.run(load(spec), runs).results[0].run
    path = folder.dir / "time.json"
    path.write_text(json.dumps({"forecast": {"seconds": 12.0}, "fact": {"seconds": 10.0}}))
    listed = run_list.listed(runs, run_list.Asked(filter="forecast.off > 0.1", sort="-forecast.off"))

    assert listed.rows[0].value("forecast.off") == pytest.approx(0.2)
    assert not run_list.listed(runs, run_list.Asked(filter="forecast.off > 0.3")).rows


def test_a_long_training_says_once_how_long_it_takes(capsys):
    from types import SimpleNamespace

    tell, job = training_time.said_once(quiet=False), SimpleNamespace(pace=SimpleNamespace(sharing=4))
    found = pace.TimeForecast(40.0, 0.0, 0.0, 0.0, {}, 120)
    tell(job, found)
    tell(job, found)
    training_time.said_once(quiet=True)(job, found)

    said = capsys.readouterr().err
    assert said.split("\n")[0] == "The training takes about 2:40, all 4 side by side, by its first 120 steps."
    assert said.count("The training takes") == 1


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        ('{"delivered_by": 7}', 4.0),
        ('{"delivered_by": 0}', None),  # `dlx runs sync` was a week later
        ("{", None),
    ],
)
def test_a_delivery_takes_as_long_as_those_of_mirrors_took(tmp_path, state, seconds):
    run = RunFolder.create(tmp_path, "timed")
    run.append({"record": "start", "time": 100.0})
    run.append({"record": "end", "time": 200.0, "step": 1, "seconds": 1.0, "status": "finished", "metrics": {}})
    (run.dir / "mlflow.json").write_text(state)
    os.utime(run.dir / "mlflow.json", (204.0, 204.0))

    assert forecast.delivery_of([run]) == seconds
