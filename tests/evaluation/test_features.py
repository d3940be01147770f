"""What layers say of clean and of attacked images."""

import pytest
import torch
from torch import nn

from steelman.data import Images
from steelman.errors import InputError
from steelman.evaluation.features import answers, feature_maps, relative_noise


class Network(nn.Module):
    """A convolution whose answer a layer behind it writes over, and a part that never runs."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.ReLU(inplace=True)
        self.idle = nn.Conv2d(1, 1, 1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(3 * 36, 4)

    def forward(self, x):
        return self.head(self.flat(self.second(self.first(x))))


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def images():
    x = torch.rand(70, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return Images(x, torch.arange(70) % 4, ("a", "b", "c", "d"), "noise test")


def drawn(network, images, x_adv, groups=({"first": "first"},), **changes):
    words = {"classifier": "net", "defence": "none", "attack": "pgd", "eps": 0.1, "pictured": 2} | changes
    return feature_maps(network, images, x_adv, groups, **words)


def test_answers_are_what_the_layers_said_before_anything_wrote_over_it(network, images):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    found = answers(network, images.x, ["first", "second"])
    assert torch.allclose(found["first"], network.first(images.x))
    assert bool((found["first"] < 0).any())
    assert torch.allclose(found["second"], found["first"].relu())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("name", "told"),
    [("frist", "did you mean first"), ("idle", "does not call it"), ("head", "feature maps"), ("flat", "feature maps")],
)
def test_layers_without_maps_are_refused(network, images, name, told):
    with pytest.raises(InputError, match=told):
        answers(network, images.x, [name])
    assert not any(module._forward_hooks for module in network.modules())


def test_noise_is_relative_and_each_images_own(network, images):
    x_adv = (images.x + 0.1 * torch.rand_like(images.x)).clamp(0, 1)
    noise = relative_noise(network, images.x, x_adv, ["first"])["first"]
    clean, moved = network.first(images.x), network.first(x_adv)
    by_hand = [float((b - a).norm() / a.norm()) for a, b in zip(clean.detach(), moved.detach(), strict=True)]
    assert noise.tolist() == pytest.approx(by_hand, rel=1e-5)
    assert relative_noise(network, images.x, images.x, ["first"])["first"].abs().max() == 0


def test_the_record_holds_the_mean_its_interval_and_maps_on_one_scale(network, images):
    x_adv = (images.x + 0.3 * torch.rand_like(images.x)).clamp(0, 1)
    record = drawn(network, images, x_adv)
    noise = relative_noise(network, images.x, x_adv, ["first"])["first"].double()
    (layer,) = record.layers
    assert layer.noise == pytest.approx(float(noise.mean()))
    half = 1.96 * float(noise.std()) / 70**0.5
    assert (layer.ci_low, layer.ci_high) == pytest.approx((layer.noise - half, layer.noise + half))
    assert (record.n, record.dataset, record.labels) == (70, "noise", ("a", "b"))
    assert record.images.shape == (2, 2, 6, 6, 1)
    for k in (0, 1):
        clean, moved = (network.first(x[k : k + 1])[0].detach() for x in (images.x, x_adv))
        channel = int(clean.var(dim=(1, 2), correction=0).argmax())
        assert layer.channels[k] == channel
        both = torch.stack([clean[channel], moved[channel]])
        expected = 255 * (both - both.min()) / (both.max() - both.min())
        assert abs(layer.maps[k].astype(float) - expected.numpy()).max() <= 0.51


def test_layers_of_one_group_show_one_channel_on_one_scale(network, images):
    record = drawn(network, images, images.x, ({"first": "before", "second": "after"},))
    before, after = record.layers
    assert before.channels == after.channels
    floor = before.maps.min(axis=(1, 2, 3)), after.maps.min(axis=(1, 2, 3))
    assert (floor[0] == 0).all()
    assert (after.maps >= before.maps).all()  # ReLU only raises, and the scale is the same
    assert before.noise == 0


def test_a_silent_layer_has_no_noise(network, images):
    nn.init.zeros_(network.first.weight)
    nn.init.zeros_(network.first.bias)
    (layer,) = drawn(network, images, images.x).layers
    assert (layer.noise, layer.ci_low, layer.ci_high) == (0, 0, 0)
    assert layer.maps.max() == 0
