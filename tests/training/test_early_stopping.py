"""A training ends where a metric is no longer getting better, or its time is up; the best weights are not lost."""

import json
import subprocess
from itertools import count

import commands
import pytest
import torch
from helpers import experiment_of

from dlx.errors import RunError, SpecError
from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.network import build
from dlx.spec import objective_of
from dlx.spec.sections.stopping import EarlyStopping, seconds
from dlx.training import early_stopping
from dlx.training import fit as loop
from dlx.training.batches.on_device import on_device
from dlx.training.checkpoints.checkpoint import restore
from dlx.training.fit import Job, evaluate, fit

SPEC = """
name: small
data: {{synthetic: {{shape: [5], classes: 3, train: 70, valid: {valid}, test: 30, seed: 1}}}}
network: {{layers: [{{linear: 8}}, batch_norm, tanh, {{linear: 3}}]}}
objective: {{{objective}}}
train: {{{train}}}
track: {{mlflow: false}}
"""
TRAIN = "steps: 40, batch_size: 16, optimizer: {sgd: 0.1}, evaluate_every: 2, log_every: 4"


def spec(train: str, objective: str = "classification: {}", valid: str = "20"):
    return experiment_of(SPEC.format(train=train, objective=objective, valid=valid))


def job(train: str, **more: str) -> Job:
    loaded = spec(train, **more)
    torch.manual_seed(0)
    network = build(trace(loaded), loaded.init)
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), torch.device("cpu")))


@pytest.fixture
def scripted(monkeypatch):
    """Evaluations of the valid part that give what the test says, one after the other; then the last for ever."""

    def script(*values: float, metric: str = "loss") -> None:
        left, last = list(values), values[-1]
        really = loop.evaluate

        def note(job: Job, name: str) -> dict[str, float]:
            found = really(job, name)
            return found | {f"valid/{metric}": left.pop(0) if left else last} if name == "valid" else found

        monkeypatch.setattr(loop, "evaluate", note)

    return script


def ends(early: EarlyStopping, values: list[float], objective) -> tuple[int, int]:
    """The evaluation that is the last, and the best one."""
    stop, net = early_stopping.EarlyStoppingState(early, objective), torch.nn.Linear(1, 1)
    for step, value in enumerate(values, 1):
        stop.update(step, {early.metric: value}, net)
        if stop.should_stop:
            return step, stop.best_step
    return 0, stop.best_step


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("early", "values", "expected"),
    [
        ({"patience": 1}, [5, 4, 4, 3], (3, 2)),
        ({"patience": 2}, [5, 6, 4, 5, 4, 3], (5, 3)),
        ({"patience": 3}, [5, 6, 6, 4, 5, 5], (0, 4)),
        ({"patience": 2, "min_delta": 1.0}, [5, 4.5, 3.9, 3.0, 2.95], (5, 3)),
        ({"patience": 2, "min_delta": 0.5}, [5, 4.6, 4.4, 4.3, 4.2], (5, 3)),
        ({"patience": 2, "metric": "valid/accuracy"}, [0.1, 0.3, 0.2, 0.3], (4, 2)),
        ({"patience": 2, "metric": "valid/error"}, [0.3, 0.1, 0.2, 0.3], (4, 2)),
        ({"patience": 2, "mode": "max"}, [3, 2, 1], (3, 1)),
        ({"patience": 2}, [NAN, 3, NAN, NAN], (4, 2)),
        ({"patience": 2}, [NAN, NAN], (2, 0)),
        ({"patience": 2}, [INF, INF, 3], (2, 0)),
        ({"patience": 2}, [INF, 3, 3, 3], (4, 2)),
        ({"patience": 2, "mode": "max"}, [-INF, INF, 3, 3], (4, 2)),
    ],
)
def test_patience_counts_evaluations_without_an_improvement(early, values, expected):
    assert ends(EarlyStopping(**early), values, job(TRAIN).objective) == expected


def test_each_metric_knows_which_way_it_is_better():
    more = "classification: {metrics: [auroc, perplexity, {top_k_error: 2}, f1, calibration_error]}"
    assert job(TRAIN, objective=more).objective.modes() == {
        "loss": "min",
        "accuracy": "max",
        "error": "min",
        "auroc": "max",
        "perplexity": "min",
        "top_2_error": "min",
        "f1": "max",
        "calibration_error": "min",
    }


def test_the_training_ends_with_the_weights_and_the_figures_of_the_best_evaluation(scripted):
    scripted(5, 4, 3, 4, 4, 4)
    one = job(f"{TRAIN}, early_stopping: {{patience: 3}}")
    at, records = {}, []
    for record in fit(one):
        records.append(record)
        if record.record == "evaluation":
            at[record.step] = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    *_, point, end = (r for r in records if r.record != "safe_point")

    assert list(at) == [2, 4, 6, 8, 10, 12]
    assert (point.record, point.step) == ("evaluation", 12)
    assert (end.record, end.step) == ("end", 12)
    assert all(torch.equal(tensor, at[6][name]) for name, tensor in one.network.state_dict().items())
    fresh = job(TRAIN)
    fresh.network.load_state_dict(at[6])
    for part in ("train", "test"):
        assert evaluate(fresh, part).items() <= end.metrics.items()
    assert evaluate(fresh, "valid")["valid/accuracy"] == end.metrics["valid/accuracy"]


def test_a_stop_between_two_points_of_the_curve_has_a_point_of_its_own(scripted):
    scripted(5, 4, 4, 4, 4)
    records = list(fit(job(f"{TRAIN}, early_stopping: {{patience: 3}}")))
    assert [r.step for r in records if r.record == "step"] == [4, 8, 10]


def test_the_last_weights_stay_where_the_best_are_not_wanted(scripted):
    scripted(5, 4, 4, 4, 4)
    one = job(f"{TRAIN}, early_stopping: {{patience: 3, restore_best: false}}")
    raw = job(TRAIN.replace("steps: 40", "steps: 10"))
    for each in (one, raw):
        list(fit(each))
    assert one.progress.stopping.weights == {}
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), raw.network.parameters(), strict=True))


def test_the_best_comes_back_where_the_training_went_to_its_end_too(scripted):
    scripted(*[5] * 3, 1, *[5] * 20)
    one = job(f"{TRAIN}, early_stopping: {{patience: 100}}")
    at = {}
    for record in fit(one):
        if record.record == "evaluation":
            at[record.step] = one.network.get_parameter("linear_1.weight").clone()
    assert list(at)[-1] == 40
    assert torch.equal(one.network.get_parameter("linear_1.weight"), at[8])


def test_the_best_of_averaged_weights_is_the_average_at_that_evaluation(scripted):
    scripted(5, 4, 3, 4, 4, 4)
    one = job(f"{TRAIN}, average: {{ema: 0.5}}, early_stopping: {{patience: 3}}")
    at = {}
    for record in fit(one):
        if record.record == "evaluation":
            at[record.step] = one.network.get_parameter("linear_1.weight").clone()
    assert torch.equal(one.network.get_parameter("linear_1.weight"), at[6])


def test_the_run_is_finished_and_says_at_which_step_it_stopped_and_why(scripted, tmp_path):
    scripted(5, 4, 3, 4, 4, 4)
    result = experiments.run(spec(f"{TRAIN}, early_stopping: {{patience: 3}}"), tmp_path).results[0]
    end = result.run.end()

    assert (result.status, result.steps) == ("finished", 12)
    assert result.notes == (
        "stopped early at step 12 of 40: valid/loss was no better for 3 evaluations",
        "best valid/loss 3 at step 6; the weights and the figures are those of this step",
    )
    assert end["message"] == result.notes[0]
    assert end["stopped_early"] is True
    assert end["best"] == {"metric": "valid/loss", "value": 3, "step": 6, "restored": True}
    network, _ = restore(result.run.dir)
    hits = [
        (network(torch.from_numpy(part.x)).argmax(1).numpy() == part.y).mean()
        for part in [spec(TRAIN).data.load().test]
    ]
    assert hits[0] == pytest.approx(result.metrics["test/accuracy"])


# --- before it starts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "valid", "note"),
    [
        (
            "early_stopping: valid/eror",
            "20",
            [("`early_stopping` follows valid/eror, which is not measured", "Did you mean `valid/error`")],
        ),
        (
            "keep_best: {count: 2, metric: valid/f1}",
            "20",
            [("`keep_best` follows valid/f1, which is not measured", "Did you mean `valid/loss`")],
        ),
        (
            "early_stopping: {}, keep_best: 2",
            "null",
            [
                (f"`{name}` wants evaluations on held-out data, and the data has no `valid` part", "`valid: 0.1`")
                for name in ("early_stopping", "keep_best")
            ],
        ),
        (
            "early_stopping: train/loss",
            "20",
            [('`metric` must be valid/NAME, of the part that is evaluated on the way, not "train/loss"', "")],
        ),
        (
            "schedule: {plateau: train/running_loss}",
            "20",
            [('`metric` must be valid/NAME, of the part that is evaluated on the way, not "train/running_loss"', "")],
        ),
        ("early_stopping: {patience: 0}", "20", [("`patience` must be above 0, not 0", "")]),
        ("keep_best: 0", "20", [("`count` must be at least 1, not 0", "")]),
        ("max_time: 0s", "20", [("`max_time: 0s` leaves no time for a single update", "")]),
        (
            "max_time: 30 minutes",
            "20",
            [
                (
                    "`max_time` must be a time such as 90s, 30m, 2h or 1h30m after which",
                    "",
                )
            ],
        ),
        ("average: {ema: 1}", "20", [("`decay` must be below 1, not 1", "")]),
        ("average: mean", "20", [("there is no average `mean`", "ema, polyak, swa")]),
        ("average: {swa: {start: 1}}", "20", [("`start` must be below 1, not 1", "")]),
    ],
)
def test_what_cannot_be_followed_is_refused_before_anything_starts(tmp_path, train, valid, note):
    with pytest.raises(SpecError) as error:
        experiments.run(spec(f"{TRAIN}, {train}", valid=valid), tmp_path)
    assert len(error.value.problems) == len(note)
    for problem, (message, hint) in zip(error.value.problems, note, strict=True):
        assert problem.message.startswith(message), problem
        assert hint in problem.hint, problem
    assert not list(tmp_path.iterdir())


def test_null_is_as_good_as_leaving_it_out():
    train = spec(f"{TRAIN}, average: null, early_stopping: null, keep_best: null, max_time: null").train
    assert (train.average, train.early_stopping, train.keep_best, train.limit) == (None, None, None, None)


def test_a_metric_that_an_evaluation_does_not_give_ends_it_with_a_sentence():
    one = job(f"{TRAIN}, early_stopping: valid/f1")
    with pytest.raises(RunError, match="early_stopping follows valid/f1, and there are valid/loss, valid/accuracy"):
        list(fit(one))
    without = job(f"{TRAIN}, early_stopping: {{}}", valid="null")
    with pytest.raises(RunError, match="early_stopping follows valid/loss, and the data has no `valid` part"):
        list(fit(without))


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661), ("1h5s", 3605)],
)
def test_times_are_read(text, expected):
    assert seconds(text) == expected
    assert spec(f"{TRAIN}, max_time: {text}").train.limit == expected


def test_a_run_whose_time_is_up_stops_and_goes_on_to_the_same_bits(monkeypatch, tmp_path):
    """A clock that moves a second each time it is asked: at the start, and after each update."""
    train = f"{TRAIN}, average: {{ema: 0.9}}, early_stopping: {{patience: 50}}"
    whole = experiments.run(spec(train), tmp_path / "whole").results[0]
    ticks = count()
    monkeypatch.setattr(early_stopping, "now", lambda: next(ticks))
    result = experiments.run(spec(f"{train}, max_time: 15s"), tmp_path / "cut").results[0]

    assert (result.status, result.steps, result.run.status()) == ("stopped", 15, "stopped")
    assert result.notes == ("the time limit of 15s was reached at step 15 of 40",)
    assert result.run.end()["message"] == result.notes[0]
    restore(result.run.dir, "stopped")
    steps = [15]
    while result.status == "stopped":
        _, results = experiments.resume(result.run)
        result = results.results[0]
        steps.append(result.steps)
    assert steps == [15, 30, 40]
    assert result.metrics == whole.metrics
    files = [each.run.dir / "checkpoints" / "final.safetensors" for each in (result, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_limit_is_not_reached_by_the_last_update(monkeypatch):
    ticks = count()
    monkeypatch.setattr(early_stopping, "now", lambda: next(ticks))
    assert list(fit(job(f"{TRAIN}, max_time: 40s")))[-1].record == "end"


def test_the_clock_is_not_asked_without_a_limit(monkeypatch):
    monkeypatch.setattr(early_stopping, "now", lambda: pytest.fail("asked for the time"))
    list(fit(job(TRAIN)))


def test_a_second_seed_that_is_stopped_leaves_the_means_of_what_both_have(monkeypatch, tmp_path):
    ticks = count()
    monkeypatch.setattr(early_stopping, "now", lambda: next(ticks) if next(ticks) < 100 else 10**6)
    results = experiments.run(spec(f"{TRAIN}, seeds: 2, max_time: 200s"), tmp_path)
    assert [r.status for r in results.results] == ["finished", "stopped"]
    assert "valid/loss" in results.metrics
    assert "test/loss" not in results.metrics
    assert results.as_json()["status"] == "stopped"


def dlx(folder, *more: str) -> subprocess.CompletedProcess[str]:
    return commands.dlx(*more, cwd=folder)


def test_the_command_tells_that_the_time_was_up_and_how_to_go_on(tmp_path):
    train = TRAIN.replace("steps: 40", "steps: 4_000_000")
    (tmp_path / "s.yaml").write_text(SPEC.format(train=train, objective="classification: {}", valid="20"))
    first = dlx(tmp_path, "train", "s.yaml", "+train.max_time=1s")
    assert first.returncode == 0, first.stderr
    assert "the time limit of 1s was reached at step " in first.stdout
    go_on = first.stdout.partition("go on   dlx ")[2].split("\n")[0].split()
    second = dlx(tmp_path, *go_on, "--json")
    note = json.loads(second.stdout)

    assert go_on[:2] == ["train", "--resume"]
    assert note["status"] == "stopped"
    assert note["steps"] > int(first.stdout.partition("reached at step ")[2].split()[0].replace(",", ""))


def test_the_command_tells_how_it_ended_in_words_and_as_json(tmp_path):
    train = f"{TRAIN}, early_stopping: {{patience: 2}}, keep_best: 2, average: {{ema: 0.5}}".replace(
        "sgd: 0.1", "sgd: 0"
    )
    (tmp_path / "s.yaml").write_text(SPEC.format(train=train, objective="classification: {}", valid="20"))
    words = dlx(tmp_path, "train", "s.yaml", "train.average=null", "train.recompute_statistics=false")
    note = json.loads(dlx(tmp_path, "train", "s.yaml", "--json").stdout)

    assert "stopped early at step " in words.stdout
    assert "best valid/loss " in words.stdout
    assert "kept by valid/loss: best-1 " in words.stdout
    assert note["stopped_early"] is True
    assert note["best"]["metric"] == "valid/loss"
    assert note["average"] == {"kind": "ema", "updates": note["steps"]}
    assert [one["name"] for one in note["kept"]] == ["best-1", "best-2"]
    listed = json.loads(dlx(tmp_path, "runs", "--json").stdout)["runs"]
    assert listed[0]["kept"] == note["kept"]
    assert "  best-1 " in dlx(tmp_path, "runs").stdout
