"""Trainings that move together give what each gives alone."""

import pytest
import torch
from helpers import experiment_of

from dlx.errors import RunError
from dlx.experiment import objective_of
from dlx.graph import trace
from dlx.network import build
from dlx.train import device
from dlx.train import packed as packed_module
from dlx.train.fit import Job, fit
from dlx.train.packed import fit_together
from dlx.train.parts import on_device

SPEC = """
name: small
data: {{synthetic: {{shape: {shape}, classes: 3, train: 70, valid: 20, test: 20, seed: 1}}}}
network: {{layers: {layers}}}
objective: {objective}
train: {{{train}}}
track: {{mlflow: false}}
"""
LINEAR = "[{linear: 8}, relu, {linear: 3}]"
# a bias before a norm has no gradient but noise, which adam makes as large as any
CONV = "{conv: {out_channels: 4, kernel_size: 3, bias: false}}"
IMAGES = f"[{CONV}, batch_norm, relu, {{max_pool: 2}}, flatten, {{linear: 3}}]"


@pytest.fixture(autouse=True)
def one_thread():
    with device.threads(1):
        yield


def jobs(trains, layers=LINEAR, shape="[5]", objectives=None) -> list[Job]:
    """One for each section `train`; they share the data, as trials do."""
    made, parts = [], None
    for number, train in enumerate(trains):
        objective = (objectives or ["classification"] * len(trains))[number]
        own = layers.replace("NUMBER", str(number))
        text = SPEC.format(train=train, layers=own, shape=shape, objective=objective)
        loaded = experiment_of(text)
        parts = parts or on_device(loaded.data.load(), torch.device("cpu"))
        torch.manual_seed(loaded.train.seed)
        network = build(trace(loaded), loaded.init)
        job = Job(network, objective_of(loaded), loaded.train, parts)
        job.remember_chance()
        made.append(job)
    return made


def alone(job: Job):
    torch.set_rng_state(job.chance.get_state())
    job.chance = None
    return list(fit(job))


def together(all_of_them: list[Job]):
    found = [[] for _ in all_of_them]
    for number, event in fit_together(all_of_them):
        found[number].append(event)
    return found


def assert_like_alone(trains, step="packed", **more):
    packed, apart = jobs(trains, **more), jobs(trains, **more)
    found = together(packed)
    for job, other, records in zip(packed, apart, found, strict=True):
        wanted = alone(other)
        assert [(r.record, r.step, r.epoch) for r in records] == [(r.record, r.step, r.epoch) for r in wanted]
        for one, two in zip(records, wanted, strict=True):
            assert one.metrics.keys() == two.metrics.keys()
            for name, value in one.metrics.items():  # an example at the border of two classes may change sides
                shares = name.endswith(("accuracy", "error"))
                assert value == pytest.approx(two.metrics[name], rel=1e-3, abs=0.051 if shares else 1e-5)
        for name, tensor in job.network.state_dict().items():
            torch.testing.assert_close(tensor, other.network.state_dict()[name], rtol=1e-3, atol=1e-5)
        assert job.way["step"] == step
    return packed


def seeds(count, rest="epochs: 6, batch_size: 16"):
    return [f"{rest}, seed: {seed}" for seed in range(count)]


def test_seeds_of_a_small_network():
    assert_like_alone(seeds(4))


@pytest.mark.parametrize("optimizer", ["sgd", "{sgd: {lr: 0.1, momentum: 0.9}}", "adam", "rmsprop", "muon"])
def test_every_one_has_an_optimizer_of_its_own(optimizer):
    assert_like_alone([f"{t}, optimizer: {optimizer}" for t in seeds(3)])


def test_rates_schedules_decays_and_optimizers_may_differ():
    same = "epochs: 6, batch_size: 16"
    assert_like_alone(
        [
            f"{same}, optimizer: {{sgd: 0.1}}",
            f"{same}, optimizer: {{sgd: {{lr: 0.3, weight_decay: 0.01}}}}, schedule: cosine",
            f"{same}, optimizer: {{adam: 0.01}}, seed: 4",
        ]
    )


def test_images_with_batch_norm_and_pools():
    assert_like_alone(seeds(3), layers=IMAGES, shape="[1, 8, 8]")


@pytest.mark.parametrize(
    ("conv", "shape"),
    [
        ("{out_channels: 4, kernel_size: 3, stride: 2}", "[1, 12]"),
        ("{out_channels: 4, kernel_size: 3, padding: 1, bias: false}", "[2, 7]"),
        ("{out_channels: 3, kernel_size: [3, 2], stride: [2, 1], padding: [1, 0]}", "[2, 6, 5]"),
        ("{out_channels: 4, kernel_size: 3, dilation: 2}", "[2, 9]"),
        ("{out_channels: 4, kernel_size: 2, groups: 2}", "[2, 9]"),
        ("{out_channels: 4, kernel_size: 4}", "[1, 6, 6]"),
    ],
)
def test_small_convolutions(conv, shape):
    """Two of them, so that the second hands a gradient on to the first."""
    layers = f"[{{conv: {conv}}}, relu, {{conv: {{out_channels: 2, kernel_size: 2}}}}, relu, flatten, {{linear: 3}}]"
    assert_like_alone(seeds(3), layers=layers, shape=shape)


def test_dropout_is_drawn_for_each_as_it_would_be_alone():
    assert_like_alone(seeds(3), layers="[{linear: 8}, relu, {dropout: 0.4}, {linear: 3}]")


def test_dropout_rates_may_differ():
    assert_like_alone(seeds(3), layers="[{linear: 8}, relu, {dropout: 0.NUMBER5}, {linear: 3}]")


def test_an_argument_that_is_its_default_for_one_of_them():
    """torch leaves out bernoulli's 0.5."""
    assert_like_alone(seeds(3), layers="[{linear: 8}, relu, {dropout: 0.5}, {linear: 3}]")
    rates = '[{linear: 8}, relu, {dropout: "${[0.5, 0.25, 0.75][NUMBER]}"}, {linear: 3}]'
    assert_like_alone(seeds(3), layers=rates)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber"])
def test_values_are_learned_without_a_word_of_torch(loss, capfd):
    assert_like_alone(
        seeds(3),
        layers="[flatten, {linear: 8}, relu, {linear: 3}]",
        objectives=[f"{{classification: {{loss: {loss}}}}}"] * 3,
    )
    assert capfd.readouterr().err == ""


def test_label_smoothing_may_differ():
    losses = [f"{{classification: {{loss: {{cross_entropy: {{label_smoothing: 0.{i}}}}}}}}}" for i in range(1, 4)]
    assert_like_alone(seeds(3), objectives=losses)


def test_clipping_penalties_and_averages():
    more = "epochs: 6, batch_size: 16, clip_norm: 0.5, average: {ema: 0.9}"
    assert_like_alone(seeds(3, more), objectives=["{classification: {l2: 0.01, max_norm: 1.0}}"] * 3)


def test_one_that_stops_early_leaves_and_the_others_go_on():
    short = "epochs: 30, batch_size: 16, early_stopping: {metric: valid/loss, patience: 1}, optimizer: {sgd: 5.0}"
    packed = jobs([*seeds(1, short), *seeds(3, "epochs: 12, batch_size: 16")])
    apart = jobs([*seeds(1, short), *seeds(3, "epochs: 12, batch_size: 16")])
    found = together(packed)

    for job, other, records in zip(packed, apart, found, strict=True):
        wanted = alone(other)
        assert [(r.record, r.step) for r in records] == [(r.record, r.step) for r in wanted]
        torch.testing.assert_close(job.network.state_dict(), other.network.state_dict(), rtol=1e-3, atol=1e-5)
    assert packed[0].step < packed[1].step


def test_when_many_have_ended_the_others_are_stacked_anew():
    trains = [f"epochs: {epochs}, batch_size: 16, seed: {epochs}" for epochs in (2, 2, 3, 4, 8, 8)]
    assert_like_alone(trains)


def test_a_loss_that_is_not_finite_ends_its_own_training():
    trains = [*seeds(2), "epochs: 6, batch_size: 16, optimizer: {sgd: 1.0e+30}"]
    found = together(jobs(trains))

    assert isinstance(found[2][-1], RunError)
    assert [records[-1].record for records in found[:2]] == ["end", "end"]


def test_networks_of_different_shapes_move_one_by_one():
    packed = assert_like_alone(seeds(2), step="plain", layers="[{linear: 1NUMBER}, relu, {linear: 3}]")

    assert packed[0].way["because"] == "the networks are not of one shape"


def test_networks_of_different_operations_move_one_by_one():
    packed = jobs(seeds(2))
    packed[1].network.relu_1 = torch.nn.Tanh()
    together(packed)

    assert packed[0].way == {"step": "plain", "because": "the networks do not take the same steps"}


def test_a_batch_of_another_size_is_not_stacked():
    ways = [job.way for job in assert_like_alone(seeds(2, "steps: 3, batch_size: 71"))]
    assert ways == [{"step": "packed", "because": "2 of one shape"}] * 2

    job = jobs(seeds(1, "steps: 1, batch_size: 16"))[0]
    job.position, job.epoch = 4, 1  # only the last batch of the epoch is left, of 6 examples
    job.began = job.order.get_state()
    assert [event.record for _, event in fit_together([job])][-1] == "end"
    assert job.way == {"step": "plain", "because": "no batch was of the usual size"}


def test_much_memory_is_not_taken(monkeypatch):
    monkeypatch.setattr(packed_module, "MOST", 1000)
    packed = assert_like_alone(seeds(2), step="plain")

    assert packed[0].way["because"] == "stacked they would keep 0 MiB"


@pytest.mark.parametrize("gone", [0, 3, 5])
def test_one_goes_on_alone_to_the_same_bits(gone):
    """Rows do not look at each other: what others there are changes nothing."""
    together(several := jobs(seeds(6, "epochs: 8, batch_size: 16"), layers=IMAGES, shape="[1, 8, 8]"))
    together([one := jobs(seeds(6, "epochs: 8, batch_size: 16"), layers=IMAGES, shape="[1, 8, 8]")[gone]])

    found, wanted = one.network.state_dict(), several[gone].network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
