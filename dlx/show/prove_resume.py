"""Results of `dlx prove-resume` and `dlx reproduce`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import listed, plural
from .console import TextTable, document, out

if TYPE_CHECKING:
    from ..trained.prove_resume import Proof
    from ..trained.reproduce import Reproduction

MOST = 10
"""Names of differing tensors that are printed."""


def proof(found: Proof, as_json: bool = False) -> None:
    """Print the kills, and whether the two trainings are equal to the bit."""
    if as_json:
        document(found.as_json())
        return
    kills = f"killed at step {', '.join(f'{step:,}' for step in found.killed)}" if found.killed else "never killed"
    each = f", {found.trainings} trainings" if found.trainings > 1 else ""
    out(f"{found.name}: {plural(found.steps, 'step')}{each}, {kills}")
    if len(found.killed) < found.asked:
        out(f"  {len(found.killed)} of {plural(found.asked, 'kill')}: the training ended before the others")
    if found.equal:
        what = f"{plural(found.records, 'record')} of the curve, {found.values:,} values of checkpoints"
        out(f"bit-equal: {what}", "green")
        return
    if found.difference is not None:
        out(f"differs first in {found.difference}" + (f", {found.training}" if found.training else ""), "red")
    for file, names in found.differing.items():
        if names:
            out(f"differs in {file}: {listed(names, MOST, quote='')}", "red")


def reproduction(found: Reproduction, as_json: bool = False) -> None:
    """Print the verdict, the first difference, and what has changed since the lock was written."""
    if as_json:
        document(found.as_json())
        return
    if found.changed:
        grid = TextTable("lock", "was", "is")
        for key, (was, now) in found.changed.items():
            grid.add(key, str(was), str(now))
        grid.print()
    colour = "red" if found.verdict == "differs" else "green"
    off = f": off by {found.largest:.2g} at most, {found.tolerance:g} allowed"
    out(found.verdict + (off if found.verdict != "bitwise equal" else ""), colour)
    if found.difference is not None:
        out(f"first   {found.difference}")
    if found.deviation is not None:
        tensor = found.deviation
        out(
            f"layer   {tensor.layer}: {tensor.name} is off by {tensor.relative:.2g} in checkpoint {tensor.checkpoint}"
        )
    out(f"run     {found.new.dir}")
