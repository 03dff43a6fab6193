"""How a training is computed changes its speed and its last bits, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from complaints import report
from helpers import experiment_of
from torch import nn

from dlx.errors import DlxError, RunError
from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.network import build
from dlx.spec import load, objective_of
from dlx.training import compute
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, evaluate, fit

IMAGES = """
name: c
data: {{synthetic: {{shape: [3, 8, 8], classes: 4, train: 70, valid: 30, test: null, seed: 1}}}}
network:
  layers:
    - conv: {{out_channels: 5, kernel_size: 3, bias: false}}
    - batch_norm
    - relu
    - residual: {{layers: [{{conv: {{out_channels: 5, kernel_size: 3, padding: 1}}}}, relu]}}
    - max_pool: 2
    - {end}
    - linear: 4
train: {{{train}}}
track: {{mlflow: false}}
"""
VALUES = """
name: v
data: {{synthetic: {{shape: [6], classes: 3, train: 64, valid: 16, test: null}}}}
network:
  layers:
{layers}
train: {{batch_size: 16, trace: false, {train}}}
track: {{mlflow: false}}
"""
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
CPU = torch.device("cpu")


def job_of(text: str, device: torch.device = CPU) -> Job:
    loaded = experiment_of(text)
    torch.manual_seed(0)
    network = build(trace(loaded), loaded.init).to(device)
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), device))


def images(train: str, end: str = "flatten", device: torch.device = CPU) -> Job:
    return job_of(IMAGES.format(train=f"batch_size: 16, {train}", end=end), device)


def values(train: str, *layers: str) -> Job:
    listed = "\n".join(f"    - {layer}" for layer in layers or ("linear: 8", "tanh", "linear: 3"))
    return job_of(VALUES.format(train=train, layers=listed))


def trained(job: Job) -> list[dict[str, float]]:
    return [record.metrics for record in fit(job)]


def weights(job: Job) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in job.network.parameters()]


def close(a: Job, b: Job, tolerance: float) -> None:
    for one, other in zip(weights(a), weights(b), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


# --- nothing on -----------------------------------------------------------------------------------------------------


def test_where_nothing_is_on_the_network_is_called_as_it_is():
    job = values("steps: 1")
    assert job.learner.compute.is_plain
    assert job.learner.compute.forward is job.network
    assert job.learner.compute.backward is torch.Tensor.backward
    assert job.learner.compute.unscale(job.supervised.optimizer) is None
    assert job.learner.compute.state() is None
    assert (job.learner.compute.description(), job.learner.compute.notes()) == ((), ())


# --- precision ------------------------------------------------------------------------------------------------------


def test_tf32_on_the_cpu_is_fp32_to_the_bit_and_says_so():
    tf32, fp32 = values("steps: 20, precision: tf32"), values("steps: 20")
    trained(tf32), trained(fp32)
    assert all(torch.equal(a, b) for a, b in zip(weights(tf32), weights(fp32), strict=True))
    assert tf32.learner.compute.precision == "fp32"
    assert tf32.learner.compute.notes() == ("tf32 is for CUDA: on the CPU it is fp32.",)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_the_forward_pass_is_that_of_autocast_and_the_loss_of_float32(precision, dtype):
    job = values(f"steps: 1, precision: {precision}")
    x, y = job.parts["valid"].x, job.parts["valid"].y
    with torch.autocast("cpu", dtype):
        outputs = job.network(x)
    assert outputs.dtype == dtype
    assert torch.equal(job.learner.compute.forward(x), outputs.float())
    expected = nn.functional.cross_entropy(outputs.float(), y).item()
    assert evaluate(job, "valid")["valid/loss"] == pytest.approx(expected, rel=1e-6)
    assert expected != pytest.approx(nn.functional.cross_entropy(job.network(x), y).item(), rel=1e-7)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("more", ["", ", accumulate: 2, clip_norm: 0.1"])
def test_half_precision_learns_what_float32_learns_with_weights_in_float32(precision, more):
    half, full = (values(f"epochs: 8, optimizer: {{sgd: 0.1}}{more}{p}") for p in (f", precision: {precision}", ""))
    first, last = trained(half), trained(full)
    assert half.learner.compute.skipped == 0
    assert {w.dtype for w in weights(half)} == {torch.float32}
    close(half, full, 0.02)
    assert first[-1]["train/loss"] == pytest.approx(last[-1]["train/loss"], rel=0.05)


def by_hand(job: Job, clip: float) -> list[torch.Tensor]:
    """Three steps of fp16 as torch's pages tell to write them."""
    net, scaler = job.network, torch.amp.GradScaler("cpu")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    x, y = job.parts["train"].x, job.parts["train"].y
    for index in torch.arange(48).split(16):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16):
            outputs = net(x[index])
        scaler.scale(nn.functional.cross_entropy(outputs.float(), y[index])).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()
    return weights(job)


def test_gradients_are_clipped_after_unscaling():
    train = "steps: 3, shuffle: false, precision: fp16, optimizer: {sgd: 0.5}, clip_norm: 0.05"
    job = values(train)
    trained(job)
    for mine, hand in zip(weights(job), by_hand(values(train), 0.05), strict=True):
        torch.testing.assert_close(mine, hand)


@pytest.mark.parametrize("optimizer", ["sgd: 0.1", "adam: 0.1", "momentum: 0.1", "adagrad: 0.1"])
def test_a_step_whose_gradient_overflows_is_left_out_counted_and_told(optimizer):
    """Gradients of some tens are within fp16, and 65,536 times them are not: the scale is halved until they are."""
    job = values(f"steps: 12, log_every: 1, precision: fp16, optimizer: {{{optimizer}}}", "linear: 3")
    job.parts["train"].x.mul_(100)
    before = weights(job)
    seen = []
    for record in fit(job):
        if record.record == "step":
            seen.append((record.metrics["skipped_steps"], record.metrics["loss_scale"]))
            if record.metrics["skipped_steps"] == record.step:
                assert all(torch.equal(a, b) for a, b in zip(before, weights(job), strict=True))
    skipped, scale = seen[-1]
    assert seen[0] == (1, 32768)
    assert 1 <= skipped < 12
    assert scale == 65536 / 2**skipped
    assert all(torch.isfinite(w).all() for w in weights(job))


@pytest.mark.cuda
@CUDA
@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_every_precision_learns_on_cuda(precision):
    device = torch.device("cuda", 0)
    job, full = images(f"epochs: 6, precision: {precision}", device=device), images("epochs: 6", device=device)
    with compute.settings(job.train, device):
        records = trained(job)
    assert records[-1]["train/loss"] == pytest.approx(trained(full)[-1]["train/loss"], rel=0.1)


@pytest.mark.cuda
@CUDA
def test_fp32_on_cuda_is_no_tf32_and_torchs_switches_are_given_back():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    for precision, switch in (("fp32", "ieee"), ("tf32", "tf32")):
        train = values(f"steps: 1, precision: {precision}").train
        with compute.settings(train, torch.device("cuda")):
            assert conv.fp32_precision == switch
    assert conv.fp32_precision == before


# --- channels last --------------------------------------------------------------------------------------------------

ENDS = [
    "flatten",
    "global_avg_pool",
    "reshape: [45]",
    "flatten: {start_dim: 2}\n    - flatten",
    "transpose\n    - flatten",
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("optimizer", ["sgd: {lr: 0.1, momentum: 0.9}", "adam: 0.01"])
def test_channels_last_gives_the_same_numbers_whatever_comes_behind(end, optimizer):
    last, plain = (
        images(f"epochs: 2, channels_last: {on}, optimizer: {{{optimizer}}}", end) for on in ("true", "false")
    )
    x = last.parts["train"].x[:16]
    torch.testing.assert_close(last.network(x), plain.network(x))
    assert last.network.conv_1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not last.network.conv_1.weight.is_contiguous()
    assert (last.learner.compute.memory_format, plain.learner.compute.memory_format) == (
        "channels_last",
        "contiguous",
    )
    records = [trained(job)[-1] for job in (last, plain)]
    close(last, plain, 2e-3)
    assert records[0]["valid/loss"] == pytest.approx(records[1]["valid/loss"], rel=1e-2)


def test_auto_is_for_two_dimensional_convolutions_on_the_cpu():
    assert images("steps: 1").learner.compute.memory_format == "channels_last"
    assert values("steps: 1").learner.compute.memory_format == "contiguous"
    assert images("steps: 1, optimizer: lbfgs").learner.compute.memory_format == "contiguous"
    assert images("steps: 1").learner.compute.description() == ("channels-last", "blocked evaluations")
    assert images("steps: 1").learner.compute.is_plain


def test_volumes_lie_channels_last_where_the_spec_says_so():
    text = IMAGES.replace("[3, 8, 8]", "[2, 6, 6, 6]")
    last, auto = (
        job_of(text.format(train=f"steps: 1, channels_last: {on}", end="flatten")) for on in ("true", "auto")
    )
    x = last.parts["train"].x[:8]
    assert last.learner.compute.memory_format == "channels_last_3d"
    assert auto.learner.compute.memory_format == "contiguous"
    torch.testing.assert_close(last.network(x), auto.network(x))


def test_a_replayed_step_keeps_to_the_memory_format():
    """torch's fused optimizers go by place in memory: a gradient that lies otherwise would move other weights."""
    train = "steps: 60, optimizer: {adam: 0.01}, channels_last: true, trace:"
    replayed, plain = images(f"{train} true"), images(f"{train} false")
    trained(replayed), trained(plain)
    assert replayed.learner.way["step"] == "replayed"
    close(replayed, plain, 1e-3)


def test_inspect_does_not_know_of_it(tmp_path):
    records = []
    for on in ("true", "false"):
        path = tmp_path / "s.yaml"
        path.write_text(IMAGES.format(train=f"steps: 1, channels_last: {on}", end="flatten"))
        records.append(trace(load(path)).as_json())
    assert records[0] == records[1]


# --- deterministic --------------------------------------------------------------------------------------------------


def test_deterministic_is_torchs_own_switch_and_is_given_back():
    train = values("steps: 1, deterministic: true").train
    before = os.environ.get(compute.CUBLAS_WORKSPACE)
    with compute.settings(train, CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ[compute.CUBLAS_WORKSPACE] == ":4096:8"
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
    assert not torch.are_deterministic_algorithms_enabled()
    assert os.environ.get(compute.CUBLAS_WORKSPACE) == before


class Undetermined(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled, where = nn.functional.max_pool2d(x[:, None], (1, 2), return_indices=True)
        return nn.functional.max_unpool2d(pooled, where, (1, 2))[:, 0]


def test_what_has_no_deterministic_form_ends_in_a_sentence_with_its_node():
    job = values("steps: 1, deterministic: true", "{reshape: [1, 6]}", "tanh", "flatten", "linear: 3")
    job.network.tanh_1 = Undetermined()
    with pytest.raises(RunError) as error, compute.settings(job.train, CPU):
        trained(job)
    problem = error.value.problems[0]
    assert problem.message == "`tanh_1` runs max_unpooling2d_forward_out, which has no deterministic form on cpu"
    assert problem.hint == "Drop `deterministic: true`, or put another layer there."
    assert problem.mark.line == 7
    assert not torch.are_deterministic_algorithms_enabled()


# --- anomalies ------------------------------------------------------------------------------------------------------


def anomaly(job: Job) -> str:
    with pytest.raises(RunError) as error:
        trained(job)
    (problem,) = error.value.problems
    where = f"{problem.mark.line}: " if problem.mark is not None else ""
    return where + problem.message


def test_the_node_that_gave_the_first_nan_is_named_with_its_line():
    job = values("steps: 3, detect_anomaly: true", "linear: 8", "tanh", "linear: 3")
    job.network.tanh_1.forward = torch.log
    records = anomaly(job)
    assert records.startswith("7: `tanh_1` gave NaN at step 1, in ")
    assert ", from inputs between -" in records


def test_a_nan_from_infinite_values_names_what_gave_those_too():
    job = values("steps: 3, detect_anomaly: true", "linear: 8", "tanh", "relu", "linear: 3")
    job.network.tanh_1.forward = lambda x: x / 0
    job.network.relu_1.forward = lambda x: x - x
    records = anomaly(job)
    assert records.startswith("8: `relu_1` gave NaN at step 1, in ")
    assert records.endswith(", from infinite values that `tanh_1` gave first")


def test_the_node_whose_gradient_breaks_is_named():
    """The root of zero is zero, and its derivative there is infinite; what stands before it is not blamed."""
    job = values("steps: 3, detect_anomaly: true", "linear: 8", "tanh", "relu", "linear: 3")
    job.network.relu_1.forward = lambda x: torch.sqrt(x * 0)
    records = anomaly(job)
    assert records.startswith("8: the gradient of `relu_1` became NaN at step 1, in ")
    assert records.endswith("values: what came to it was finite")


def test_a_weight_that_an_update_broke_is_named_with_the_step_of_that_update():
    job = values("steps: 5, detect_anomaly: true, optimizer: {sgd: 3e38}", "linear: 3", "tanh", "linear: 3")
    job.network.linear_2.weight.data.mul_(5)  # so that the gradient of the first layer is above 1
    records = anomaly(job)
    assert records == "6: the weight `linear_1/weight` is infinite at step 2: the update of step 1 made it so"


def test_a_loss_that_is_infinite_from_finite_outputs_is_reported_as_the_losss_own():
    job = values("steps: 5, detect_anomaly: true, optimizer: {sgd: 1e38}", "linear: 3")
    assert anomaly(job).startswith("the loss is infinite at step 3, from inputs between -")


def test_data_that_is_not_finite_is_reported_with_its_example():
    job = values("steps: 3, detect_anomaly: true, shuffle: false")
    job.parts["train"].x[5, 2] = torch.nan
    assert anomaly(job) == "the batch holds NaN, in its example 6"


def test_a_network_that_is_watched_learns_to_the_same_bits():
    watched, plain = (images(f"epochs: 2, trace: false, detect_anomaly: {on}") for on in ("true", "false"))
    trained(watched), trained(plain)
    assert all(torch.equal(a, b) for a, b in zip(weights(watched), weights(plain), strict=True))


# --- compile --------------------------------------------------------------------------------------------------------


def test_compile_without_a_compiler_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    path = tmp_path / "s.yaml"
    path.write_text(IMAGES.format(train="steps: 1, compile: true", end="flatten"))
    with pytest.raises(DlxError) as error:
        experiments.run(load(path), tmp_path / "runs")
    records = str(error.value)
    assert "`compile: true` wants a C++ compiler, and there is no `no-such-compiler` here" in records
    assert "Install one, name it in the variable CXX, or drop `compile`." in records
    assert "train.compile" in records
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_network_gives_the_numbers_of_the_other(tmp_path):
    ran = {}
    for on in ("true", "false"):
        path = tmp_path / f"{on}.yaml"
        path.write_text(IMAGES.format(train=f"epochs: 3, batch_size: 16, compile: {on}", end="flatten"))
        command = [sys.executable, "-m", "dlx", "train", str(path), "--runs", str(tmp_path / on), "--json"]
        ran[on] = subprocess.run(command, capture_output=True, text=True, check=True)
    compiled, plain = (json.loads(ran[on].stdout) for on in ("true", "false"))
    assert compiled["metrics"] == pytest.approx(plain["metrics"], rel=1e-3)
    lock = json.loads((Path(compiled["dir"]) / "lock.json").read_text())
    assert lock["compute"]["compile_seconds"] > 0


# --- what is told ---------------------------------------------------------------------------------------------------


def test_what_was_chosen_stands_in_the_lock_and_is_shown(tmp_path):
    path = tmp_path / "s.yaml"
    text = IMAGES.format(train="steps: 2, precision: fp16, deterministic: true, device: cpu", end="flatten")
    path.write_text(text)
    events = []
    run = experiments.run(load(path), tmp_path / "runs", events.append).results[0].run
    assert run.read_json("lock.json")["compute"] == {
        "precision": "fp16",
        "memory_format": "channels_last",
        "compile": False,
        "deterministic": True,
    }
    from dlx.show.training import _begun

    assert ", fp16, channels-last, deterministic, seed 0" in _begun(events[0])
    assert not torch.are_deterministic_algorithms_enabled()


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "precision: fp8": '`precision` must be "fp32", "tf32", "bf16" or "fp16", not "fp8"',
    "compile: maybe": '`compile` must be true or false, not "maybe"',
    "channels_last: some": '`channels_last` must be true or false or "auto", not "some"',
    "deterministic: 3": "`deterministic` must be true or false, not 3",
    "detect_anomaly: 3": "`detect_anomaly` must be true or false, not 3",
    "precision: fp16, optimizer: lbfgs": "lbfgs looks at the loss more than once a step, and fp16 would scale it",
    "channels_last: true, optimizer: lbfgs": "lbfgs lays all weights end to end, and takes no `channels_last`",
    "compile: true, detect_anomaly: true": "`detect_anomaly` walks node by node, and `compile` makes one of all",
    "precision: bf16, trace: true": "`trace: true` replays plain steps, and `precision: bf16` makes others of them",
    "compile: true, trace: true": "`trace: true` replays plain steps, and `compile: true` makes others of them",
}


@pytest.mark.parametrize("train", MISTAKES)
def test_a_mistake_is_reported_in_a_sentence(tmp_path, train):
    text = f"network: {{inputs: [4], layers: [{{linear: 2}}]}}\ntrain: {{steps: 1, {train}}}\n"
    assert MISTAKES[train] in report(tmp_path, text)
