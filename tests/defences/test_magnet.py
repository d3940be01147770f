"""MagNet's reformer has the paper's layers, and answers each image on its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from steelman import defences, weights
from steelman.defences import Reformer
from steelman.errors import InputError


def images(n: int = 4, channels: int = 1, side: int = 10) -> Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def as_the_paper(state: dict[str, Tensor], x: Tensor, pool: bool) -> Tensor:
    """MagNet's device for MNIST, layer by layer."""

    def layer(name: str, x: Tensor) -> Tensor:
        return torch.sigmoid(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))

    x = layer("encoder.0", x)
    if pool:
        x = layer("encoder.1", F.avg_pool2d(x, 2))
    x = layer("decoder.0", x)
    if pool:
        x = layer("decoder.1", F.interpolate(x, scale_factor=2, mode="nearest"))
    return layer("leave", x)


@pytest.mark.parametrize(("pool", "numbers"), [(True, 310), (False, 142)])
def test_it_has_the_papers_layers(pool: bool, numbers: int) -> None:
    reformer, x = Reformer(pool=pool), images()
    assert sum(parameter.numel() for parameter in reformer.parameters()) == numbers
    assert torch.allclose(reformer(x), as_the_paper(reformer.state_dict(), x, pool), atol=1e-6)


def test_weights_begin_as_in_keras() -> None:
    reformer = Reformer(width=64)
    bound = (6 / (9 * 64 + 9 * 64)) ** 0.5
    weight = reformer.encoder[1].weight.detach()
    assert float(weight.abs().max()) == pytest.approx(bound, rel=1e-2)
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=2e-2)
    assert not reformer.encoder[1].bias.any()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pool", [True, False])
def test_images_go_in_and_images_come_out_each_on_its_own(channels: int, pool: bool) -> None:
    reformer, x = Reformer(channels, pool=pool).double().eval(), images(channels=channels).double().requires_grad_()
    out = reformer(x)
    assert out.shape == x.shape
    assert out.dtype == torch.float64
    assert torch.equal(out, reformer(x))
    assert torch.allclose(out, torch.cat([reformer(image) for image in x.split(1)]))
    out.square().sum().backward()
    assert x.grad is not None
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in reformer.parameters())


def test_it_survives_a_file(tmp_path: Path) -> None:
    reformer, path = Reformer(width=5, pool=False).eval(), tmp_path / "magnet.safetensors"
    weights.write(reformer, path, {"defence": "magnet", "arguments": reformer.settings})
    loaded = defences.load(path)
    assert isinstance(loaded, Reformer)
    assert torch.equal(loaded(images()), reformer(images()))


def test_bad_input_is_one_clear_error() -> None:
    with pytest.raises(InputError, match="expected images of even sides for Reformer, got 9×9: say pool=False"):
        Reformer()(images(side=9))
    assert Reformer(pool=False)(images(side=9)).shape == (4, 1, 9, 9)
    with pytest.raises(InputError, match=r"expected images \(N, 3, H, W\)"):
        Reformer(3)(images())
    with pytest.raises(InputError, match="before the normalisation"):
        Reformer()(3 * images())
    with pytest.raises(InputError, match="expected width of Reformer as a whole number from 1, got 0"):
        Reformer(width=0)
