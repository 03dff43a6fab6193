"""What a training takes: an evaluation holds no more at once than the network's layers let it."""

import pytest
import torch

from dlx.spec import load
from dlx.training.prepared import prepare

WIDE = """
dlx: 1
data: {text: {path: letters.txt, window: 64, test: 0.25, stride: 8}}
network:
  layers: [{embedding: {embedding_dim: 8}}, {linear: 16384}, relu, {linear: "${data.vocabulary}"}]
objective: language
train: {steps: 1, batch_size: 4}
"""


@pytest.fixture
def wide(tmp_path):
    (tmp_path / "letters.txt").write_text("the quick brown fox jumps over the lazy dog " * 200)
    path = tmp_path / "wide.yaml"
    path.write_text(WIDE)
    return path


def test_an_evaluation_of_a_wide_network_takes_few_examples_at_once(wide):
    parts = prepare(load(wide)).parts()

    # relu reads and writes 64 positions x 16,384 values of 4 bytes, and 64 MiB hold that eight times
    assert [len(batch) for batch in parts["train"].chunks(1024)][:2] == [8, 8]
    assert len(parts["train"]) > 100


def test_a_batch_of_the_training_is_evaluated_at_once_however_wide_the_network_is(wide):
    parts = prepare(load(wide, ["train.batch_size=32"])).parts()

    assert len(next(parts["train"].chunks(1024))) == 32


def test_a_narrow_network_is_evaluated_in_batches_that_the_cache_holds(wide):
    parts = prepare(load(wide, ["network.layers.1.linear=16"])).parts()

    assert max(len(batch) for batch in parts["train"].chunks(512)) == 512


def test_parts_of_a_part_keep_the_limit(wide):
    part = prepare(load(wide)).parts()["test"]

    assert part.some(torch.arange(16)).at_once == part.at_once == 8
    assert [len(batch) for batch in part.some(torch.arange(16)).chunks(1024)] == [8, 8]
