"""Names from data and files reach the terminal with what would steer it made visible, and never as markup."""

import io
import json
import re
import sys
import warnings

import pytest
from typer.testing import CliRunner

from dlx import cli
from dlx.errors import DlxError, Mark, Problem
from dlx.experiment import confusion_matrix
from dlx.runs.folder import RunFolder
from dlx.show.confusion_matrix import matrix
from dlx.show.console import TextTable, document, errors, out, say
from dlx.show.console import warnings as print_warnings
from dlx.show.terminal_text import visible, width
from dlx.show.training import progress

ESCAPE, BIDI, MARKUP = "a\x1b[31mb", "c\u202ed", "[red]e[/] [/] :x:"
NAMES = (ESCAPE, BIDI, MARKUP, "f\ng", "h\x9b0mi", "j\udcffk")
SHOWN = (r"a\x1b[31mb", r"c\u202ed", "[red]e[/] [/] :x:", r"f\ng", r"h\x9b0mi", r"j\udcffk")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(params=[io.StringIO, Terminal], ids=["pipe", "terminal"])
def streams(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")

    def begin():
        """Both streams, from here on; pytest has its own until the test begins."""
        made = request.param(), request.param()
        monkeypatch.setattr(sys, "stdout", made[0])
        monkeypatch.setattr(sys, "stderr", made[1])
        return made

    return begin


def test_characters_that_steer_a_terminal_are_named():
    assert tuple(visible(name, lines=False) for name in NAMES) == SHOWN
    steering = [*range(32), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
    assert all(visible(chr(code), lines=False).isprintable() for code in steering)
    assert visible("one\n\ttwo\r") == "one\n\ttwo\\r"
    assert visible("naïve 日本 😀 é") == "naïve 日本 😀 é"


def test_every_way_to_the_terminal_shows_them(streams):
    both = streams()
    for name in NAMES:
        grid = TextTable(name, ">figure")
        grid.add(name, name)
        grid.print()
        out(name)
        say(name)
        errors(DlxError(Problem(name, name, Mark(name, 1, 1), name)), as_json=False)
        print_warnings([Problem(name, "", Mark(name, 1, 1), name)])
    output = both[0].getvalue() + both[1].getvalue()

    assert all(output.count(shown) >= 4 for shown in SHOWN if r"\n" not in shown)
    assert not set(output) & set("\x9b\u202e\udcff\r")
    assert "\x1b[31mb" not in output


def test_a_bar_shows_them_and_takes_no_markup(streams):
    from dlx.experiment.recorder import TrainingWarning
    from dlx.training.fit import Record

    both = streams()
    with progress() as callback:
        callback(TrainingWarning(f"{ESCAPE} {MARKUP}"))
        callback(Record("evaluation", 1, 1, {f"valid/{MARKUP}": 0.5, "valid/loss": 1.0}))
    output = both[1].getvalue()

    assert r"a\x1b[31mb [red]e[/] [/] :x:" in output
    assert "\x1b[31mb" not in output


def test_json_has_them_exactly(streams):
    both = streams()
    document({"names": NAMES})
    assert tuple(json.loads(both[0].getvalue())["names"]) == NAMES


def test_json_has_words_for_numbers_that_it_lacks(streams):
    both = streams()
    document({"a": [float("inf"), -float("inf"), float("nan"), 1.5], "b": {"c": float("inf")}})
    output = json.loads(both[0].getvalue(), parse_constant=pytest.fail)
    assert output == {"a": ["inf", "-inf", "nan", 1.5], "b": {"c": "inf"}}


def test_a_table_of_classes_shows_their_names_and_stays_readable(tmp_path, streams):
    names = [*NAMES, "a very long name of a class that would hide the figures", "日本語"]
    rows = [[int(i == k) for k in range(len(names))] for i in range(len(names))]
    run = RunFolder(tmp_path)
    run.write_json("confusion.json", {"classes": names, "test": rows})
    both = streams()
    matrix(run)
    lines = re.sub(r"\x1b\[[\d;]*m", "", both[0].getvalue()).splitlines()

    assert all(shown in lines[0] for shown in SHOWN)
    assert "a very long name of a..." in lines[0]
    assert len({width(line.rstrip()) for line in lines}) == 1
    assert confusion_matrix.read(run)[0].classes == tuple(names)


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("\u65e5\u672c", 4), ("e\u0301", 1), ("\uff57", 2), ("", 0)]
)
def test_width_is_what_a_terminal_takes(text, columns):
    assert width(text) == columns


def test_an_argument_that_is_refused_is_shown_too(capsys):
    from dlx.cli.exit_status import run

    sys.argv[1:], before = [], sys.argv[1:]
    try:
        assert run(lambda: cli.app(["predict", "r", "f", ESCAPE], standalone_mode=False)) == 2
        assert run(lambda: cli.app(["layers", f"--{ESCAPE}"], standalone_mode=False)) == 2
    finally:
        sys.argv[1:] = before
    output = capsys.readouterr().err
    assert "\x1b" not in output
    assert output.count(r"\x1b[31m") == 2


def test_a_class_with_such_a_name_reaches_the_terminal_of_predict_visibly(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = (ESCAPE, BIDI, MARKUP)
    rows = "\n".join(f'{i % 3},{i},"{names[i % 3]}"' for i in range(30))
    (tmp_path / "t.csv").write_text(f"x,y,k\n{rows}\n")
    (tmp_path / "s.yaml").write_text(
        "data: {table: {path: t.csv, target: k, test: 0.2}}\nnetwork: {layers: [{linear: 3}]}\n"
        "objective: {classification: {metrics: [confusion_matrix]}}\ntrain: {steps: 2}\ntrack: {mlflow: false}\n"
    )
    runner = CliRunner()
    trained = runner.invoke(cli.app, ["train", "s.yaml"])
    asked = runner.invoke(cli.app, ["predict", "last", "t.csv"])
    as_json = runner.invoke(cli.app, ["predict", "last", "t.csv", "--json"])

    for output in (trained.stdout, asked.stdout):
        assert "\x1b" not in output
        assert "\u202e" not in output
        assert SHOWN[0] in output
        assert SHOWN[1] in output
        assert SHOWN[2] in output
    assert sorted(json.loads(as_json.stdout)["labels"]) == sorted(names)


def test_a_warning_of_a_library_is_one_line(capsys):
    from dlx.cli.exit_status import run

    def command():
        warnings.simplefilter("always")
        where = "/usr/lib/python3/site-packages/torch/nn/functional.py"
        warnings.warn_explicit("far\n  too \x1b[31mlong", UserWarning, where, 7)
        warnings.warn_explicit("short", UserWarning, "<string>", 1)

    with warnings.catch_warnings():
        assert run(command) == 0
    assert capsys.readouterr().err == "torch warns: far too \\x1b[31mlong\n<string> warns: short\n"


def test_a_table_without_rows_says_its_titles_and_one_without_both_says_nothing(capsys):
    TextTable("name", ">figure").print()
    assert capsys.readouterr().out == "name  figure\n"
    TextTable(columns=2).print()
    assert capsys.readouterr().out == ""
