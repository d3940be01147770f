"""Denoising blocks, each operation beside a loop written from the paper."""

import math

import pytest
import torch
from torch.nn import functional as F

from steelman.errors import InputError
from steelman.models import DenoisingBlock
from steelman.models.denoising import OPERATIONS, NonLocal, _summed


def features(n=2, channels=4, height=5, width=6, seed=0):
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alive(channels, operation, embed=None):
    """A block whose embeddings and scale say something."""
    block = DenoisingBlock(channels, operation, embed).double().eval()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return block


def near(place, shape):
    """The places of the 3×3 window that lie inside the image."""
    (i, j), (height, width) = place, shape
    return [(a, b) for a in range(i - 1, i + 2) for b in range(j - 1, j + 2) if 0 <= a < height and 0 <= b < width]


@torch.no_grad()
def by_hand(block, operation, x):
    """y_i = sum over j of f(x_i, x_j) x_j, divided by C(x), place by place (Xie et al. 2019, section 4.1)."""
    embedded = getattr(block.denoise, "embedded", None)
    theta, phi = embedded(x) if embedded else (x, x)
    out, (height, width) = torch.zeros_like(x), x.shape[-2:]
    everywhere = [(a, b) for a in range(height) for b in range(width)]
    for n in range(len(x)):
        for i, j in everywhere:
            region = everywhere if operation.startswith("nonlocal") else near((i, j), (height, width))
            values = [x[n, :, a, b] for a, b in region]
            products = [float(theta[n, :, i, j] @ phi[n, :, a, b]) for a, b in region]
            if operation in ("nonlocal-softmax", "bilateral"):
                f = [math.exp(p / math.sqrt(theta.shape[1])) for p in products]
                out[n, :, i, j] = sum(w * v for w, v in zip(f, values, strict=True)) / sum(f)
            elif operation == "nonlocal-dot":
                out[n, :, i, j] = sum(p * v for p, v in zip(products, values, strict=True)) / len(region)
            elif operation == "mean":
                out[n, :, i, j] = sum(values) / len(values)
    return out


@pytest.mark.parametrize(
    ("operation", "embed"),
    [("mean", None), *((name, e) for name in ("nonlocal-softmax", "nonlocal-dot", "bilateral") for e in (True, False))],
)
def test_each_operation_is_the_papers_sum(operation, embed):
    x = features()
    block = alive(4, operation, embed)
    assert torch.allclose(block.denoise(x), by_hand(block, operation, x), atol=1e-10)


def test_the_median_is_of_the_window_and_the_image_goes_on_as_it_ends():
    x = features()
    out = DenoisingBlock(4, "median").denoise(x)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    for i in range(5):
        for j in range(6):
            window = padded[:, :, i : i + 3, j : j + 3].flatten(2)
            assert torch.equal(out[:, :, i, j], window.sort(dim=2).values[:, :, 4])


@pytest.mark.parametrize(("inner", "channels", "places"), [(2, 4, 3), (4, 4, 100), (16, 32, 9)])
def test_both_orders_of_the_product_are_one(inner, channels, places):
    own, other, values = (torch.randn(2, c, places, dtype=torch.float64) for c in (inner, inner, channels))
    matrix = values @ (other.transpose(1, 2) @ own) / places
    assert torch.allclose(_summed(own, other, values), matrix, atol=1e-10)


def test_without_the_matrix_a_large_map_costs_little(monkeypatch):
    """128×128 places would take a matrix of 16,384 × 16,384, 1 GB."""
    x = torch.randn(1, 4, 128, 128)
    seen = []
    real = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: seen.append(real(a, b).shape) or real(a, b))
    assert NonLocal(4, softmax=False, embed=False)(x).shape == x.shape
    assert max(shape.numel() for shape in seen) <= x.numel()


def test_embeddings_have_half_the_channels_and_stand_where_the_paper_has_them():
    assert DenoisingBlock(6, "nonlocal-softmax").denoise.embedded.theta.weight.shape == (3, 6, 1, 1)
    assert DenoisingBlock(6, "bilateral").denoise.embedded.phi.weight.shape == (3, 6, 1, 1)
    assert isinstance(DenoisingBlock(6, "nonlocal-dot").denoise.embedded.theta, torch.nn.Identity)
    assert DenoisingBlock(1, "nonlocal-softmax").denoise.embedded.theta.weight.shape == (1, 1, 1, 1)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_new_block_changes_nothing_and_a_trained_one_adds_its_convolved_denoising(operation):
    x = features()
    assert torch.equal(DenoisingBlock(4, operation).double()(x), x)
    block = alive(4, operation)
    expected = x + block.norm(F.conv2d(block.denoise(x), block.convolution.weight))
    assert torch.allclose(block(x), expected)
    assert not torch.allclose(block(x), x, atol=0.1)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_gradients_are_right(operation):
    x = features(n=1, channels=2, height=3, width=4).requires_grad_()
    assert torch.autograd.gradcheck(alive(2, operation), (x,))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_layout_precision_batch_and_input_do_not_matter(operation):
    x = features(n=3)
    block = alive(4, operation)
    before, whole = x.clone(), block(x)
    assert torch.equal(x, before)
    assert torch.allclose(block(x.contiguous(memory_format=torch.channels_last)), whole)
    assert torch.allclose(torch.cat([block(one[None]) for one in x]), whole)
    assert torch.allclose(block.float()(x.float()).double(), whole, atol=1e-4)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_parameter_learns_once_the_scale_is_not_zero(operation):
    block = alive(4, operation).train()
    block(features()).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in block.parameters())


def test_what_is_no_operation_is_refused():
    with pytest.raises(InputError, match="denoising operation, got 'nonlocal'"):
        DenoisingBlock(4, "nonlocal")
    with pytest.raises(InputError, match="no embeddings for median"):
        DenoisingBlock(4, "median", embed=True)
