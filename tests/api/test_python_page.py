"""The code of docs/python.md runs as it stands; `test_notebook` runs the notebook beside it."""

import json
import re

import pytest
from helpers import ROOT

import dlx
from dlx.layers import LAYERS

TOUR = json.loads((ROOT / "docs" / "tour.ipynb").read_text())
PAGE = (ROOT / "docs" / "python.md").read_text()


@pytest.fixture
def own_kinds():
    """Take the layer that the page defines out of the registry again."""
    yield
    LAYERS._classes.pop("my_swish", None)


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys, own_kinds):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/python.md", "exec"), names)  # noqa: S102 - our own page

    assert capsys.readouterr().out == ""
    assert names["answers"].probabilities.shape == (5, 10)
    assert dlx.inspect({"network": {"inputs": [8], "layers": ["my_swish"]}}).params == 0


def test_the_page_names_all_that_the_package_offers():
    assert [name for name in dlx.__all__ if not re.search(rf"\b{name}\b", PAGE) and name not in UNNAMED] == []


UNNAMED = {"__version__", "Graph", "Graphs", "SeedRuns"}
"""What a function returns, and nobody writes."""


def test_the_tour_has_no_outputs_and_names_no_machine():
    assert [cell for cell in TOUR["cells"] if cell.get("outputs") or cell.get("execution_count")] == []
    assert TOUR["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
