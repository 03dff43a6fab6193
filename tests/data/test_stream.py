"""Sets that stay on disk: the same examples, bit for bit, without the memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from helpers import experiment_of
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from test_resume import cut_off, figures, weights, whole

from dlx.data.arrays.arrays import Arrays
from dlx.data.streaming import Mapped, Streamed, should_stream
from dlx.errors import DataError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.network import build
from dlx.shapes import Shape
from dlx.spec import objective_of
from dlx.training.batches.on_device import on_device
from dlx.training.batches.prefetch import StreamedPart
from dlx.training.fit import Job, fit

SPEC = """
name: s
data:
  arrays: {{path: {path}, targets: {targets}, channels: last, valid: 0.2, test: 0.1, stream: {stream}{more}}}
network: {{layers: [{{conv: {{out_channels: 3, kernel_size: 3}}}}, relu, flatten, {{linear: {outputs}}}]}}
train: {{epochs: 3, batch_size: 32{train}, save_every: 3}}
track: {{mlflow: false}}
"""


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    """Pictures of bytes, channels last; their classes; and a picture of values for each."""
    rng = np.random.default_rng(5)
    x, y = rng.integers(0, 256, (300, 5, 6, 3), dtype=np.uint8), rng.integers(0, 4, 300)
    values = rng.normal(size=(300, 2))
    for name, array in (("x", x), ("y", y), ("values", values)):
        np.save(tmp_path / f"{name}.npy", array)
    return {name: tmp_path / f"{name}.npy" for name in ("x", "y", "values")}


def source(files: dict[str, Path], targets: str = "y", **more: object) -> Arrays:
    return Arrays(path=files["x"], targets=files[targets], channels="last", **more)


def trained(files: dict[str, Path], runs: Path, stream: str, targets: str = "y", more="", train="") -> dict:
    text = SPEC.format(
        path=files["x"],
        targets=files[targets],
        stream=stream,
        more=more,
        train=train,
        outputs=4 if targets == "y" else 2,
    )
    result = runner.run(experiment_of(text), runs / stream).results[0]
    checkpoint = (result.run.dir / "checkpoints" / "final.json").read_text().split('"sha256": "')[1][:64]
    lock = result.run.read_json("lock.json")["data"]
    return {
        "weights": checkpoint,
        "metrics": result.metrics,
        "digest": lock["digest"],
        "steps": lock.get("preprocess"),
    }


@pytest.mark.parametrize("targets", ["y", "values"])
@pytest.mark.parametrize(
    ("more", "train"),
    [
        ("", ""),
        (", preprocess: [center, {standardize: channel}, {rescale: {low: -1}}]", ""),
        (", standardize: all", ", accumulate: 2, drop_last: true"),
        ("", ", shuffle: false, optimizer: {lbfgs: {max_iter: 2}}"),
    ],
    ids=["plain", "preprocessed", "accumulated", "lbfgs"],
)
def test_what_is_trained_has_the_same_bits_in_memory_and_on_disk(files, tmp_path, targets, more, train):
    in_memory, streamed = (trained(files, tmp_path, stream, targets, more, train) for stream in ("false", "true"))
    assert in_memory == streamed


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_rows_of_a_map_are_those_of_the_array(tmp_path_factory, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    dtype = data.draw(st.sampled_from(["u1", "<i8", ">f4", "<f8", "?"]))
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    array = np.asfortranarray(array) if data.draw(st.booleans()) else array
    path = tmp_path_factory.mktemp("map") / "a.npy"
    np.save(path, array)
    stored = np.load(path, mmap_mode="r")
    mapped = Mapped(path, stored.dtype, stored.shape, stored.offset, np.isfortran(stored))
    rows = np.array(data.draw(st.lists(st.integers(0, len(array) - 1), max_size=9)), np.int64)
    np.testing.assert_array_equal(mapped[rows], array[rows])
    assert len(mapped) == len(array)


def test_examples_are_taken_by_number_in_slices_and_in_any_order(files):
    in_memory, streamed = (source(files, stream=s, standardize="channel", seed=4).load().train for s in (False, True))
    assert isinstance(streamed.x, Streamed)
    assert (streamed.x.shape, streamed.x.ndim, len(streamed)) == ((300, 3, 5, 6), 4, 300)
    rows = np.array([3, 299, 3, 0])
    np.testing.assert_array_equal(streamed.x[rows], in_memory.x[rows])
    np.testing.assert_array_equal(streamed.x[5:9], in_memory.x[5:9])
    np.testing.assert_array_equal(np.asarray(streamed.x), in_memory.x)


def test_the_whole_digest_is_the_same_and_so_are_the_facts(files):
    for more in ({}, {"preprocess": ["center"]}, {"folds": 3, "fold": 2, "stratify": True}):
        first, second = (source(files, stream=stream, **more) for stream in (False, True))
        assert first.load().digest == second.load().digest
        assert first.facts() == second.facts()


def test_principal_components_are_kept_on_disk_too(files):
    first, second = (source(files, stream=s, preprocess=[{"pca": 7}]).load().train.x for s in (False, True))
    assert second.shape == (300, 7)
    np.testing.assert_allclose(first, second[:], atol=1e-5)


@pytest.mark.parametrize("step", [2, 9, 13, 20])
def test_a_run_on_disk_that_was_cut_off_goes_on_to_the_same_bits(files, tmp_path, step):
    text = SPEC.format(
        path=files["x"],
        targets=files["y"],
        stream="true",
        more=", standardize: channel",
        train=", log_every: 1",
        outputs=4,
    )
    path = tmp_path / "s.yaml"
    path.write_text(f"dlx: 1\n{text}")
    expected, run = whole(path, tmp_path / "whole"), cut_off(path, tmp_path / "cut", step)
    runner.resume(run)
    assert (weights(run), figures(run)) == (weights(expected), figures(expected))


def test_auto_streams_from_a_quarter_of_the_free_memory_on(files, monkeypatch):
    memory = type("Memory", (), {"available": 4 * 4 * 300 * 90})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert not should_stream("auto", 300, Shape((90,)))
    assert should_stream("auto", 301, Shape((90,)))
    assert should_stream(True, 1, Shape((1,)))
    assert not source(files).load().train.streams
    memory.available -= 100
    assert source(files).load().train.streams


def test_a_set_that_does_not_fit_is_refused_where_it_may_not_stream(files, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(DataError, match=r"a file \.npy can stream"):
        source(files, stream=False).load()
    assert len(source(files).load().train) == 300


def test_only_plain_files_stream(tmp_path):
    with pytest.raises(ValidationError, match=r"`stream: true` reads a file \.npy by rows, and `path` ends in \.npz"):
        Arrays(path=tmp_path / "a.npz", stream=True)


def test_a_value_that_is_not_finite_is_found_before_training(tmp_path):
    x = np.zeros((9000, 2))
    x[8999, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(9000) % 2)
    with pytest.raises(DataError, match="1 values that are not finite"):
        Arrays(path=tmp_path / "x.npy", targets=tmp_path / "y.npy", stream=True).load()


def part(files, **more: object) -> tuple[StreamedPart, torch.Tensor, torch.Tensor]:
    sets = source(files, stream=True, **more).load()
    made = on_device(sets, torch.device("cpu"))["train"]
    assert isinstance(made, StreamedPart)
    return made, torch.from_numpy(sets.train.x[:]), torch.from_numpy(np.asarray(sets.train.y))


def test_a_step_that_reads_from_disk_is_never_replayed(files):
    train = ", trace: true"
    one = experiment_of(
        SPEC.format(path=files["x"], targets=files["y"], stream="true", more="", train=train, outputs=4)
    )
    parts = on_device(one.data.load(), torch.device("cpu"))
    made = Job(build(trace(one), one.init), objective_of(one), one.train, parts)
    for _ in fit(made):
        pass
    assert made.learner.way == {"step": "plain", "because": "the training set stays on disk"}


@pytest.mark.parametrize("targets", ["y", "values"])
def test_what_was_not_expected_is_fetched_all_the_same(files, targets):
    one, x, y = part(files, targets=targets)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    one.prefetch(order, 40)
    first, second, *_ = order.split(40)
    for asked in (second, first, first, order[5:7], second):
        got = one.take(asked)
        torch.testing.assert_close((got["input"], got.y), (x[asked], y[asked]), rtol=0, atol=0)
    one.prefetch(order[:50], 40)
    torch.testing.assert_close(one.take(order[:40])["input"], x[order[:40]], rtol=0, atol=0)


def test_chunks_are_all_of_it_in_its_order(files):
    one, x, y = part(files)
    pieces = list(one.chunks(128))
    assert [len(piece) for piece in pieces] == [128, 128, 44]
    torch.testing.assert_close(torch.cat([piece["input"] for piece in pieces]), x, rtol=0, atol=0)
    torch.testing.assert_close(torch.cat([piece.y for piece in pieces]), y, rtol=0, atol=0)


def test_some_of_it_are_spread_evenly(files):
    one, x, _ = part(files)
    some = one.evenly(60)
    pieces = list(some.chunks(40))
    assert [len(piece) for piece in pieces] == [40, 20]
    torch.testing.assert_close(torch.cat([piece["input"] for piece in pieces]), x[::5], rtol=0, atol=0)
    assert one.evenly(300).evaluated is None


def test_the_doctor_looks_at_the_first_examples(files):
    sets = source(files, stream=True).load().in_memory(4 * 90 * 10)
    assert (type(sets.train.x), len(sets.train)) == (np.ndarray, 10)
    in_memory = source(files, stream=False).load()
    assert in_memory.in_memory(100).train is in_memory.train


@pytest.mark.slow
def test_a_gigabyte_is_trained_on_in_little_memory(tmp_path):
    """The file is 1 GiB of zeros that take no room on the disk; all of it is read four times."""
    count = 2**30 // 4096
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (count, 1024))
    x[0] = 1
    del x
    np.save(tmp_path / "y.npy", np.arange(count) % 2)
    code = f"""
import resource
from pathlib import Path
from dlx.experiment import runner
from dlx.spec import load, objective_of
spec = Path({str(tmp_path)!r}) / "s.yaml"
spec.write_text('''
dlx: 1
data: {{arrays: {{path: x.npy, targets: y.npy, stream: true, channels: none, test: 1000, standardize: all}}}}
network: {{layers: [flatten, {{linear: 2}}]}}
train: {{steps: 40, batch_size: 64}}
track: {{mlflow: false}}
''')
runner.run(load(spec), Path({str(tmp_path)!r}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 600, f"{ran.stdout} MiB"
