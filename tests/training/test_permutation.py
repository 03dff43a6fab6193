"""A random order that takes no memory: each number once, as even as a shuffle, another one with another seed."""

from __future__ import annotations

import pytest

from dlx.lazy import torch
from dlx.training.batches import example_order
from dlx.training.batches.permutation import Permutation


def order(count: int, seed: int = 0) -> Permutation:
    return Permutation.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 3, 17, 64, 1000, 4097])
def test_each_number_comes_once(count):
    assert sorted(order(count)[:].tolist()) == list(range(count))


def test_pieces_are_those_of_the_whole():
    whole = order(5000)[:].tolist()
    assert [n for i in range(0, 5000, 321) for n in order(5000)[i : i + 321].tolist()] == whole
    assert order(5000, 1)[:].tolist() != whole


def test_it_is_as_even_as_a_shuffle():
    """Over many keys each number is equally often at each place: chi-square below its 99.9 % quantile, 37.7 at 15."""
    counts = torch.zeros(16)
    for seed in range(4000):
        counts[order(16, seed)[3:4]] += 1
    assert float(((counts - 250) ** 2 / 250).sum()) < 37.7
    numbers = order(100_000)[:].double()
    neighbours = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]
    assert abs(float(neighbours)) < 4 / 100_000**0.5


def test_a_text_of_many_windows_takes_it_and_resumes(tmp_path, monkeypatch):
    from dlx.experiment import runner, session
    from dlx.spec import load
    from dlx.training.prepared import prepare

    monkeypatch.setattr(example_order, "MANY", 10)
    path = tmp_path / "a.yaml"
    path.write_text(
        "dlx: 1\nname: a\ndata: {text: {content: '" + "abcdefgh" * 30 + "', window: 5}}\n"
        "network: {layers: [{embedding: {embedding_dim: 4}}, {linear: 8}]}\n"
        "train: {steps: 30, batch_size: 4}\ntrack: {mlflow: false}\n"
    )
    whole = runner.run(load(path), tmp_path / "whole").results[0]
    prepared = prepare(load(path))
    job = session.job_of(prepared)
    job.feed.begin()
    assert isinstance(job.feed.order, Permutation)
    folder = session.new_run(prepared, tmp_path / "halved")
    session.train_run(session.RunRecorder(folder), prepared, session.Session(until=17))
    assert runner.resume(folder)[1].results[0].metrics == whole.metrics
