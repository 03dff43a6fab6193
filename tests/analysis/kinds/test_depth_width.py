"""`depth_width`: widths by the formula of the parameters, and errors of deep and shallow networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trainings import analyzed, refused, subject_in

from dlx.analysis.result import Bars

SPEC = """
dlx: 1
name: deep
data: {curve: {function: wave, noise: 0, train: 40, valid: 0, test: 40}}
vars: {depth: 1, width: 20}
network:
  layers:
    - repeat: {times: "${depth}", layers: [{linear: "${width}"}, relu]}
    - linear: 1
objective: regression
train: {steps: 20, batch_size: all, optimizer: {adam: 0.01}}
"""


def params(depth: int, width: int) -> int:
    """Weights and biases of a network of one input and one output."""
    return 2 * width + (depth - 1) * (width**2 + width) + width + 1


def test_widths_are_those_of_the_formula(tmp_path: Path) -> None:
    """Twin: the width that the shallow one has makes a deep one of far more parameters."""
    options = {"depths": [1, 2, 4], "params": [300], "seeds": 1}
    found = analyzed("depth_width", subject_in(tmp_path, SPEC), **options)
    for depth, width, count, *_ in found.table[1]:
        assert count == params(depth, width)
        assert min(range(1, 200), key=lambda w: abs(params(depth, w) - 300)) == width
    assert found.figures["spread"] == pytest.approx(abs(params(2, 15) - 300) / 300)
    assert params(4, int(found.figures["width_1"])) > 10 * 300
    assert found.figures["gain"] == pytest.approx(found.figures["error_1"] - found.figures["error_4"])


def test_a_curve_for_each_depth_over_the_parameters(tmp_path: Path) -> None:
    found = analyzed("depth_width", subject_in(tmp_path, SPEC), depths=[1, 2], params=[60, 120], seeds=2)
    first, second = found.panels[0].marks
    assert (first.label, second.label) == ("depth 1", "depth 2")  # type: ignore[union-attr]
    assert [len(line.x) for line in (first, second)] == [2, 2]  # type: ignore[union-attr]


def test_at_one_number_of_parameters_depths_are_bars_with_intervals(tmp_path: Path) -> None:
    found = analyzed("depth_width", subject_in(tmp_path, SPEC), depths=[1, 2], params=[60], seeds=2)
    (bars,) = found.panels[0].marks

    assert isinstance(bars, Bars)
    assert list(bars.x) == ["1", "2"]
    assert list(bars.y) == [found.figures["error_1"], found.figures["error_2"]]
    assert all(low < y < high for low, y, high in zip(bars.low, bars.y, bars.high, strict=True))  # type: ignore[arg-type]
    alone = (
        analyzed("depth_width", subject_in(tmp_path, SPEC), depths=[1, 2], params=[60], seeds=1).panels[0].marks[0]
    )
    assert isinstance(alone, Bars)
    assert alone.low is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depths": [1, 8], "params": [30]}, "at depth 8 the width nearest to 30 parameters is 1, of 18"),
        ({"width": "vars.wdth"}, "`vars.wdth` is not in the spec\n  Did you mean `width` or `depth`?"),
        ({"depth": "vars.depths"}, "Did you mean `depth`"),
    ],
)
def test_what_has_no_width_is_told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    assert words in refused("depth_width", subject_in(tmp_path, SPEC), **options)


def test_keys_that_are_not_in_the_spec_are_told_with_their_options(tmp_path: Path) -> None:
    subject = subject_in(tmp_path, SPEC)
    complaint = refused("depth_width", subject, depths=[1, 2], depth="vars.layers", width="vars.units")

    assert "`vars.layers` is not in the spec" in complaint
    assert "Name the key of the depth: `--set depth=vars.KEY`." in complaint
    assert "`vars.units` is not in the spec" in complaint
