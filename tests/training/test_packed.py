"""Trainings that move together give what each gives alone."""

import pytest
import torch
from helpers import experiment_of

from dlx.errors import RunError
from dlx.graph import trace
from dlx.network import build
from dlx.spec import objective_of
from dlx.training import device
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, fit
from dlx.training.packed import many_steps, stacked_jobs
from dlx.training.packed import pack as packed_module
from dlx.training.packed.together import fit_together

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


@pytest.fixture(autouse=True, params=["by script", "one by one"])
def how(request, monkeypatch):
    """On one thread, many steps in one call or each by itself."""
    monkeypatch.setattr(many_steps, "MIN_STEPS", 0 if request.param == "by script" else 10**9)
    with device.threads(1):
        yield request.param


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
        job.progress.capture_rng()
        made.append(job)
    return made


def alone(job: Job):
    torch.set_rng_state(job.progress.rng.get_state())
    job.progress.rng = None
    return metrics_of(fit(job))


def metrics_of(events):
    """All but the rests, which come as fast as the machine is."""
    return [event for event in events if isinstance(event, RunError) or event.record != "safe_point"]


def together(all_of_them: list[Job], threads=1):
    found = [[] for _ in all_of_them]
    for number, event in fit_together(all_of_them, threads):
        found[number].append(event)
    return [metrics_of(events) for events in found]


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
        assert job.learner.way["step"] == step
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
    short = "epochs: 30, batch_size: 16, early_stopping: {metric: valid/loss, patience: 1}, optimizer: {sgd: 2.0}"
    packed = jobs([*seeds(1, short), *seeds(3, "epochs: 12, batch_size: 16")])
    apart = jobs([*seeds(1, short), *seeds(3, "epochs: 12, batch_size: 16")])
    found = together(packed)

    for job, other, records in zip(packed, apart, found, strict=True):
        wanted = alone(other)
        assert [(r.record, r.step) for r in records] == [(r.record, r.step) for r in wanted]
        torch.testing.assert_close(job.network.state_dict(), other.network.state_dict(), rtol=1e-3, atol=1e-5)
    assert packed[0].progress.step < packed[1].progress.step


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

    assert packed[0].learner.way["because"] == "the networks are not of one shape"


def test_networks_of_different_operations_move_one_by_one():
    packed = jobs(seeds(2))
    packed[1].network.relu_1 = torch.nn.Tanh()
    together(packed)

    assert packed[0].learner.way == {"step": "plain", "because": "the networks do not take the same steps"}


def test_a_batch_of_another_size_is_not_stacked():
    ways = [job.learner.way for job in assert_like_alone(seeds(2, "steps: 6, batch_size: 71"))]
    assert ways == [{"step": "packed", "because": "2 of one shape"}] * 2

    job = jobs(seeds(1, "steps: 5, batch_size: 16"))[0]
    job.progress.step = 4
    job.feed.position, job.feed.epoch = 4, 1  # only the last batch of the epoch is left, of 6 examples
    job.feed.rng_at_epoch_start = job.feed.rng.get_state()
    assert [event.record for _, event in fit_together([job])][-1] == "end"
    assert job.learner.way == {"step": "plain", "because": "no batch was of the usual size"}


def test_trainings_of_few_steps_are_not_stacked_and_take_the_bits_of_each_alone(monkeypatch):
    monkeypatch.setattr(packed_module.Pack, "_record", lambda *_: pytest.fail("recorded for a few steps"))
    several = jobs(few := seeds(3, "steps: 4, batch_size: 16"))
    together(several)
    for one, other in zip(several, jobs(few), strict=True):
        together([other])
        assert one.learner.way == other.learner.way == {"step": "plain", "because": "at most 4 steps"}
        found, wanted = one.network.state_dict(), other.network.state_dict()
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    monkeypatch.undo()

    long = jobs([*few[:1], *seeds(1, "steps: 5, batch_size: 16")])
    together(long)
    assert [job.learner.way["step"] for job in long] == ["plain", "packed"]


def test_much_memory_is_not_taken(monkeypatch):
    monkeypatch.setattr(packed_module, "MAX_BYTES", 1000)
    packed = assert_like_alone(seeds(2), step="plain")

    assert packed[0].learner.way["because"] == "stacked they would keep 0 MiB"


@pytest.mark.parametrize("gone", [0, 3, 5])
def test_one_goes_on_alone_to_the_same_bits(gone):
    """Rows do not look at each other: what others there are changes nothing."""
    together(several := jobs(seeds(6, "epochs: 8, batch_size: 16"), layers=IMAGES, shape="[1, 8, 8]"))
    together([one := jobs(seeds(6, "epochs: 8, batch_size: 16"), layers=IMAGES, shape="[1, 8, 8]")[gone]])

    found, wanted = one.network.state_dict(), several[gone].network.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


LINE = "{conv: {out_channels: 5, kernel_size: 3}}"
ODD = {
    "odd sizes": ("[{linear: 7}, relu, {linear: 3}]", "[5]"),
    "sigmoid": ("[{linear: 7}, sigmoid, {linear: 9}, tanh, {linear: 3}]", "[5]"),
    "silu and softplus": ("[{linear: 9}, silu, {linear: 11}, softplus, {linear: 3}]", "[5]"),
    "elu and mish": ("[{linear: 6}, elu, {linear: 13}, mish, {linear: 3}]", "[5]"),
    "gelu": ("[{linear: 10}, {gelu: {approximate: tanh}}, {linear: 48}, layer_norm, {linear: 3}]", "[63]"),
    "a vector in between": ("[{linear: 49}, relu, {linear: 1}, sigmoid, {linear: 3}]", "[65]"),
    "long products": ("[{linear: 54}, relu, {linear: 69}, relu, {linear: 3}]", "[51]"),
    "images": (
        f"[{CONV}, batch_norm, silu, {{conv: {{out_channels: 3, kernel_size: 3}}}}, flatten, {{linear: 3}}]",
        "[1, 7, 7]",
    ),
    "one channel": ("[{conv: {out_channels: 1, kernel_size: 3}}, sigmoid, flatten, {linear: 3}]", "[2, 7, 7]"),
    "sequences": (f"[{LINE}, silu, {{conv: {{out_channels: 3, kernel_size: 1}}}}, flatten, {{linear: 3}}]", "[1, 9]"),
}


@pytest.mark.parametrize("name", ODD)
def test_the_others_beside_a_row_do_not_change_a_bit_of_it(name):
    """Wherever its memory begins and ends: vectors of the processor, and lines of its cache, are not filled."""
    layers, shape = ODD[name]
    rest = "epochs: 4, batch_size: 20, optimizer: {adam: 0.01}"
    together(several := jobs(seeds(3, rest), layers=layers, shape=shape))
    for number, job in enumerate(several):
        together([one := jobs(seeds(3, rest), layers=layers, shape=shape)[number]])
        found, wanted = one.network.state_dict(), job.network.state_dict()
        assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
        assert job.learner.way["step"] == one.learner.way["step"] == "packed"


def test_threads_share_the_jobs_and_give_the_same_bits():
    trains = seeds(5, "epochs: 25, batch_size: 16, optimizer: {adam: 0.01}")
    one, two = jobs(trains), jobs(trains)
    first, second = together(one), together(two, threads=2)
    for job, other, records, others in zip(one, two, first, second, strict=True):
        assert records == others
        assert all(map(torch.equal, job.network.state_dict().values(), other.network.state_dict().values()))
        assert job.learner.way == other.learner.way == {"step": "packed", "because": "5 of one shape"}


def test_steps_are_one_call_where_nothing_else_happens(how, monkeypatch):
    scripts = []
    monkeypatch.setattr(
        stacked_jobs.StackedJobs, "_one_by_one", counting(stacked_jobs.StackedJobs._one_by_one, scripts)
    )
    together(jobs(seeds(2, "epochs: 20, batch_size: 14, optimizer: {sgd: 0.1}")))
    assert (sum(scripts) < 20) == (how == "by script")


def test_a_script_that_leaves_other_bits_is_not_taken(how, monkeypatch):
    from dlx.training.replay import script as script_module

    def forgetful(self, arguments):
        self.lines = [line for line in self.lines if "_fused_sgd_" not in line and "if active" not in line]
        return original(self, arguments)

    original = script_module.Script.function
    monkeypatch.setattr(script_module.Script, "function", forgetful)
    assert_like_alone(seeds(2, "epochs: 8, batch_size: 14, optimizer: {sgd: 0.1}"))


def test_a_training_that_is_left_stands_at_a_step_that_was_taken(how):
    many = jobs(seeds(4, "epochs: 400, batch_size: 14, optimizer: {sgd: 0.01}"))
    walk = fit_together(many, 2)
    for _, event in walk:
        if event.record == "evaluation" and event.step > 100:
            break
    walk.close()
    for number, job in enumerate(many):
        again = jobs(seeds(4, "epochs: 400, batch_size: 14, optimizer: {sgd: 0.01}"))[number]
        again.progress.until = job.progress.step
        alone(again)
        for name, tensor in job.network.state_dict().items():
            torch.testing.assert_close(tensor, again.network.state_dict()[name], rtol=1e-3, atol=1e-5)


def counting(method, counts):
    def counted(self, ahead, indices, losses, over):
        counts.append(len(indices))
        return method(self, ahead, indices, losses, over)

    return counted
