"""A small GPT of Shakespeare against counts of letters, and against what lacks a part of it."""

import numpy as np
import pytest
from helpers import SHIPPED
from quality import bits_of_kneser_ney, bounds

from dlx.experiment import baselines, runner
from dlx.spec import load
from dlx.spec.baseline_list import with_baselines

ALONE = ["track.mlflow=false"]
SPEC = SHIPPED["zoo/gpt"]
TEXT = SPEC.parent / "texts" / "coriolanus.txt"
POSITIONS = "    - {position_embedding: , name: positions}\n"
BITS = "test/bits_per_character"


def bits(folder, text: str, *changes: str) -> float:
    (folder / "gpt.yaml").write_text(text)
    path = [f"data.text.path={TEXT}"] if not any(one.startswith("data.text.path") for one in changes) else []
    return runner.run(load(folder / "gpt.yaml", [*ALONE, *path, *changes]), folder).results[0].metrics[BITS]


def without_attention(text: str) -> str:
    first = text.index("      - residual:")
    return text[:first] + text[text.index("      - residual:", first + 1) :]


def test_the_baseline_counts_as_dictionaries_do(tmp_path):
    spec = with_baselines(load(SPEC, ALONE), ["ngram=3", "ngram=2"])
    found = [group.runs[0].result.metrics[BITS] for group in baselines.run(spec, tmp_path).groups]
    text = TEXT.read_text()
    assert found == pytest.approx([bits_of_kneser_ney(text, n) for n in (3, 2)])


@pytest.mark.slow
def test_a_gpt_sees_more_than_three_letters_and_no_twin_of_it_does(tmp_path):
    text, claimed = SPEC.read_text(), bounds("zoo/gpt")[BITS]["at_most"]
    (tmp_path / "mixed.txt").write_text("".join(np.random.default_rng(0).permutation(list(TEXT.read_text()))))
    whole = bits(tmp_path, text)
    twins = {
        "untrained": bits(tmp_path, text, "train.steps=1"),
        "no attention": bits(tmp_path, without_attention(text)),
        "no positions": bits(
            tmp_path, text.replace("    - {position_embedding: , name: positions}\n", ""), "~expect"
        ),
        "shuffled": bits(tmp_path, text, f"data.text.path={tmp_path / 'mixed.txt'}"),
    }
    print(f"whole {whole:.3f}", {name: round(one, 3) for name, one in twins.items()})
    assert whole <= claimed
    assert all(one > claimed for one in twins.values())
    # a position without attention knows its own letter alone, as counts of two letters do
    assert twins["no attention"] > bits_of_kneser_ney(TEXT.read_text(), 2) - 0.05


@pytest.mark.slow
def test_on_a_million_letters_it_sees_more_than_four(shared_data, tmp_path):
    """Context 64 and 3,000 steps, as the spec says of it, with a text on the way."""
    path = shared_data / "tinyshakespeare.txt"
    asked = [f"data.text.path={path}", "vars.context=64", "train.batch_size=32", "train.steps=3000"]
    more = ["~expect", "+train.samples={every: 1500, prompt: 'ROMEO:'}"]
    (done,) = runner.run(load(SPEC, [*ALONE, *asked, *more]), tmp_path).results
    counts = bits_of_kneser_ney(path.read_text(), 4)
    print(f"whole {done.metrics[BITS]:.3f}, counts of four {counts:.3f}")
    assert done.metrics[BITS] < counts
    texts = sorted((done.run.dir / "artifacts" / "samples").iterdir())
    assert [one.name for one in texts] == ["step-001500.txt", "step-003000.txt"]
    assert all(one.read_text().startswith("ROMEO:") for one in texts)
