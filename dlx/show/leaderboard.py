"""The best trials of a study, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import plural
from .console import Grid, out

if TYPE_CHECKING:
    from ..sweeps.leaderboard import LeaderboardRow
    from ..sweeps.study import Study

ROWS = 12


def leaderboard(study: Study, rows: int = ROWS) -> None:
    """The best of a study by its first metric, a row each, and what the places mean."""
    from ..sweeps.leaderboard import rank

    if study.metrics:
        board = rank(study.points(), study.metrics[0], study.rising[0])
        ranking(board, study.metrics[0], rows, study.replicate_keys)


def ranking(board: Sequence[LeaderboardRow], metric: str, rows: int = ROWS, drawn: Sequence[str] = ()) -> None:
    """These places, means over the keys that are `drawn`; columns in which all are the same are left out."""
    from ..sweeps.figures.base import short_names, text

    if not board:
        return
    shown = board[:rows]
    keys = list(dict.fromkeys(key for place in board for key in place.trial.point))
    names = short_names(keys)
    several, states = any(p.seeds > 1 for p in board), len({p.trial.state for p in board}) > 1
    costs = [cost for cost in ("params", "macs") if len({getattr(p.trial, cost) for p in board}) > 1]
    ranks = len(board) > 1 or not drawn
    extra = [">± 95 %", *([">behind the best"] if ranks else [])] if several else []
    grid = Grid(
        *([">place"] if ranks else []),
        *([] if drawn else [">trial"]),
        *(*(f">{names[key]}" for key in keys), f">{metric}", *extra),
        *(*(f">{cost}" for cost in costs), ">s", *(["state"] if states else [])),
        spare=("s", "macs", "params"),
    )
    for place in shown:
        trial = place.trial
        grid.add(
            *([place.label] if ranks else []),
            *([] if drawn else [str(trial.number)]),
            *(text(trial.point[key]) if key in trial.point else "" for key in keys),
            f"{place.mean:.4g}",
            *([_half(place.interval), *([_behind(place)] if ranks else [])] if several else []),
            *(f"{getattr(trial, cost):,}" for cost in costs),
            f"{trial.seconds:.1f}",
            *([_state(place)] if states else []),
        )
    grid.print()
    if drawn:
        out(f"each figure is a mean over {' and '.join(drawn)}, of which none is chosen")
    for line in words(board, rows):
        out(line)


def words(board: Sequence[LeaderboardRow], rows: int = ROWS) -> list[str]:
    """What the table leaves out, and how it is to be read."""
    told = []
    if len(board) > rows:
        told.append(f"and {plural(len(board) - rows, 'more trial')}")
    seeds = max((place.seeds for place in board), default=0)
    first = sum(place.place == 1 for place in board)
    if seeds == 1:
        told.append("one seed each: how far chance decides is not known; `sweep.seeds: 3` would tell")
    elif first > 1:
        told.append(f"{first} trials share the first place: {seeds} seeds do not tell them apart (paired, 95 %)")
    return told


def _half(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _behind(place: LeaderboardRow) -> str:
    """`0.012 ± 0.004`, in the mean over the same seeds."""
    gap = place.behind
    if gap is None:
        return ""
    if gap.interval is None:
        return f"{gap.mean:+.2g}"
    half = gap.interval if gap.interval > 1e-9 * abs(gap.mean) else 0.0  # what rounding leaves is no interval
    return f"{gap.mean:+.2g} ± {half:.2g}"


def _state(place: LeaderboardRow) -> str:
    trial = place.trial
    return f"stopped at {max(trial.rungs):,}" if trial.state == "stopped" else trial.state
