"""Settings of `train` that change nothing are told: rates of 0, and times beyond the end of the training."""

import pytest
import torch
from helpers import experiment_of

from dlx.graph import trace, trace_all
from dlx.optim import OPTIMIZERS
from dlx.spec import load

SPEC = """\
network: {inputs: [4], layers: [{linear: 3, name: head}]}
data: {blobs: {}}
train: {TRAIN}
"""


def warned(train: str, more: str = "") -> list[str]:
    traced = trace_all(experiment_of(SPEC.replace("TRAIN", train).replace("inputs: [4], ", "") + more))
    return [one.message for one in traced.warnings]


def test_a_rate_of_zero_moves_no_weight():
    (said,) = warned("steps: 5, optimizer: {sgd: {lr: 0}}")
    assert said == "`lr: 0` of sgd moves no weight: the network stays as it begins"
    assert warned("steps: 5, optimizer: {sgd: {lr: 1e-9}}") == []
    assert warned("steps: 5, optimizer: {sgd: {lr: 0}}, groups: [{match: head, lr: 0.1}]") == []
    assert len(warned("steps: 5, optimizer: {sgd: {lr: 0}}, groups: [{match: head, lr_scale: 3}]")) == 1


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_optimizers_that_stand_still_at_a_rate_of_zero_are_those_that_are_said_to(kind):
    made = OPTIMIZERS[kind](lr=0, **({"temperature": 1.0} if kind == "sgld" else {}))
    weights = [torch.ones(3, 3, requires_grad=True), torch.ones(3, requires_grad=True)]
    built = made.build(weights)

    def loss():
        built.zero_grad()
        value = sum((weight**2).sum() for weight in weights)
        if made.takes != "loss":
            value.backward()
        return value

    for _ in range(3):
        if made.takes == "gradient":
            loss()
            built.step()
        else:
            built.step(loss)
    assert made.stands_still == all(bool((weight == 1).all()) for weight in weights)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            "evaluate_every: 101",
            "`evaluate_every: 101` is beyond the 100 steps of the training: it is evaluated at its end alone",
        ),
        (
            "save_every: 4000",
            "`save_every: 4,000` is beyond the 100 steps of the training: no state is saved on the way",
        ),
        (
            "log_every: 200",
            "`log_every: 200` is beyond the 100 steps of the training: its curve has no point on the way",
        ),
        (
            "schedule: {warmup: {steps: 101}}",
            "`steps: 101` is beyond the 100 steps of the training: the rate never comes to the whole `lr`",
        ),
        (
            "schedule: {step: {step_size: 100, unit: step}}",
            "`step_size: 100` is at the end of the 100 steps of the training: the rate never drops",
        ),
        (
            "schedule: {multi_step: {milestones: [300, 150], unit: step}}",
            "`milestones: 150` is beyond the 100 steps of the training: the rate never drops",
        ),
    ],
)
def test_what_comes_after_the_last_step_is_told(train, said):
    assert warned(f"steps: 100, {train}") == [said]


def test_what_comes_after_the_last_epoch_is_told():
    assert warned("epochs: 3, batch_schedule: {milestones: [3, 5]}") == [
        "`milestones: 3` is at the end of the 3 epochs of the training: batches never grow"
    ]
    assert warned("epochs: 1", "freeze: [{match: head, until: {epoch: 2}}]\n") == [
        "`epoch: 2` is beyond the 1 epoch of the training: `head` never moves"
    ]


@pytest.mark.parametrize(
    "train",
    [
        "evaluate_every: 100, save_every: 100, log_every: 100",
        "schedule: {warmup: {steps: 100}}",
        "schedule: {step: {step_size: 100}}",
        "schedule: {multi_step: {milestones: [99, 300], unit: step}}",
        "batch_schedule: {milestones: [300]}",
    ],
)
def test_what_comes_in_time_or_is_counted_otherwise_is_not_told(train):
    assert warned(f"steps: 100, {train}") == []


def test_a_spec_that_an_override_cuts_short_is_told_nothing(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("dlx: 1\n" + SPEC.replace("inputs: [4], ", "").replace("TRAIN", "steps: 100, evaluate_every: 50"))
    assert trace(load(path, ["train.steps=5"])).warnings == ()
    assert len(trace(load(path, ["train.steps=5", "train.evaluate_every=6"])).warnings) == 1


def test_each_of_several_optimizers_is_told_by_the_name_of_its_network():
    traced = trace_all(
        experiment_of("""\
networks:
  generator: {inputs: {latent: [2]}, layers: [linear: 2]}
  discriminator: {layers: [linear: 1]}
data: {blobs: {features: 2}}
objective: gan
train: {steps: 5, optimizer: {generator: {adam: {lr: 0}}, discriminator: adam}}
""")
    )
    told = [(one.path, one.mark.line) for one in traced.warnings if "moves no weight" in one.message]
    assert told == [("train.optimizer.generator.adam.lr", 6)]
