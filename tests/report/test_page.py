"""`dlx report`: one page that stands alone, and works in a browser."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import dlx
from made_runs import made_run, made_study

from dlx.report.page import PageOptions, page

CHROMIUM = shutil.which("chromium")
MARKUP = "<script>alert(1)</script>&\"'"


def errors(*values):
    return {4 * (i + 1): {"valid/error": value, "valid/loss": 2 * value} for i, value in enumerate(values)}


@pytest.fixture
def root(tmp_path):
    """Two seeds of `wide` and one run of `narrow`, with curves and a confusion matrix."""
    steps = [(step, 2.0 / step) for step in range(1, 9)]
    for seed, last in enumerate((0.2, 0.1)):
        final = {"metrics": {"test/error": last}}
        made_run(
            tmp_path, "wide", seed, evaluations=errors(0.4, last), steps=steps, end=final, confusion=[[3, 1], [0, 4]]
        )
    made_run(
        tmp_path, "narrow", width=8, evaluations=errors(0.6, 0.5), steps=steps, end={"metrics": {"test/error": 0.5}}
    )
    return tmp_path


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.found, self.words = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)


def in_browser(html, folder, act=""):
    """Load a page in chromium and run `act`; the page afterwards, what `said` then holds, and the console."""
    path = folder / "page.html"
    script = f"""<script>(async () => {{
        for (let i = 0; i < 600 && !document.documentElement.dataset.ready; i++)
            await new Promise((done) => setTimeout(done, 50));
        const said = {{}};
        {act}
        const box = document.createElement("pre"); box.id = "said"; box.textContent = JSON.stringify(said);
        document.body.append(box);
    }})();</script></body>"""
    before, _, after = html.rpartition("</body>")  # the last one: Vega's own script has another
    path.write_text(before + script + after)
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=60000", "--enable-logging=stderr", "--dump-dom", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    return done.stdout, json.loads(unescape(found[1])) if found else {}, console


browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")


def test_the_page_has_the_results_and_asks_for_nothing_outside(root):
    made = page(["wide", "narrow"], root, PageOptions())
    elements = Elements(made.html)
    text = " ".join(elements.words)

    assert "0.15 ± 0.64" in text  # 0.2 and 0.1: 12.7062 of Student's t with one degree of freedom, times 0.05
    assert [at["href"] for tag, at in elements.found if tag == "a" and at["href"].startswith("#")][1:4] == [
        "#results",
        "#network",
        "#curves",
    ]
    for _, attributes in elements.found:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    (policy,) = [at["content"] for tag, at in elements.found if at.get("http-equiv")]
    assert policy.startswith("default-src 'none'")
    assert len(made.html.encode()) < 3_000_000


def test_many_metrics_of_few_runs_are_rows_so_that_the_table_fits_the_page(root):
    many = {f"test/measure_{i}": i / 10 for i in range(9)}
    made_run(root, "gan", end={"metrics": many})
    html = page(["wide", "gan"], root, PageOptions()).html
    results = html.partition('id="results"')[2].partition("</table>")[0]
    head = results.partition("</thead>")[0]
    assert re.findall(r"<th [^>]*>(.*?)</th>", head) == ["runs", "wide", "gan"]
    assert "<td>test/measure_8</td><td class=number></td><td class=number>0.8</td>" in results
    few = page(["wide"], root, PageOptions()).html.partition('id="results"')[2].partition("</thead>")[0]
    assert "test/error" in few


def test_a_run_that_learns_no_classes_is_not_told_to_record_a_confusion_matrix(root):
    made_run(root, "gan", end={"metrics": {"test/sliced_wasserstein": 0.5}})
    assert not [note for note in page(["wide", "gan"], root, PageOptions()).notes if note.startswith("gan recorded")]
    notes = page(["wide", "narrow"], root, PageOptions()).notes
    assert [note for note in notes if note.startswith("narrow recorded no confusion matrix. Train with")]


def test_the_environment_has_words_without_quotes(root):
    for name in ("wide", "narrow"):
        for run in (root / name).iterdir():
            lock = json.loads((run / "lock.json").read_text())
            (run / "lock.json").write_text(json.dumps({**lock, "device": "cpu", "versions": {"torch": "2.13.0"}}))
    html = page(["wide", "narrow"], root, PageOptions()).html.partition('id="environment"')[2]
    assert "<dd>cpu</dd>" in html
    assert "<dd>2.13.0</dd>" in html


def test_hashes_that_differ_are_short_and_whole_where_the_mouse_rests(root):
    hashes = {"wide": "0123456789abcdef" * 4, "narrow": "fedcba9876543210" * 4}
    for name, value in hashes.items():
        for run in (root / name).iterdir():
            lock = json.loads((run / "lock.json").read_text())
            (run / "lock.json").write_text(json.dumps({**lock, "spec_hash": value, "device": name}))
    html = page(["wide", "narrow"], root, PageOptions()).html
    html = html.partition("Where they differ")[2].partition("</table>")[0]
    for name, value in hashes.items():
        assert f'<td><span title="{value}">{value[:12]}</span></td>' in html
        assert f"<td>{name}</td>" in html


def test_the_values_of_a_search_are_aligned_right_where_all_are_numbers(root):
    kinds = ("relu", "tanh", "relu")
    rates = ((0.1, 0.4), (0.01, 0.2), (0.001, 0.3))
    points = [
        ({"train.optimizer.adam.lr": rate, "network.layers.act": kind}, value)
        for (rate, value), kind in zip(rates, kinds, strict=True)
    ]
    html = page([str(made_study(root, points, "searched"))], root, PageOptions()).html
    assert '<th scope="col" class=number>lr</th><th scope="col">act</th>' in html
    assert "<td class=number>0.01</td><td>tanh</td>" in html


def test_a_study_is_headed_by_its_trials(root):
    points = [({"train.optimizer.adam.lr": rate}, value) for rate, value in ((0.1, 0.4), (0.01, 0.2), (0.001, 0.3))]
    html = page([str(made_study(root, points, "searched"))], root, PageOptions()).html
    assert '<p class="note">a study of 3 trials; networks and curves are of the best one</p>' in html
    assert '<p class="note">1 run</p>' in page(["narrow"], root, PageOptions()).html


def test_each_network_is_drawn_once_and_a_run_without_its_data_says_why_it_is_not(root):
    made_run(root, "gone", end={})
    path = root / "gone" / "20260101-000000-0000" / "spec.yaml"
    path.write_text(path.read_text().replace("digits: {", "table: {path: nowhere.csv, target: y, "))
    html = page(["wide", "narrow", "gone"], root, PageOptions()).html
    assert html.count('class="dlx-diagram"') == 2  # two seeds of `wide` have one network
    assert "linear 32" in html
    assert "linear 8" in html
    assert "No diagram of gone/20260101-000000-0000" in html
    assert "nowhere.csv" in html


def test_the_time_of_a_step_counts_what_was_before_a_resumption(root):
    """Eleven seconds of records, of which the last process had half of one."""
    steps = [(step, 1.0) for step in range(1, 12)]
    made_run(root, "resumed", steps=steps, end={"seconds": 0.5, "step": 11})
    rows = page(["resumed"], root, PageOptions()).html
    assert "<td class=number>11.0</td>" in rows
    assert "<td class=number>0.5</td>" not in rows


def test_the_last_sheet_of_each_name_is_there(root):
    from PIL import Image

    folder = next((root / "narrow").iterdir()) / "artifacts" / "samples"
    folder.mkdir(parents=True)
    for name in ("step-000010-from_a", "step-000020-from_a", "step-000020-from_b"):
        Image.new("L", (2, 2)).save(folder / f"{name}.png")
    html = page(["narrow"], root, PageOptions()).html
    assert "Samples of narrow, step-000020-from_a" in html
    assert "Samples of narrow, step-000020-from_b" in html
    assert "step-000010" not in html


def test_metrics_that_a_run_lacks_are_one_note(root):
    made_run(root, "other", evaluations={4: {"valid/perplexity": 3.0, "valid/bits": 2.0}}, end={})
    notes = page(["wide", "other"], root, PageOptions()).notes
    assert sum("not recorded by wide" in note for note in notes) == 1
    assert any("`valid/perplexity`" in note and "`valid/bits`" in note for note in notes)


def test_differences_between_specs_are_marked(root):
    html = page(["wide", "narrow"], root, PageOptions()).html
    assert "<mark>32</mark>" in html
    assert "<mark>8</mark>" in html
    assert "<mark>network: {layers: [flatten, {linear: 8}, relu, {linear: 10}]}</mark>" in html
    assert "<mark>dlx: 1</mark>" not in html


@browser
def test_the_page_works_in_a_browser_by_keyboard_too(root, tmp_path):
    act = """
        const plots = [...document.querySelectorAll(".charts .plot")];
        said.lines = plots.map((one) => one.querySelectorAll(".mark-line.role-mark path").length);
        said.titles = plots.map((one) => one.parentElement.querySelector("figcaption").textContent);
        said.matrices = document.querySelectorAll(".matrices .plot svg").length;
        const error = plots[said.titles.findIndex((one) => one.startsWith("error"))];
        error.focus();
        const press = (key) => error.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        press("Home");
        said.first = error.parentElement.querySelector(".readout").textContent;
        press("ArrowRight");
        said.second = error.parentElement.querySelector(".readout").textContent;
        said.focus = document.activeElement === error;
        document.querySelector('[data-axis="time"]').click();
        await new Promise((done) => setTimeout(done, 500));
        said.pressed = document.querySelector('[data-axis="time"]').getAttribute("aria-pressed");
        error.focus(); press("End");
        said.time = error.parentElement.querySelector(".readout").textContent;
    """
    _, said, console = in_browser(page(["wide", "narrow"], root, PageOptions()).html, tmp_path, act)

    assert console == []
    assert said["titles"] == ["loss", "error", "learning rate"]
    assert said["lines"] == [4, 2, 2]
    assert said["matrices"] == 1
    assert said["first"] == "step 4: wide valid/error 0.4; narrow valid/error 0.6"
    assert said["second"] == "step 8: wide valid/error 0.15; narrow valid/error 0.5"
    assert said["focus"] is True
    assert said["pressed"] == "true"
    assert said["time"] == "10 s: wide valid/error 0.15; narrow valid/error 0.5"


def screenshot(html, folder, size=None):
    """The brightness of a page as chromium shows it in light colours, (height, width)."""
    import numpy as np
    from PIL import Image

    folder.mkdir(exist_ok=True)
    (folder / "page.html").write_text(html)
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1000,1400", "--virtual-time-budget=60000"]
    subprocess.run([*command, f"--screenshot={folder / 'page.png'}", f"file://{folder / 'page.html'}"],
                   capture_output=True, timeout=300, check=True)  # fmt: skip
    image = Image.open(folder / "page.png").convert("L")
    return np.asarray(image.resize(size or (image.width // 4, image.height // 4)), dtype=float) / 255


@browser
def test_the_page_looks_as_it_was_seen_and_approved(root, tmp_path):
    """Correlation of the ink, at an eighth of the size: fonts of machines differ by a pixel or two.

    DLX_WRITE_GOLDEN=1 writes the picture anew; look at it before it is committed.
    """
    import numpy as np
    from PIL import Image

    golden = Path(__file__).parents[1] / "golden" / "page.png"
    html = page(["wide", "narrow"], root, PageOptions()).html
    html = html.replace("</style>", "section:not(#results, #curves, #confusion) { display: none; }</style>", 1)
    now = screenshot(html, tmp_path / "now")
    if os.environ.get("DLX_WRITE_GOLDEN"):
        Image.fromarray(np.round(now * 255).astype(np.uint8)).save(golden, optimize=True)
    approved = np.asarray(Image.open(golden), dtype=float) / 255
    without = screenshot(html.replace("window.vegaEmbed=", "window.nothing="), tmp_path / "without")

    def ink(image):
        wide = image.shape[1] // 2 * 2
        return 1 - image[:, :wide].reshape(-1, 2, wide // 2, 2).mean((1, 3))

    def likeness(image):
        return np.corrcoef(ink(image).ravel(), ink(approved).ravel())[0, 1]

    assert likeness(now) > 0.9
    assert likeness(without) < 0.8  # a page without its charts


@browser
def test_the_browser_tells_of_a_page_whose_script_fails(root, tmp_path):
    broken = page(["wide"], root, PageOptions()).html.replace("window.vegaEmbed=", "window.nothing=")
    _, _, console = in_browser(broken, tmp_path)
    assert any("vegaEmbed" in line for line in console)


def three(root):
    """Three runs whose accuracy differs, not in its order."""
    for name, accuracy in (("poor", 0.5), ("good", 0.9), ("fair", 0.7)):
        final = {"metrics": {"valid/accuracy": accuracy, "valid/error": 1 - accuracy}}
        made_run(root, name, evaluations=errors(0.4, 0.3), end=final)
    return ["poor", "good", "fair"]


def test_of_many_runs_the_table_has_all_and_the_best_are_shown_in_full(tmp_path):
    names = three(tmp_path)
    made = page(names, tmp_path, PageOptions(most=2))
    table = made.html.partition('id="results"')[2].partition("</table>")[0]
    assert all(f"<td>{name}</td>" in table for name in names)
    assert re.findall(r"Spec of (\w+)", made.html) == ["good", "fair"]
    words = "those of the best 2 of 3 by valid/accuracy: `--most N` shows N of them, `--most 0` all."
    assert words in made.html
    assert [note for note in made.notes if words in note]
    whole = page(names, tmp_path, PageOptions(most=0))
    assert re.findall(r"Spec of (\w+)", whole.html) == names
    assert "--most" not in whole.html


@browser
def test_the_results_are_sorted_by_the_title_that_is_pressed(tmp_path):
    act = """
        const table = document.querySelector("#results table");
        const order = () => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(" ");
        const press = (words) =>
            [...table.querySelectorAll("th button")].find((one) => one.textContent === words).click();
        said.before = order();
        press("valid/accuracy"); said.up = order();
        press("valid/accuracy"); said.down = order();
        press("runs"); said.words = order();
    """
    _, said, _ = in_browser(page(three(tmp_path), tmp_path, PageOptions()).html, tmp_path, act)
    assert said == {
        "before": "poor good fair",
        "up": "poor fair good",
        "down": "good fair poor",
        "words": "fair good poor",
    }


@browser
def test_texts_with_markup_run_nothing(root, tmp_path):
    made_run(
        root,
        "odd",
        evaluations={4: {f"valid/{MARKUP}": 0.5}},
        confusion=[[1, 0], [0, 1]],
        classes=[MARKUP, "b"],
        end={},
    )
    made = page(["odd", "wide"], root, PageOptions(title=MARKUP))
    act = "said.scripts = [...document.scripts].filter((one) => one.textContent.startsWith('alert')).length;"
    _, said, console = in_browser(made.html, tmp_path, act)
    assert said["scripts"] == 0
    assert console == []
    assert MARKUP in " ".join(Elements(made.html).words)


def test_a_run_without_a_record_leaves_the_page_whole(root):
    run = made_run(root, "torn", end=None)
    (run.dir / "metrics.jsonl").write_bytes(b'{"record":"st')
    (run.dir / "confusion.json").write_text("{")
    html = page(["torn", "wide"], root, PageOptions()).html
    assert "torn" in html
    assert "confusion.json" in html
    assert "</html>" in html
    assert 'id="curves"' in html


def test_the_command_writes_the_page_and_says_what_is_not_there(root):
    done = dlx("report", "wide", "narrow", "--runs", root, "--output", "a.html", "--json", cwd=root, check=True)
    document = json.loads(done.stdout)
    assert document["bytes"] == (root / "a.html").stat().st_size
    assert len(document["runs"]) == 3
    missing = dlx("report", "wide", "nothing", "--runs", root, cwd=root)
    assert (missing.returncode, "there is no run `nothing`" in missing.stderr) == (2, True)
    other = dlx("report", "wide", "--runs", root, "-o", "r.pdf", cwd=root)
    assert (other.returncode, "a report is a page of HTML, and the file is `r.pdf`" in other.stderr) == (2, True)
    unwritable = dlx("report", "wide", "--runs", root, "--output", "/proc/none/a.html", cwd=root)
    assert (unwritable.returncode, "/proc/none/a.html cannot be written" in unwritable.stderr) == (2, True)


def test_a_run_that_was_killed_and_one_that_goes_on_are_shown_as_far_as_they_are_with_how_they_stand(tmp_path):
    steps = [(step, 2.0 / step) for step in range(1, 9)]
    killed = made_run(tmp_path, "killed", evaluations=errors(0.4), steps=steps)
    with (killed.dir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"record":"step","time":17')  # as the kill left it
    going = made_run(tmp_path, "going", evaluations=errors(0.3), steps=steps[:6])
    going.write_json("lock.json", {"seed": 0, "pid": os.getpid(), "threads": 1})
    alone = {one: page([one], tmp_path, PageOptions()).html for one in ("killed", "going")}
    for name, state, last in (("killed", "died", 8), ("going", "running", 6)):
        words = Elements(alone[name]).words
        assert state in words
        assert "finished" not in words
        points = re.findall(r'"step":\s*\[([^\]]*)\]', alone[name])
        assert any(one.replace(" ", "").endswith(f",{last}") for one in points), points
