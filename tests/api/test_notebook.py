"""A notebook with a real kernel: the tour of the documents, progress as HTML, and the stop button."""

import json
import time
from pathlib import Path

import pytest
from helpers import ROOT

pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
TOUR = ROOT / "docs" / "tour.ipynb"
LOOP = """\
import asyncio
loop = asyncio.get_running_loop()
again = dlx.train(text, ["train.epochs=1"], quiet=True)
await asyncio.sleep(0)
(loop.is_running(), again.status)
"""
"""A kernel has an event loop that runs while a cell does."""
LONG = """\
import dlx
network = {"layers": ["flatten", {"linear": 10}]}
dlx.train({"data": "digits", "network": network, "train": {"epochs": 100_000}, "track": {"mlflow": False}})
"""


@pytest.fixture
def kernel_home(tmp_path, monkeypatch) -> Path:
    """A working directory; no kernel reads or writes the user's own settings and history."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def client(cells: list[str], home: Path) -> "nbclient.NotebookClient":
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(home)}})


def data(cell, kind: str) -> list[dict[str, str]]:
    return [output["data"] for output in cell["outputs"] if output["output_type"] == kind]


@pytest.mark.filterwarnings("default")  # of the client, which is no part of dlx
def test_the_tour_runs_in_a_kernel_with_progress_as_html_and_results_as_tables(kernel_home):
    cells = [cell["source"] for cell in nbformat.read(TOUR, 4).cells if cell["cell_type"] == "code"]
    ran = client([*cells, LOOP], kernel_home).execute().cells
    trained = next(cell for cell in ran if "run = dlx.train(text)" in cell["source"])
    (progress,) = data(trained, "display_data")
    pages = [page for cell in ran for page in data(cell, "execute_result") if "text/html" in page]

    assert '<progress value="170" max="170"' in progress["text/html"]  # 34 updates in each of 5 epochs
    assert "\r" not in json.dumps(ran)
    assert not [one for cell in ran for one in cell["outputs"] if one.get("name") == "stderr"]
    assert len(pages) >= 8
    assert "<td" in pages[0]["text/html"]
    assert data(ran[-1], "execute_result")[0]["text/plain"] == "(True, 'finished')"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_stop_button_leaves_a_run_that_was_stopped(kernel_home):
    from jupyter_client.manager import start_new_kernel

    manager, kernel = start_new_kernel(cwd=str(kernel_home))
    try:
        request = kernel.execute(LONG)
        while not list(kernel_home.glob("runs/dict/*/metrics.jsonl")):
            time.sleep(0.1)
        time.sleep(1)
        manager.interrupt_kernel()
        reply = kernel.get_shell_msg(timeout=300)
        while reply["parent_header"]["msg_id"] != request:
            reply = kernel.get_shell_msg(timeout=300)
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)

    assert (reply["content"]["status"], reply["content"]["ename"]) == ("error", "KeyboardInterrupt")
    (metrics,) = kernel_home.glob("runs/dict/*/metrics.jsonl")
    assert json.loads(metrics.read_text().splitlines()[-1])["status"] == "stopped"
