"""What `dlx plot` is asked for, and which options go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import DlxError, did_you_mean
from ..trained.calibration import BINS
from .kinds import Band, Kind
from .plot_figure import Scale
from .plot_means import Axis

AXES: tuple[Axis, ...] = ("step", "epoch", "time")
EXAMPLES: Final[tuple[Kind, ...]] = ("features", "attention", "fields")
"""Kinds that show what a network makes of an example."""


@dataclass(frozen=True)
class Options:
    """What `dlx plot` is asked for, beside the runs."""

    metrics: tuple[str, ...] = ()
    kind: Kind = "curve"
    x: str = ""
    """`step`, `epoch` or `time` of a curve; a recorded key of a scatter."""
    scale: Scale = "linear"
    x_scale: Scale = "linear"
    band: Band = "auto"
    each: bool = False
    part: str = ""
    """Part of the data that is looked at; empty for test, else valid, else train."""
    layer: tuple[str, ...] = ()
    """Layers that are looked at; empty for all that have what is shown."""
    example: int = 0
    """Number of the example in its part."""
    bins: int = BINS

    def check(self) -> None:
        """Raise DlxError where options do not go together."""
        if self.kind == "curve" and self.x not in {"", *AXES}:
            hint = f"{did_you_mean(self.x, AXES)} `--kind scatter` takes any recorded key."
            raise DlxError(f"a curve goes along step, epoch or time, and `--x` is `{self.x}`", hint=hint)
        if self.kind == "scatter" and not self.x:
            hint = "Name one: `--x params`, `--x seconds`, `--x train.optimizer.adam.lr`."
            raise DlxError("a scatter has two axes, and `--x` names no key", hint=hint)
        for option, (is_set, kinds, hint) in self._options().items():
            if is_set and self.kind not in kinds:
                message = f"`{option}` is for `--kind {' or '.join(kinds)}`, and this is `--kind {self.kind}`"
                raise DlxError(message, hint=hint)

    def _no_metric(self) -> str:
        of_part = self.kind in {"confusion", "calibration", *EXAMPLES}
        return f"`--kind {self.kind}` shows no metric" + ("; `--part` chooses the part." if of_part else ".")

    def _options(self) -> dict[str, tuple[bool, tuple[Kind, ...], str]]:
        """Return of each option whether it is set, the kinds that it is for, and the way out for others."""
        out = "Leave it out."
        metrics: tuple[Kind, ...] = ("curve", "bar", "scatter")
        return {
            "--x": (bool(self.x), ("curve", "scatter"), out),
            "--metric": (bool(self.metrics), metrics, self._no_metric()),
            "--scale": (self.scale != "linear", metrics, out),
            "--x-scale": (self.x_scale != "linear", ("curve", "scatter", "gradients"), out),
            "--band": (self.band != "auto", ("curve", "bar"), out),
            "--part": (
                bool(self.part),
                ("confusion", "calibration", *EXAMPLES),
                "Write the part into the metric: `--metric test/error`.",
            ),
            "--layer": (bool(self.layer), EXAMPLES, out),
            "--example": (self.example != 0, EXAMPLES, out),
            "--bins": (self.bins != BINS, ("calibration",), out),
        }
