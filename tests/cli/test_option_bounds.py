"""Every number that an option of a command holds has a bound, or means all that there is."""

import re
import typing
from pathlib import Path

import numpy as np
import pytest
from commands import dlx

from dlx.cli import COMMANDS

SPECS = {
    "tab": """\
network: {layers: [linear: 4, dropout: 0.5, linear: 2]}
data: {blobs: {classes: 2, features: 2, train: 40, valid: 10, test: 10}}
""",
    "lm": """\
network: {layers: [embedding: {embedding_dim: 4}, gru: 6, linear: "${data.vocabulary}"]}
data: {text: {path: t.txt, window: 8}}
objective: language
""",
    "vae": """\
networks:
  encoder: {layers: [{linear: 4}]}
  decoder: {inputs: {latent: [2]}, layers: [linear: 2]}
data: {blobs: {features: 2, train: 40, valid: 10, test: 10}}
objective: {vae: {likelihood: gaussian}}
""",
    "pool": """\
network: {layers: [linear: 2]}
data: {table: {path: pool.csv, target: y}}
""",
}
HUGE = (10**12, 10**40)
ASKED = {
    "inspect --depth": "inspect tab.yaml",
    "inspect --batch": "inspect tab.yaml",
    "draw --depth": "draw tab.yaml",
    "sweep --jobs": "sweep tab.yaml train.batch_size=4,8",
    "sweep --pack": "sweep tab.yaml train.batch_size=4,8",
    "sweep --trials": "sweep tab.yaml train.batch_size=4,8",
    "sweep --budget": "sweep tab.yaml train.batch_size=4,8",
    "crossval --folds": "crossval pool.yaml",
    "crossval --jobs": "crossval pool.yaml --folds 2",
    "crossval --pack": "crossval pool.yaml --folds 2",
    "crossval --budget": "crossval pool.yaml --folds 2",
    "baseline --folds": "baseline pool.yaml --kind knn",
    "evaluate --wrong": "evaluate tab",
    "predict --threshold": "predict tab x.npy",
    "predict --samples": "predict tab x.npy",
    "predict --seed": "predict tab x.npy --samples 3",
    "sample --n": "sample vae",
    "sample --temperature": "sample lm --n 2",
    "sample --top-k": "sample lm --n 2",
    "sample --top-p": "sample lm --n 2",
    "sample --beam": "sample lm --n 2",
    "sample --samples": "sample lm --n 2",
    "sample --seed": "sample lm --n 2",
    "sample --rate": "sample lm --n 2",
    "neighbours --n": "neighbours lm --of a",
    "activations --unit": "activations lm",
    "activations --n": "activations lm",
    "plot --example": "plot tab --kind attention",
    "plot --bins": "plot tab --kind calibration",
    "report --mistakes": "report tab",
    "report --most": "report tab",
    "ui --port": "ui",
    "prove-resume --kills": "prove-resume tab.yaml --steps 2",
    "prove-resume --seed": "prove-resume tab.yaml --kills 0 --steps 2",
    "prove-resume --steps": "prove-resume tab.yaml --kills 0",
    "reproduce --tolerance": "reproduce tab",
    "runs list --limit": "runs list",
    "runs prune --older-than": "runs prune --failed --dry-run",
}
"""A command for each option that holds a number."""
WORDS = {"jobs", "pack", "budget", "folds", "older_than"}
"""Options whose texts hold numbers."""


def numbers_of(app, path: str):
    """The options of an app's commands that hold numbers, as they are typed: `sample --top-k`."""
    for info in app.registered_commands:
        name = f"{path} {info.name or info.callback.__name__}" if path == "runs" else path
        for option, hint in typing.get_type_hints(info.callback).items():
            if re.search(r"\b(int|float)\b", str(hint)) or option in WORDS:
                yield f"{name} --{option.replace('_', '-')}"


def all_numbers() -> set[str]:
    return {one for name, app in COMMANDS.apps.items() for one in numbers_of(app, name)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bounds")
    (folder / "t.txt").write_text("a cat sat on a mat. " * 20)
    rows = (f"{i},{i * i % 7},{'no' if i % 2 else 'yes'}\n" for i in range(40))
    (folder / "pool.csv").write_text(f"a,b,y\n{''.join(rows)}")
    np.save(folder / "x.npy", np.zeros((2, 2), "f4"))
    for name, text in SPECS.items():
        more = "train: {steps: 2, batch_size: 8, device: cpu}\ntrack: {mlflow: false}\n"
        (folder / f"{name}.yaml").write_text(f"dlx: 1\nname: {name}\n{text}{more}")
        dlx("train", f"{name}.yaml", "--quiet", cwd=folder, check=True)
    return folder


def test_every_option_that_holds_a_number_is_tried_below():
    assert all_numbers() == set(ASKED)


REFUSED = {
    "sweep --jobs",
    "crossval --folds",
    "predict --samples",
    "predict --seed",
    "sample --n",
    "sample --samples",
    "sample --seed",
    "sample --rate",
    "runs prune --older-than",
}
"""Those that no command would come to the end of, or that mean nothing; the others are tried by `make test-slow`."""


@pytest.mark.parametrize(
    "option", [pytest.param(one, marks=() if one in REFUSED else pytest.mark.slow) for one in ASKED]
)
def test_a_huge_number_is_refused_in_a_sentence_or_means_all_that_there_is(trained, option):
    name = f"--{option.partition(' --')[2]}"
    unit = {"--budget": "s", "--older-than": "d"}.get(name, "")
    for huge in HUGE:
        done = dlx(*ASKED[option].split(), name, f"{huge}{unit}", cwd=trained)
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stderr
        fits = option not in REFUSED or (name == "--seed" and huge < 2**63)
        assert done.returncode == 2 or fits
        if done.returncode:
            assert name in done.stderr or name.strip("-") in done.stderr, done.stderr
