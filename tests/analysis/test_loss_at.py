"""Mean loss and error of a network on examples, beside the same by hand."""

from __future__ import annotations

import pytest
import torch
from helpers import experiment_of

from dlx.analysis.loss_at import evaluated
from dlx.analysis.subject import of_spec

SPEC = """
name: two
data: {synthetic: {shape: [3], classes: 2, train: 200, valid: 0, test: 10}}
network: {layers: [{linear: 1}%s]}
objective: {binary_classification: {%s}}
"""


@pytest.mark.parametrize(
    ("end", "objective", "threshold"),
    [("", "", 0.5), ("", "threshold: 0.7", 0.7), (", sigmoid", "loss: squared_error", 0.5)],
    ids=["logits", "another threshold", "probabilities"],
)
def test_one_output_is_class_1_where_its_probability_is_above_the_threshold(end, objective, threshold):
    subject = of_spec(experiment_of(SPEC % (end, objective)))
    network, batch = subject.network(), subject.examples(200, part="train")
    with torch.no_grad():
        output = network(*batch.inputs)[:, 0]
    likely = output if end else output.sigmoid()
    expected = float(((likely > threshold) != (batch.y == 1)).float().mean())

    assert evaluated(subject, network, batch).error == pytest.approx(expected)
    if end or objective:  # the twin: the sign of the output
        assert float(((output > 0) != (batch.y == 1)).float().mean()) != pytest.approx(expected)
