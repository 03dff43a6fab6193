"""The leaderboard of a study: its best trials, and how certain their order is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import plural
from .console import TextTable, out

if TYPE_CHECKING:
    from ..sweeps.leaderboard import LeaderboardRow
    from ..sweeps.study import Study

ROWS = 12


def leaderboard(study: Study, rows: int = ROWS) -> None:
    """Print the best trials of a study by its first metric, a row each, and remarks on the places."""
    from ..sweeps.leaderboard import rank

    if study.metrics:
        board = rank(study.points(), study.metrics[0], study.rising[0])
        ranking(board, study.metrics[0], rows, study.replicate_keys)


def ranking(
    board: Sequence[LeaderboardRow], metric: str, rows: int = ROWS, replicate_keys: Sequence[str] = ()
) -> None:
    """Print these places, with means over `replicate_keys`; columns in which all rows are equal are left out."""
    from ..sweeps.figures.base import text
    from ..utils.short_names import short_names

    if not board:
        return
    shown = board[:rows]
    keys = list(dict.fromkeys(key for place in board for key in place.trial.point))
    names = short_names(keys)
    several, states = any(p.seeds > 1 for p in board), len({p.trial.state for p in board}) > 1
    costs = [cost for cost in ("params", "macs") if len({getattr(p.trial, cost) for p in board}) > 1]
    ranks = len(board) > 1 or not replicate_keys
    extra = [">± 95 %", *([">behind the best"] if ranks else [])] if several else []
    grid = TextTable(
        *([">place"] if ranks else []),
        *([] if replicate_keys else [">trial"]),
        *(*(f">{names[key]}" for key in keys), f">{metric}", *extra),
        *(*(f">{cost}" for cost in costs), ">s", *(["state"] if states else [])),
        spare=("s", "macs", "params"),
    )
    for place in shown:
        trial = place.trial
        grid.add(
            *([place.label] if ranks else []),
            *([] if replicate_keys else [str(trial.number)]),
            *(text(trial.point[key]) if key in trial.point else "" for key in keys),
            f"{place.mean:.4g}",
            *([_half(place.interval), *([_behind(place)] if ranks else [])] if several else []),
            *(f"{getattr(trial, cost):,}" for cost in costs),
            f"{trial.seconds:.1f}",
            *([_state(place)] if states else []),
        )
    grid.print()
    if replicate_keys:
        out(f"each figure is a mean over {' and '.join(replicate_keys)}, of which none is chosen")
    for line in remarks(board, rows):
        out(line)


def remarks(board: Sequence[LeaderboardRow], rows: int = ROWS) -> list[str]:
    """Return remarks below the table: rows that it leaves out, and whether the first place is certain."""
    lines = []
    if len(board) > rows:
        lines.append(f"and {plural(len(board) - rows, 'more trial')}")
    seeds = max((place.seeds for place in board), default=0)
    first = sum(place.place == 1 for place in board)
    if seeds == 1:
        lines.append("one seed each: how far the seed decides is not known; `sweep.seeds: 3` would show it")
    elif first > 1:
        lines.append(f"{first} trials share the first place: {seeds} seeds do not tell them apart (paired, 95 %)")
    return lines


def _half(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _behind(place: LeaderboardRow) -> str:
    """Write the difference to the best, the mean over paired seeds with its interval: `0.012 ± 0.004`."""
    difference = place.behind
    if difference is None:
        return ""
    if difference.interval is None:
        return f"{difference.mean:+.2g}"
    # Equal differences of all seeds leave an interval of rounding errors, which would look like a measurement.
    half = difference.interval if difference.interval > 1e-9 * abs(difference.mean) else 0.0
    return f"{difference.mean:+.2g} ± {half:.2g}"


def _state(place: LeaderboardRow) -> str:
    trial = place.trial
    return f"stopped at {max(trial.rungs):,}" if trial.state == "stopped" else trial.state
