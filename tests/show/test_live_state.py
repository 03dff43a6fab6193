"""What the view of a training says of its events: speed, time left, best values, curves of one line."""

import io
from math import inf, log, nan
from types import SimpleNamespace

import pytest
from rich.console import Console

from dlx.experiment.recorder import RecordOfRun, TrainingStarted
from dlx.runs.folder import RunFolder
from dlx.show.live import View, fitted, short, time_text
from dlx.show.live_state import TrainingStates
from dlx.show.sparkline import ASCII, History, sparkline
from dlx.training.fit import Record

GRAPHS = SimpleNamespace(name="n", trainable=7)


class Trainings:
    """Trainings whose events a test sends, at moments that it chooses."""

    def __init__(self, tmp_path, count=1):
        self.root, self.states, self.steps = tmp_path, TrainingStates(count), {}

    def start(self, seed, now, steps=100, **more):
        run = RunFolder(self.root / "n" / str(seed))
        self.steps[seed] = more.get("step", 0)
        taken = {"steps_taken": lambda: self.steps[seed], "examples_per_step": lambda _: 32}
        modes = {"loss": "min", "accuracy": "max"}
        about = {"modes": modes, **taken, **more}
        return self.states.start(TrainingStarted(run, GRAPHS, "cpu", 1, steps, seed, **about), now)

    def record(self, seed, kind, step, now, **metrics):
        named = {name.replace("_", "/", 1): value for name, value in metrics.items()}
        self.states.add(RecordOfRun(kind, step, 1, named, RunFolder(self.root / "n" / str(seed))), now)
        self.steps[seed] = max(step, self.steps[seed])

    def state(self, seed):
        return self.states.by_run[f"n/{seed}"]


@pytest.fixture
def trainings(tmp_path):
    return Trainings(tmp_path)


def test_the_time_left_follows_from_the_steps_of_the_last_seconds(trainings):
    trainings.start(0, now=0.0)
    assert trainings.states.left(0.0) is None
    for now, step in ((1.0, 5), (2.0, 10)):
        trainings.steps[0] = step
        trainings.states.sample(now)
    assert trainings.states.left(2.0) == pytest.approx(18)  # 90 steps at 5 a second
    assert trainings.states.examples_per_second == (160, "examples")
    for now in range(3, 40):  # ten times as fast since then: the slow seconds are forgotten
        trainings.steps[0] = min(99, 10 + 2 * now)
        trainings.states.sample(float(now))
    assert trainings.state(0).speed == pytest.approx(2, rel=0.1)


def test_a_resumed_training_counts_from_where_it_goes_on(trainings):
    trainings.start(0, now=0.0, step=80)
    trainings.steps[0] = 90
    trainings.states.sample(10.0)
    assert trainings.state(0).speed == 1
    assert trainings.states.left(10.0) == pytest.approx(10)


def test_trainings_that_have_not_begun_are_part_of_the_time_left(tmp_path):
    trainings = Trainings(tmp_path, count=3)
    trainings.start(0, now=0.0)
    trainings.steps[0] = 50
    trainings.states.sample(10.0)
    assert trainings.states.left(10.0) == pytest.approx(10 + 2 * 20)
    assert trainings.states.progress == (50, 300)


def test_side_by_side_the_slowest_says_when_all_have_ended(trainings):
    for seed in (0, 1):
        trainings.start(seed, now=0.0)
    trainings.steps.update({0: 50, 1: 25})
    trainings.states.sample(10.0)
    assert trainings.states.left(10.0) == pytest.approx(30)
    assert trainings.states.examples_per_second[0] == pytest.approx((5 + 2.5) * 32)


def test_tokens_are_counted_where_examples_are_windows_of_a_text(trainings):
    trainings.start(0, now=0.0, tokens=64)
    trainings.steps[0] = 10
    trainings.states.sample(1.0)
    assert trainings.states.examples_per_second == (10 * 32 * 64, "tokens")


def test_each_record_goes_to_its_run(trainings):
    for seed in (0, 1):
        trainings.start(seed, now=0.0)
    trainings.record(0, "evaluation", 10, 1.0, valid_accuracy=0.25)
    trainings.record(1, "evaluation", 20, 1.0, valid_accuracy=0.75)
    assert [trainings.state(seed).histories["valid/accuracy"].last for seed in (0, 1)] == [0.25, 0.75]
    trainings.states.add(Record("evaluation", 30, 1, {"valid/accuracy": 0.5}), 2.0)  # of the last that began
    assert trainings.state(1).histories["valid/accuracy"].values == [0.75, 0.5]


def test_the_best_value_goes_the_way_of_its_metric(trainings):
    trainings.start(0, now=0.0)
    for step, value in ((1, 0.5), (2, 0.8), (3, 0.7), (4, nan)):
        trainings.record(0, "evaluation", step, 1.0, valid_loss=value, valid_accuracy=value)
    assert trainings.state(0).best == (0.8, 2)
    trainings.start(1, now=0.0)
    for step, value in ((1, 0.5), (2, 0.4), (3, 0.7)):
        trainings.record(1, "evaluation", step, 1.0, valid_loss=value)
    assert trainings.state(1).best == (0.4, 2)


def test_a_stage_takes_the_place_of_the_one_before(trainings):
    assert trainings.start(0, now=0.0, stage="first") is None
    trainings.record(0, "step", 5, 1.0, train_loss=2.0)
    before = trainings.start(0, now=2.0, stage="second")
    assert (before.started.stage, before.step) == ("first", 5)
    assert trainings.state(0).histories == {}


def test_a_terminal_without_unicode_gets_ascii(trainings):
    trainings.start(0, now=0.0)
    for step in range(1, 40):
        trainings.record(0, "step", step, 1.0, train_loss=1 / step, lr=0.1)
    for encoding, is_ascii in (("ascii", True), ("utf-8", False)):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        screen = Console(file=file, force_terminal=True, width=80, legacy_windows=False)
        view = View(trainings.states, screen)
        text = view.picture().plain
        assert text.isascii() is is_ascii
        assert "39/100" in text
        assert "lr" not in text


def test_more_trainings_than_lines_are_counted(tmp_path):
    trainings = Trainings(tmp_path, 40)
    for seed in range(40):
        trainings.start(seed, now=0.0)
        trainings.record(seed, "step", 1, 1.0, train_loss=1.0)
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, height=12, legacy_windows=False)
    lines = View(trainings.states, screen).picture().plain.split("\n")
    assert len(lines) < 12
    assert "and 33 more" in lines


# --- curves of one line, and words ---------------------------------------------------------------------------------


def test_a_curve_is_between_the_least_and_the_largest_value():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([7, 0], 8) == "█▁"
    assert sparkline([1, 3, 5, 7], 2, ASCII) == "_#"  # means 2 and 6
    assert sparkline([5, 5, 5], 3) == "▄▄▄"
    assert sparkline([0, nan, 7], 3) == "▁ █"
    assert sparkline([nan, inf], 3) == "  "
    assert sparkline([], 3) == ""
    assert sparkline([-1e308, 1e308], 2) == "▁█"


def test_a_curve_over_orders_of_magnitude_is_one_of_logarithms():
    values = [100.0, 10.0, 1.0]
    assert sparkline(values, 3) == sparkline([log(v) for v in values], 3) == "█▅▁"
    assert sparkline([29.0, 15.0, 1.0], 3) == "█▅▁"  # fewer than thirty times: linear
    assert sparkline([100.0, 10.0, -1.0], 3)[1] == "▁"


def test_a_long_history_is_thinned_and_its_last_value_stays():
    history = History(most=8)
    for value in range(1000):
        history.add(value)
    assert len(history.values) < 8
    assert history.values == sorted(history.values)
    assert history.values[0] == 0
    assert history.last == 999
    assert {later - one for one, later in zip(history.values, history.values[1:], strict=False)} == {256}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (67.4, "1:07"), (3600, "1:00:00"), (90_061, "1 d 1:01:01"), (59.6, "1:00")]
)
def test_times_are_clocks(seconds, text):
    assert time_text(seconds) == text


def test_rates_have_three_digits_and_parts_are_left_out_whole():
    assert [short(v) for v in (1234567, 99.4, 1.23)] == ["1,230,000", "99", "1.2"]
    assert fitted(["ab", "cdefgh", "i"], 6) == "ab  i"
