"""The diagram as a piece of a page: folding in a browser, no request, texts as texts."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from helpers import SHIPPED, graph_of

from dlx.graph import Graphs, trace_all
from dlx.report.diagram import diagram_html
from dlx.report.diagram.page import rows
from dlx.spec import load

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
MARKUP = '</script><script>document.title = "taken"</script>'


class Elements(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def page_of(name):
    return diagram_html(trace_all(load(SHIPPED[name])))


def test_each_layer_says_what_is_known_of_it():
    stops = [attrs for tag, attrs in Elements(page_of("digits/lenet")).found if attrs.get("role") == "listitem"]

    assert len(stops) == 11
    about = stops[0]["aria-label"].split("\n")
    assert about == [
        *("conv_1: conv", "output 6\u00d78\u00d78", "156 parameters", "9,600 MACs", "receptive field 5"),
    ]
    assert json.loads(stops[0]["data-field"]) == [8, 8, 2, 2, 5, 5]


def test_it_asks_for_nothing_outside():
    text = page_of("zoo/gpt2")

    assert [attrs for _, attrs in Elements(text).found if attrs.keys() & {"src", "href"}] == []
    assert re.findall(r"https?:|url\(|@import|fetch\(|XMLHttp", text) == []


def test_texts_of_a_spec_are_no_markup():
    graph = graph_of("network: {inputs: [2], layers: [{linear: 1}]}\n")
    text = diagram_html(replace(Graphs.of(graph), name=MARKUP))

    assert [tag for tag, _ in Elements(text).found if tag == "script"] == ["script"]
    assert MARKUP in unescape(text)


ACTS = """
const errors = [];
window.onerror = message => errors.push(message);
const key = (stop, name) => stop.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
const state = () => ({
  height: Number(document.querySelector("svg").getAttribute("height")),
  visible: [...document.querySelectorAll(".layer")].filter(each => each.getClientRects().length).length,
  open: document.querySelectorAll(".fold[aria-expanded=true]").length,
});
window.onload = () => {
  const fold = document.querySelector(".fold"), found = [state()];
  key(fold, "Enter"); found.push(state());
  key(fold, "ArrowLeft"); found.push(state());
  document.querySelector("button[data-all=open]").click(); found.push(state());
  fold.dispatchEvent(new MouseEvent("click", {bubbles: true})); found.push(state());
  const layer = document.querySelector(".layer");
  layer.focus();
  // a window that the system has not brought to the front yet tells its pages of no focus
  if (!document.hasFocus()) layer.dispatchEvent(new FocusEvent("focusin", {bubbles: true}));
  const focused = document.querySelector(".facts").textContent;
  key(document.activeElement, "ArrowDown");
  const next = document.activeElement.getAttribute("aria-label");
  const lines = [...document.querySelectorAll(".e")].filter(each => each.getAttribute("d").includes("NaN")).length;
  document.body.innerHTML = "";
  document.body.append(JSON.stringify({found, focused, next, lines, errors}));
};
"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_blocks_fold_by_keyboard_and_mouse_in_a_browser(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset=utf-8><body><script>{ACTS}</script>{page_of('cs231n/googlenet')}",
        encoding="utf-8",
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/own"]
    done = subprocess.run(
        [CHROMIUM, *options, "--virtual-time-budget=5000", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    result = json.loads(unescape(re.search(r"<body[^>]*>(.*)</body>", done.stdout, re.DOTALL)[1]))
    first, opened, folded, everything, without = result["found"]

    assert result["errors"] == []
    assert result["lines"] == 0
    assert (first["open"], opened["open"], folded["open"], everything["open"], without["open"]) == (0, 1, 0, 9, 8)
    assert opened["visible"] == first["visible"] + 20
    assert opened["height"] > first["height"] + 150
    assert folded == first
    assert everything["visible"] == 196
    assert without["height"] < everything["height"]
    assert result["focused"].startswith("unit_1/conv_1: conv\noutput 64\u00d7112\u00d7112\n9,408 parameters")
    assert result["next"].startswith("unit_1/batch_norm_1: batch_norm")


def test_boxes_side_by_side_are_one_row():
    from dlx.report.diagram.layout import Box, Frame

    boxes = (Box("stack", 0, 10, 5, 20), Box("stack", 10, 12, 5, 6), Box("stack", 0, 50, 5, 20))

    assert rows(Frame(20, 70, boxes)) == [(0, 20, [0, 1]), (40, 20, [2])]
