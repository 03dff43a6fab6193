"""Kinds of another package through all of dlx: two networks against each other, and data with a carried state."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import commands
import pytest
import torch
from helpers import experiment_of

from dlx.errors import RunError, SpecError
from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.network import build
from dlx.spec import load
from dlx.sweeps.plan import plan
from dlx.track import model
from dlx.training import random_generators
from dlx.training.checkpoints import training_state
from dlx.training.fit import Job, Record, fit

pytest.importorskip("dlx_example_kinds")

ADVERSARIES = """
    name: adversaries
    data: {moons: {train: 300, test: 100}}
    networks:
      generator:
        inputs: {noise: [4]}
        layers: [{linear: 16}, tanh, {linear: 2}]
      critic:
        inputs: {point: [2]}
        layers: [{linear: 16}, leaky_relu, {linear: 1}]
    objective: {adversaries: {critic_steps: 3}}
    train:
      steps: 24
      batch_size: 32
      log_every: 4
      save_every: 7
      optimizer: {generator: {adam: 1e-3}, critic: {rmsprop: 5e-4}}
      schedule: {critic: {step: {step_size: 10, unit: step}}}
      average: {generator: {ema: 0.9}}
    track: {mlflow: false}
"""
CARRIED = """
    name: carried
    data: {delayed: {train: 1200, test: 300, size: 8}}
    network:
      inputs: {input: [1], state: [8]}
      layers:
        - {concat: , name: both, from: [input, state]}
        - {linear: 8, name: hidden}
        - {tanh: , name: memory}
        - {linear: 1, name: answer}
      outputs: {answer: answer, state: memory}
    objective: stateful
    train: {epochs: 4, batch_size: 8, save_every: 100, optimizer: {adam: 1e-2}}
    track: {mlflow: false}
"""


def job_of(text: str) -> Job:
    return session.job_of(experiments.prepare(experiment_of(text)))


def trained(text: str) -> tuple[Job, list[Record]]:
    job = job_of(text)
    return job, list(fit(job))


def weights(job: Job) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in job.network.state_dict().items()}


def dlx(folder: Path, command: str, path: Path | str, *more: str) -> dict[str, Any]:
    """The JSON document of a command."""
    done = commands.dlx(command, path, *more, "--json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def spec(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text("\n".join(line[4:] for line in text.splitlines()))
    return path


# --- two networks ---------------------------------------------------------------------------------------------------


def by_hand(steps: int, critic_steps: int) -> dict[str, torch.Tensor]:
    """The same training as a loop in plain torch: RMSprop at a rate that falls, Adam, and an average beside it."""
    prepared = experiments.prepare(experiment_of(ADVERSARIES))
    random_generators.seed_all(0)
    generator, critic = (build(prepared.graphs[name]) for name in ("generator", "critic"))
    x = torch.from_numpy(prepared.sets.train.x)
    order, rng = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(generator.parameters(), 1e-3, fused=True)
    rms = torch.optim.RMSprop(critic.parameters(), 5e-4)
    means = [p.detach().clone() for p in generator.parameters()]

    def batches():
        while True:
            yield from torch.randperm(300, generator=order).split(32)

    coming = batches()
    for step in range(steps):
        for group in rms.param_groups:
            group["lr"] = 5e-4 * 0.1 ** (step // 10)
        for _ in range(critic_steps):
            real = x[next(coming)]
            with torch.no_grad():
                made = generator(torch.randn(len(real), 4, generator=rng))
            value = critic(real)
            loss = critic(made).mean() - value.mean() + 0.01 * value.square().mean()
            rms.zero_grad()
            loss.backward()
            rms.step()
        loss = -critic(generator(torch.randn(16, 4, generator=rng))).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        for mean, p in zip(means, generator.parameters(), strict=True):
            mean.lerp_(p.detach(), 1 - 0.9 if step else 1)  # it begins with the weights after the first step
    found = dict(zip((f"generator.{name}" for name, _ in generator.named_parameters()), means, strict=True))
    return found | {f"critic.{name}": p.detach() for name, p in critic.named_parameters()}


def test_two_networks_move_as_a_loop_by_hand_moves_them():
    job, _ = trained(ADVERSARIES)
    wanted = by_hand(24, 3)
    assert weights(job).keys() == wanted.keys()
    for name, value in weights(job).items():
        assert torch.allclose(value, wanted[name], rtol=1e-6, atol=1e-8), name


def test_a_loop_with_a_repetition_less_comes_to_other_weights():
    job, _ = trained(ADVERSARIES)
    assert not torch.allclose(weights(job)["critic.linear_1.weight"], by_hand(24, 2)["critic.linear_1.weight"])


def test_a_step_of_three_repetitions_takes_three_batches():
    job, records = trained(ADVERSARIES)
    assert job.span.per_epoch == 4  # 10 batches in an epoch
    assert records[-1].epoch == 8  # 72 batches


def test_the_curve_has_each_term_of_each_phase_and_each_rate():
    _, records = trained(ADVERSARIES)
    point = next(record for record in reversed(records) if record.record == "step")
    assert point.metrics.keys() == {
        *("train/critic/distance", "train/critic/drift", "train/generator/fooled"),
        *("lr/critic", "lr/generator"),
    }
    assert (point.metrics["lr/critic"], point.metrics["lr/generator"]) == (pytest.approx(5e-6), 1e-3)


def test_the_average_is_judged_and_stays():
    job, records = trained(ADVERSARIES)
    plain, other = trained(ADVERSARIES.replace("      average: {generator: {ema: 0.9}}\n", ""))
    names = [name for name in weights(job) if not torch.equal(weights(job)[name], weights(plain)[name])]
    assert {name.split(".")[0] for name in names} == {"generator"}
    assert records[-1].metrics["test/generator/loss"] != other[-1].metrics["test/generator/loss"]


@pytest.mark.parametrize("text", [ADVERSARIES, CARRIED], ids=["two networks", "carried state"])
def test_a_training_that_is_cut_off_goes_on_to_the_same_bits(text, tmp_path):
    whole, records = trained(text)
    cut = job_of(text)
    steps = cut.total_steps // 2 + 1
    cut.progress.until = steps
    list(fit(cut))
    training_state.snapshot(cut, {"step": steps, "spec_hash": ""}, {}).write(tmp_path)
    torch.manual_seed(99)
    again = job_of(text)
    training_state.restore(again, tmp_path)
    rest = [record for record in fit(again) if record.record != "safe_point"]
    assert all(torch.equal(a, weights(again)[name]) for name, a in weights(whole).items())
    assert rest == [record for record in records if record.record != "safe_point"][-len(rest) :]


def test_a_resumed_run_without_the_state_of_the_feed_comes_to_other_bits(tmp_path):
    whole, _ = trained(CARRIED)
    cut = job_of(CARRIED)
    cut.progress.until = 301
    list(fit(cut))
    training_state.snapshot(cut, {"step": 301, "spec_hash": ""}, {}).write(tmp_path)
    again = job_of(CARRIED)
    training_state.restore(again, tmp_path)
    again.feed.held.zero_()
    list(fit(again))
    assert not all(torch.equal(a, weights(again)[name]) for name, a in weights(whole).items())


@pytest.mark.slow
@pytest.mark.parametrize("text", [ADVERSARIES, CARRIED], ids=["two networks", "carried state"])
def test_runs_that_are_killed_go_on_to_the_same_bits(text, tmp_path):
    document = dlx(tmp_path, "prove-resume", spec(tmp_path, text), "--kills", "3")
    assert document["equal"], document
    assert len(document["kills"]) == 3


# --- a state that is carried ----------------------------------------------------------------------------------------


def test_what_is_carried_is_learned_from():
    _, records = trained(CARRIED)
    assert records[-1].metrics["test/learn/loss"] < 0.05


def test_without_the_state_it_is_no_better_than_a_guess():
    _, records = trained(CARRIED.replace("size: 8}", "size: 8, carry: false}"))
    assert records[-1].metrics["test/learn/loss"] > 0.25  # the variance of the targets is 0.3


def test_each_series_begins_with_zeros_at_a_batch_of_its_own():
    job = job_of(
        CARRIED.replace("train: 1200", "train: 48, lengths: [3, 5]").replace("batch_size: 8", "batch_size: 2")
    )
    begins = []
    for _ in range(24):
        batch = job.feed.next("learn")
        begins.append([not row.any() for row in batch["state"]])
        batch.carry("state", torch.ones(2, 8))
    first, second = ([at for at, row in enumerate(begins) if row[i]] for i in (0, 1))
    assert first == [0, 3, 8, 11, 16, 19]  # 3 and 5 in turn
    assert second == [0, 3, 8, 11, 16, 19]  # of the second half: 24 is a multiple of 8
    job = job_of(
        CARRIED.replace("train: 1200", "train: 40, lengths: [3, 5]").replace("batch_size: 8", "batch_size: 4")
    )
    begins = [[not row.any() for row in _ones(job)] for _ in range(10)]
    assert [[at for at, row in enumerate(begins) if row[i]] for i in range(4)] == [
        *([0, 3, 8], [0, 1, 6, 9]),  # the second piece begins at moment 10, the series at 11, 16, 19
        *([0, 4, 7], [0, 2, 5]),  # 24, 27; 32, 35
    ]


def _ones(job: Job) -> torch.Tensor:
    batch = job.feed.next("learn")
    batch.carry("state", torch.ones(4, 8))
    return batch["state"]


# --- as users run it ------------------------------------------------------------------------------------------------


def test_inspect_counts_both_networks(tmp_path):
    document = dlx(tmp_path, "inspect", spec(tmp_path, ADVERSARIES))
    counts = {"generator": (4 * 16 + 16) + (16 * 2 + 2), "critic": (2 * 16 + 16) + (16 + 1)}
    assert {name: network["params"] for name, network in document["networks"].items()} == counts
    assert document["params"] == sum(counts.values()) == 179


def test_a_run_has_the_curve_the_plan_and_the_weights_of_both(tmp_path):
    document = dlx(tmp_path, "train", spec(tmp_path, ADVERSARIES))
    run = Path(tmp_path, document["dir"])
    assert document["average"] == {"generator": {"kind": "ema", "updates": 24}}
    assert document["metrics"].keys() == {
        f"{part}/{phase}/loss" for part in ("train", "test") for phase in ("critic", "generator")
    }
    assert json.loads((run / "plan.json").read_text())["networks"].keys() == {"generator", "critic"}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if r["record"] == "step"] == [4, 8, 12, 16, 20, 24]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_mlflow_has_the_curves_and_the_models_of_both_networks(tmp_path, empty_store, copied_mirrors):
    import mlflow

    shutil.copy(empty_store, tmp_path / "own.db")
    text = ADVERSARIES.replace("{mlflow: false}", f"{{uri: 'sqlite:///{tmp_path}/own.db'}}")
    (result,) = experiments.run(load(spec(tmp_path, text)), tmp_path / "runs").results
    assert result.mirror is not None
    assert result.mirror.finish(timeout=300) == "delivered"
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/own.db")
    (run,) = client.search_runs([client.get_experiment_by_name("adversaries").experiment_id])
    steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/critic/distance")]
    assert sorted(steps) == [4, 8, 12, 16, 20, 24]
    assert run.data.metrics["lr/critic"] == pytest.approx(5e-6)
    models = client.search_logged_models([run.info.experiment_id])
    assert {model.name for model in models} == {"generator", "critic"}
    client._tracking_client.store.engine.dispose()


def test_a_trained_run_is_evaluated_searched_and_shown_over_time(tmp_path):
    path = spec(tmp_path, ADVERSARIES.replace("test: 100", "test: 100, valid: 50"))
    document = dlx(tmp_path, "train", path)
    again = dlx(tmp_path, "evaluate", document["dir"])
    assert again["metrics"] == {name: v for name, v in document["metrics"].items() if not name.startswith("train/")}
    rates = dlx(tmp_path, "train", path, "--plot-schedule")["networks"]
    assert {name: one["points"][-1]["lr"] for name, one in rates.items()} == {
        "critic": pytest.approx(5e-6),
        "generator": 1e-3,
    }
    found = dlx(tmp_path, "sweep", path, "train.batch_size=16,32", "++sweep.metric=valid/critic/loss")
    assert (found["trials"], found["finished"]) == (2, 2), found


def test_the_logged_model_of_a_network_called_model_is_its_own(tmp_path):
    more = "      model: {inputs: {point: [2]}, layers: [{linear: 5}]}\n    objective:"
    text = ADVERSARIES.replace("    objective:", more).replace("steps: 24", "steps: 1") + "    freeze: [model]\n"
    (result,) = experiments.run(experiment_of(text), tmp_path).results
    network, _ = model._restore(result.run, "model")
    assert [tuple(p.shape) for p in network.parameters()] == [(5, 2), (5,)]


def test_a_search_stops_trials_of_several_networks_on_the_way(tmp_path):
    path = spec(tmp_path, ADVERSARIES.replace("test: 100", "test: 100, valid: 50"))
    rates = "train.optimizer.generator.adam.lr=1e-3,1e-2"
    found = dlx(tmp_path, "sweep", path, rates, "++sweep.metric=valid/critic/loss", "++sweep.scheduler=asha")
    assert found["trials"] == 2, found
    assert found["finished"] >= 1, found


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("", "a search wants `sweep.metric`, and no trial reports valid/loss"),
        ("sweep: {metric: train/running_loss}", "no trial reports train/running_loss"),
    ],
)
def test_a_search_of_several_networks_wants_a_metric_that_a_trial_reports(tmp_path, metric, sentence):
    text = ADVERSARIES.replace("test: 100", "test: 100, valid: 50")
    path = spec(tmp_path, text + f"    {metric}\n")
    with pytest.raises(SpecError) as caught:
        plan(path, ["train.batch_size=16,32"], tmp_path / "runs")
    (problem,) = caught.value.problems
    assert problem.message == sentence
    assert problem.hint.startswith("Did you mean `")
    assert "/critic/loss`" in problem.hint


def test_a_network_that_no_phase_calls_is_said():
    more = "      extra: {inputs: {point: [2]}, layers: [{linear: 5}]}\n    objective:"
    text = ADVERSARIES.replace("    objective:", more)
    with pytest.raises(SpecError) as caught:
        experiments.prepare(experiment_of(text))
    (problem,) = caught.value.problems
    assert problem.message == "no phase of `adversaries` calls or moves the network `extra`"
    (warning,) = experiments.prepare(experiment_of(f"{text}    freeze: [extra]\n")).graphs.warnings
    assert warning.message == "no phase of `adversaries` calls the network `extra`"
    assert warning.path == "networks.extra"
    assert not experiments.prepare(experiment_of(ADVERSARIES)).graphs.warnings


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            ("critic: {rmsprop: 5e-4}", ""),
            "there is no optimizer for the network `critic`",
        ),
        (
            ("{adam: 1e-3}", "{lbfgs: 1}"),
            "lbfgs looks at the loss more than once a step",
        ),
        (("steps: 24", "steps: 24, precision: fp16"), "fp16 scales the gradients of one loss"),
        (("steps: 24", "steps: 24, compile: true"), "`compile: true` is for one network"),
        (("steps: 24", "steps: 24, ensemble: 3"), "`adversaries` has phases"),
        (
            ("generator:\n        inputs", "maker:\n        inputs"),
            "no network and no optimizer `generator`",
        ),
        (("{adversaries: {critic_steps: 3}}", "stateful"), "stateful calls the network `network`, and the spec has"),
        (("{adversaries: {critic_steps: 3}}", "regression"), "regression trains one `network`, and the spec has"),
    ],
)
def test_what_phases_cannot_do_is_said_before_anything_starts(change, sentence):
    text = ADVERSARIES.replace("train:\n      steps: 24", "train:\n      steps: 24").replace(*change)
    if "steps: 24," in text:
        text = text.replace("      steps: 24, ", "      steps: 24\n      ")
    with pytest.raises(SpecError) as caught:
        experiments.prepare(experiment_of(text))
    assert sentence in "\n".join(problem.message for problem in caught.value.problems)


def test_an_objective_that_fails_is_named_with_its_phase_and_step():
    text = ADVERSARIES.replace("{noise: [4]}", "{noise: [5]}")
    with pytest.raises(RunError) as caught:
        trained(text)
    message = caught.value.problems[0].message
    assert message.startswith(
        "`adversaries` fails in its phase `critic` at step 1: RuntimeError: mat1 and mat2 shapes"
    )


def test_seeds_of_data_with_an_order_of_its_own_say_that_they_are_trained_one_after_the_other(tmp_path):
    events = []
    text = CARRIED.replace("epochs: 4", "epochs: 1, seeds: 2")
    experiments.run(experiment_of(text), tmp_path, events.append)
    begun = [event.notes for event in events if isinstance(event, experiments.TrainingStarted)]
    note = "`carry: true` goes on with the states of one network: the trainings come one after the other."
    assert [note in notes for notes in begun] == [True, True]


def test_data_with_an_order_of_its_own_is_not_for_independent_examples():
    text = CARRIED.replace("objective: stateful", "objective: regression")
    with pytest.raises(SpecError) as caught:
        experiments.prepare(experiment_of(text))
    messages = "\n".join(problem.message for problem in caught.value.problems)
    assert "regression takes independent examples, and the data `delayed` has an order of its own" in messages
