"""A ticket, the same mask with other values, and random masks: over the seeds the first values and the mask count."""

from statistics import mean

import pytest
from helpers import SHIPPED
from quality import bounds
from scipy.stats import ttest_rel

from dlx.experiment import runner
from dlx.graph import trace_all
from dlx.spec import load

REDRAWN, RANDOM = "stages.ticket.prune.rewind=redraw", "+stages.ticket.prune.by=random"


def of(*changes):
    return load(SHIPPED["zoo/lottery-ticket"], ["track.mlflow=false", *changes])


def accuracies(tmp_path, *changes):
    """The accuracies on the test part, seed by seed."""
    return [one.metrics["test/accuracy"] for one in runner.run(of(*changes), tmp_path / "runs").results]


def test_the_twins_have_as_many_weights_in_each_layer():
    counts = [[node.pruned for node in trace_all(of(*changes)).one.nodes] for changes in ([], [REDRAWN], [RANDOM])]
    assert counts[0] == counts[1] == counts[2]
    assert [stage.remaining for stage in trace_all(of()).stages.values()] == [15210, 5637, 2610]


@pytest.mark.slow
def test_the_ticket_beats_its_mask_with_other_values_and_random_masks(tmp_path):
    ticket = accuracies(tmp_path)
    claimed = bounds("zoo/lottery-ticket")["test/accuracy"]["at_least"]
    assert mean(ticket) >= claimed
    for twin in (REDRAWN, RANDOM):
        others = accuracies(tmp_path, twin)
        assert mean(others) < claimed
        assert ttest_rel(ticket, others).confidence_interval(0.95).low > 0
