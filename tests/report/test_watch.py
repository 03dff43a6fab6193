"""`dlx report --watch`: a page that is written anew while its runs go on, and follows in the browser."""

import os
import re

import pytest
from commands import dlx, started
from made_runs import made_run
from test_page import browser, errors, in_browser

from dlx.errors import DlxError
from dlx.report import watch as module
from dlx.report.page import PageOptions, page
from dlx.report.watch import watch
from dlx.runs.records import encode
from dlx.sweeps.study import is_running, locked

BEGINNING = re.compile(r"<html [^>]*>")
STEPS = [(step, 2.0 / step) for step in range(1, 9)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("SOONEST", "GRACE", "LOOK"):
        monkeypatch.setattr(module, name, 0.05)
    monkeypatch.setattr(module, "SHARE", 1e6)


def running(root, name="wide", seed=0, **more):
    """A run without an end, of this process, so that it counts as running."""
    run = made_run(root, name, seed, steps=STEPS, **more)
    run.write_json("lock.json", {**run.lock(), "pid": os.getpid()})
    return run


def append(run, record):
    with (run.dir / "metrics.jsonl").open("ab") as file:
        file.write(encode({"time": 1_700_000_100.0, "step": 100, "epoch": 25, **record}))


END = {"record": "end", "status": "finished", "message": "", "seconds": 9.0, "metrics": {"test/error": 0.125}}


def test_the_page_is_written_anew_until_the_run_has_ended(tmp_path, monkeypatch):
    """What a training would record comes while the page waits: an evaluation, then nothing, then the end."""
    run, path, pages = running(tmp_path), tmp_path / "r.html", []
    records = [{"record": "evaluation", "metrics": {"valid/error": 0.625}}, None, END]

    def wait(_, seconds):
        pages.append(path.read_text())
        if (record := records[len(pages) - 1]) is not None:
            append(run, record)

    monkeypatch.setattr(module._Watched, "wait", wait)
    last = watch(["wide"], tmp_path, PageOptions(), path, lambda _: None)

    assert [("0.625" in one, BEGINNING.search(one)[0][:23]) for one in pages] == [
        (False, '<html class="reloading"'),
        (True, '<html class="reloading"'),
        (True, '<html class="reloading"'),
    ]
    assert pages[1] == pages[2]  # nothing new is nothing to write
    assert path.read_text() == last.html
    assert BEGINNING.search(last.html)[0] == '<html lang="en">'
    assert "0.125" in last.html


def test_a_page_of_a_run_that_records_nothing_for_long_is_stamped_anew(tmp_path, monkeypatch):
    run, path, pages = running(tmp_path), tmp_path / "r.html", []

    def wait(_, seconds):
        pages.append(path.read_text())
        if len(pages) == 2:
            append(run, END)

    monkeypatch.setattr(module, "ALIVE", -1.0)
    monkeypatch.setattr(module._Watched, "wait", wait)
    monkeypatch.setattr("time.time", iter(range(10**6, 10**6 + 10**5)).__next__)
    watch(["wide"], tmp_path, PageOptions(), path, lambda _: None)
    stamp = re.compile(r'data-written="[^"]*"')
    assert pages[0] != pages[1]
    assert stamp.sub("", pages[0]) == stamp.sub("", pages[1])


def test_ctrl_c_leaves_a_page_that_loads_itself_no_more(tmp_path):
    running(tmp_path)

    def pressed(_):
        assert 'class="reloading"' in (tmp_path / "r.html").read_text()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(["wide"], tmp_path, PageOptions(), tmp_path / "r.html", pressed)
    html = (tmp_path / "r.html").read_text()
    assert BEGINNING.search(html)[0].startswith("<html data-reload")
    assert 'class="reloading"' not in html


def test_seeds_that_run_beside_each_other_are_all_there(tmp_path):
    for seed in range(3):
        running(tmp_path, seed=seed)
    running(tmp_path, width=8, seed=7)  # of another spec
    assert len(page(["wide/20260101-000000-0000"], tmp_path, PageOptions()).runs) == 3


def test_a_run_that_has_ended_is_one_page_and_measuring_anew_is_refused(tmp_path):
    made_run(tmp_path, evaluations=errors(0.5), end={})
    found = dlx("report", "wide", "--runs", tmp_path, "--watch", "-o", "r.html", cwd=tmp_path, check=True)
    assert (found.stdout, found.stderr) == ("r.html\n", "")
    with pytest.raises(DlxError, match="`--mistakes` measures networks anew"):
        watch(["wide"], tmp_path, PageOptions(mistakes=3), tmp_path / "r.html", print)


def test_a_study_runs_while_a_process_holds_it(tmp_path):
    assert not is_running(tmp_path)
    with locked(tmp_path):
        assert is_running(tmp_path)
    assert not is_running(tmp_path)
    (tmp_path / "owner.json").write_text('{"pid": 4194305, "host": "elsewhere"}')
    assert not is_running(tmp_path)


@browser
def test_the_page_follows_in_the_browser_and_stays_as_it_was_looked_at(tmp_path):
    """It loads itself until nothing is written any more; the axis that was chosen stays."""
    made_run(tmp_path, steps=STEPS, evaluations=errors(0.5, 0.4), end=None)
    html = page(["wide"], tmp_path, PageOptions(reload=9)).html
    act = """
        said.chosen = document.querySelector('[data-axis="time"]').getAttribute("aria-pressed");
        if (said.chosen === "false") document.querySelector('[data-axis="time"]').click();
        said.words = document.querySelector(".reload span").textContent;
        said.shown = getComputedStyle(document.querySelector(".reload")).display;
        said.loads = Number(sessionStorage.getItem("loads") || 0) + 1;
        sessionStorage.setItem("loads", said.loads);
    """
    _, said, console = in_browser(html, tmp_path, act)
    assert console == []
    assert said["loads"] == 27
    assert said["chosen"] == "true"
    assert said["shown"] == "flex"
    assert said["words"].startswith("Nothing new since ")  # nobody writes this page anew


@pytest.mark.slow
def test_a_real_training_is_followed_to_its_end(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "dlx: 1\nname: followed\ndata: {digits: {valid: 0.2, test: 0.2}}\n"
        "network: {layers: [flatten, {linear: 10}]}\n"
        "train: {steps: 30000, batch_size: 4, evaluate_every: 500}\ntrack: {mlflow: false}\n"
    )
    training = started("train", "s.yaml", "--quiet", cwd=tmp_path)
    while not list((tmp_path / "runs").glob("followed/*/lock.json")):
        assert training.poll() is None
    done = dlx("report", "followed", "--watch", cwd=tmp_path, check=True)
    assert "is written anew every" in done.stderr
    assert training.wait(1) == 0  # it has ended before
    html = (tmp_path / "report.html").read_text()
    assert BEGINNING.search(html)[0] == '<html lang="en">'
    (figure,) = re.findall(r"test/error (\S+)", training.communicate()[0])
    assert figure in html
