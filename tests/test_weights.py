"""Weights in 16 bits: half the file, the same network up to rounding, and nothing lost in silence."""

import pytest
import torch
from torch import nn

from steelman import weights
from steelman.errors import InputError


def test_half_takes_half_the_space_and_comes_back_in_single_precision(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 64, 9), nn.BatchNorm2d(64))
    weights.write(net, tmp_path / "whole.safetensors", {"a": 1})
    weights.write(net, tmp_path / "half.safetensors", {"a": 1}, half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "whole.safetensors").stat().st_size
    state, settings = weights.read(tmp_path / "half.safetensors")
    assert settings == {"a": 1}
    for name, tensor in net.state_dict().items():
        assert state[name].dtype == tensor.dtype
        assert torch.allclose(state[name], tensor, rtol=2**-11, atol=1e-7)
        assert torch.equal(state[name], tensor.half().to(tensor.dtype))


def test_a_weight_too_large_for_half_is_an_error_and_nothing_is_written(tmp_path):
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight[0, 0] = 1e6
    with pytest.raises(InputError, match=r"up to 65,504, got larger ones in weight"):
        weights.write(net, tmp_path / "net.safetensors", {}, half=True)
    assert not list(tmp_path.iterdir())
