"""Operations on fixed memory as one function of TorchScript."""

import pytest
import torch

from dlx.training.replay.script import Operation, Script, UnscriptableError, Variable, copy, operation

aten = torch.ops.aten


def both(*todo):
    """What the operations leave in their memory, one by one and by script, from the same start."""
    script = Script()
    for one in todo:
        script.add(one)
    memory, run = script.memory(), script.function("x: int")
    before = [one.clone() for one in memory]
    for one in todo:
        one.call()()
    found = [one.clone() for one in memory]
    for one, was in zip(memory, before, strict=True):
        one.copy_(was)
    run(0)
    return found, memory


def test_a_script_leaves_the_same_bits_as_its_operations():
    x, w, y = torch.randn(4, 3), torch.randn(3, 2), torch.empty(4, 2)
    found, now = both(
        operation(aten.mm.out, x, w, out=y),
        operation(aten.clamp_min.out, y, 0, out=y),
        operation(aten.sum.IntList_out, y, [1], False, out=torch.empty(4)),
        operation(aten.full_like.default, y, float("inf")),
    )
    assert all(map(torch.equal, found, now))
    assert torch.equal(y, (x @ w).clamp_min(0))


def test_results_without_a_place_of_their_own_are_copied_there_and_those_left_out_are_not():
    x, mean, rstd = torch.randn(4, 3), torch.empty(4, 1), torch.empty(4, 1)
    one = Operation(aten.native_layer_norm.default, (x, [3], None, None, 1e-5), {}, (None, mean, rstd))
    found, now = both(one)
    assert all(map(torch.equal, found, now))
    torch.testing.assert_close(mean, x.mean(1, keepdim=True))


def test_what_changes_the_items_of_a_list_is_not_left_out():
    """TorchScript takes it for dead where the function makes the list."""
    weights, gradients = [torch.ones(3), torch.ones(2)], [torch.ones(3), torch.ones(2)]
    found, now = both(operation(aten._foreach_add_.List, weights, gradients, alpha=-0.5))
    assert all(map(torch.equal, found, now))
    assert weights[0].tolist() == [0.5] * 3


def test_a_whole_number_is_a_float_where_torch_wants_one():
    x = torch.tensor([-2.0, 2.0])
    found, now = both(operation(aten.leaky_relu_.default, x, 1))
    assert all(map(torch.equal, found, now))


def test_a_value_may_be_given_when_it_runs():
    rows, one = torch.arange(6.0).view(3, 2), torch.zeros(2)
    script = Script()
    script.lines.append("for k in range(count):")
    script.add(copy(one, Variable("rows[k]")), "    ")
    script.function("rows: Tensor, count: int")(rows, 2)
    assert one.tolist() == [2.0, 3.0]


def test_operations_draw_from_the_generators_that_they_name():
    first, second = (torch.Generator().manual_seed(seed) for seed in (1, 2))
    rows = torch.zeros(3, 16)
    script = Script()
    for row, generator in zip(rows, (first, second, first), strict=True):
        script.add(operation(aten.normal_.default, row, 0.0, 1.0, generator=generator))
    script.function("x: int")(0)
    assert script.generators == [first, second]
    again = torch.Generator().manual_seed(1)
    assert torch.equal(rows[0], torch.empty(16).normal_(generator=again))
    assert torch.equal(rows[2], torch.empty(16).normal_(generator=again))
    assert torch.equal(rows[1], torch.empty(16).normal_(generator=torch.Generator().manual_seed(2)))
    assert torch.equal(first.get_state(), again.get_state())


@pytest.mark.parametrize("value", [torch.device("cpu"), object()])
def test_what_torchscript_has_no_words_for_is_said(value):
    with pytest.raises(UnscriptableError, match=type(value).__name__):
        Script().text(value)


def test_what_a_script_only_reads_is_left_out_of_its_memory():
    x, y = torch.randn(4, 3), torch.empty(2, 3)
    one = Script()
    one.add(operation(aten.index_select.out, x, 0, torch.tensor([0, 2]), out=y))

    def places(memory):
        return {tensor.data_ptr() for tensor in memory}

    assert {x.data_ptr(), y.data_ptr()} <= places(one.memory())
    assert places(one.memory([x.view(3, 4)])) == places(one.memory()) - {x.data_ptr()}
