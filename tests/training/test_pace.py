"""The forecast of a training from its first steps, by hand."""

from types import SimpleNamespace

import pytest

from dlx.training.pace import Pace, TimeForecast


def job(step, total=1000, **more):
    """A training of 1,000 steps of 10 examples, evaluated every 100 steps, with 200 examples for it."""
    about = {
        "progress": SimpleNamespace(step=step),
        "total_steps": total,
        "evaluate_every": 100,
        "parts": {"train": range(2000), "valid": range(200), "test": range(300)},
        "examples_at_end": 1500,
        "examples_per_step": lambda _: 10,
        "feed": SimpleNamespace(epoch=1),
        "train": SimpleNamespace(save_every=None, early_stopping=None, max_time=None, limit=None),
    }
    return SimpleNamespace(**about | more)


def seen(pace, *looks):
    """What the pace says of each (step, seconds)."""
    return [pace.look(job(step), elapsed) for step, elapsed in looks]


def test_steps_evaluations_checkpoints_and_the_end_add_up():
    """The first 20 steps took 5 s. 100 more took 2 s, with an evaluation of 1 s: 10 ms a step, 5 ms an example.

    1,000 steps are 10 s, and 4.8 s that the first took longer; nine evaluations of 200 examples 9 s; a state every
    five seconds is 1 + 4 of them, 0.1 s each; the end is 200 + 300 + 1,500 examples, 10 s, and 0.1 s for the weights.
    """
    pace = Pace()
    assert seen(pace, (20, 5.0)) == [None]
    pace.spent |= {"evaluations": 1.0, "checkpoints": 0.1}
    pace.counts |= {"evaluations": 1, "checkpoints": 1}
    pace.examples = 200
    found = pace.look(job(120), 5.0 + 1.0 + 1.0 + 0.1)

    assert (found.steps, found.evaluations, found.checkpoints, found.end) == pytest.approx((14.8, 9, 0.5, 10.1))
    assert found.seconds == pytest.approx(34.4)
    assert (found.counts, found.at_step) == ({"steps": 1000, "evaluations": 9, "checkpoints": 5}, 120)


def test_the_first_steps_alone_tell_nothing_and_a_forecast_is_made_once():
    pace = Pace()
    pace.examples = 1

    assert seen(pace, (0, 0.0), (1, 9.0), (50, 9.5)) == [None, None, None]
    assert isinstance(pace.look(job(200), 10.5), TimeForecast)
    assert pace.look(job(300), 12.0) is None


def test_slow_steps_are_waited_for_three_or_twenty_seconds():
    pace = Pace()
    pace.examples = 1
    assert seen(pace, (1, 8.0), (2, 16.0), (3, 23.9)) == [None, None, None]
    assert pace.look(job(4), 32.0).at_step == 4

    slow = Pace()
    slow.examples = 1
    assert seen(slow, (1, 30.0)) == [None]
    assert slow.look(job(2), 60.0).steps == pytest.approx(30_000)


def test_an_evaluation_that_comes_soon_is_awaited_and_one_that_does_not_is_a_third_of_the_steps():
    """At 10 ms a step the one at step 100 is half a second away; at 1 s a step far: 1/30 s an example."""
    pace = Pace()
    assert seen(pace, (1, 1.0), (50, 2.5)) == [None, None]

    slow = Pace()
    assert seen(slow, (1, 1.0)) == [None]
    assert slow.look(job(5), 5.0).evaluations == pytest.approx(9 * 200 / 30)


def test_of_trainings_stepped_together_each_counts_its_share():
    """Four trainings: half a second of the share of each is two by the clock, which is enough."""
    alone, packed = Pace(), Pace(sharing=4)
    for pace in (alone, packed):
        pace.examples = 1
        seen(pace, (10, 1.0))

    assert alone.look(job(60), 1.5) is None
    assert packed.look(job(60), 1.5).steps == pytest.approx(1000 * 0.01 + 0.9)


def test_a_training_that_goes_on_forecasts_the_whole():
    """From step 900 on, of 1,000: 50 steps in half a second after ten that took one."""
    pace = Pace(start=900)
    pace.examples = 1
    assert seen(pace, (900, 0.0), (910, 1.0)) == [None, None]
    assert pace.look(job(960), 2.5).steps == pytest.approx(1000 * 0.03 + 0.7)


def test_a_training_that_may_end_sooner_takes_at_most_as_long():
    early = SimpleNamespace(save_every=None, early_stopping=object(), max_time=None, limit=None)
    pace = Pace()
    pace.examples = 1
    pace.look(job(1), 0.1)

    assert pace.look(job(500, train=early), 2.0).at_most

    limited = SimpleNamespace(save_every=None, early_stopping=None, max_time="3s", limit=3.0)
    pace = Pace()
    pace.examples = 1
    pace.look(job(1), 0.1)
    found = pace.look(job(300, train=limited), 2.0)
    assert (found.at_most, found.steps) == (True, 3.0)
