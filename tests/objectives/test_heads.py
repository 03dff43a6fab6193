"""Several objectives by output: losses, weights, metrics, what is followed, packed runs and answers."""

import json
import math

import numpy as np
import pytest
import torch
from complaints import report
from helpers import SHIPPED
from quality import all_of, unmet
from safetensors.numpy import load_file
from torch.nn import functional as F

from dlx.data.generated.tasks import Houses
from dlx.experiment import runner, session
from dlx.experiment.recorder import RunRecorder
from dlx.experiment.runner import prepare
from dlx.experiment.session import job_of
from dlx.graph import trace
from dlx.objectives import OBJECTIVES
from dlx.objectives.learned import parameters_of
from dlx.spec import load
from dlx.trained.evaluate import evaluate
from dlx.trained.predict import predict
from dlx.training.fit import fit, updates

SPEC = """\
data: {houses: {train: 200, valid: 60, test: 100, standardize: feature}}
network:
  layers:
    - {linear: 16, name: trunk}
    - relu
    - {linear: 1, name: price}
    - {linear: 2, name: sold, from: relu_1}
  outputs: [price, sold]
objective:
  price: {regression: {scale: standardize, metrics: [r2]}}
  sold: {classification: {weight: 0.3, metrics: [auroc]}}
train: {epochs: 6, batch_size: 20, optimizer: {adam: 0.02}, device: cpu}
track: {mlflow: false}
"""
OF = "{price: {regression: {scale: standardize}}, sold: classification}"
LEARNED = f"objective={{heads: {{of: {OF}, weighting: uncertainty}}}}"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path / "s.yaml"


def first_step(job):
    """The loss of the first update and the examples that it took; the network is as before it."""
    losses = []
    before = {name: one.clone() for name, one in job.network.state_dict().items()}
    next(updates(job, losses))
    index = job.feed.order[:20]
    job.network.load_state_dict(before)
    return losses[0], job.parts["train"].take(index)


# --- losses ---------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighted_sum_of_torchs(path):
    made = prepare(load(path))
    job = job_of(made)
    loss, batch = first_step(job)
    outputs = job.network(*batch.inputs)
    mean, std = made.target_statistics["price"]["mean"][0], made.target_statistics["price"]["std"][0]
    price = F.mse_loss(outputs["price"], (batch["price"] - mean) / std)

    expected = price + 0.3 * F.cross_entropy(outputs["sold"], batch["sold"])

    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_learned_weights_are_those_of_kendall_and_have_their_gradient(path):
    job = job_of(prepare(load(path, [LEARNED])))
    s = parameters_of(job.network)
    with torch.no_grad():
        s["price"].fill_(0.4)
        s["sold"].fill_(-0.7)
    loss, batch = first_step(job)
    outputs = job.network(*batch.inputs)
    price = F.mse_loss(outputs["price"], job.objective.of["price"].scaled(batch["price"]))
    sold = F.cross_entropy(outputs["sold"], batch["sold"])

    expected = 0.5 * math.exp(-0.4) * price + 0.5 * 0.4 + math.exp(0.7) * sold - 0.5 * 0.7

    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert s["price"].grad.item() == pytest.approx(0.5 - 0.5 * math.exp(-0.4) * price.item(), rel=1e-5)
    assert s["sold"].grad.item() == pytest.approx(0.5 - math.exp(0.7) * sold.item(), rel=1e-5)


def test_a_learned_log_variance_rests_where_the_loss_of_its_head_says(path):
    """There exp(s) is the squared error, or twice another loss: a noisier head has a larger one, and weighs less."""
    heads, losses = load(path, [LEARNED]).objective, {"price": torch.tensor(0.04), "sold": torch.tensor(0.5)}
    at_rest = {"price": torch.tensor(math.log(0.04)), "sold": torch.tensor(math.log(2 * 0.5))}
    for one in at_rest.values():
        one.requires_grad_()
    heads.weighted(losses, at_rest).backward()

    assert [one.grad.item() for one in at_rest.values()] == pytest.approx([0, 0], abs=1e-6)


def test_metrics_have_the_names_of_heads_and_the_loss_is_their_weighted_sum(path):
    job = job_of(prepare(load(path)))
    end = list(fit(job))[-1].metrics
    names = {"loss", *(f"price/{m}" for m in ("loss", "mse", "mae", "r2"))}
    names |= {f"sold/{m}" for m in ("loss", "accuracy", "error", "auroc")}

    assert {name for name in end if name.startswith("test/")} == {f"test/{name}" for name in names}
    assert end["test/loss"] == pytest.approx(end["test/price/loss"] + 0.3 * end["test/sold/loss"])
    assert set(job.objective.modes()) == names
    assert job.objective.modes()["sold/auroc"] == "max"


# --- trainings ------------------------------------------------------------------------------------------------------


def test_early_stopping_plateau_and_checkpoints_follow_the_metric_of_a_head(path):
    following = [
        "train.early_stopping={metric: valid/sold/auroc, patience: 2}",
        "train.keep_best={metric: valid/price/mae, count: 1}",
        "train.schedule={plateau: {metric: valid/price/loss}}",
    ]
    job = job_of(prepare(load(path, following)))
    records = list(fit(job))
    curve = [r.metrics["valid/sold/auroc"] for r in records if r.record == "evaluation"]

    assert job.progress.stopping.best == max(curve)
    with pytest.raises(Exception, match="follows valid/sold/auc, which is not measured"):
        prepare(load(path, ["train.early_stopping={metric: valid/sold/auc}"]))


def test_seeds_are_packed_and_have_the_curves_that_they_have_alone(path):
    experiment = load(path, [LEARNED, "train.seeds=3"])
    together = runner.run(experiment, path.parent / "runs").results
    alone = runner.run(experiment.with_seed(1), path.parent / "runs").results[0].run

    assert [one.run.lock()["way"]["step"] for one in together] == ["packed"] * 3
    weights = [load_file(run.dir / "checkpoints" / "final.safetensors") for run in (together[1].run, alone)]
    assert weights[0].keys() == weights[1].keys() >= {"objective.price", "objective.sold"}
    assert all(np.allclose(weights[0][name], weights[1][name], atol=1e-5) for name in weights[0])
    assert weights[0]["objective.price"] < weights[0]["objective.sold"] < 0.5


def test_a_step_is_replayed_with_several_heads(path):
    job = job_of(prepare(load(path, [LEARNED, "train.trace=true", "train.epochs=30"])))
    list(fit(job))
    assert job.learner.way["step"] == "replayed"


def test_a_run_cut_off_goes_on_to_the_same_bits(path):
    made = prepare(load(path, [LEARNED]))
    whole, halted = (session.new_run(made, path.parent / "runs") for _ in range(2))
    session.train_run(RunRecorder(whole), made, session.Session())
    session.train_run(RunRecorder(halted), made, session.Session(until=25))
    session.train_run(RunRecorder(halted), made, session.Session())

    final = [load_file(run.dir / "checkpoints" / "final.safetensors") for run in (whole, halted)]
    assert "objective.price" in final[0]
    assert all((final[0][name] == final[1][name]).all() for name in final[0])


# --- after training -------------------------------------------------------------------------------------------------


def test_a_run_answers_for_each_head(path):
    run = runner.run(load(path, [LEARNED]), path.parent / "runs").results[0].run
    x, targets = Houses().examples(50, np.random.default_rng(7))
    np.savez(path.parent / "new.npz", x=x.astype("float32"))

    answers = predict(run, path.parent / "new.npz")
    titles, rows = answers.rows()
    assert titles == ["input", "price", "sold", "sold p(0)", "sold p(1)"]
    assert rows[0][1] == answers.arrays["price/values"][0, 0]
    assert np.abs(answers.arrays["price/values"] - targets["price"]).mean() < 0.5 * targets["price"].std()
    said = json.loads(json.dumps(answers.as_json()))["predictions"][3]["heads"]
    assert said["price"]["values"] == answers.arrays["price/values"][3].tolist()
    assert said["sold"]["class"] == str(answers.arrays["sold/classes"][3])

    found = evaluate([run], parts=["test"]).metrics
    assert found == {name: value for name, value in run.end()["metrics"].items() if name.startswith("test/")}


def test_learned_weights_are_counted_and_an_exact_claim_has_a_target_for_each_head(path):
    graph = trace(load(path, [LEARNED]))
    assert graph.params == trace(load(path)).params + 2
    assert graph.as_json()["of_objective"] == ["objective/price", "objective/sold"]

    from dlx.claims import verify

    (path.parent / "exact.yaml").write_text("""\
network:
  inputs: [2]
  layers:
    - {identity: {}, name: b}
    - {slice: {dim: 1, stop: 1}, name: a}
  outputs: [a, b]
objective: {a: {regression: {weight: 2}}, b: classification}
expect: {loss: {at: [3, 3], target: {a: [1], b: 0}, is: "${2 * 4 + log(2)}"}}
""")
    (verified,) = verify.verify([path.parent / "exact.yaml"])
    assert [one.verdict for one in verified.receipts] == ["holds"]


# --- shipped specs, and twins of them that are broken ---------------------------------------------------------------


def end_of(name, *changes, broken=False):
    made = prepare(load(SHIPPED[name], changes))
    return list(fit(shuffled(made) if broken else job_of(made)))[-1].metrics


def test_house_sales_meet_their_claims_and_no_twin_does():
    name = "zoo/house_sales"
    assert not unmet(name, end_of(name))
    assert unmet(name, end_of(name, broken=True)) == all_of(name)
    assert "test/price/r2" in unmet(name, end_of(name, "network.layers.1={identity: {}, name: relu_1}"))  # linear
    assert "test/price/r2" in unmet(name, end_of(name, "+data.houses.noise=0"))  # better than can be: too high


def test_eight_tasks_on_one_trunk_are_learned_better_than_one_alone():
    name = "zoo/eight_tasks"
    end = end_of(name)
    assert not unmet(name, end)
    assert unmet(name, end_of(name, "train.optimizer.adam.lr=1e-12", "train.epochs=2")) == all_of(name)
    broken = end_of(name, "train.epochs=10", broken=True)
    assert unmet(name, broken) == all_of(name)
    assert 0.4 < mean_accuracy(broken) < 0.6
    alone = end_of(name, "objective={classification: {field: task_2}}", "network.outputs=task_2")
    assert end["test/task_2/accuracy"] > alone["test/accuracy"]


def test_labels_meet_their_claims_and_neither_shuffled_ones_nor_a_linear_network_do():
    name = "zoo/multi_label"
    assert not unmet(name, end_of(name))
    assert unmet(name, end_of(name, broken=True)) == all_of(name)
    assert unmet(name, end_of(name, "network.layers.1=identity")) == all_of(name)


def mean_accuracy(metrics):
    return sum(metrics[f"test/task_{i}/accuracy"] for i in range(1, 9)) / 8


def shuffled(made):
    """A training whose targets belong to other examples."""
    job = job_of(made)
    part = job.parts["train"]
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(1))
    for name in part.names.targets:
        part.fields[name].copy_(part.fields[name][order])
    return job


# --- what does not fit ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "complaints"),
    [
        (
            "objective={price: regression}",
            ["no head learns the target `sold`: there is the head `price`", "the output `sold` has no head"],
        ),
        (
            "objective={price: regression, sld: classification}",
            [
                "the head `sld` has no output: the network has `price`, `sold`\n  Did you mean `sold`?",
                "the head `sld` learns the target `sld`, and the data has the targets `price` and `sold` (s.yaml",
            ],
        ),
        (
            "objective={price: regression, sold: {classification: {field: sol}}}",
            ["the head `sold` learns the target `sol`, and the data has the targets `price` and `sold`"],
        ),
        (
            "objective={price: regression, classification: {}}",
            ["the output `price` stands beside `classification`, a kind of objective"],
        ),
        (
            "objective={price: regresion, sold: classification}",
            ["objective.price\n  there is no objective `regresion`\n  Did you mean `regression` or"],
        ),
        (
            "objective={price: classification, sold: classification}",
            ["classification wants classes, and the data has targets of shape (1,)"],
        ),
        (
            "objective={price: {regression: {l2: 0.1}}, sold: classification}",
            ["`l2` is of all heads: write it beside `of`, and not in `price`"],
        ),
        (
            "objective={heads: {weighting: uncertainty, of: {price: {regression: {weight: 2}}, sold: regression}}}",
            ["`weight` of `price` stands beside `weighting: uncertainty`, which learns it"],
        ),
        (
            "objective={heads: {of: {data: regression, sold: classification}}}",
            ["a head cannot be called `data`: letters, digits and `_`, and no other word of specs"],
        ),
    ],
)
def test_heads_that_do_not_fit_are_told_with_both_sides(tmp_path, override, complaints):
    told = report(tmp_path, SPEC, override)
    for complaint in complaints:
        assert complaint in told


def test_an_override_reaches_into_a_head(path):
    experiment = load(path, ["objective.sold.classification.weight=0.5", "objective.price.regression.scale=none"])
    assert experiment.objective.of["sold"].weight == 0.5
    assert experiment.objective.of["price"].scale == "none"


def test_a_weight_of_one_objective_is_no_silent_factor(path):
    assert OBJECTIVES["regression"].model_validate({}).weight == 1
    with pytest.raises(Exception, match="`weight` is that of one of several heads"):
        prepare(load(path, ["objective={regression: {weight: 2, field: price}}", "network.outputs=price"]))
