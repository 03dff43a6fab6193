"""`dlx new --data` for a table that is series along time."""

import numpy as np

from dlx.graph import trace_all
from dlx.spec import load, starter


def test_series_are_pointed_to(tmp_path):
    """Of two series of days in one file; a table whose days are not in even steps is none."""
    head = "shop,day,visits"

    def table() -> str:
        days = np.datetime64("2024-01-01") + np.arange(20)
        lines = [f"{shop},{day},{i * 1.5 + (i * i) % 7}" for shop in "ab" for i, day in enumerate(days)]
        return "\n".join([head, *lines]) + "\n"

    data = tmp_path / "visits.csv"
    data.write_text(table())
    notes = starter.write_for(tmp_path / "s.yaml", data, force=True)
    said = next(note for note in notes if "even steps" in note)
    assert said == (
        "day goes on in even steps: `data: {series: {path: visits.csv, time: day, values: visits, group: shop}}` "
        "forecasts from what was before"
    )
    (tmp_path / "t.yaml").write_text(
        "dlx: 1\ndata: {series: {path: visits.csv, time: day, values: visits, group: shop, window: 7}}\n"
        "network: {layers: [flatten, {linear: 1}]}\ntrain: {epochs: 1}\n"
    )
    trace_all(load(tmp_path / "t.yaml"))
    data.write_text("\n".join([head, *reversed(table().splitlines()[1:])]) + "\n")
    assert not any("even steps" in note for note in starter.write_for(tmp_path / "s.yaml", data, force=True))
