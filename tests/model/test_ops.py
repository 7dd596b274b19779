"""Products by oneDNN are torch's own, with and without a gradient, and their slow twin is torch's in float64."""

import pytest
import torch
from torch.nn import functional as F

from charlm.model import ops

SIZES = [(1, 1, 1), (5, 9, 1), (5, 1, 9), (3, 7, 5), (16, 256, 300), (50, 65, 512)]
needs_onednn = pytest.mark.skipif(not ops.has_onednn(), reason="this build of torch has no oneDNN")


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def close(found, wanted):
    scale = wanted.abs().max().clamp(min=1)
    torch.testing.assert_close(found.double() / scale, wanted.double() / scale, rtol=0, atol=2e-6)


@pytest.fixture(params=["onednn", "torch"])
def library(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(ops, "has_onednn", lambda: False)
    elif not ops.has_onednn():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(ops, "MIN_ONEDNN_PRODUCT", 0)
    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    return request.param


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_products_are_those_of_float64(library, rows, inputs, outputs):
    x, weight, bias = numbers(rows, inputs), numbers(outputs, inputs, seed=1), numbers(outputs, seed=2)
    y, wide = numbers(rows, outputs, seed=3), weight.double()
    before = y.clone()
    into, biased = ops.PackedLinear(weight, rows), ops.PackedLinear(weight, rows, bias)
    close(ops.matmul(x, weight), x.double() @ wide.T)
    close(ops.matmul(x, weight, bias), x.double() @ wide.T + bias)
    close(into(x), x.double() @ wide.T)
    close(biased(x), x.double() @ wide.T + bias)
    close(into.add(y, x), y + x.double() @ wide.T)
    close(biased.add(y, x), y + x.double() @ wide.T + bias)
    assert torch.equal(y, before), "a product changes nothing that it reads"
    for one in (into, biased):
        added, place = one.add(y, x), y.clone()
        assert one.add_(place, x) is place
        close(place, added)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [*SIZES, (512, 64, 32), (300, 70, 1)])
def test_what_is_gathered_is_that_of_float64(library, rows, inputs, outputs, monkeypatch):
    x, y = numbers(rows, inputs), numbers(rows, outputs, seed=3)
    for convolution in (False, True):
        monkeypatch.setattr(ops, "_use_convolution", lambda a, b, answer=convolution: answer)
        weights, biases = ops.linear_grads(y, x)
        close(weights, y.double().T @ x.double())
        close(biases, y.double().sum(0))


@pytest.mark.parametrize(
    ("maker", "mkl", "wide"),
    [("vendor_id\t: GenuineIntel", True, True), ("AuthenticAMD", True, False), ("GenuineIntel", False, False)],
)
def test_mkl_is_wide_on_intel_s_processors(maker, mkl, wide, monkeypatch):
    monkeypatch.setattr(ops, "_processor", lambda: maker)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert ops.mkl_preferred.__wrapped__() == wide


def test_a_processor_without_a_file_is_asked_of_the_platform(monkeypatch, tmp_path):
    told = tmp_path / "cpuinfo"
    monkeypatch.setattr(ops, "CPUINFO", told)
    monkeypatch.setattr(ops.platform, "processor", lambda: "by the platform")
    assert ops._processor() == "by the platform"
    told.write_bytes(b"processor: 0\nvendor_id: \xff\n\nprocessor: 1\n")
    assert ops._processor() == "processor: 0\nvendor_id: \ufffd"


@needs_onednn
def test_a_wide_mkl_has_all_products(monkeypatch):
    def refuse(*_):
        raise AssertionError("oneDNN was asked")

    for name in ("_pack_weight", "_linear"):
        monkeypatch.setattr(ops, name, refuse)
    x, weight, bias = numbers(300, 256).requires_grad_(), numbers(1024, 256, seed=1), numbers(1024, seed=2)
    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    with pytest.raises(AssertionError, match="oneDNN was asked"):
        ops.PackedLinear(weight, 300)
    monkeypatch.setattr(ops, "mkl_preferred", lambda: True)
    ops.linear(x, weight, bias).sum().backward()
    x = x.detach()
    for found in (ops.matmul(x, weight), ops.PackedLinear(weight, 300)(x)):
        close(found, x.double() @ weight.double().T)
    weights, biases = ops.linear_grads(numbers(300, 300), x)
    close(weights, numbers(300, 300).double().T @ x.double())
    close(biases, numbers(300, 300).double().sum(0))


@needs_onednn
@pytest.mark.parametrize(("rows", "threads", "left"), [(81, 2, True), (80, 2, False), (81, 1, False)])
def test_a_convolution_gathers_what_torch_leaves_to_onednn(rows, threads, left, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = numbers(rows, 32), numbers(rows, 256)
        line, filters = b[None, None].permute(0, 3, 1, 2), numbers(32, 256, 1, 1)
        chosen = torch._C._select_conv_backend(line, filters, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)
        assert (chosen == torch._C._ConvBackend.Mkldnn) == left
        for fewest, wanted in ((rows * 32 * 256, left), (rows * 32 * 256 + 1, False)):
            monkeypatch.setattr(ops, "MIN_CONVOLUTION_GRADIENT", fewest)
            assert ops._use_convolution(a, b) == wanted
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), SIZES)
def test_a_weight_that_is_a_transposed_view_is_laid_out_as_well(library, rows, inputs, outputs):
    x, weight = numbers(rows, inputs), numbers(inputs, outputs, seed=1)
    close(ops.PackedLinear(weight.T, rows)(x), x.double() @ weight.double())


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_linear_and_its_gradient_are_torch_s(library, shape):
    found = []
    for linear in (ops.linear, F.linear):
        x, weight, bias = (
            tensor.requires_grad_() for tensor in (numbers(*shape), numbers(5, 4, seed=1), numbers(5, seed=2))
        )
        y = linear(x, weight, bias)
        (y * numbers(*y.shape, seed=4)).sum().backward()
        found.append([y.detach(), x.grad, weight.grad, bias.grad])
    for one, other in zip(*found, strict=True):
        close(one, other)


def test_linear_s_own_gradient_is_right_in_float64(monkeypatch):
    monkeypatch.setattr(ops, "onednn_available", lambda x: False)
    arguments = [numbers(*shape, dtype=torch.float64).requires_grad_() for shape in ((6, 4), (5, 4), (5,))]
    assert torch.autograd.gradcheck(ops._Linear.apply, arguments, atol=1e-10)


@needs_onednn
def test_small_products_and_other_dtypes_are_left_to_torch(monkeypatch):
    def refuse(*_):
        raise AssertionError("oneDNN was asked")

    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    for name in ("_pack_weight", "_linear"):
        monkeypatch.setattr(ops, name, refuse)
    weight = numbers(256, 256)
    ops.PackedLinear(weight, 16).add(numbers(16, 256), numbers(16, 256))
    ops.PackedLinear(weight.double(), 64)(numbers(64, 256, dtype=torch.float64))
    ops.matmul(numbers(4, 256, dtype=torch.float64), weight.double())
    with pytest.raises(AssertionError, match="oneDNN was asked"):
        ops.PackedLinear(weight, 17)(numbers(17, 256))


@needs_onednn
def test_only_large_weights_are_laid_out(monkeypatch):
    def refuse(*_):
        raise AssertionError("it was laid out")

    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    monkeypatch.setattr(ops, "_pack_weight", refuse)
    x, weight = numbers(64, 256), numbers(256, 256, seed=1)
    for small in (weight, weight.T):
        close(ops.PackedLinear(small, 64)(x), x.double() @ small.double().T)
    with pytest.raises(AssertionError, match="it was laid out"):
        ops.PackedLinear(numbers(257, 256), 64)


@needs_onednn
def test_whatever_numbers_are_by_default_onednn_is_found():
    ops.has_onednn.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        assert ops.has_onednn()
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("seen", ["every symbol", "one symbol"])
def test_what_is_looked_up_is_what_torch_looks_up_and_so_is_the_gradient(turned, seen):
    table = numbers(4, 7, dtype=torch.float64).T if turned else numbers(7, 4, dtype=torch.float64)
    ids = torch.arange(15).view(5, 3) % 7 if seen == "every symbol" else torch.full((5, 3), 2)
    after = numbers(5, 3, 4, seed=1, dtype=torch.float64)
    found, wanted = table.clone().requires_grad_(), table.clone().requires_grad_()
    ours, torchs = ops.embedding_lookup(found, ids), F.embedding(ids, wanted)
    assert torch.equal(ours, torchs)
    ours.backward(after)
    torchs.backward(after)
    torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-10, atol=1e-10)
    assert (found.grad == 0).all(1).sum() == (0 if seen == "every symbol" else 6)


@needs_onednn
def test_onednn_is_given_no_weight_with_gaps(monkeypatch):
    monkeypatch.setattr(ops, "mkl_preferred", lambda: False)
    given, real = [], ops._linear
    monkeypatch.setattr(ops, "_linear", lambda x, weight, *more: given.append(weight) or real(x, weight, *more))
    x, wide = numbers(6, 4), numbers(5, 9, seed=1)
    for weight in (wide[:, :4], wide[:, 4:8], wide[:4].T[:, :4], numbers(4, 5, seed=2).T):
        close(ops.matmul(x, weight), x.double() @ weight.double().T)
        leaf = weight.detach().requires_grad_()
        ops.linear(x.clone().requires_grad_(), leaf, torch.zeros(len(weight))).sum().backward()
    ops.linear_grads(x, numbers(6, 9)[:, :3])
    assert len(given) >= 9
    assert all(weight.is_contiguous() or weight.T.is_contiguous() for weight in given)
