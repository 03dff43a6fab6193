"""A step that is taken down and run again gives the same bits, whatever its layers are."""

import subprocess
import sys

import pytest
import torch

from dlx.layers import LAYERS
from dlx.layers.measure import DTYPES
from dlx.training.fallback import Rollback, UntraceableError
from dlx.training.replay import flat_step, tape

KINDS = sorted(LAYERS)


def random_input(x, batch=3):
    dtype = getattr(torch, DTYPES[x.dtype])
    values = torch.randn(batch, *x) if dtype.is_floating_point else torch.randint(0, 2, (batch, *x), dtype=dtype)
    return values.to(dtype)


def both_ways(function, module, inputs, params):
    """What a function of inputs gives, on three draws of them, plain and replayed, with the gradients of params."""
    torch.manual_seed(1)
    first, *others = inputs

    def plain(values):
        for p in params:
            p.grad = None
        loss = function(*values)
        if loss.requires_grad:
            loss.backward()
        return [loss.detach(), *(p.grad for p in params)]

    calls, results = tape.record(lambda: plain(first))
    names = {f"x{i}": t for i, t in enumerate(first)}
    flat = flat_step.flatten(calls, names, results)
    for values in others:
        buffers, rng_state = [b.clone() for b in module.buffers()], torch.get_rng_state()
        found = [None if t is None else t.clone() for t in flat(*values)]
        after, rng_after = [b.clone() for b in module.buffers()], torch.get_rng_state()
        for buffer, was in zip(module.buffers(), buffers, strict=True):
            buffer.copy_(was)
        torch.set_rng_state(rng_state)
        wanted = [None if t is None else t.clone() for t in plain(values)]
        yield (
            [*found, *after, rng_after],
            [*wanted, *(b.clone() for b in module.buffers()), torch.get_rng_state()],
        )


def same(one, other):
    return one is other if one is None or other is None else torch.equal(one.nan_to_num(), other.nan_to_num())


READS = "what it does depends on the values of tensors (_local_scalar_dense)"
UNTRACEABLE = {"mixture_of_experts": READS.replace("_local_scalar_dense", "bincount")}
"""How many tokens an expert gets depends on what the router says."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_gives_the_same_bits_when_replayed(kind):
    layer, xs, _ = LAYERS[kind].worked_example()
    torch.manual_seed(0)
    module = layer.module(*xs).train()
    inputs = [[random_input(x) for x in xs] for _ in range(3)]

    def loss(*values):
        y = module(*values)
        return (y.float() * torch.linspace(0.5, 1.5, y.shape[-1])).square().mean()

    if kind in UNTRACEABLE:
        with pytest.raises(UntraceableError) as caught:
            next(both_ways(loss, module, inputs, []))
        assert str(caught.value) == UNTRACEABLE[kind]
        return
    pairs = list(both_ways(loss, module, inputs, list(module.parameters())))
    assert all(same(a, b) for found, wanted in pairs for a, b in zip(found, wanted, strict=True))


def linear(outputs=3):
    torch.manual_seed(0)
    return torch.nn.Linear(5, outputs)


def lines_of(function, inputs):
    """The flat function of a step, as text."""
    calls, _ = tape.record(lambda: function(*inputs.values()))
    writer = flat_step._FunctionWriter(calls, inputs)
    for index, call in enumerate(calls):
        writer.write(index, call)
    return writer.lines


def test_a_linear_layer_and_its_loss_are_the_operations_that_one_derives_by_hand():
    """No transposes, views, constants or copies of gradients: what is left is arithmetic."""
    layer, x, y = linear(), torch.randn(4, 5), torch.randn(4, 3)

    def step(x, y):
        (layer(x) - y).square().mean().backward()

    done = [
        line.partition("(")[0].rpartition("= ")[2].rpartition("_")[0] for line in lines_of(step, {"x": x, "y": y})
    ]

    forward = ["addmm_out", "sub_out", "pow_Tensor_Scalar_out", "mean"]
    backward = ["div_Scalar", "pow_Tensor_Scalar_out", "mul_Scalar", "mul_out", "mm_out", "sum_IntList_out"]
    assert done == forward + backward


def test_a_value_that_is_read_a_mask_and_a_shape_that_depends_on_values_are_refused_with_their_reason():
    x = torch.randn(6)
    reasons = []
    for function in (lambda x: x * x[0].item(), lambda x: x[x > 0], lambda x: x.nonzero()):
        with pytest.raises(UntraceableError) as caught:
            lines_of(function, {"x": x})
        reasons.append(str(caught.value))

    assert reasons == [
        READS,
        "it picks by a mask, and shapes depend on values",
        "what it does depends on the values of tensors (nonzero)",
    ]


def test_rows_of_a_table_and_copies_in_another_order_go_into_given_memory():
    table, index = torch.randn(5, 3), torch.tensor([[0, 4], [2, 2]])

    def function(index):
        return torch.nn.functional.embedding(index, table).transpose(0, 1).contiguous()

    calls, result = tape.record(lambda: function(index))
    flat = flat_step.flatten(calls, {"index": index}, [result])
    other = torch.tensor([[3, 1], [4, 0]])

    done = [line.partition("(")[0].rpartition("_")[0] for line in lines_of(function, {"index": index})]

    assert done == ["index_select_out", "copy"]
    assert torch.equal(flat(other)[0], function(other))
    assert flat(other)[0].data_ptr() == result.data_ptr()


def test_gradient_mode_is_given_back_also_where_an_operation_fails():
    x, y = torch.randn(3, 2), torch.randn(2, 3)
    calls, result = tape.record(lambda: x @ y)
    flat = flat_step.flatten(calls, {"x": x}, [result])

    with torch.no_grad(), pytest.raises(RuntimeError):
        flat(torch.randn(3, 7))
    after = torch.randn(2, requires_grad=True) * 2

    assert after.requires_grad
    with torch.no_grad():
        flat(x)
        assert not torch.is_grad_enabled()


def test_what_was_tried_is_taken_back_also_where_it_fails():
    module = torch.nn.BatchNorm1d(2)
    rng_state = torch.get_rng_state()

    def tried():
        with Rollback(module):
            module(torch.randn(4, 2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tried()

    assert torch.equal(module.running_mean, torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), rng_state)


def test_a_copy_that_is_changed_later_stays_a_copy():
    x = torch.randn(4)

    def function(x):
        doubled = x * 2
        copy = doubled.clone()
        copy.add_(1)
        return doubled + copy

    calls, result = tape.record(lambda: function(x))
    flat = flat_step.flatten(calls, {"x": x}, [result])
    other = torch.randn(4)

    assert torch.equal(flat(other)[0], function(other))
    assert torch.equal(flat(x)[0], function(x))


def test_an_input_may_be_a_part_of_something_larger():
    x = torch.randn(4)
    calls, result = tape.record(lambda: x[2:] * 2)
    flat = flat_step.flatten(calls, {"x": x}, [result])
    part = torch.randn(9)[5:]

    assert torch.equal(flat(part)[0], part[2:] * 2)


def test_gradients_that_add_up_over_two_uses_of_a_weight():
    layer = torch.nn.Linear(5, 5)
    inputs = [[torch.randn(2, 5)] for _ in range(3)]

    pairs = both_ways(lambda x: layer(layer(x)).square().sum(), layer, inputs, list(layer.parameters()))

    assert all(same(a, b) for found, wanted in pairs for a, b in zip(found, wanted, strict=True))


class InBlocks(torch.nn.Module):
    """A network whose images are in oneDNN's own layout, with what torch has for it there."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Conv2d(4, 6, 3)
        self.norm, self.last = torch.nn.BatchNorm2d(4), torch.nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.first(x.to_mkldnn()))
        x = torch.relu(torch.max_pool2d(x, 2, 2))
        x = self.second(x) + self.second(x)
        return self.last(torch.nn.functional.adaptive_avg_pool2d(x, 1).to_dense().flatten(1))


def test_images_in_the_layout_of_onednn_are_replayed_to_the_same_bits():
    module = InBlocks()
    inputs = [[torch.randn(5, 1, 8, 8)] for _ in range(4)]

    pairs = list(both_ways(lambda x: module(x).square().mean(), module, inputs, list(module.parameters())))

    assert len(pairs) == 3
    assert all(same(a, b) for found, wanted in pairs for a, b in zip(found, wanted, strict=True))


def test_images_in_the_layout_of_onednn_are_freed_behind_their_last_use():
    module, x = InBlocks(), torch.randn(5, 1, 8, 8)
    lines = flat_step.freeing(lines_of(lambda x: module(x).sum().backward(), {"x": x}))

    def there_and_back():
        return (x.to_mkldnn() + x.to_mkldnn()).to_dense()

    calls, _ = tape.record(there_and_back)

    made = [line.partition(" = ")[0].rstrip(",").split(", ") for line in lines if " = " in line]
    freed = [name for line in lines for name in line.partition("; del ")[2].split(", ") if name]

    assert sorted(freed) == sorted(name for names in made for name in names)
    assert tape.memory(calls) == x.nbytes  # of the sum as torch lays it out


def test_whoever_stacks_networks_refuses_images_in_the_layout_of_onednn():
    x = torch.randn(2, 1, 4, 4)
    calls, _ = tape.record(lambda: x.to_mkldnn().to_dense())

    with pytest.raises(UntraceableError, match="tensors that are not plain"):
        tape.CallFilter(calls, {"x": x}).must_run(0, calls[0])


def test_what_it_keeps_is_counted_once():
    x = torch.zeros(10, 10)
    calls, _ = tape.record(lambda: (x + 1).view(100).mul_(2))

    assert tape.memory(calls) == 400


def test_taking_down_imports_no_compiler():
    program = (
        "import sys; from dlx.training.replay import tape\n"
        "tape.record(lambda: None); assert 'torch._dynamo' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
