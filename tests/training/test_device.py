"""Where training runs, and what is refused before anything is allocated."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.graph.memory_forecast import forecast
from dlx.spec import load
from dlx.training import device

NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


def test_auto_takes_the_gpu_if_there_is_one():
    assert device.pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.pick("cpu") == torch.device("cpu")


@NO_CUDA
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_asking_for_cuda_where_there_is_none_says_so(name):
    with pytest.raises(DlxError) as error:
        device.pick(name)
    assert f"asked for {name}, and torch {torch.__version__} " in str(error.value)
    assert "Use `device: auto` or `device: cpu`." in str(error.value)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_device_beyond_the_last_is_refused():
    with pytest.raises(DlxError, match="asked for cuda:99, and there"):
        device.pick("cuda:99")


def graph_of(tmp_path: Path, layers: str, train: str = "epochs: 1"):
    path = tmp_path / "n.yaml"
    path.write_text(f"network: {{inputs: [1000], layers: [{layers}]}}\ntrain: {{{train}}}\n")
    loaded = load(path)
    return trace(loaded), loaded.train


def test_ten_to_the_twelve_parameters_are_refused_with_the_memory_they_want(tmp_path):
    graph, train = graph_of(
        tmp_path, "{linear: {out_features: 1_000_000_000, bias: false}}", "epochs: 1, optimizer: adam"
    )
    assert graph.params == 10**12
    with pytest.raises(DlxError) as error:
        device.check_memory(graph, train, 20 * 10**9)
    message = str(error.value)
    wanted = "want 16 TB (weights 4 TB, gradients 4 TB, optimizer 8 TB), and 20 GB are free"
    assert f"1,000,000,000,000 parameters {wanted}" in message
    assert message.endswith("\n  Make the widest layer smaller: `dlx inspect` shows where the parameters are.")


def test_what_fits_is_let_through(tmp_path):
    device.check_memory(*graph_of(tmp_path, "{linear: 10}"), device.free_memory())


def test_a_batch_that_does_not_fit_is_refused_with_the_memory_it_wants(tmp_path):
    graph, train = graph_of(tmp_path, "{linear: 100}, relu, {linear: 10}", "epochs: 1, batch_size: 1_000_000")
    wanted = forecast(graph, 1_000_000, train.optimizer.state).total
    device.check_batch(graph, train, 10**6, wanted)
    with pytest.raises(DlxError) as error:
        device.check_batch(graph, train, 10**6, 10**9)
    message = str(error.value)
    assert (
        "a training step of 1,000,000 samples wants about 5.2 GB (activations 4.4 GB of it), and 1 GB are" in message
    )
    assert message.endswith("\n  Lower `train.batch_size`: `dlx inspect --batch N` shows what N samples want.")


def test_a_batch_is_no_larger_than_the_training_set(tmp_path):
    graph, train = graph_of(tmp_path, "{linear: 100}, relu, {linear: 10}", "epochs: 1, batch_size: 1_000_000")
    device.check_batch(graph, train, 1000, 10**8)


def test_the_batch_is_checked_before_training(tmp_path, monkeypatch):
    path = tmp_path / "n.yaml"
    path.write_text(
        "data: digits\nnetwork: {layers: [{conv: {out_channels: 64, kernel_size: 3}}, flatten, {linear: 10}]}\n"
        "train:\n  epochs: 1\n  batch_size: 1000\ntrack: {mlflow: false}\n"
    )
    monkeypatch.setattr(device, "free_memory", lambda *_: 5_000_000)
    with pytest.raises(DlxError, match=r"n.yaml:5:3  train.batch_size\n  a training step of 1,000 samples wants"):
        runner.run(load(path), tmp_path / "runs")


def test_what_a_recurrent_layer_computes_at_one_moment_is_what_threads_share(tmp_path, monkeypatch):
    graph, train = graph_of(tmp_path, "{linear: 10_000}", "epochs: 1, batch_size: 1000")
    monkeypatch.setenv("DLX_THREADS", "2")
    assert device.threads_for(train, graph, 10_000) == 2

    (node,) = [node for node in graph.nodes if node.plan.macs]
    object.__setattr__(node, "plan", replace(node.plan, sequential_steps=1000))
    assert device.threads_for(train, graph, 10_000) == 1


def test_threads_follow_the_size_of_a_batch_and_the_spec(tmp_path):
    graph, train = graph_of(tmp_path, "{linear: 10}")
    assert device.threads_for(train, graph, 10_000) == 1
    graph, train = graph_of(tmp_path, "{linear: 10}", "epochs: 1, threads: 3")
    assert device.threads_for(train, graph, 10_000) == 3
    graph, train = graph_of(tmp_path, "{linear: 100_000}", "epochs: 1, batch_size: 1000")
    assert device.threads_for(train, graph, 10_000) >= 1


@pytest.mark.parametrize(
    ("own", "of_openmp", "threads"),
    [("", "3", 3), ("2", "3", 2), ("", "3,1", 3), ("", "0", None), ("", "many", None), ("", "", None)],
)
def test_openmp_s_number_of_threads_is_taken_where_the_spec_leaves_it_open(monkeypatch, own, of_openmp, threads):
    monkeypatch.setenv("DLX_THREADS", own)
    monkeypatch.setenv("OMP_NUM_THREADS", of_openmp)
    assert device.available_threads() == (threads or len(os.sched_getaffinity(0)))


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with device.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1536, "1.54 kB"), (4e12, "4 TB"), (2.5e18, "2.5e+03 PB")]
)
def test_bytes_read_in_decimal_units(count, text):
    assert device.bytes_text(count) == text
