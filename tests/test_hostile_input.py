"""Specs that would fill a machine or never end: an error within two seconds and 500 MB."""

import subprocess
import sys

import pytest
from complaints import of_layers

NET = "network: {inputs: [3, 8, 8], layers: [relu]}\n"
TWICE = (
    'blocks: {b: {args: {n: null}, layers: [{b: "${n - 1}", when: "${n > 0}"}, {b: "${n - 1}", when: "${n > 0}"}]}}\n'
)
NAMED = '"${a%d}"'
HOSTILE = {
    "an alias bomb": (
        "\n".join(["a0: &a0 [x, x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 14)]),
        "holds more than 200,000 values",
    ),
    "a million repeats": (
        of_layers("- repeat: {times: 1000000, layers: [relu]}"),
        "`times` must be at most 50,000, not 1,000,000",
    ),
    "a thousand times a thousand": (
        of_layers("- repeat: {times: 1000, layers: [{repeat: {times: 1000, layers: [relu]}}]}"),
        "the network grows beyond 20,000 layers",
    ),
    "repeats of nothing": (
        of_layers("- repeat: {times: 50000, layers: [{repeat: {times: 50000, layers: []}}]}"),
        "the network grows beyond 50,000 entries and turns",
    ),
    "a block that calls itself twice, 64 deep": (
        of_layers("- b: 60", head=TWICE),
        "the network grows beyond 50,000 entries and turns",
    ),
    "a block that calls itself for ever": (
        of_layers("- b", head="blocks: {b: {layers: [b, b]}}\n"),
        "blocks call each other more than 64 deep: ... b -> b -> b -> b\n  Let it end: `when: ${depth > 0}`.",
    ),
    "scopes that share scopes": (
        of_layers(
            "\n".join(
                ["- {layers: [relu], name: s0}"]
                + [f"- {{layers: [{{share: s{i}}}, {{share: s{i}}}], name: s{i + 1}}}" for i in range(40)]
            )
        ),
        "the network grows beyond 50,000 entries and turns",
    ),
    "a chain of a thousand shares": (
        of_layers(
            "\n".join(
                ["- {layers: [relu], name: s0}"]
                + [f"- {{layers: [{{share: s{i}}}], name: s{i + 1}}}" for i in range(1000)]
            )
        ),
        "layers are nested more than 120 deep",
    ),
    "a nest": ("a: " + "[" * 1000, "is nested more than 100 deep"),
    "layers in layers": ("network: {inputs: [3], layers: " + "[{layers: " * 1000, "is nested more than 100 deep"),
    "variables that grow ninefold": (
        "vars:\n  a0: [1, 2, 3]\n"
        + "".join(f"  a{i}: [{', '.join([NAMED % (i - 1)] * 9)}]\n" for i in range(1, 12))
        + NET,
        "the result is longer than 10,000",
    ),
    "arguments that grow threefold": (
        of_layers(
            "- b: {n: 40, l: [1, 2]}",
            head=(
                'blocks: {b: {args: {n: 0, l: 0}, layers: [{b: {n: "${n - 1}", l: ["${l}", "${l}", "${l}"]}, '
                'when: "${n > 0}"}]}}\n'
            ),
        ),
        "the result is longer than 10,000",
    ),
    "texts that grow": (
        "vars:\n  a0: "
        + "x" * 900
        + "\n"
        + "".join(f'  a{i}: "{f"${{a{i - 1}}}" * 9}"\n' for i in range(1, 9))
        + NET,
        "the result is longer than 10,000",
    ),
    "a large list in a long repeat": (
        of_layers(f"- repeat: {{times: 20000, layers: [{{relu: {{a: [{','.join('1' * 50_000)}]}}}}]}}"),
        "the entries that run hold more than 600,000 values in all",
    ),
    "a concat that doubles": (
        of_layers("- repeat: {times: 5000, layers: [{residual: {layers: [], merge: concat}}]}"),
        "the output has more than 10^18 values",
    ),
    "ten thousand mistakes": (
        of_layers("\n".join(f"- cnv{i}: 3" for i in range(10_000))),
        "100 mistakes so far: the rest was not looked at",
    ),
    "ten thousand sections": ("".join(f"s{i}: 1\n" for i in range(10_000)) + NET, "a spec has no `s0`"),
    "a power of powers": (of_layers("- linear: ${9 ** 9 ** 9}"), "is too large a power"),
    "a format bomb": (of_layers("- linear: ${'%9999999999d' % 5}"), "does not divide two numbers"),
}
MEASURED = """
import resource, sys
from dlx.errors import DlxError
from dlx.graph import trace
from dlx.spec import load
try:
    trace(load(sys.argv[1]))
except DlxError as error:
    print(error)
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(used.ru_utime + used.ru_stime, int(peak) / 1024, file=sys.stderr)
"""


@pytest.mark.parametrize(("text", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_spec_ends_in_an_error_soon_and_within_500_mb(tmp_path, text, sentence):
    (tmp_path / "s.yaml").write_text(text)
    argv = [sys.executable, "-c", MEASURED, str(tmp_path / "s.yaml")]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=True)
    seconds, megabytes = map(float, ended.stderr.split())
    assert sentence in ended.stdout
    assert seconds < 10  # two on an idle machine; this is about hangs
    assert megabytes < 500
