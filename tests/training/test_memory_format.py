"""Evaluations of images are computed in oneDNN's own layout where that pays, and nobody sees anything of it."""

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner
from dlx.experiment.session import job_of
from dlx.spec import load
from dlx.training.blocked_layout import Evaluation
from dlx.training.fallback import LAYOUT
from dlx.training.fit import evaluate, fit
from dlx.training.prepared import prepare
from dlx.utils import torch_private

SPEC = """
dlx: 1
name: s
data: {synthetic: {shape: [1, 12, 12], classes: 3, train: 60, valid: 30, test: null, seed: 1}}
network:
  layers:
    - {conv: {out_channels: 6, kernel_size: 3}, name: a}
    - batch_norm
    - relu
    - max_pool: 2
    - {conv: {out_channels: 5, kernel_size: 3}, name: b}
    - relu
    - flatten
    - dropout: 0.5
    - linear: 3
train: {steps: 20, batch_size: 16, TRAIN}
track: {mlflow: false}
"""


def job(train: str = "seed: 0"):
    return job_of(prepare(experiment_of(SPEC.replace("TRAIN", train))))


def test_an_evaluation_has_the_metrics_of_the_plain_network_before_and_after_a_training():
    blocked, plain = job(), job("channels_last: false")
    assert isinstance(blocked.learner.compute.of(blocked.network), Evaluation)
    assert plain.learner.compute.of(plain.network) is plain.network
    for _ in range(2):
        plain.network.load_state_dict(blocked.network.state_dict())
        found, wanted = evaluate(blocked, "valid"), evaluate(plain, "valid")
        assert found == pytest.approx(wanted, rel=1e-5)
        for _ in fit(blocked):
            pass


def test_an_evaluation_with_averaged_weights_is_one_of_these():
    averaged = job("average: {ema: 0.9}")
    for _ in fit(averaged):
        pass
    with averaged.learner.evaluation_weights():
        call, x = averaged.learner.compute.of(averaged.network.eval()), averaged.parts["valid"].x
        with torch.inference_mode():
            torch.testing.assert_close(call(x), averaged.network(x))


@pytest.mark.parametrize(
    "train", ["channels_last: true", "channels_last: false", "detect_anomaly: true", "precision: bf16"]
)
def test_what_a_spec_asks_for_is_done_without(train):
    other = job(train)
    assert not isinstance(other.learner.compute.of(other.network), Evaluation)
    assert "evaluation_memory_format" not in other.learner.compute.as_json()
    assert "blocked evaluations" not in other.learner.compute.description()


def passes(call: Evaluation, x: torch.Tensor) -> list[str]:
    """Which networks an evaluation calls for a batch."""
    called = []
    for name in ("network", "blocked"):
        graph = getattr(call, name)
        setattr(call, name, lambda *inputs, graph=graph, name=name: (called.append(name), graph(*inputs))[1])
    call(x)
    return called


@pytest.mark.parametrize(
    "case", ["as it is", "gradients", "training", "a hook", "a hook before", "float64", "nothing"]
)
def test_where_the_difference_would_be_seen_the_plain_network_is_called(case):
    one = job()
    network, x = one.network.eval(), one.parts["valid"].x
    call, seen = one.learner.compute.of(network), []
    if case == "training":
        network.batch_norm_1.train()
    elif case == "a hook":
        network.a.register_forward_hook(lambda _, inputs, output: seen.append(output))
    elif case == "a hook before":
        network.b.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    elif case == "float64":
        network, x = network.double(), x.double()
    elif case == "nothing":
        x = x[:0]
    with torch.set_grad_enabled(case == "gradients"):
        assert passes(call, x) == ["blocked" if case == "as it is" else "network"]
    assert [value.is_mkldnn for value in seen] == [False] * ("hook" in case)


def test_hooks_that_are_gone_leave_the_blocks_again():
    one = job()
    call = one.learner.compute.of(one.network.eval())
    one.network.a.register_forward_hook(lambda *_: None).remove()
    with torch.inference_mode():
        assert passes(call, one.parts["valid"].x) == ["blocked"]


@pytest.mark.parametrize("name", ["_forward_hooks", "_forward_pre_hooks"])
def test_a_torch_that_does_not_show_its_hooks_evaluates_plainly_and_the_run_says_so(monkeypatch, name):
    found = torch_private._found

    def without(value, part, full):
        if part == name:
            raise torch_private.MissingNameError(full)
        return found(value, part, full)

    monkeypatch.setattr(torch_private, "_found", without)
    one = job()
    assert one.learner.compute.of(one.network) is one.network
    assert one.learner.faults == [f"{LAYOUT}: torch {torch.__version__} has no Network.{name}"]


def test_the_choice_stands_in_the_lock(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("TRAIN", "device: cpu"))
    run = runner.run(load(path), tmp_path / "runs").results[0].run
    assert run.read_json("lock.json")["compute"]["evaluation_memory_format"] == "blocked"
