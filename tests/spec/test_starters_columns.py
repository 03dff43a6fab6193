"""What `dlx new --data` makes of dates and sentences in a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dlx.errors import DlxError
from dlx.graph import trace_all
from dlx.spec import load, starter
from dlx.spec.syntax.read import read


def table(folder: Path, rows: int = 60) -> Path:
    rng = np.random.default_rng(0)
    lines = ["sold,listed,paid,advert,price"]
    for i in range(rows):
        month, day = i % 12 + 1, i % 28 + 1
        words = " ".join(rng.choice(["sunny", "old", "flat", "house", "garden", "lake", "quiet"], 6))
        lines.append(
            f"2023-{month:02}-{day:02},{day}.{month}.2023,{month:02}/{day % 12 + 1:02}/2023,{words},{i + 0.5}"
        )
    (folder / "a.csv").write_text("\n".join(lines) + "\n")
    return folder / "a.csv"


def test_dates_and_sentences_are_inputs(tmp_path):
    notes = starter.write_for(tmp_path / "s.yaml", table(tmp_path))
    spec = read(tmp_path / "s.yaml").plain()["data"]["table"]
    assert spec["target"] == "price"
    assert spec["dates"] == {"listed": {"format": "%d.%m.%Y"}}
    assert spec["text"] == {"advert": {"values": "tfidf", "max_features": 200}}
    assert spec["drop"] == ["paid"]
    assert any(
        'paid, which has dates of the format "%d/%m/%Y" or "%m/%d/%Y": `dates` says which' in one for one in notes
    )
    graphs = trace_all(load(tmp_path / "s.yaml"))
    assert next(iter(graphs.networks.values())).inputs
    facts = load(tmp_path / "s.yaml").data.facts()
    assert [one.inputs for one in facts.columns] == [7, 7, 0, 7, 0]


def test_a_date_is_not_predicted(tmp_path):
    with pytest.raises(DlxError, match=r"column `sold` of .* holds dates, and cannot be predicted"):
        starter.write_for(tmp_path / "s.yaml", table(tmp_path), "sold")


def test_texts_that_look_like_mistakes_in_the_file_are_noted(tmp_path):
    rows = [f"{i % 7},{i}.5,{('rose', 'Rose ', 'lily')[i % 3]}" for i in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["rooms,area,species", *rows, "four,3.5,lily"]) + "\n")
    _, rooms, classes = starter.write_for(tmp_path / "s.yaml", tmp_path / "a.csv")[:3]
    assert "`rooms`" in rooms
    assert 'not `four`. `na_values: ["four"]` takes them for missing values' in rooms
    assert classes.startswith("classes differ in spaces or capitals alone: `Rose ` and `rose`. They are taken for")
