"""Units that agree with classes of pixels, and that do not with the masks of other pictures."""

import pytest
from helpers import experiment_of

from dlx.analysis.kinds.dissection import Dissection
from dlx.analysis.subject import of_run, of_spec
from dlx.experiment import runner

MASKS = """
name: masks
data: {shapes: {train: 200, valid: 0, test: 60, most: 1, size: 16, noise: 0.05}}
network:
  layers:
    - repeat: {times: 2, layers: [{conv: {out_channels: 12, kernel_size: 5, padding: same}}, relu]}
    - conv: {out_channels: 4, kernel_size: 1}
objective: segmentation
init: he_normal
train: {epochs: 3, batch_size: 20, optimizer: {adam: 1e-2}, device: cpu}
track: {mlflow: false}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runner.run(experiment_of(MASKS), tmp_path_factory.mktemp("masks")).results[0].run


def test_units_detect_classes_in_their_own_pictures_and_not_in_others(run):
    found = Dissection(share=0.05).run(of_run(run))

    assert found.figures["best"] > 2 * found.figures["shuffled_best"]
    assert found.figures["detectors"] >= 1
    assert 0 < found.figures["share"] <= 1
    assert len(found.table[1]) == 4
    assert len(found.panels[1].marks[0].pictures) == 16


def test_the_output_agrees_with_the_classes_that_it_tells(run):
    """A unit a class: what the last layer says of each is its best unit."""
    found = Dissection(layer="conv_3", share=0.05).run(of_run(run))
    figures = [row for row in found.table[1] if row[2] > 0.3]

    assert figures
    assert all(row[1] == number for number, row in enumerate(found.table[1]) if row[2] > 0.3)


def test_data_without_masks_and_layers_without_maps_are_refused(run, digits_run):
    subject = of_run(run)
    (problem,) = Dissection().problems(of_run(digits_run))

    assert problem.message.startswith("units are compared with classes of pixels, and the data of ")
    assert "Did you mean `conv_3`" in Dissection(layer="conv_33").problems(subject)[0].hint
    bare = of_spec(experiment_of("name: bare\nnetwork: {inputs: [2], layers: [{linear: 2}]}"))
    assert "the data of bare has none" in Dissection().problems(bare)[0].message
