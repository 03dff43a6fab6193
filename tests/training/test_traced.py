"""A step is replayed where that is quicker, gives the same bits, and says what was chosen."""

import hashlib
import itertools
from types import SimpleNamespace

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.network import build
from dlx.optim import OPTIMIZERS
from dlx.spec import load, objective_of
from dlx.training import device
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, fit
from dlx.training.replay import flat_step, traced

SPEC = """
name: small
data: {{synthetic: {{shape: [1, 6, 6], classes: 3, train: 70, valid: 20, test: null, seed: 1}}}}
network:
  layers: {layers}
objective: {objective}
train: {train}
track: {{mlflow: false}}
"""
NET = "[{conv: {out_channels: 3, kernel_size: 3}}, batch_norm, relu, {dropout: 0.3}, flatten, {linear: 3}]"
LONG = "epochs: 12, batch_size: 16"


@pytest.fixture(autouse=True)
def one_thread():
    with device.threads(1):
        yield


def job(train=LONG, objective="classification", layers=NET, **more) -> Job:
    loaded = experiment_of(SPEC.format(train=f"{{{train}}}", objective=objective, layers=layers))
    torch.manual_seed(0)
    network = build(trace(loaded), loaded.init)
    for name, p in network.named_parameters():
        p.requires_grad_(not name.startswith(more.get("freeze", "-")))
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), torch.device("cpu")))


def done(train=LONG, **more) -> Job:
    return metrics_of(train, **more)[0]


def metrics_of(train=LONG, **more) -> tuple[Job, list[dict[str, float]]]:
    """A training that has ended, and all that it told on the way."""
    one = job(train, **more)
    return one, [record.metrics for record in fit(one) if record.record != "safe_point"]


def bits(one: Job) -> str:
    whole = hashlib.sha256()
    for value in one.network.state_dict().values():
        whole.update(value.numpy().tobytes())
    return whole.hexdigest()


def same_both_ways(train=LONG, **more) -> Job:
    """Trained with and without the replay: the same bits, and every figure of the curve. The one with."""
    (plain, wanted), (replayed, found) = (metrics_of(f"{train}, trace: {way}", **more) for way in ("false", "true"))
    assert plain.learner.way == {"step": "plain", "because": "the spec says so"}
    assert bits(plain) == bits(replayed)
    assert found == wanted
    return replayed


def test_a_replayed_training_gives_the_same_bits():
    assert same_both_ways().learner.way["step"] == "replayed"


@pytest.mark.parametrize("kind", sorted(k for k, o in OPTIMIZERS.items() if o.takes == "gradient"))
def test_with_every_optimizer_that_takes_gradients(kind):
    length = "epochs: 60" if OPTIMIZERS[kind].whole else LONG
    written = "{sgld: {temperature: 1.0e-6}}" if kind == "sgld" else kind
    assert same_both_ways(f"{length}, optimizer: {written}").learner.way["step"] == "replayed"


@pytest.mark.parametrize(
    "more",
    [
        "accumulate: 2",
        "clip_norm: 0.1",
        "clip_value: 0.01",
        "drop_last: true",
        "shuffle: false",
        "schedule: cosine",
        "optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}, decay: weights",
        "optimizer: {adamw: 0.01}, groups: [{match: conv_1, lr_scale: 0.1}]",
        "average: {ema: 0.9}, evaluate_every: 7",
        "early_stopping: {metric: valid/loss, patience: 9}",
    ],
)
def test_with_what_else_a_step_does(more):
    assert same_both_ways(f"epochs: 20, batch_size: 16, {more}").learner.way["step"] == "replayed"


@pytest.mark.parametrize(
    "objective",
    [
        "{classification: {l1: 0.01, l2: 0.02}}",
        "{classification: {max_norm: 0.5}}",
        "{classification: {flooding: 0.9}}",
        "{classification: {loss: squared_error}}",
        "{classification: {loss: {cross_entropy: {label_smoothing: 0.1}}}}",
    ],
)
def test_with_what_an_objective_adds(objective):
    assert same_both_ways(objective=objective).learner.way["step"] == "replayed"


def test_batches_that_grow_are_taken_down_anew():
    one = job(f"{LONG}, trace: true")
    way = traced.StepChooser(one.supervised, lambda index: index.sum() * 0.0)
    for size in (4, 4, 6):
        for _ in range(40):
            way(torch.arange(size))
        assert (way.size, one.learner.way["step"]) == (size, "replayed")


def test_frozen_weights_stay():
    assert same_both_ways(freeze="conv_1").learner.way["step"] == "replayed"


def test_a_network_that_reads_values_goes_on_as_before_and_says_so():
    one = same_both_ways(layers="[flatten, {linear: 8}, {one_way: 1}, {linear: 3}]".replace("{one_way: 1}", "relu"))
    assert one.learner.way["step"] == "replayed"

    class Reading(torch.nn.Module):
        def forward(self, x):
            return x * (2 if x.sum().item() > 0 else 1)

    other = job(f"{LONG}, trace: true", layers="[flatten, {linear: 8}, relu, {linear: 3}]")
    other.network.relu_1 = Reading()
    list(fit(other))

    assert other.learner.way == {
        "step": "plain",
        "because": "what it does depends on the values of tensors (_local_scalar_dense)",
    }


def test_a_network_that_changes_from_step_to_step_is_found_out():
    class Counting(torch.nn.Module):
        count = 0

        def forward(self, x):
            self.count += 1
            return x * self.count

    def trained(choice):
        one = job(f"{LONG}, trace: {choice}", layers="[flatten, {linear: 8}, relu, {linear: 3}]")
        one.network.relu_1 = Counting()
        list(fit(one))
        return one

    # what the network counts is its own affair: a step that was tried and taken back has been counted
    assert trained("true").learner.way == {"step": "plain", "because": "replayed it gave other figures"}


class Retained(torch.nn.Module):
    """torch's LSTM, which keeps what its gradients need only where gradients are wanted."""

    def __init__(self):
        super().__init__()
        self.cell = torch.nn.LSTM(6, 8, batch_first=True)

    def forward(self, x):
        return self.cell(x.flatten(1, 2))[0].flatten(1)


def test_an_lstm_is_replayed_to_the_same_bits():
    def trained(choice):
        one = job(f"{LONG}, trace: {choice}", layers="[flatten, {linear: 48}, {linear: 3}]")
        one.network.flatten_1 = Retained()
        one.network.linear_1 = torch.nn.Linear(48, 48)
        one = Job(one.network, one.objective, one.train, one.parts)
        list(fit(one))
        return one

    torch.manual_seed(0)
    plain = trained("false")
    torch.manual_seed(0)
    replayed = trained("true")

    assert replayed.learner.way["step"] == "replayed"
    assert bits(plain) == bits(replayed)


def test_a_network_that_fails_when_replayed_goes_on_as_before_and_says_so(monkeypatch):
    def broken(*_args):
        def flat(_index):
            raise RuntimeError("a kernel wants more than it is given\nand says so at length")

        return flat

    monkeypatch.setattr(flat_step, "flatten", broken)
    replayed, plain = done(f"{LONG}, trace: true"), done(f"{LONG}, trace: false")

    assert replayed.learner.way == {
        "step": "plain",
        "because": "replayed it fails: a kernel wants more than it is given",
    }
    assert bits(replayed) == bits(plain)


def test_what_else_runs_does_not_count_where_one_thread_steps(monkeypatch):
    """There is no wall clock to ask."""
    monkeypatch.setattr(traced, "time", SimpleNamespace(thread_time=traced.time.thread_time))

    assert done("epochs: 60, batch_size: 16, trace: true").learner.way["step"] == "replayed"


@pytest.mark.parametrize(
    ("train", "because"),
    [
        ("steps: 20", "20 updates are too few"),
        ("steps: 20, trace: true", "the training is too short to tell"),
    ],
)
def test_a_short_training_is_left_alone(train, because):
    assert done(train).learner.way == {"step": "plain", "because": because}


def test_the_quicker_way_is_taken(monkeypatch):
    """A clock that says of every second timed step, the replayed one, that it took long."""
    ticks = itertools.count()
    clock = {"now": 0.0}

    def read():
        tick = next(ticks)
        clock["now"] += 0.001 if tick % 4 == 3 else 0.002 if tick % 4 == 1 else 0
        return clock["now"]

    monkeypatch.setattr(traced.time, "thread_time", read)
    one = job("epochs: 60, batch_size: 16")
    for _ in fit(one):
        pass

    assert one.learner.way["step"] == "plain"
    assert one.learner.way["because"].startswith("replayed it took ")


def test_a_long_step_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(traced, "MAX_STEP_SECONDS", 0.0)
    one = done("epochs: 60, batch_size: 16")

    assert one.learner.way["step"] == "plain"
    assert one.learner.way["because"].endswith(" ms is long")


def test_one_that_would_keep_much_memory_is_left(monkeypatch):
    monkeypatch.setattr(traced, "MAX_BYTES", 1000)

    assert done(f"{LONG}, trace: true").learner.way["because"] == "replayed it would keep 0 MiB"


def test_a_run_says_what_was_chosen_and_a_wish_that_could_not_be_met(tmp_path):
    spec = tmp_path / "s.yaml"
    text = SPEC.format(train=f"{{{LONG}, trace: true}}", objective="classification", layers="[flatten, {linear: 3}]")
    spec.write_text(f"dlx: 1\n{text}")
    one, short = (experiments.run(load(spec, more), tmp_path).results[0] for more in ([], ["train.epochs=2"]))

    assert one.run.read_json("lock.json")["way"]["step"] == "replayed"
    assert not [note for note in one.notes if "guessing" not in note]
    assert short.notes == ("the steps were taken under autograd: the training is too short to tell",)
