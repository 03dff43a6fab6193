"""The view of a training on a terminal, as a terminal shows it."""

import re

import pytest
from commands import dlx
from terminals import on_terminal

from dlx.runs import lookup

# without recorded steps, which are so quick that the training would be over when it is first looked at
SPEC = """\
dlx: 1
name: seen
data: {digits: {valid: 0.2, test: 0.2}}
network: {layers: [flatten, {linear: 64}, relu, {linear: 10}]}
train: {steps: 3000, trace: false, batch_size: 8, log_every: 10, evaluate_every: 100, optimizer: {adam: 1e-3}}
track: {mlflow: false}
"""
BAR = re.compile(r"^━+─* {2}[\d,]+/3,000")


@pytest.fixture
def home(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path


def bar_of(screen):
    """The line of the bar, and the screen from there on; None where there is none."""
    at = next((i for i, line in enumerate(screen) if re.search(r"/[23],000", line) and re.search("[━─]", line)), None)
    return None if at is None else screen[at:]


def has_curves(screen):
    view = bar_of(screen)
    return view is not None and len(view) > 4 and view[2].startswith("valid/accuracy") and "examples/s" in view[4]


def test_a_training_is_shown_with_its_progress_curves_speed_and_memory(home):
    terminal = on_terminal("train", "s.yaml", cwd=home)
    view = bar_of(terminal.until(has_curves))
    assert terminal.ended() == 0

    assert BAR.match(view[0])
    assert re.search(r"\d:\d\d left", view[0])
    assert re.search(r"^train/running_loss +0?\.?[\d.e-]+  [▁▂▃▄▅▆▇█]{2,}$", view[1]), view[1]
    assert re.search(r"^valid/accuracy +[\d.]+  [▁▂▃▄▅▆▇█]+  best 0\.\d+ at [\d,]+$", view[2]), view[2]
    assert re.search(r"^[\d,]+ examples/s  \d:\d\d  [\d,]+ MiB$", view[4]), view[4]
    last = bar_of(terminal.shown)
    assert re.match(r"^━+  3,000/3,000  100 %  epoch \d+$", last[0]), last[0]
    # what is on the screen is what the run has recorded
    (run,) = lookup.all_runs(home / "runs")
    measured = [r["metrics"] for r in run.records() if r["record"] == "evaluation"]
    assert last[2].split()[1] == f"{measured[-1]['valid/accuracy']:.4g}"
    assert f"best {max(m['valid/accuracy'] for m in measured):.4g} at" in last[2]
    assert any(line.startswith("test/error") for line in terminal.shown)
    assert not terminal.screen.cursor.hidden
    # the view is drawn over itself, so that one is left
    assert sum("/3,000" in line for line in terminal.all_lines) == 1


def test_seeds_stand_side_by_side(home):
    terminal = on_terminal("train", "s.yaml", "train.seeds=3", "train.steps=600", cwd=home)
    assert terminal.ended() == 0
    at = next(i for i, line in enumerate(terminal.shown) if "1,800/1,800" in line)
    titles, *rows = terminal.shown[at + 1 : at + 5]
    assert titles.split() == ["step", "train/running_loss", "valid/accuracy"]
    assert [row.split()[:3] for row in rows] == [["seed", str(i), "600"] for i in range(3)]
    for row, run in zip(
        rows, sorted(lookup.all_runs(home / "runs"), key=lambda run: run.lock()["seed"]), strict=True
    ):
        last = [r["metrics"]["valid/accuracy"] for r in run.records() if r["record"] == "evaluation"][-1]
        assert f" {last:.4g} " in row
    assert sum("parameters" in line for line in terminal.all_lines) == 1


def test_a_stage_that_has_ended_is_a_line(home):
    stages = "[{name: first, train: {steps: 40}}, {name: second, train: {steps: 60}}]"
    terminal = on_terminal("train", "s.yaml", f"+stages={stages}", cwd=home)
    assert terminal.ended() == 0
    assert any(
        re.match(r"stage first: 40 steps in 0:0\d  train/running_loss [\d.]+", one) for one in terminal.all_lines
    )
    assert any("60/60" in line and line.endswith("stage second") for line in terminal.shown)


@pytest.mark.parametrize("columns", [60, 34, 20])
def test_no_line_is_wider_than_the_terminal(home, columns):
    terminal = on_terminal("train", "s.yaml", "train.steps=400", cwd=home, columns=columns)
    assert terminal.ended() == 0
    assert any("400/400" in line for line in terminal.all_lines)
    assert sum("400/400" in line for line in terminal.all_lines) == 1  # a wrapped line would leave others behind
    assert any("test/error" in line for line in terminal.all_lines)


def test_a_terminal_that_gets_narrower_and_wider_is_drawn_anew(home):
    terminal = on_terminal("train", "s.yaml", "train.steps=2000000", "train.log_every=10", cwd=home)
    terminal.until(has_curves)
    terminal.resize(40, 20)
    narrow = bar_of(terminal.until(lambda screen: any(re.match(r"━*─+ .*/2,000,000", line) for line in screen[-20:])))
    assert max(map(len, narrow)) <= 40
    terminal.resize(90, 25)
    wide = bar_of(terminal.until(lambda screen: bar_of(screen) is not None and len(bar_of(screen)[0]) > 60))
    assert len(wide[0]) <= 90
    terminal.interrupt()  # however quick the machine is, it still trains
    assert terminal.ended() == 130


def test_ctrl_c_leaves_the_last_picture_and_the_cursor(home):
    terminal = on_terminal("train", "s.yaml", "train.steps=2000000", cwd=home)
    terminal.until(lambda screen: any("/2,000,000" in line for line in screen))
    terminal.interrupt()
    assert terminal.ended() == 130
    assert any("/2,000,000" in line for line in terminal.all_lines)
    assert any("dlx train --resume" in line for line in terminal.all_lines), terminal.all_lines
    assert not terminal.screen.cursor.hidden


@pytest.mark.parametrize(
    "env", [{"TERM": "dumb"}, {"CI": "true"}, {"TTY_INTERACTIVE": "0"}], ids=["dumb", "ci", "interactive"]
)
def test_a_terminal_whose_cursor_does_not_move_gets_lines(home, env):
    terminal = on_terminal("train", "s.yaml", "train.steps=300", cwd=home, env=env)
    assert terminal.ended() == 0
    assert b"\x1b[1A" not in terminal.raw  # the cursor is never moved up
    assert sum(line.startswith("step ") for line in terminal.all_lines) == 3
    assert not any("━" in line for line in terminal.all_lines)


def test_no_color_has_none(home):
    terminal = on_terminal("train", "s.yaml", "train.steps=300", cwd=home, env={"NO_COLOR": "1"})
    assert terminal.ended() == 0
    assert any("300/300" in line for line in terminal.all_lines)
    assert not re.search(rb"\x1b\[[\d;]*3\dm", terminal.raw)
    coloured = on_terminal("train", "s.yaml", "train.steps=300", cwd=home)
    assert coloured.ended() == 0
    assert re.search(rb"\x1b\[[\d;]*3\dm", coloured.raw)


def test_quiet_is_the_result_alone(home):
    done = dlx("train", "s.yaml", "train.steps=20", "--quiet", cwd=home, check=True)
    (run,) = lookup.all_runs(home / "runs")
    end = {name: value for name, value in run.end()["metrics"].items() if name.startswith("test/")}
    assert done.stdout == f"runs/{run.key}  {'  '.join(f'{name} {value:.4g}' for name, value in end.items())}\n"
    assert done.stderr == ""
    several = dlx("train", "s.yaml", "train.steps=20", "train.seeds=2", "--quiet", cwd=home, check=True)
    assert [line.split()[0] for line in several.stdout.splitlines()][2] == "2"
    assert " ± " in several.stdout.splitlines()[2]
