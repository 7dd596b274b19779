"""Products are exact until TF32 is asked for."""

from collections.abc import Iterator

import pytest
import torch

from charlm.runtime import device


@pytest.fixture
def as_torch_begins() -> Iterator[None]:
    """cuDNN may round the factors of float32 products."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    kept = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, before in zip(backends, kept, strict=True):
        backend.allow_tf32 = before


@pytest.mark.usefixtures("as_torch_begins")
def test_products_are_exact_from_when_a_device_was_looked_for_until_tf32_is_asked_for() -> None:
    def rounded() -> set[bool]:
        return {torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32}

    assert rounded() == {True}
    device.find_device("cpu")
    assert rounded() == {False}
    for precision, wanted in (("tf32", True), ("float32", False)):
        device.set_precision(precision, torch.device("cuda"))
        assert rounded() == {wanted}
