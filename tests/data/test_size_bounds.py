"""Every size that a data set takes has a bound: what no memory holds is an error in a sentence, and at once."""

import resource
from pathlib import Path

import pytest
from helpers import SHIPPED_DATA
from pydantic import ValidationError
from test_data_contract import options  # noqa: F401  # a fixture

from dlx.data import DATASETS
from dlx.errors import DataError

HUGE = 10**12


def memory_of_this_process() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.fixture
def two_gigabytes_more():
    """Lets the system refuse what a machine with more memory would grant."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_of_this_process() + 2 * 10**9, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def sizes_of(kind: str) -> list[tuple[str, object]]:
    """The fields of a kind that hold whole numbers, with a huge value; seeds may be as large as they like."""
    found = []
    for name, info in DATASETS[kind].model_fields.items():
        words = str(info.annotation)
        if "int" in words and "Point" not in words and "seed" not in name:
            found.append((name, [HUGE, HUGE] if "list" in words or "tuple" in words else HUGE))
    return found


@pytest.mark.parametrize("kind", SHIPPED_DATA)
@pytest.mark.usefixtures("two_gigabytes_more")
def test_a_huge_size_is_refused_in_a_sentence_or_changes_nothing(kind, options):  # noqa: F811
    for name, value in sizes_of(kind):
        try:
            made = DATASETS[kind](**options.get(kind, {}) | {name: value})
            made.facts()
            found = f"loads {len(made.load().train)}"
        except (DataError, ValidationError) as error:
            found = str(error)
        loads, size = found.startswith("loads "), found.replace(",", "")
        assert int(found.split()[1]) < 10_000 if loads else name in found or str(HUGE) in size, (name, found)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_more_examples_than_memory_holds_are_counted_before_one_is_drawn(part):
    blobs = DATASETS["blobs"](**{"features": 100, "test": 200, part: HUGE})
    with pytest.raises(DataError) as error:
        blobs.load()
    problem = error.value.problems[0]
    assert " examples of 101 values take 808 TB while they are drawn, and " in problem.message
    assert problem.message.endswith(" are free")
    assert problem.hint.startswith(f"Make it smaller: `{part}` is 1,000,000,000,000, ")


@pytest.mark.usefixtures("two_gigabytes_more")
def test_what_is_found_out_while_it_is_made_names_the_size_too(options):  # noqa: F811
    made = DATASETS["mnist1d"](**options["mnist1d"], template_len=HUGE)
    with pytest.raises(DataError) as error:
        made.load()
    problem = error.value.problems[0]
    assert problem.message.startswith("the data `mnist1d` does not fit into memory: unable to allocate ")
    assert problem.hint.startswith("Make it smaller: `template_len` is 1,000,000,000,000, ")


def test_any_other_error_of_a_value_is_not_taken_for_one_of_memory(monkeypatch):
    blobs = DATASETS["blobs"]
    monkeypatch.setattr(blobs, "_part", lambda *_: int("no number"))
    with pytest.raises(ValueError, match="no number"):
        blobs().load()
