"""How many workers GPUs have room for, and who takes which: told without one."""

import json
import os
from math import inf

import psutil
import pytest
import torch
from commands import dlx
from helpers import experiment_of
from studies import RATE, WIDTH, journal, spec_in, swept

from dlx.errors import DlxError
from dlx.graph import memory_forecast, phase_memory, trace, trace_all
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.sweeps import run as sweep_run
from dlx.sweeps.events import Noted
from dlx.sweeps.run import parse_jobs
from dlx.sweeps.workers import gpus
from dlx.sweeps.workers.base import Task, Trainer
from dlx.sweeps.workers.gpus import (
    CONTEXT,
    SAFE_FRACTION,
    Gpu,
    MemoryDemand,
    place,
    place_packed,
    placement_text,
    useful_workers,
    visible,
)
from dlx.sweeps.workers.process_pool import Processes
from dlx.training import device

GB = 10**9
TWO = "0, GPU-aaaa, 24000\n1, GPU-bbbb, 12000\n"


@pytest.fixture
def spec(tmp_path):
    return spec_in(tmp_path, "track: {mlflow: false}\n")


def never() -> bool:
    return False


# --- who is where ---------------------------------------------------------------------------------------------------


def test_workers_take_equal_gpus_one_after_the_other():
    assert place([80 * GB, 80 * GB, 80 * GB], [GB], 7).gpus == (0, 1, 2, 0, 1, 2, 0)


def test_a_worker_goes_where_most_room_is():
    assert place([20 * GB, 40 * GB, 10 * GB], [4 * GB], 6).gpus == (1, 1, 1, 1, 0, 1)


def test_as_many_as_fit_by_hand():
    """0.8 * 24 = 19.2 GB are shared out, and 5 + 0.7 GB go into that three times."""
    found = place([24 * GB], [5 * GB], 8)

    assert (CONTEXT, SAFE_FRACTION) == (0.7 * GB, 0.8)
    assert found.gpus == (0, 0, 0)
    assert found.bytes == 5.7 * GB
    assert len(place([24 * GB, 12 * GB], [5 * GB], 8).gpus) == 3 + 1


def test_the_largest_forecast_counts():
    assert len(place([24 * GB], [GB, GB, 9 * GB], 8).gpus) == 1
    assert len(place([24 * GB], [GB, GB], 8).gpus) == 8


def test_no_more_than_asked_for_and_at_least_one():
    assert place([80 * GB, 80 * GB], [GB], 1).gpus == (0,)
    assert place([GB, 2 * GB], [100 * GB], 8).gpus == (1,)


def test_where_free_memory_is_unknown_all_are_placed_one_after_the_other():
    assert place([inf, inf], [GB], 5).gpus == (0, 1, 0, 1, 0)


def test_fewer_workers_have_larger_stacks():
    """10 GB of 12.5 GB are shared out. Eight of 1.7 GB do not fit; five with two each of 1 + 2 * 0.1 + 0.7 GB do."""
    small = MemoryDemand(GB // 10, data=GB, packs=True)

    assert len(place_packed([12.5 * GB], [small], 8, tasks=8, pack=1).gpus) == 5
    found = place_packed([12.5 * GB], [small], 8, tasks=8, pack=16)
    assert (len(found.gpus), found.bytes) == (5, 1.9 * GB)
    assert place_packed([2 * GB], [small], 8, tasks=8, pack=16).bytes == 2.5 * GB
    assert place_packed([2 * GB], [small], 8, tasks=8, pack=4).bytes == 2.1 * GB


def test_what_is_trained_alone_is_forecast_alone():
    large = MemoryDemand(4 * GB, data=GB)
    assert place_packed([80 * GB], [large], 2, tasks=32, pack=16).bytes == 5.7 * GB


def test_auto_asks_for_no_more_than_are_of_use():
    one, large, small = Gpu("0", 80 * GB), MemoryDemand(4 * GB), MemoryDemand(GB, packs=True)

    assert useful_workers([one], [large], tasks=8, pack=16, cores=16) == 8  # each alone
    assert useful_workers([one], [large], tasks=8, pack=16, cores=4) == 4
    assert useful_workers([one], [small], tasks=40, pack=16, cores=16) == 3  # in stacks
    assert useful_workers([one] * 4, [small], tasks=40, pack=16, cores=16) == 4  # one a GPU
    assert useful_workers([one] * 4, [small], tasks=2, pack=16, cores=16) == 2
    assert useful_workers([Gpu("0")] * 2, [large], tasks=8, pack=1, cores=16) == 2  # nobody tells what is free


def test_a_sentence_says_what_there_is_room_for():
    available = [Gpu("0", 24 * GB)]
    assert placement_text(available, place([24 * GB], [5 * GB], 8), 8) == (
        "3 workers, not 8, on 1 GPU: one wants about 5.7 GB, 700 MB of it for CUDA itself; "
        "24 GB is free, and 80% of that is shared out"
    )
    several = [Gpu("0", 24 * GB), Gpu("1", 12 * GB), Gpu("MIG-1")]
    assert placement_text(several, place([24 * GB, 12 * GB], [GB], 1), None) == (
        "1 worker on 3 GPUs: one wants about 1.7 GB, 700 MB of it for CUDA itself; "
        "24 GB and 12 GB are free, and 80% of that is shared out"
    )


# --- what there is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "chosen", "numbers", "found"),
    [
        ("", None, [], []),
        ("", "0,1", [], []),
        (TWO, None, ["0", "1"], [Gpu("GPU-aaaa", 24000 * 2**20), Gpu("GPU-bbbb", 12000 * 2**20)]),
        (TWO, "1,0", ["0", "1"], [Gpu("1", 12000 * 2**20), Gpu("0", 24000 * 2**20)]),
        (TWO, "GPU-b", [], [Gpu("GPU-b", 12000 * 2**20)]),
        (TWO, "", ["0", "1"], []),
        (TWO, "1,-1,0", ["0", "1"], [Gpu("1", 12000 * 2**20)]),
        (TWO, "MIG-1,MIG-2", ["0"], [Gpu("MIG-1"), Gpu("MIG-2")]),
        ("0, GPU-cccc, [N/A]\n", None, ["0"], [Gpu("GPU-cccc")]),
        ("No devices were found\n", None, [], []),
        ("", None, ["0", "1"], [Gpu("0"), Gpu("1")]),
        ("", "1", ["0", "1"], [Gpu("1")]),
    ],
)
def test_the_gpus_are_those_that_nvidia_smi_and_the_environment_name(answer, chosen, numbers, found):
    assert visible(answer, chosen, numbers) == found


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """An nvidia-smi that finds two GPUs, the first with so many MiB free."""

    def makes(free: int) -> None:
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho 0, GPU-aaaa, {free}\necho 1, GPU-bbbb, 1000\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return makes


def test_the_device_of_the_spec_says_which_may_be_taken(smi):
    smi(24000)
    first = Gpu("GPU-aaaa", 24000 * 2**20)

    assert gpus.available("auto") == gpus.available("cuda") == [first, Gpu("GPU-bbbb", 1000 * 2**20)]
    assert gpus.available("cuda:1") == [Gpu("", 1000 * 2**20)]  # where all workers go, by the spec itself
    assert gpus.available("cuda:1")[0].environment == {}
    assert gpus.available("cuda:2") == gpus.available("cpu") == []
    assert first.environment == {"CUDA_VISIBLE_DEVICES": "GPU-aaaa"}


def test_an_nvidia_smi_that_fails_finds_nothing(smi, tmp_path):
    smi(24000)
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\necho 0, GPU-aaaa, 24000\nexit 9\n")
    assert gpus._nvidia_smi() == ""


# --- workers --------------------------------------------------------------------------------------------------------


def tasks_of(spec, folder, count):
    return [Task(i, i, str(folder / "s" / f"run-{i}"), spec.read_text()) for i in range(count)]


def known(spec, tasks, pack=1):
    """A trainer that knows what the tasks are."""
    trainer = Trainer(pack)
    for task in tasks:
        one = load(spec)
        trainer.remember(task.run, one, trace_all(one))
    return trainer


def test_a_training_with_phases_wants_its_largest_phase_and_not_all_networks_at_once(tmp_path):
    text = """
dlx: 1
data: {digits: {test: 360}}
networks:
  generator: {inputs: {noise: [16]}, layers: [linear: 512, relu, linear: 64, {reshape: [1, 8, 8]}]}
  discriminator: {inputs: {image: [1, 8, 8]}, layers: [flatten, linear: 512, relu, linear: 1]}
objective: gan
train: {steps: 5, batch_size: 100, optimizer: {adam: 1e-3}}
"""
    path = tmp_path / "gan.yaml"
    path.write_text(text)
    (task,) = tasks_of(path, tmp_path, 1)
    one = load(path)
    graphs = trace_all(one)
    phases = [each.total for each in phase_memory.of_phases(one, graphs, 100).values()]
    alone = sum(each.total for each in memory_forecast.of_each(one, graphs, 100).values())

    assert known(path, [task]).memory_demand(task).step == max(phases) != alone


def test_a_training_wants_its_step_and_its_data(spec, tmp_path):
    """168 examples of 16 floats, and a class of 8 bytes each."""
    (task,) = tasks_of(spec, tmp_path, 1)
    one = load(spec)
    step = memory_forecast.of_training(one, trace(one), 32).total

    assert known(spec, [task]).memory_demand(task) == MemoryDemand(step, 168 * (16 * 4 + 8), packs=False)
    assert known(spec, [task], pack=8).memory_demand(task).packs
    assert Trainer().memory_demand(task) == MemoryDemand(0)


def test_each_worker_sees_the_gpu_that_it_is_assigned_and_no_more_are_started_than_fit(spec, tmp_path):
    """One worker wants 0.7 GB and a little: two fit where 2 GB are free, one where 1.2 GB are."""
    tasks, said = tasks_of(spec, tmp_path, 6), []
    available = [Gpu("a", 2 * GB), Gpu("b", 1.2 * GB)]
    pool = Processes(5, tmp_path / "workers.log", gpus=available, trainer=known(spec, tasks), notify=said.append)
    outcomes = list(pool.advance(tasks[:4], never))
    seen = [
        psutil.Process(worker.process.pid).environ()["CUDA_VISIBLE_DEVICES"]
        for _, worker in sorted(pool.workers.items())
    ]
    list(pool.advance(tasks[4:], never))
    pool.close()

    assert {one.ended for one in outcomes} == {"finished"}
    assert seen == ["a", "b", "a"]
    (sentence,) = said  # once
    assert sentence.startswith("3 workers, not 5, on 2 GPUs: one wants about 700 MB, 700 MB of it for CUDA itself; ")
    assert sentence.endswith("2 GB and 1.2 GB are free, and 80% of that is shared out")


def test_workers_that_are_too_many_for_what_comes_are_ended(spec, tmp_path, copied_workers):
    tasks, said = tasks_of(spec, tmp_path, 4), []
    trainer = known(spec, tasks)
    pool = Processes(2, tmp_path / "workers.log", gpus=[Gpu("a", 3 * GB)], trainer=trainer, notify=said.append)
    list(pool.advance(tasks[:2], never))
    first, second = (pool.workers[i].process.pid for i in range(2))
    pool.demands["a run of before"] = MemoryDemand(GB)
    outcomes = list(pool.advance(tasks[2:], never))

    assert {one.ended for one in outcomes} == {"finished"}
    assert [worker.process.pid for worker in pool.workers.values()] == [first]
    assert not psutil.pid_exists(second)
    assert [sentence.partition(":")[0] for sentence in said] == ["1 worker, not 2, on 1 GPU"]
    pool.close()


def test_a_sweep_says_how_many_workers_gpus_have_room_for_and_comes_to_the_same(spec, tmp_path, smi):
    smi(2000)
    argv = ["sweep", spec, RATE, WIDTH, "--trials", "4", "--pack", "off"]
    more = ["--runs", str(tmp_path / "runs"), "--jobs"]
    done = dlx(*argv, *more, "4", cwd=tmp_path, check=True)
    plain = swept(spec, tmp_path / "plain", RATE, WIDTH, trials=4)

    assert "\n3 workers, not 4, on 2 GPUs: one wants about 700 MB" in done.stderr
    assert journal(next((tmp_path / "runs" / "s").glob("sweep-*"))) == journal(plain)
    auto = dlx(*argv, *more, "auto", "--json", cwd=tmp_path, check=True)
    assert json.loads(auto.stdout)["finished"] == 4


@pytest.mark.parametrize("text", ["0", "many", "-1", ""])
def test_jobs_are_a_number_or_auto(text):
    assert (parse_jobs("3"), parse_jobs("auto")) == (3, None)
    with pytest.raises(DlxError, match=f"--jobs takes auto or how many, not {text}"):
        parse_jobs(text)


@pytest.mark.parametrize(("on_cpu", "packed"), [(True, {True}), (False, {None})])
def test_trials_are_packed_by_the_device_that_is_chosen_and_a_note_says_where_not(
    tmp_path, monkeypatch, on_cpu, packed
):
    monkeypatch.setattr(device, "can_pack", lambda train: on_cpu)
    sent_notes = []
    found = swept(spec_in(tmp_path), tmp_path / "runs", RATE, trials=3, pack=4, callback=sent_notes.append)

    locks = [
        RunFolder(tmp_path / "runs" / run).read_json("lock.json")
        for t in found.study.trials
        for run in t.runs.values()
    ]
    assert len(locks) == 3
    assert {lock.get("packed") for lock in locks} == packed
    notes = [event.text for event in sent_notes if isinstance(event, Noted)]
    assert [note.endswith("they are packed on the CPU alone.") for note in notes] == [True] * (not on_cpu)


def test_a_sweep_names_the_gpu_that_auto_comes_to(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "pick", lambda _: torch.device("cuda:0"))
    sent_notes = []
    sweep_run._note_packing(experiment_of("train: {steps: 1}").train, sent_notes.append)

    assert [event.text for event in sent_notes] == [
        "Trainings on cuda:0 take their steps one by one: they are packed on the CPU alone."
    ]
