"""Partial convolutions fill a hole from what is around it; without the mask, or with another one, less."""

import re
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from helpers import SHIPPED
from quality import all_of, unmet

import dlx
from dlx.data.generated.inpainting import Inpainting
from dlx.graph import trace
from dlx.network import build
from dlx.spec import load

SPEC = SHIPPED["zoo/inpainting"]
SHARE = 36 / 256
"""Of the pixels are in the hole; elsewhere the output is the picture."""
MEAN_FILL = 0.25 * SHARE
"""Mean squared error with 0 in the hole: the variance of a picture is 1/4."""


class OtherMasks(Inpainting):
    """Pictures, each with the mask of another one."""

    kind: ClassVar[str] = "other_masks"

    def changed(self, part):
        return replace(part, more={"mask": np.roll(part.more["mask"], 1, 0)})

    def load(self):
        sets = super().load()
        return replace(sets, train=self.changed(sets.train), test=self.changed(sets.test))


class MasksOfOnes(OtherMasks):
    """Pictures whose mask says that all is known."""

    kind: ClassVar[str] = "masks_of_ones"

    def changed(self, part):
        return replace(part, more={"mask": np.ones_like(part.more["mask"])})


def plain(text):
    """The same network of convolutions that have no mask."""
    text = re.sub(
        r"partial_conv: (\{[^}]*\}), name: (\w+), from: \[(\w+), [\w.]+\]", r"conv: \1, name: \2, from: \3", text
    )
    text = re.sub(r", \w+\.mask\]", "]", text)
    assert "partial_conv" not in text.partition("network:")[2].partition("expect:")[0]
    return text.partition("expect:")[0]


def mse(tmp_path, text, *changes):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return dlx.train(path, ["track.mlflow=false", *changes], runs=tmp_path, quiet=True).result["test/mse"]


@pytest.mark.slow
def test_the_hole_is_filled_better_than_without_the_mask_and_than_by_the_mean(tmp_path):
    text, name = SPEC.read_text(), "zoo/inpainting"
    partial = mse(tmp_path, text)
    with pytest.warns(dlx.DlxWarning, match="the branches are not aligned"):  # convolutions whose windows are known
        without = mse(tmp_path, plain(text))

    assert not unmet(name, {"test/mse": partial})
    assert partial < 0.8 * without < MEAN_FILL
    for kind in ("other_masks", "masks_of_ones"):
        twin = mse(tmp_path, text.replace("{inpainting:", f"{{{kind}:").partition("expect:")[0])
        assert unmet(name, {"test/mse": twin}) == all_of(name)
        assert twin > 0.9 * MEAN_FILL


def test_a_hundred_steps_fill_the_hole_better_than_the_mean_and_not_with_other_masks(tmp_path):
    """Quick form of the test above."""
    text = SPEC.read_text()
    few = ("data.{}.train=320", "data.{}.test=100", "train.epochs=6", "~expect")
    right = mse(tmp_path, text, *(one.format("inpainting") for one in few))
    wrong = mse(tmp_path, text.replace("{inpainting:", "{other_masks:"), *(one.format("other_masks") for one in few))

    assert right < 0.8 * MEAN_FILL
    assert wrong > 0.95 * MEAN_FILL


def test_what_is_in_the_hole_has_no_influence_and_what_is_known_stays():
    """To the bit, before any training; plain convolutions see it."""
    torch.manual_seed(0)
    zeros, other = (Inpainting(train=4, test=0, fill=fill).load().train for fill in ("zeros", "other"))
    mask = torch.from_numpy(zeros.more["mask"])
    network = build(trace(load(SPEC))).eval()
    made = [network(torch.from_numpy(part.x), mask) for part in (zeros, other)]
    hole = mask == 0

    assert torch.equal(made[0][hole], made[1][hole])
    torch.testing.assert_close(made[0][~hole], torch.from_numpy(zeros.y)[~hole])
