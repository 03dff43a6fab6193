"""Generators in threads of their own."""

import threading

import pytest
import torch

from dlx.training.packed.threads import run_in_threads


def counted(name, count, over=None, ends=None):
    try:
        for number in range(count):
            if over is not None and over.is_set():
                return
            yield name, number, threading.current_thread().name
    finally:
        if ends is not None:
            ends.append(name)


def test_each_gives_what_it_has_in_its_order_and_all_of_it_comes():
    found = list(run_in_threads([counted("a", 5), counted("b", 9), counted("c", 0)], threading.Event()))
    assert [number for name, number, _ in found if name == "a"] == list(range(5))
    assert [number for name, number, _ in found if name == "b"] == list(range(9))
    assert len({thread for _, _, thread in found}) <= 2
    assert all(thread != threading.main_thread().name for _, _, thread in found)


def test_one_alone_needs_no_thread():
    (event,) = run_in_threads([counted("a", 1)], threading.Event())
    assert event == ("a", 0, threading.main_thread().name)


def test_a_generator_waits_until_what_it_gave_has_been_seen_to():
    state = []

    def one(name):
        for number in range(20):
            state.append((name, number, "given"))
            yield name, number
            assert (name, number, "seen") in state

    for name, number in run_in_threads([one("a"), one("b")], threading.Event()):
        state.append((name, number, "seen"))
    assert len(state) == 80


def test_their_threads_compute_on_one_core_and_the_caller_on_as_many_as_before():
    before = torch.get_num_threads()

    def cores():
        yield torch.get_num_threads()

    assert list(run_in_threads([cores(), cores()], threading.Event())) == [1, 1]
    assert torch.get_num_threads() == before


def test_an_error_in_one_ends_the_others_and_is_raised_where_it_is_listened_to():
    over, ends = threading.Event(), []

    def broken():
        yield "fine"
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        list(run_in_threads([broken(), counted("b", 10**9, over, ends)], over))
    assert ends == ["b"]
    assert threading.active_count() == len([t for t in threading.enumerate() if t.name != "dlx-worker"])


def test_when_nobody_listens_any_more_all_come_to_their_ends():
    over, ends = threading.Event(), []
    walk = run_in_threads([counted("a", 10**9, over, ends), counted("b", 10**9, over, ends)], over)
    next(walk)
    walk.close()
    assert sorted(ends) == ["a", "b"]
    assert not [t for t in threading.enumerate() if t.name == "dlx-worker"]
