"""A torch that lacks a name which is not public, or has changed it, trains to the same bits, and the run says why."""

import ast
import functools
import itertools
import re

import pytest
import torch
from helpers import ROOT, experiment_of

from dlx.errors import RunError
from dlx.experiment import runner
from dlx.graph import trace
from dlx.network import build
from dlx.optim import fused
from dlx.spec import load, objective_of
from dlx.training import compiled_graphs, device
from dlx.training.batches.on_device import on_device
from dlx.training.fallback import LISTS, OPTIMIZER, PACK, SCRIPT, SKIPPED, STEP
from dlx.training.fit import Job, fit
from dlx.training.packed import many_steps, stacked_jobs
from dlx.training.packed.together import fit_together
from dlx.training.replay import flat_step, script, tape
from dlx.utils import torch_private

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 5, 5], classes: 3, train: 64, valid: 20, test: null, seed: 3}}
network: {layers: [{conv: {out_channels: 2, kernel_size: 3}}, batch_norm, relu, {dropout: 0.2}, flatten, {linear: 3}]}
train: {steps: 40, batch_size: 16, threads: 1, TRAIN}
track: {mlflow: false}
"""
REPLAYED, PACKED = "trace: true, optimizer: adam", "optimizer: adam"
BELOW = (
    "torch.utils._python_dispatch.TorchDispatchMode",
    "torch._C._set_grad_enabled",
    "torch._C._AutoDispatchBelowAutograd",
    "torch._C._dispatch_has_kernel_for_dispatch_key",
    "OpOverload._schema",
    "OpOverload._op",
    "UntypedStorage._cdata",
)
CORRECTED = "optimizer: {adam: {lr: 0.01, bias_correction: false, weight_decay: 0.01}}"
MOMENTUM = "optimizer: {momentum: {lr: 0.1, nesterov: true, weight_decay: 0.01}}"
HIDDEN = [
    *((name, REPLAYED, STEP) for name in BELOW),
    *((name, PACKED, PACK) for name in BELOW),
    ("torch.ops.aten._log_softmax", PACKED, PACK),
    ("torch.ops.aten._log_softmax_backward_data", PACKED, PACK),
    ("torch.jit.CompilationUnit", PACKED, SCRIPT),
    ("torch._fused_adam_", "optimizer: adam", OPTIMIZER),
    ("torch._fused_adamw_", "optimizer: adamw", OPTIMIZER),
    ("torch._fused_sgd_", "optimizer: {sgd: {lr: 0.1, momentum: 0.9}}", OPTIMIZER),
    ("torch._foreach_add", MOMENTUM, LISTS),
    ("torch._foreach_lerp", MOMENTUM, LISTS),
    ("torch._foreach_lerp_", MOMENTUM, LISTS),
    ("torch._foreach_lerp_", "average: {ema: 0.9}", LISTS),
    ("torch._foreach_add_", CORRECTED, LISTS),
    ("torch._foreach_mul_", CORRECTED, LISTS),
    ("torch._foreach_addcmul_", CORRECTED, LISTS),
    ("torch._foreach_addcdiv_", CORRECTED, LISTS),
    ("torch._foreach_div", CORRECTED, LISTS),
    ("torch._foreach_sqrt_", CORRECTED, LISTS),
    ("GradScaler._found_inf_per_device", "precision: fp16", SKIPPED),
]
"""A name, a training that uses it, and what that does without."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is known from a training before; a script pays at once; one thread."""
    monkeypatch.setattr(many_steps, "MIN_STEPS", 0)
    script._once.cache_clear()
    tape.out_variant.cache_clear()
    with device.threads(1):
        yield


def job(train: str, seed: int = 0, drops: bool = True) -> Job:
    text = SPEC if drops else SPEC.replace("{dropout: 0.2}, ", "")
    if "trace: true" not in train:  # which takes some steps to choose
        text = text.replace("steps: 40", "steps: 12")
    loaded = experiment_of(text.replace("TRAIN", f"seed: {seed}, {train}"))
    torch.manual_seed(seed)
    network = build(trace(loaded), loaded.init)
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), torch.device("cpu")))


def alone(train: str, seed: int = 0, drops: bool = True) -> Job:
    """A training that has ended."""
    made = job(train, seed, drops)
    for _ in fit(made):
        pass
    return made


def under_autograd() -> Job:
    """The same as `REPLAYED`, plainly."""
    made = job(REPLAYED)
    made.learner.train = made.train.model_copy(update={"trace": False})
    for _ in fit(made):
        pass
    return made


def together(train: str, drops: bool = True) -> list[Job]:
    """Two seeds that were trained side by side."""
    made = [job(train, seed, drops) for seed in (0, 1)]
    for one in made:
        torch.manual_seed(one.train.seed + 100)
        one.progress.capture_rng()
    for _ in fit_together(made):
        pass
    return made


def side_by_side_alone(train: str) -> list[Job]:
    """The same two, one after the other under autograd."""
    made = []
    for seed in (0, 1):
        one = job(f"{train}, trace: false", seed)
        torch.manual_seed(seed + 100)
        for _ in fit(one):
            pass
        made.append(one)
    return made


def bits(jobs: list[Job]) -> list[list[bytes]]:
    return [[t.detach().numpy().tobytes() for t in one.network.state_dict().values()] for one in jobs]


@functools.cache
def wanted(train: str, instead: str) -> list[list[bytes]]:
    """The weights by a torch that has everything, or by what is done instead where that rounds otherwise."""
    if instead == PACK:
        return bits(side_by_side_alone(train))
    return bits(together(train, drops=False) if instead == SCRIPT else [alone(train)])


def hide(monkeypatch, name: str) -> None:
    """dlx finds that torch lacks a name; torch itself goes on to use it."""
    found = torch_private._found

    def without(value, part, full):
        if full == name and full.endswith(part):
            raise torch_private.MissingNameError(full)
        return found(value, part, full)

    monkeypatch.setattr(torch_private, "_found", without)


@pytest.mark.parametrize(("name", "train", "instead"), HIDDEN)
def test_without_a_name_that_is_not_public_a_training_ends_with_the_same_weights_and_says_why(
    monkeypatch, name, train, instead
):
    same = wanted(train, instead)
    script._once.cache_clear()
    tape.out_variant.cache_clear()
    hide(monkeypatch, name)
    found = together(train, drops=instead == PACK) if instead in {PACK, SCRIPT} else [alone(train)]

    assert bits(found) == same
    assert [one.learner.faults for one in found] == [[f"{instead}: torch {torch.__version__} has no {name}"]] * len(
        found
    )


def test_with_all_names_there_is_nothing_to_say():
    found = [alone(REPLAYED), alone(MOMENTUM), *together(PACKED), *together(PACKED, drops=False)]

    assert [one.learner.faults for one in found] == [[]] * len(found)
    assert [one.learner.way["step"] for one in found] == ["replayed", "plain", *["packed"] * 4]


GONE = ["torch._C._AutoDispatchBelowAutograd", "torch.utils._python_dispatch.TorchDispatchMode"]


@pytest.mark.parametrize(("name", "seeds"), [(GONE[0], 1), (GONE[1], 1), (GONE[0], 2)])
def test_a_default_training_outlives_a_torch_without_the_name_and_tells_the_user(tmp_path, monkeypatch, name, seeds):
    """The name is taken out of torch itself."""
    path = tmp_path / "s.yaml"
    path.write_text(SPEC.replace("steps: 40", "steps: 210").replace("TRAIN", f"seeds: {seeds}"))
    owner, _, last = name.rpartition(".")
    monkeypatch.delattr(functools.reduce(getattr, owner.split(".")[1:], torch), last)
    found = runner.run(load(path), tmp_path / "runs")

    note = f"{STEP if seeds == 1 else PACK}: torch {torch.__version__} has no {name}"
    for result in found.results:
        assert (result.status, result.steps) == ("finished", 210)
        assert note in result.notes
        assert result.run.read_json("lock.json")["way"]["faults"] == [note]


def test_a_training_without_torchscript_is_packed_and_says_so(tmp_path, monkeypatch):
    monkeypatch.delattr(torch.jit, "CompilationUnit")
    found = together(PACKED, drops=False)

    assert [one.learner.way["step"] for one in found] == ["packed"] * 2
    assert [one.learner.faults for one in found] == [
        [f"{SCRIPT}: torch {torch.__version__} has no torch.jit.CompilationUnit"]
    ] * 2


# --- other things that go wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [8, 30])
@pytest.mark.parametrize("packed", [False, True])
def test_a_step_that_cannot_be_taken_down_is_taken_again_from_where_it_began(monkeypatch, after, packed):
    """The recorder fails behind some operations: batch norm has moved its statistics, dropout has drawn."""
    same = bits(side_by_side_alone(PACKED) if packed else [under_autograd()])
    made = itertools.count(1)

    class Broken(tape.RecordedCall):
        def __new__(cls, *args, **kwargs):
            if next(made) == after:
                raise TypeError("an operation gave what nobody knows\nmore")
            return super().__new__(cls)

    monkeypatch.setattr(tape, "RecordedCall", Broken)
    found = together(PACKED) if packed else [alone(REPLAYED)]

    assert bits(found) == same
    assert {fault for one in found for fault in one.learner.faults} == {
        f"{PACK if packed else STEP}: TypeError: an operation gave what nobody knows"
    }
    assert {one.learner.way["step"] for one in found} == {"plain"}


@pytest.mark.parametrize(("module", "where"), [(flat_step, "flatten"), (tape, "memory"), (tape, "generators")])
def test_whatever_the_flat_step_ends_in_the_plain_one_goes_on(monkeypatch, module, where):
    def broken(*_):
        raise KeyError("a schema")

    same = bits([under_autograd()])
    monkeypatch.setattr(module, where, broken)
    found = alone(REPLAYED)

    assert bits([found]) == same
    assert found.learner.faults == [f"{STEP}: KeyError: 'a schema'"]


def test_a_flat_step_that_fails_behind_its_changes_is_taken_back(monkeypatch):
    flatten = flat_step.flatten

    def half(*args):
        flat = flatten(*args)

        def fails(index):
            flat(index)
            raise TypeError("a signature has changed")

        return fails

    same = bits([under_autograd()])
    monkeypatch.setattr(flat_step, "flatten", half)
    found = alone(REPLAYED)

    assert bits([found]) == same
    assert found.learner.faults == [f"{STEP}: TypeError: a signature has changed"]
    assert found.learner.way == {"step": "plain", "because": "replayed it fails: a signature has changed"}


def test_a_first_step_of_a_stack_that_fails_is_taken_back(monkeypatch):
    compute = stacked_jobs.StackedJobs._compute

    def fails(self):
        compute(self)
        raise TypeError("a signature has changed")

    same = bits(side_by_side_alone(PACKED))
    monkeypatch.setattr(stacked_jobs.StackedJobs, "_compute", fails)
    found = together(PACKED)

    assert bits(found) == same
    assert [one.learner.faults for one in found] == [[f"{PACK}: TypeError: a signature has changed"]] * 2
    assert [one.learner.way for one in found] == [
        {"step": "plain", "because": "TypeError: a signature has changed"}
    ] * 2


def test_a_script_that_fails_behind_its_changes_is_taken_back(monkeypatch):
    compiled = script._compiled

    def half(source):
        run = compiled(source)

        def fails(*args):
            run(*args)
            raise RuntimeError("TorchScript is gone")

        return fails

    same = bits(together(PACKED, drops=False))
    monkeypatch.setattr(script, "_compiled", half)
    found = together(PACKED, drops=False)

    assert bits(found) == same
    assert [one.learner.faults for one in found] == [[f"{SCRIPT}: RuntimeError: TorchScript is gone"]] * 2


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "{sgd: {lr: 0.1, momentum: 0.9}}"])
def test_a_kernel_with_another_signature_is_left_for_torchs_own_step(monkeypatch, optimizer):
    found = torch_private.private

    def other(name):
        kernel = found(name)

        def wants(*args, more, **kwargs):
            return kernel(*args, **kwargs)

        return wants

    same = bits([alone(f"optimizer: {optimizer}")])
    monkeypatch.setattr(fused, "private", other)
    made = alone(f"optimizer: {optimizer}")

    assert bits([made]) == same
    (fault,) = made.learner.faults
    assert fault.startswith(f"{OPTIMIZER}: TypeError: ")
    assert fault.endswith("missing 1 required keyword-only argument: 'more'")


def test_a_mistake_of_the_step_itself_is_no_fault_of_the_quicker_way():
    one = job(REPLAYED)
    run, calls = one.learner.compute.forward, itertools.count(1)

    def fails(x):
        if next(calls) >= 4:
            raise RunError("the example is bad")
        return run(x)

    one.learner.compute.forward = fails
    with pytest.raises(RunError, match="the example is bad"):
        list(fit(one))


# --- none is forgotten ----------------------------------------------------------------------------------------------

OWN = {"_scope", "_named", "_replace", "_fit", "_get_generation_key", "_units", "_in_own_unit", "_characters"}
OWN |= {"_vocabulary", "_shifted", "_text", "_resolved"}
OWN |= {"_outcome", "_goes_on", "_has_delivered", "_has_tried", "_error", "_taken_up"}
"""Names of dlx itself, of Python and of Optuna."""


@functools.cache
def sources() -> list[tuple[str, ast.Module]]:
    """The files of dlx that may use such a name, by what their text holds."""
    texts = {path: path.read_text() for path in sorted((ROOT / "dlx").rglob("*.py"))}
    found = re.compile(r"\._[a-z]|import _|\b(private|attribute)\(")
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(text))
        for path, text in texts.items()
        if "torch" in text and path.name != "__main__.py" and found.search(text)
    ]


HOOKS = {"_forward_hooks", "_forward_pre_hooks"}
"""Without these evaluations are computed in torch's own layout (test_memory_format)."""
COMPILER = {"torch._dynamo.config", "torch._dynamo.utils.counters"}


def test_without_the_names_of_the_compiler_recurrent_layers_are_left_to_torch_and_no_graphs_are_counted(monkeypatch):
    for name in COMPILER:
        hide(monkeypatch, name)
    with compiled_graphs.recurrent_allowed(torch.nn.Sequential(torch.nn.GRU(2, 2)), torch.device("cpu")):
        assert compiled_graphs.graphs_compiled() is None


IMAGES = {"torch.ops.mkldnn.data_ptr"}


def test_without_the_memory_of_images_in_the_layout_of_onednn_a_step_with_them_is_not_replayed(monkeypatch):
    x = torch.randn(2, 1, 4, 4)
    calls, result = tape.record(lambda: x.to_mkldnn().to_dense())
    for name in IMAGES:
        hide(monkeypatch, name)
    with pytest.raises(torch_private.MissingNameError, match=r"has no torch\.ops\.mkldnn\.data_ptr"):
        flat_step.flatten(calls, {"x": x}, [result])


def test_every_name_of_torch_that_is_not_public_is_hidden_above():
    asked = set(torch_private.FOREACH.values())
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"private", "attribute"}:
                asked |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    hidden = {name if name.startswith("torch.") else name.rpartition(".")[2] for name, _, _ in HIDDEN}

    assert asked == hidden | COMPILER | IMAGES | HOOKS
    assert asked >= {"torch._C._AutoDispatchBelowAutograd", "_schema"}


def test_no_name_of_torch_that_is_not_public_is_used_but_by_the_one_door():
    found = []
    for path, tree in sources():
        typing = {id(sub) for node in ast.walk(tree) if is_for_types(node) for sub in ast.walk(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                own = node.attr in OWN or ast.unparse(node.value) in {"self", "cls", "super()", "copy", "os"}
                bad = is_private(node.attr) and not own
            elif isinstance(node, ast.ImportFrom):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                bad = (node.module or "").startswith("torch") and any(map(is_private, names))
            elif isinstance(node, ast.Import):
                parts = [part for alias in node.names for part in alias.name.split(".") if alias.name[:5] == "torch"]
                bad = any(map(is_private, parts))
            else:
                bad = False
            if bad and id(node) not in typing:
                found.append(f"{path}:{node.lineno}: {ast.unparse(node)}")

    assert found == []


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
