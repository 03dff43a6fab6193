"""Settings of `train` that change nothing are told: rates of 0, and times beyond the end of the training."""

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner
from dlx.graph import no_effect, trace, trace_all
from dlx.optim import OPTIMIZERS
from dlx.schedules import Timeline
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


TEN_AN_EPOCH = Timeline(steps=20, per_epoch=10)


def noted(train: str, timeline: Timeline = TEN_AN_EPOCH) -> list[str]:
    experiment = experiment_of(SPEC.replace("TRAIN", train).replace("inputs: [4], ", ""))
    return list(no_effect.notes(experiment, timeline))


@pytest.mark.parametrize(
    ("train", "said"),
    [
        (
            "epochs: 2, evaluate_every: 4000",
            "`train.evaluate_every: 4,000` is beyond the 20 steps of the training: it is evaluated at its end alone",
        ),
        (
            "epochs: 2, save_every: 21",
            "`train.save_every: 21` is beyond the 20 steps of the training: no state is saved on the way",
        ),
        (
            "epochs: 2, schedule: {step: {step_size: 20, unit: step}}",
            "`train.schedule.step.step_size: 20` is at the end of the 20 steps of the training: the rate never drops",
        ),
        (
            "steps: 20, schedule: {multi_step: {milestones: [3]}}",
            (
                "`train.schedule.multi_step.milestones: 3` (30 steps) is beyond the 20 steps of the training: "
                "the rate never drops"
            ),
        ),
    ],
)
def test_times_in_another_unit_than_the_length_are_noted_once_an_epoch_has_its_steps(train, said):
    assert warned(train) == []
    assert noted(train) == [said]


@pytest.mark.parametrize(
    "train",
    [
        "epochs: 2, evaluate_every: 20, save_every: 20, log_every: 20",
        "epochs: 2, schedule: {step: {step_size: 19, unit: step}}",
        "steps: 20, schedule: {multi_step: {milestones: [1, 3]}}",
    ],
)
def test_times_in_another_unit_that_come_are_not_noted(train):
    assert noted(train) == []


def test_what_counts_as_the_length_does_is_a_warning_and_no_note_too():
    train = "steps: 20, evaluate_every: 21"
    assert len(warned(train)) == 1
    assert noted(train) == []


def test_epochs_of_growing_batches_are_turned_into_their_own_steps():
    train = "steps: 25, schedule: {multi_step: {milestones: [4]}}"
    assert len(noted(train, Timeline(25, 10))) == 1
    assert noted(train, Timeline(25, 10, later=((10, 3),))) == []


def test_a_training_says_it_when_it_begins_but_not_where_an_override_cuts_it_short(tmp_path):
    path = tmp_path / "s.yaml"
    train = "epochs: 9, evaluate_every: 5"
    path.write_text(
        "dlx: 1\n" + SPEC.replace("inputs: [4], ", "").replace("TRAIN", train) + "track: {mlflow: false}\n"
    )

    def begun(*overrides):
        notes = []
        experiment = load(path, ["data.blobs.train=60", "train.batch_size=60", *overrides])
        runner.run(experiment, tmp_path / "runs", lambda event: notes.extend(getattr(event, "notes", ())))
        return [note for note in notes if "evaluate_every" in note]

    assert begun("train.evaluate_every=10") == [
        "`train.evaluate_every: 10` is beyond the 9 steps of the training: it is evaluated at its end alone"
    ]
    assert begun() == begun("train.epochs=2") == []
