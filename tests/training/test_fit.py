"""The loop: what it computes is torch's own loop, what it yields is in order, and a loss that breaks stops it."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from dlx.errors import RunError
from dlx.graph import trace
from dlx.network import build
from dlx.spec import load, objective_of
from dlx.training import early_stopping
from dlx.training import fit as loop
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, fit

SPEC = """
name: small
data: {{synthetic: {{shape: [5], {targets}, train: 70, valid: 20, test: 30, seed: 1}}}}
network:
  layers:
    - linear: 8
    - tanh
    - linear: {outputs}
objective: {{{objective}: {{loss: {loss}}}}}
train: {{{train}}}
"""


def job(
    tmp_path: Path, train: str, objective="classification", loss="cross_entropy", targets="classes: 3", outputs=3
) -> Job:
    path = tmp_path / "small.yaml"
    path.write_text(SPEC.format(train=train, objective=objective, loss=loss, targets=targets, outputs=outputs))
    experiment = load(path)
    graph = trace(experiment)
    torch.manual_seed(experiment.train.seed)
    network = build(graph, experiment.init)
    parts = on_device(experiment.data.load(), torch.device("cpu"))
    return Job(network, objective_of(experiment), experiment.train, parts)


OPTIMIZERS = {
    "sgd: 0.1": lambda p: torch.optim.SGD(p, lr=0.1),
    "sgd: {lr: 0.05, momentum: 0.9, weight_decay: 0.01}": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, weight_decay=0.01
    ),
    "sgd: {lr: 0.05, momentum: 0.8, nesterov: true}": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.8, nesterov=True
    ),
    "adam: {lr: 0.01, betas: [0.8, 0.99]}": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99)),
    "adam: {lr: 0.01, weight_decay: 0.1, amsgrad: true}": lambda p: torch.optim.Adam(
        p, lr=0.01, weight_decay=0.1, amsgrad=True
    ),
    "adamw: {lr: 0.01, weight_decay: 0.1}": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("written", OPTIMIZERS)
def test_the_loop_computes_what_a_hand_written_loop_computes(tmp_path, written):
    mine = job(tmp_path, f"steps: 25, batch_size: 16, optimizer: {{{written}}}, seed: 7")
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer = OPTIMIZERS[written](net.parameters())
    x, y = mine.parts["train"].x, mine.parts["train"].y
    order, step = torch.Generator().manual_seed(7), 0
    while step < 25:
        for index in torch.randperm(70, generator=order).split(16):
            if step < 25:
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[index]), y[index]).backward()
                optimizer.step()
                step += 1

    for _ in fit(mine):
        pass

    for name, hand in zip(
        ("linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"), net.parameters(), strict=True
    ):
        torch.testing.assert_close(mine.network.get_parameter(name), hand, rtol=1e-5, atol=1e-6)


def test_one_step_of_gradient_descent_is_right_by_hand(tmp_path):
    """w = 2, x = 3, target 1: loss (6 - 1)^2 = 25, gradient 2 * 5 * 3 = 30, so w becomes 2 - 0.01 * 30 = 1.7."""
    path = tmp_path / "hand.yaml"
    path.write_text(
        "network:\n  inputs: [1]\n  layers:\n"
        "    - linear: {out_features: 1, bias: false}\n      values: {weight: [[2]]}\n"
        "data: {synthetic: {shape: [1], target: [1], train: 1, test: null, valid: null}}\nobjective: regression\n"
        "train: {steps: 1, optimizer: {sgd: 0.01}}\n"
    )
    experiment = load(path)
    network = build(trace(experiment))
    one = Job(network, experiment.objective, experiment.train, on_device(experiment.data.load(), torch.device("cpu")))
    one.parts["train"].x.fill_(3)
    one.parts["train"].y.fill_(1)
    records = list(fit(one))
    assert records[0].metrics["train/running_loss"] == 25
    assert network.linear_1.weight.item() == pytest.approx(1.7)


def test_records_come_in_order_and_end_with_the_test_set(tmp_path):
    records = [r for r in fit(job(tmp_path, "epochs: 3, batch_size: 32, log_every: 2")) if r.record != "safe_point"]
    assert [(r.record, r.step, r.epoch) for r in records] == [
        ("step", 2, 1),
        ("evaluation", 3, 1),
        ("step", 4, 2),
        ("step", 6, 2),
        ("evaluation", 6, 2),
        ("step", 8, 3),
        ("step", 9, 3),
        ("evaluation", 9, 3),
        ("end", 9, 3),
    ]
    assert set(records[0].metrics) == {"train/running_loss", "lr"}
    assert set(records[1].metrics) == {"valid/loss", "valid/accuracy", "valid/error"}
    assert {"train/loss", "valid/loss", "test/loss", "test/accuracy", "test/error"} <= set(records[-1].metrics)
    assert records[-1].metrics["test/error"] == pytest.approx(1 - records[-1].metrics["test/accuracy"])


@pytest.mark.parametrize(
    ("train", "steps", "evaluations"),
    [
        ("epochs: 2, batch_size: 32", 6, [3, 6]),
        ("epochs: 2, batch_size: 32, drop_last: true", 4, [2, 4]),
        ("steps: 5, batch_size: 32", 5, [3, 5]),
        ("steps: 7, batch_size: 32, evaluate_every: 2", 7, [2, 4, 6, 7]),
        ("epochs: 1, batch_size: 1000, drop_last: true", 1, [1]),
        ("steps: 600, batch_size: 32", 600, list(range(6, 601, 6))),
    ],
)
def test_length_and_evaluations(tmp_path, train, steps, evaluations):
    records = list(fit(job(tmp_path, train)))
    assert records[-1].step == steps
    assert [r.step for r in records if r.record == "evaluation"] == evaluations


def test_a_point_of_the_curve_is_the_mean_loss_since_the_last_one(tmp_path):
    each = [
        r.metrics["train/running_loss"] for r in fit(job(tmp_path, "steps: 6, log_every: 1")) if r.record == "step"
    ]
    thirds = [
        r.metrics["train/running_loss"] for r in fit(job(tmp_path, "steps: 6, log_every: 3")) if r.record == "step"
    ]
    assert thirds == pytest.approx([sum(each[:3]) / 3, sum(each[3:]) / 3])


def test_the_step_schedule_drops_the_rate_by_epochs_or_steps(tmp_path):
    def rates(schedule: str) -> list[float]:
        train = f"epochs: 4, batch_size: 35, log_every: 1, optimizer: {{sgd: 0.1}}, schedule: {{step: {schedule}}}"
        return [r.metrics["lr"] for r in fit(job(tmp_path, train)) if r.record == "step"]

    assert rates("{step_size: 2, gamma: 0.5}") == pytest.approx([0.1] * 4 + [0.05] * 4)
    assert rates("{step_size: 3, gamma: 0.1, unit: step}") == pytest.approx([0.1] * 3 + [0.01] * 3 + [0.001] * 2)


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path):
    def weights(seed: int) -> torch.Tensor:
        one = job(tmp_path, f"epochs: 2, seed: {seed}")
        list(fit(one))
        return torch.cat([p.flatten() for p in one.network.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def epochs_of(one):
    """The examples of each epoch, in their order."""
    from dlx.training.batches.step_chunk import step_chunks

    seen = {}
    for chunk in step_chunks(one):
        seen.setdefault(one.feed.epoch, []).extend(chunk.index.flatten().tolist())
        chunk.run(lambda index: torch.zeros(()))
    return list(seen.values())


def test_every_example_is_seen_once_an_epoch(tmp_path):
    first, second = epochs_of(job(tmp_path, "epochs: 2, batch_size: 16"))
    assert sorted(first) == sorted(second) == list(range(70))
    assert first != second
    assert epochs_of(job(tmp_path, "epochs: 1, batch_size: 16, shuffle: false")) == [list(range(70))]
    assert [len(epoch) for epoch in epochs_of(job(tmp_path, "epochs: 2, batch_size: 16, drop_last: true"))] == [
        64,
        64,
    ]


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_chunk_is_as_long_as_the_steps_are_quick_and_nothing_comes_between(tmp_path, monkeypatch, seconds):
    from dlx.training.batches import step_chunk as module

    now = iter(i * seconds for i in range(1000))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(now))
    one, found = job(tmp_path, "epochs: 2, batch_size: 2, evaluate_every: 20"), []
    for chunk in module.step_chunks(one):
        found.append(len(chunk.index))
        chunk.run(lambda index: torch.zeros(()))
    wanted = [1, 2, 4, 8, 5, 15, 5, 20, 10] if seconds == 0.0 else [1] * 70
    assert found == wanted


def test_updates_that_were_taken_elsewhere_are_counted_as_if_each_had_been_taken_here(tmp_path):
    from dlx.training.batches.step_chunk import step_chunks

    here, elsewhere = (job(tmp_path, "epochs: 2, batch_size: 2, log_every: 3, schedule: cosine") for _ in range(2))
    for one, other in zip(step_chunks(here, most=5), step_chunks(elsewhere, most=5), strict=True):
        one.run(lambda index: torch.zeros(()))
        other.advance(other.count)
        assert one.remaining == other.remaining == 0
        (first,), (second,) = here.learner.optimizers.values(), elsewhere.learner.optimizers.values()
        assert first.state()["optimizer"]["param_groups"] == second.state()["optimizer"]["param_groups"]
        assert (first.rate, here.progress.step, here.feed.position) == (
            second.rate,
            elsewhere.progress.step,
            elsewhere.feed.position,
        )
    assert here.progress.step == 70
    assert [step for step, _, _ in here.progress.pending_points] == list(range(3, 70, 3))
    assert here.progress.pending_points == elsewhere.progress.pending_points


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_evaluation_does_not_depend_on_the_size_of_its_batches(tmp_path, monkeypatch, reduction):
    from dlx.training import fit as module

    one = job(tmp_path, "epochs: 1", loss=f"{{cross_entropy: {{reduction: {reduction}}}}}")
    whole = module.evaluate(one, "train")
    monkeypatch.setattr(module, "EVALUATION_BATCH", 13)
    assert module.evaluate(one, "train") == pytest.approx(whole, rel=1e-5)
    logits = one.network(one.parts["train"].x)
    loss = nn.functional.cross_entropy(logits, one.parts["train"].y, reduction=reduction)
    assert whole["train/loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_dropout_is_off_in_evaluation_and_on_again_after(tmp_path):
    one = job(tmp_path, "epochs: 1")
    from dlx.training.fit import evaluate

    evaluate(one, "valid")
    assert one.network.training


def test_regression_learns_and_reports_its_errors(tmp_path):
    one = job(
        tmp_path,
        "epochs: 60, optimizer: {adam: 0.01}",
        objective="regression",
        loss="squared_error",
        targets="target: [2]",
        outputs=2,
    )
    end = list(fit(one))[-1].metrics
    assert {"test/loss", "test/mse", "test/mae"} <= set(end)
    assert end["test/mse"] == pytest.approx(end["test/loss"], rel=1e-4)
    assert end["valid/mse"] < 0.5 * one.parts["valid"].y.var().item()


def test_squared_error_on_classes_compares_with_one_hot(tmp_path):
    one = job(tmp_path, "epochs: 1", loss="squared_error")
    x, y = one.parts["train"].x, one.parts["train"].y
    loss = one.objective.loss_function()(one.network(x), y)
    by_hand = (one.network(x) - torch.eye(3)[y]).square().mean()
    assert loss.item() == pytest.approx(by_hand.item(), rel=1e-6)


def test_a_loss_that_is_not_finite_stops_with_the_step(tmp_path):
    one = job(tmp_path, "steps: 40, log_every: 10, save_every: 10, optimizer: {sgd: 0.1}")
    seen = []
    with pytest.raises(RunError) as error:  # noqa: PT012 - the records before it matter too
        for record in fit(one):
            seen.append(record)
            if record.step == 20 and record.record == "step":
                with torch.no_grad():
                    one.network.get_parameter("linear_1.weight").fill_(math.nan)
    assert str(error.value).startswith("  the loss is nan at step 21\n")
    assert max(r.step for r in seen) == 20


def test_logging_does_not_wait_for_the_device_between_points(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(torch.Tensor, "tolist", lambda self, f=torch.Tensor.tolist: waits.append(1) or f(self))
    monkeypatch.setattr(torch.Tensor, "item", lambda self: pytest.fail("the loop asked a tensor for a number"))
    records = list(fit(job(tmp_path, "steps: 100, log_every: 50, evaluate_every: 100")))
    assert len(waits) == sum(r.record == "step" for r in records) == 2


def test_a_job_may_be_saved_between_two_steps_as_often_as_the_spec_says(tmp_path):
    records = list(fit(job(tmp_path, "epochs: 3, batch_size: 32, log_every: 2, save_every: 3")))
    assert [r.step for r in records if r.record == "safe_point"] == [3, 6, 9]


def test_a_job_may_be_saved_after_every_evaluation_where_the_spec_does_not_say(tmp_path):
    records = list(fit(job(tmp_path, "epochs: 3, batch_size: 32")))
    for record, after in pairwise(records):
        assert record.record != "evaluation" or after.record in {"safe_point", "end"}


def test_a_short_training_is_measured_on_as_many_examples_as_it_was_trained_on(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATED_AT_LEAST", 10)
    mine = job(tmp_path, "steps: 2, batch_size: 7")
    *_, end = fit(mine)

    part = mine.parts["train"]
    taken = torch.arange(14) * 70 // 14  # every fifth
    expected = nn.functional.cross_entropy(mine.network.eval()(part.x[taken]), part.y[taken])
    assert end.metrics["train/loss"] == pytest.approx(expected.item(), abs=1e-6)
    assert end.metrics["train/loss"] != pytest.approx(mine.learner.evaluate("train", part)["train/loss"], abs=1e-6)
    assert early_stopping.metric_notes(mine) == ()  # those of the evaluation of all, just before


def test_it_says_that_not_all_were_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATED_AT_LEAST", 10)
    mine = job(tmp_path, "steps: 2, batch_size: 7")
    list(fit(mine))
    told = "train/loss, train/accuracy, train/error: of 14 of the 70 examples, for no more were trained on"
    assert early_stopping.metric_notes(mine) == (told,)


def test_a_training_of_an_epoch_is_measured_on_all_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "EVALUATED_AT_LEAST", 10)
    mine = job(tmp_path, "epochs: 1, batch_size: 7")
    *_, end = fit(mine)
    assert end.metrics["train/loss"] == mine.learner.evaluate("train", mine.parts["train"])["train/loss"]
    assert early_stopping.metric_notes(mine) == ()
