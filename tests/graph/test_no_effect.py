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


def warned(train: str, more: str = "", data: str = "blobs: {}") -> list[str]:
    text = SPEC.replace("TRAIN", train).replace("inputs: [4], ", "").replace("blobs: {}", data)
    traced = trace_all(experiment_of(text + more))
    return [one.message for one in traced.warnings]


def test_a_rate_of_zero_moves_no_weight():
    (said,) = warned("steps: 5, optimizer: {sgd: {lr: 0}}")
    assert said == "`lr: 0` of sgd moves no weight: the network stays as it begins"
    assert warned("steps: 5, optimizer: {sgd: {lr: 1e-9}}") == []
    assert warned("steps: 5, optimizer: {sgd: {lr: 0}}, groups: [{match: head, lr: 0.1}]") == []
    assert len(warned("steps: 5, optimizer: {sgd: {lr: 0}}, groups: [{match: head, lr_scale: 3}]")) == 1


@pytest.mark.parametrize("field", ["lr", "lr_scale"])
def test_a_group_whose_rate_is_zero_moves_none_of_its_weights(field):
    (said,) = warned(f"steps: 5, optimizer: sgd, groups: [{{match: [head, '*/bias'], {field}: 0}}]")
    assert said == f"`{field}: 0` of the group `head` and `*/bias` moves no weight of it"
    assert warned(f"steps: 5, optimizer: rprop, batch_size: all, groups: [{{match: head, {field}: 0}}]") == []
    assert warned(f"steps: 5, optimizer: sgd, groups: [{{match: head, {field}: 1e-9}}]") == []
    (of_all,) = warned(f"steps: 5, optimizer: {{sgd: {{lr: 0}}}}, groups: [{{match: head, {field}: 0}}]")
    assert of_all.startswith("`lr: 0` of sgd")


@pytest.mark.parametrize("kind", ["sgd", "rmsprop"])
def test_a_momentum_that_forgets_nothing_is_told(kind):
    for momentum in ("1", "1.5"):
        (said,) = warned(f"steps: 5, optimizer: {{{kind}: {{momentum: {momentum}}}}}")
        assert said == f"`momentum: {momentum}` of {kind} forgets no gradient: steps grow without end"
    assert warned(f"steps: 5, optimizer: {{{kind}: {{momentum: 0.999}}}}") == []


@pytest.mark.parametrize("kind", ["step: {step_size: 2,", "multi_step: {milestones: [2],", "exponential: {"])
def test_a_schedule_by_a_factor_of_one_is_told(kind):
    (said,) = warned(f"epochs: 5, schedule: {{{kind} gamma: 1}}}}")
    assert said == f"`gamma: 1` of {kind.partition(':')[0]} leaves the rate as it is"
    assert warned(f"epochs: 5, schedule: {{{kind} gamma: 0.99}}}}") == []


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ("batch_size: 101", "`batch_size: 101` is more than the 100 training examples: a batch is all of them"),
        (
            "batch_size: 30, accumulate: 5",
            "`accumulate: 5` is more than there are batches of the 100 training examples: 4",
        ),
        (
            "batch_size: all, accumulate: 2",
            "`accumulate: 2` is more than there are batches of the 100 training examples: 1",
        ),
        ("decay: weights", "`decay: weights` spares biases and norms, and `sgd` decays nothing"),
    ],
)
def test_batches_beyond_the_data_and_a_decay_of_nothing_are_told(train, said):
    assert warned(f"steps: 5, optimizer: sgd, {train}", data="blobs: {train: 100}") == [said]


@pytest.mark.parametrize(
    "train",
    [
        "optimizer: sgd, batch_size: 100",
        "optimizer: sgd, batch_size: 30, accumulate: 4",
        "optimizer: sgd",
        "optimizer: {sgd: {weight_decay: 0.1}}, decay: weights",
        "optimizer: {sgd: {weight_decay: 0}}, decay: weights",
    ],
)
def test_batches_within_the_data_are_not_told(train):
    assert warned(f"steps: 5, {train}", data="blobs: {train: 100}") == []
    assert warned("steps: 5, optimizer: sgd", data="blobs: {train: 10}") == []  # the default is no word of the user


def test_of_data_that_an_override_shortens_only_an_override_of_the_batch_is_told(tmp_path):
    path = tmp_path / "s.yaml"
    text = SPEC.replace("inputs: [4], ", "").replace("TRAIN", "steps: 5, batch_size: 64, optimizer: sgd")
    path.write_text(f"dlx: 1\n{text}")
    short = ["+data.blobs.train=20"]
    assert trace(load(path, short)).warnings == ()
    assert len(trace(load(path, [*short, "train.batch_size=30"])).warnings) == 1


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
        "schedule: {step: {step_size: 3}}",
        "schedule: {multi_step: {milestones: [99, 300], unit: step}}",
        "batch_schedule: {milestones: [3]}",
    ],
)
def test_what_comes_in_time_is_not_told(train):
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


@pytest.mark.parametrize(
    ("critic", "said"), [("adam", "`adam` decays nothing"), ("sgd", "`adam` and `sgd` decay nothing")]
)
def test_optimizers_that_decay_nothing_are_told_once_each(critic, said):
    traced = trace_all(
        experiment_of(f"""\
networks:
  generator: {{inputs: {{latent: [2]}}, layers: [linear: 2]}}
  discriminator: {{layers: [linear: 1]}}
data: {{blobs: {{features: 2}}}}
objective: gan
train: {{steps: 5, decay: weights, optimizer: {{generator: adam, discriminator: {critic}}}}}
""")
    )
    assert f"`decay: weights` spares biases and norms, and {said}" in [one.message for one in traced.warnings]


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
def test_times_in_another_unit_than_the_length_are_told_by_inspect_or_else_once_the_data_are_read(train, said):
    key, rest = said.removeprefix("`").split(":", 1)
    assert warned(train, data="blobs: {train: 320}") == [f"`{key.rpartition('.')[2]}:{rest}"]
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


def test_what_is_known_once_the_data_are_read_is_no_warning_but_a_note(tmp_path):
    (tmp_path / "t.txt").write_text("so it goes, " * 20)
    text = f"""\
network: {{layers: [{{embedding: {{embedding_dim: 4}}}}, {{linear: "${{data.vocabulary}}"}}]}}
data: {{text: {{path: {tmp_path / "t.txt"}, window: 4}}}}
train: {{epochs: 1, evaluate_every: 100000, optimizer: sgd}}
"""
    experiment = experiment_of(text)
    assert not [one for one in trace(experiment).warnings if "evaluate_every" in one.message]
    (note,) = no_effect.notes(experiment, TEN_AN_EPOCH)
    assert note.startswith("`train.evaluate_every: 100,000` is beyond the 20 steps")


def test_epochs_of_an_objective_with_phases_count_the_steps_that_its_phases_make():
    def said(critic, every):
        return [
            one.message
            for one in trace_all(
                experiment_of(f"""\
networks:
  generator: {{inputs: {{z: [2]}}, layers: [{{linear: 2}}]}}
  discriminator: {{inputs: {{x: [2]}}, layers: [{{linear: 1}}]}}
data: {{moons: {{train: 320}}}}
objective: {{gan: {{discriminator_steps: {critic}}}}}
train: {{epochs: 1, evaluate_every: {every}, optimizer: adam}}
""")
            ).warnings
            if "evaluate_every" in one.message
        ]

    assert said(1, 10) == said(5, 2) == []
    assert len(said(1, 11)) == 1
    assert said(5, 3) == [
        "`evaluate_every: 3` is beyond the 2 steps of the training: it is evaluated at its end alone"
    ]


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

    told = "`evaluate_every: 10` is beyond the 9 steps of the training: it is evaluated at its end alone"
    shortened = ["data.blobs.train=60", "train.batch_size=60"]
    experiment = load(path, [*shortened, "train.evaluate_every=10"])
    assert [one.message for one in trace(experiment).warnings] == [told]
    assert begun("train.evaluate_every=10") == []  # `dlx train` shows the warnings of the graph: once is enough
    assert begun() == begun("train.epochs=2") == []
    assert trace(load(path, [*shortened, "train.epochs=2"])).warnings == ()
