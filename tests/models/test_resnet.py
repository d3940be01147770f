"""ResNet-18, plain and with denoising."""

import pytest
import torch
from torch import nn

from steelman import models, weights
from steelman.errors import InputError
from steelman.models import DenoisingBlock, ResNet18
from steelman.models.denoising import OPERATIONS


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def shapes(model, x):
    """What each child of the model answers."""
    found = {}
    for name, child in model.named_children():
        child.register_forward_hook(lambda m, i, out, name=name: found.update({name: tuple(out.shape[1:])}))
    model.eval()(x)
    return found


def test_it_has_the_papers_layers_and_size():
    """Table 1 of He et al. 2016; torchvision's resnet18 for 1,000 classes has 11,689,512 parameters."""
    model = ResNet18(channels=3, classes=1000, stem="large")
    assert parameters(model) == 11_689_512
    found = shapes(model, torch.rand(1, 3, 224, 224))
    assert found["stem"] == (64, 56, 56)
    assert [found[f"stage{k}"] for k in (1, 2, 3, 4)] == [(64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert sum(isinstance(layer, nn.Conv2d) for layer in model.modules()) == 17 + 3


@pytest.mark.parametrize(
    ("stem", "sides"), [("small", (28, 14, 7, 4)), ("half", (14, 7, 4, 2)), ("large", (7, 4, 2, 1))]
)
def test_the_stem_decides_the_resolution(stem, sides):
    found = shapes(ResNet18(width=4, stem=stem, denoise="mean"), torch.rand(2, 1, 28, 28))
    assert tuple(found[f"stage{k}"][-1] for k in (1, 2, 3, 4)) == sides
    assert all(found[f"denoise{k}"] == found[f"stage{k}"] for k in (1, 2, 3, 4))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 33)])
def test_four_blocks_one_after_each_stage(operation, channels, side):
    model = ResNet18(channels=channels, classes=7, width=4, denoise=operation).eval()
    order = [name for name, _ in model.named_children()]
    assert order == ["stem", *(f"{part}{k}" for k in (1, 2, 3, 4) for part in ("stage", "denoise")), "head"]
    assert [m.operation for m in model.modules() if isinstance(m, DenoisingBlock)] == [operation] * 4
    x = torch.rand(3, channels, side, side, requires_grad=True)
    logits = model(x)
    assert logits.shape == (3, 7)
    assert torch.allclose(logits[:1], model(x[:1]), atol=1e-5)
    logits.sum().backward()
    assert x.grad.abs().sum() > 0


def test_untrained_blocks_leave_the_plain_network():
    torch.manual_seed(0)
    denoised = ResNet18(width=4, denoise="nonlocal-dot").eval()
    plain = ResNet18(width=4).eval()
    own = plain.state_dict().keys()
    plain.load_state_dict({name: value for name, value in denoised.state_dict().items() if name in own})
    x = torch.rand(2, 1, 28, 28)
    assert torch.allclose(denoised(x), plain(x), atol=1e-6)


def test_float64_works():
    assert (
        ResNet18(width=4, denoise="bilateral").double().eval()(torch.rand(1, 1, 8, 8).double()).dtype == torch.float64
    )


def test_weights_say_how_it_is_built(tmp_path):
    path = tmp_path / "net.safetensors"
    model = models.build("resnet18", channels=1, classes=5, width=4, denoise="median", stem="half")
    weights.write(model, path, {"model": "resnet18", "arguments": model.settings})
    x = torch.rand(2, 1, 28, 28)
    again = weights.rebuild(models.catalogue, "resnet18", path)
    named = models.build("resnet18", channels=1, classes=5, weights_file=path)
    told = models.build("resnet18", channels=1, classes=5, weights_file=path, width=4)
    for loaded in (again, named, told):
        assert loaded.settings == model.settings
        assert not loaded.training
        assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("other", [{"classes": 6}, {"classes": 5, "width": 8}, {"classes": 5, "denoise": "none"}])
def test_weights_built_in_another_way_are_refused(tmp_path, other):
    path = tmp_path / "net.safetensors"
    model = ResNet18(classes=5, width=4, denoise="median")
    weights.write(model, path, {"model": "resnet18", "arguments": model.settings})
    with pytest.raises(InputError, match="another network"):
        models.build("resnet18", **{"channels": 1, "width": 4, **other}, weights_file=path)


def test_settings_that_build_nothing_are_refused():
    with pytest.raises(InputError, match="denoising operation"):
        models.build("resnet18", channels=1, classes=10, denoise="blur")
    with pytest.raises(InputError, match="stem"):
        models.build("resnet18", channels=1, classes=10, stem="auto")
    with pytest.raises(InputError, match="setting of resnet18, got 'widht': did you mean width"):
        models.build("resnet18", channels=1, classes=10, widht=8)
    for width in ("wide", -1, 0, 1.5):
        with pytest.raises(InputError, match="width as a number of channels"):
            models.build("resnet18", channels=1, classes=10, width=width)
    with pytest.raises(InputError, match="settings that build cnn, but TypeError"):
        models.build("cnn", channels=1, classes=10, width="wide")
    with pytest.raises(InputError, match="no settings for mnist/cnn"):
        models.build("mnist/cnn", channels=1, classes=10, width=8)
