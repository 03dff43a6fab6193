"""`dlx new --data` for a table that is series along time."""

import numpy as np
import pytest

from dlx.experiment import runner
from dlx.spec import load, starter


def visits(shops: str = "ab", days: int = 60) -> str:
    """Visits of some shops, with seven days of a week."""
    first = np.datetime64("2024-01-01")
    lines = [
        f"{shop},{first + i},{20 + 3 * (i % 7) + 0.25 * ((i * i) % 5)},{i % 7 > 4:d}"
        for shop in shops
        for i in range(days)
    ]
    return "\n".join(["shop,day,visits,weekend", *lines]) + "\n"


def written(folder, text: str, *, target: str | None = "visits") -> tuple[str, list[str]]:
    data = folder / "visits.csv"
    data.write_text(text)
    notes = starter.write_for(folder / "s.yaml", data, target=target, force=True)
    return (folder / "s.yaml").read_text(), list(notes)


def test_series_are_forecast_by_a_spec_that_runs_and_beats_the_last_value(tmp_path):
    spec, notes = written(tmp_path, visits())
    assert notes[1] == (
        "day goes on in even steps: visits is forecast from what was before; rows that have nothing to do with each "
        "other are `data: {table: {path: visits.csv, target: visits}}`"
    )
    assert "# `dlx new --data visits.csv`: 120 rows, 2 series" in spec
    assert "    group: shop " in spec
    assert "    period: 7 " in spec
    assert "    # weekend " in spec
    found = runner.run(load(tmp_path / "s.yaml", ["track.mlflow=false"]), tmp_path / "runs").results[0]
    assert found.metrics["test/mase"] < 1


def test_a_file_of_one_series_has_no_group(tmp_path):
    spec, _ = written(tmp_path, visits("a"))
    assert "group:" not in spec
    assert "standardize: global" in spec


@pytest.mark.parametrize(
    ("step", "season"),
    [("h", "24 "), ("m", "60 "), ("D", "7 "), ("M", "12 ")],
)
def test_a_season_follows_from_the_step_of_the_times(tmp_path, step, season):
    times = np.datetime64("2001-01", step) + np.arange(300)
    days = times.astype("datetime64[s]")
    text = "\n".join(["when,value", *(f"{at},{i % 9 + i / 7:.3f}" for i, at in enumerate(days))]) + "\n"
    spec, _ = written(tmp_path, text, target="value")
    assert f"    period: {season}" in spec


@pytest.mark.parametrize("text", [visits(days=20), "\n".join(visits().splitlines()[:0:-1]) + "\n"])
def test_short_or_unsorted_rows_are_a_table(tmp_path, text):
    if not text.startswith("shop"):
        text = "shop,day,visits,weekend\n" + text
    spec, notes = written(tmp_path, text)
    assert "  table:" in spec
    assert not any("even steps" in note for note in notes)
