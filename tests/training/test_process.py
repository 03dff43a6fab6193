"""The process of a training: glibc keeps what is freed, and what the user has set stays."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")

FAULTS = """
import ctypes, resource
from dlx.training import process
process.tune()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes, library.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for turn in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [library.malloc(3 * 2**20) for _ in range(20)]
    for block in blocks:
        library.memset(block, 1, 3 * 2**20)
    for block in reversed(blocks):
        library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 3 * 2**20 // os.sysconf("SC_PAGE_SIZE")


def faults_of_fifth_step(**environment: str) -> int:
    """Return the page faults of the fifth of five steps that each take and free 60 MiB, in a process of their own."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", FAULTS]
    return int(subprocess.run(command, env=ours | environment, check=True, capture_output=True, text=True).stdout)


def test_memory_that_a_step_freed_serves_the_next_one_without_a_page_fault() -> None:
    assert faults_of_fifth_step() < PAGES / 100


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}],
    ids=["MALLOC_", "GLIBC_TUNABLES"],
)
def test_an_allocator_that_the_user_has_set_stays_and_gets_its_pages_anew(environment: dict[str, str]) -> None:
    assert faults_of_fifth_step(**environment) > PAGES * 0.9
