"""Forward time by batch size and device."""

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.analyze import analyze
from dlx.analysis.kinds import forward_time
from dlx.analysis.kinds.forward_time import ForwardTime
from dlx.analysis.subject import of_spec
from dlx.errors import DlxError

SMALL = "name: s\nnetwork: {inputs: [3], layers: [{linear: 2}]}\n"


def test_each_size_has_a_median_between_its_ends_and_the_time_of_one_example(monkeypatch):
    ticks = iter(range(10_000))
    monkeypatch.setattr("dlx.analysis.measures.timing.perf_counter", lambda: next(ticks) ** 2 / 1e6)

    found = ForwardTime(batch_sizes=[4, 1], devices=["cpu"], repeats=9).run(of_spec(experiment_of(SMALL)))
    rows = {row[1]: row[2:] for row in found.table[1]}

    # the i-th pass of this clock takes ((2i + 1)^2 - (2i)^2) / 1e6 = (4i + 1) us; of nine the fifth is the median
    assert rows[1][:3] == pytest.approx([17e-6, 5e-6, 29e-6])
    assert found.figures["seconds_cpu_1"] == rows[1][0]
    assert found.figures["per_example_cpu_4"] == pytest.approx(rows[4][0] / 4)
    assert found.panels[0].marks[0].x == [1, 4]


def test_a_part_with_fewer_examples_is_gone_through_again(monkeypatch):
    sizes = []
    monkeypatch.setattr(forward_time, "times", lambda call, *_: sizes.append(len(call())) or [1.0])
    text = (
        "name: s\ndata: {synthetic: {shape: [3], classes: 2, train: 8, test: 3}}\nnetwork: {layers: [{linear: 2}]}\n"
    )

    ForwardTime(batch_sizes=[2, 10], devices=["cpu"], repeats=1).run(of_spec(experiment_of(text)))

    assert sizes == [2, 10]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told():
    with pytest.raises(DlxError, match="there is no GPU that torch can use"):
        analyze(ForwardTime(devices=["cuda"]), of_spec(experiment_of(SMALL)))
