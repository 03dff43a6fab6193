"""Depth against width at as many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from ...errors import Problem, SpecError, did_you_mean
from ...graph import trace_all
from ...lazy import np
from ...spec import Experiment
from ...spec.analyses import Words
from ..result import Bars, Lines, Panel, Result
from ..variants import Plan, planned
from ..varied import Errors, Varied, value_at

if TYPE_CHECKING:
    from ..subject import Subject

MOST = 2**16
"""Largest width that is tried."""


class DepthWidth(Varied):
    """Train deep and shallow networks of as many trainable parameters, and measure both errors.

    For each depth and each number of parameters the width is the one whose count is nearest, found from the plan
    without training. `error_D` is the held-out error at depth D and the most parameters, `width_D` the width;
    `best_depth` has the lowest; `gain` is the error of the shallowest minus that of the deepest; `spread` the largest
    relative difference of a count from what was asked for.
    Books: at a fixed number of weights deep and narrow networks have the lower test error, 11 layers against 3.
    """

    kind: ClassVar[str] = "depth_width"
    source: ClassVar[str] = (
        "Russell & Norvig, Artificial Intelligence: A Modern Approach, figure 22.7; Goodfellow et al. 2014, "
        "arXiv:1312.6082"
    )
    example: ClassVar[str] = "dlx analyze depth_width sweeps/depth-at-equal-parameters --set depths=[3,11]"
    figures: ClassVar[tuple[str, ...]] = ("error_N", "width_N", "best_depth", "gain", "spread")

    depths: list[PositiveInt] = Field([1, 2, 4, 8], min_length=2, description="values of the key of the depth")
    params: list[PositiveInt] = Field([], description="trainable parameters; by default as many as the spec has")
    depth: str = Field("vars.depth", description="key of the depth")
    width: str = Field("vars.width", description="key of the width")
    within: PositiveFloat = Field(0.1, description="largest relative difference from `params`")

    def plans(self, subject: Subject) -> list[Plan]:
        """Return a plan for each depth and number of parameters. SpecError where no width comes near."""
        self.metric_of(subject)
        return [
            planned(subject.experiment, [f"{self.depth}={depth}", f"{self.width}={width}"], self.seeds)
            for depth, widths in self.widths(subject).items()
            for width in widths
        ]

    def widths(self, subject: Subject) -> dict[int, list[int]]:
        """Return the widths by depth, one for each number of parameters. SpecError with all that have none."""
        if unknown := [
            problem
            for option, key in (("depth", self.depth), ("width", self.width))
            if (problem := _unknown(subject.experiment, option, key)) is not None
        ]:
            raise SpecError(*unknown)
        wanted, problems, found = (
            sorted(self.params or [subject.graphs.trainable]),
            list[Problem](),
            dict[int, list[int]](),
        )
        for depth in self.depths:
            deep = subject.experiment.changed([f"{self.depth}={depth}"])
            for count in wanted:
                width, made = _nearest(deep, self.width, count)
                if abs(made - count) > self.within * count:
                    message = f"at depth {depth} the width nearest to {count:,} parameters is {width}, of {made:,}"
                    problems.append(Problem(message, "Ask for other `params`, or allow more by `within`."))
                found.setdefault(depth, []).append(width)
        if problems:
            raise SpecError(*problems)
        return found

    def words(self, subject: Subject) -> Words:
        return {"N": [str(depth) for depth in self.depths]}

    def run(self, subject: Subject) -> Result:
        """Train all of them, and compare the errors by depth."""
        widths, metric, variants = self.widths(subject), self.metric_of(subject), self.variants(subject)
        asked = sorted(self.params or [subject.graphs.trainable])
        lines, rows, last, spread = list[Lines](), list[list[Any]](), dict[int, float](), 0.0
        part = ""
        for i, (depth, each) in enumerate(widths.items()):
            mine = variants[i * len(each) : (i + 1) * len(each)]
            errors, counts = Errors.of(mine, metric), [one.graphs.trainable for one in mine]
            part, last[depth] = errors.part, float(errors.held_out[-1])
            spread = max(spread, *(abs(c - a) / a for c, a in zip(counts, asked, strict=True)))
            lines.append(Lines(f"depth {depth}", counts, errors.held_out, *errors.held_out_band))
            rows += [
                [depth, width, count, float(train), float(held_out)]
                for width, count, train, held_out in zip(each, counts, errors.train, errors.held_out, strict=True)
            ]
        figures: dict[str, Any] = {f"error_{depth}": error for depth, error in last.items()}
        figures |= {f"width_{depth}": each[-1] for depth, each in widths.items()}
        figures |= {
            "best_depth": min(last, key=lambda depth: last[depth]),
            "gain": last[min(last)] - last[max(last)],
            "spread": spread,
        }
        title, what = "depth at equal parameters", f"{part} {metric}"
        panel = Panel(title, "trainable parameters", what, tuple(lines), x_scale="log")
        if len(asked) == 1:  # lines of one point each would compare counts that differ by a rounding of the width
            panel = Panel(f"{title}, about {asked[0]:,}", "depth", what, (_bars(what, lines),))
        titles = ("depth", "width", "parameters", f"train {metric}", f"{part} {metric}")
        return Result(figures, (panel,), (titles, rows), seeds=self.seeds)


def _bars(what: str, lines: Sequence[Lines]) -> Bars:
    """Return the ends of lines as bars by depth, with their intervals."""
    depths, errors = [one.label.removeprefix("depth ") for one in lines], [np.asarray(one.y)[-1] for one in lines]
    low, high = [one.low for one in lines], [one.high for one in lines]
    ends = [[np.asarray(one)[-1] for one in side if one is not None] or None for side in (low, high)]
    return Bars(what, depths, errors, *ends)


def _unknown(experiment: Experiment, option: str, key: str) -> Problem | None:
    """Return a problem where an option names a variable that the spec has not; other keys are overrides."""
    if not key.startswith("vars.") or value_at(experiment, key) is not None:
        return None
    section = experiment.written.at("vars")
    near = did_you_mean(key.removeprefix("vars."), section.map, "the variables") if section is not None else ""
    hint = f"{near} Name the key of the {option}: `--set {option}=vars.KEY`.".strip()
    return Problem(f"`{key}` is not in the spec", hint, path=key)


def _nearest(deep: Experiment, key: str, wanted: int) -> tuple[int, int]:
    """Return the width whose trainable parameters are nearest to those wanted, and their number."""
    counts: dict[int, int] = {}

    def count(width: int) -> int:
        if width not in counts:
            counts[width] = trace_all(deep.changed([f"{key}={width}"])).trainable
        return counts[width]

    high = 1
    while count(high) < wanted and high < MOST:
        high *= 2
    low = max(1, high // 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < wanted else (low, middle)
    width = min((low, high), key=lambda one: abs(count(one) - wanted))
    return width, count(width)
