"""The U-Nets of the zoo learn masks; on masks of other pictures they do not."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from helpers import SHIPPED

import dlx
from dlx.data.generated.shapes import Shapes

SPECS = ("zoo/unet-shapes", "zoo/unet-valid")


class ShuffledShapes(Shapes):
    """Pictures of figures, each for training with the mask of another one."""

    kind: ClassVar[str] = "shuffled_shapes"

    def load(self):
        sets = super().load()
        order = np.random.default_rng(0).permutation(len(sets.train))
        return replace(sets, train=replace(sets.train, y=sets.train.y[order]))


def iou(spec: Path, runs: Path) -> float:
    return dlx.train(spec, ["track.mlflow=false", "train.device=cpu"], runs=runs, quiet=True).result["test/iou"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECS)
def test_a_unet_learns_masks_and_on_masks_of_other_pictures_it_does_not(tmp_path, name):
    text = SHIPPED[name].read_text()
    shuffled = tmp_path / "shuffled.yaml"
    shuffled.write_text(text.replace("{shapes:", "{shuffled_shapes:"))

    assert iou(SHIPPED[name], tmp_path) >= 0.9
    assert iou(shuffled, tmp_path) < 0.4
