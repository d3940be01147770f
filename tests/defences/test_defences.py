"""What holds for every defence of the catalogue, and what the first of them promise of their own."""

import contextlib
import inspect
import json
import pickle

import pytest
import torch
from torch import nn

from steelman import defences, weights
from steelman.attacks import Last, averaged, fgsm
from steelman.defences import ConvAutoencoder, UNetPurifier, guard
from steelman.errors import InputError
from steelman.models import CNN, Resized
from steelman.norms import Linf
from steelman.testing import check_defence

every = pytest.mark.parametrize("name", defences.catalogue.shipped)
colours = pytest.mark.parametrize("channels", [1, 3])

SMALL = {
    "bayesian-autoencoder": {"members": 2, "width": 4, "code": 8},
    "certified-autoencoder": {"side": 32, "width": 4, "hidden": 12},
    "defense-gan": {"side": 32, "width": 4, "steps": 2, "starts": 2},
    "puvae": {"side": 32, "width": 4},
    "robust-autoencoder": {"side": 32, "width": 4, "hidden": 12, "style": 6, "paint": 4},
    "total-variation": {"steps": 10},
    "unet": {"width": 8, "code": 16},
}
"""Settings with which a defence of the catalogue is quick, and takes images of 32×32."""

RANDOM = {"conv-autoencoder", "defense-gan", "puvae", "resize-pad", "total-variation"}
"""What answers differently when it is asked twice, in evaluation mode too."""

STAND_IN = {"bit-depth", "defense-gan", "jpeg"}
"""What is differentiated as another (BPDA); the gradient of every other is its own."""

UNTAUGHT = {"defense-gan"}
"""What does not learn by differentiating what it answers."""

STEPS = {"puvae": 1e-3}
"""How far to go for a difference quotient where part of a defence is always in single precision."""


def made(name, channels=1, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return defences.build(name, channels=channels, **SMALL.get(name, {})).eval()


def asked(purifier, x, seed=0):
    """What it answers to a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return purifier(x)


def images(n=4, channels=1, side=32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@every
@colours
def test_it_is_a_defence(name, channels):
    check_defence(made(name, channels), shape=(channels, 32, 32), exact=True)


@every
def test_what_rounding_carries_beyond_the_range_comes_back_into_it(name):
    out = made(name)(images() * 1.001 - 0.0005)
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize("name", defences.transforms)
def test_no_image_gives_none(name):
    assert made(name)(images()[:0]).shape == (0, 1, 32, 32)


@every
@colours
def test_double_precision_stays(name, channels):
    purifier, x = made(name, channels).double(), images(channels=channels).double()
    out = asked(purifier, x)
    assert out.dtype == torch.float64
    assert out.shape == x.shape


@every
def test_a_random_one_is_declared_and_a_seed_settles_it(name):
    purifier, x = made(name), images()
    assert torch.equal(asked(purifier, x), asked(purifier, x))
    if name in RANDOM:
        assert not torch.equal(asked(purifier, x, 1), asked(purifier, x, 2))
    else:
        assert torch.equal(asked(purifier, x, 1), asked(purifier, x, 2))


@every
@colours
def test_a_gradient_reaches_the_image_and_every_parameter(name, channels):
    purifier, x = made(name, channels).train(), images(channels=channels).requires_grad_()
    purifier(x).square().sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    if name not in UNTAUGHT:
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in purifier.parameters())


@every
def test_its_gradient_is_its_slope_unless_a_stand_in_is_declared(name):
    purifier, x = made(name).double(), (0.1 + 0.8 * images(2)).double()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    moved = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad((asked(purifier, moved) * weight).sum(), moved)
    far = STEPS.get(name, 1e-6)
    ends = [(asked(purifier, x + side * far * grad.sign()) * weight).sum() for side in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * far)
    close = bool((slope / grad.abs().sum() - 1).abs() < 0.05)
    assert close == (name not in STAND_IN)


@every
def test_an_attack_goes_through_it(name):
    model = guard(made(name), CNN(width=4))
    x, y = images(), torch.tensor([0, 1, 2, 3])
    result = fgsm(Linf(0.1)).with_goal(Last()).through(averaged(2))(model, x, y)
    assert (result.distance > 0.05).all()


@every
@colours
def test_its_settings_make_it_again(name, channels):
    purifier = made(name, channels)
    assert json.loads(json.dumps(purifier.settings)) == purifier.settings
    again = defences.build(name, **purifier.settings)
    assert again.settings == purifier.settings
    assert list(again.state_dict()) == list(purifier.state_dict())
    takes = inspect.signature(type(purifier)).parameters
    assert set(purifier.settings) == set(takes)
    assert ("channels" in takes) == (name in defences.purifiers)


@every
@colours
def test_weights_survive_a_file(name, channels, tmp_path):
    purifier, x = made(name, channels, seed=1).train(), images(8, channels)
    purifier(x)  # batch statistics that are not those of a new module
    purifier.eval()
    path = tmp_path / "made" / "purifier.safetensors"
    weights.write(purifier, path, {"defence": name, "arguments": purifier.settings, "seed": 1})
    assert [file.name for file in path.parent.iterdir()] == ["purifier.safetensors"]
    other = made(name, channels, seed=2)
    assert (weights.digest(other) != weights.digest(purifier)) == (name in defences.purifiers)
    settings = weights.fill(other, path)
    assert settings == {"defence": name, "arguments": purifier.settings, "seed": 1}
    for loaded in (other, defences.load(path)):
        assert not loaded.training
        assert weights.digest(loaded) == weights.digest(purifier)
        assert torch.equal(asked(loaded, x), asked(purifier, x))


def spoilt(kind, path, purifier):
    if kind == "pickle":
        torch.save(purifier.state_dict(), path)
        return "got a pickle: pickles can run code"
    if kind == "old pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
        return "got a pickle"
    if kind == "text":
        path.write_text("weights")
        return "damaged or other file"
    if kind == "empty":
        path.write_bytes(b"")
        return "damaged or other file"
    if kind == "missing":
        return "found none"
    if kind == "another network":
        weights.write(CNN(width=4), path, {"model": "cnn"})
        return "those of another network"
    if kind == "another shape":
        weights.write(made(purifier.kind, channels=3), path, {})
        return "another shape"
    weights.write(purifier, path, {})
    content = path.read_bytes()
    path.write_bytes(content[: {"truncated header": 20, "truncated": -5}[kind]])
    return "damaged or other file"


@pytest.mark.parametrize(
    "kind",
    [
        "truncated",
        "truncated header",
        "pickle",
        "old pickle",
        "text",
        "empty",
        "missing",
        "another network",
        "another shape",
    ],
)
def test_a_bad_file_is_one_error_and_leaves_the_module_alone(kind, tmp_path):
    name = "unet"
    purifier = made(name)
    purifier.kind = name
    path = tmp_path / "purifier.safetensors"
    message = spoilt(kind, path, made(name, seed=1) if kind != "another shape" else purifier)
    before = weights.digest(purifier)
    with pytest.raises(InputError, match=message):
        weights.fill(purifier, path)
    assert weights.digest(purifier) == before
    with pytest.raises(InputError):
        defences.load(path)


def test_a_header_whose_length_looks_like_a_pickle_is_none(tmp_path):
    """The length of a safetensors header is the file's first byte, and 0x80 is a pickle's."""
    layer, path, seen = nn.Linear(2, 2), tmp_path / "layer.safetensors", set()
    for padding in range(0, 300, 8):
        weights.write(layer, path, {"padding": "x" * padding})
        seen.add(path.read_bytes()[0])
        assert weights.read(path)[1] == {"padding": "x" * padding}
    assert 0x80 in seen


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    weights.write(nn.Linear(2, 2), path, {})
    content = path.read_bytes()
    with pytest.raises(TypeError):
        weights.write(nn.Linear(3, 3), path, {"not JSON": object()})
    assert path.read_bytes() == content
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected to write"):
        weights.write(nn.Linear(2, 2), tmp_path / "file" / "weights.safetensors", {})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "weights.safetensors"]


@every
def test_wrong_images_are_errors_with_a_way_out(name):
    purifier = made(name)
    if name in defences.purifiers:
        with pytest.raises(InputError, match=r"expected images \(N, 1, H, W\) for \w+, got \(4, 3, 32, 32\)"):
            purifier(images(channels=3))
    with pytest.raises(InputError, match="expected images"):
        purifier(images()[0])
    for wrong in (images() - 0.5, 255 * images(), images() / 0):
        with pytest.raises(InputError, match="put the defence before the normalisation"):
            purifier(wrong)


@every
@pytest.mark.parametrize("sides", [(28, 28), (30, 30), (27, 31), (16, 24)])
def test_other_sizes_are_answered_or_refused(name, sides):
    purifier, x = made(name), images()[..., : sides[0], : sides[1]]
    if name in defences.transforms:
        assert purifier(x).shape == x.shape
    else:
        with contextlib.suppress(InputError):  # of a side that it was not made for
            assert purifier(x).shape == x.shape
    assert Resized(purifier, 32)(images(side=30)).shape == (4, 1, 30, 30)


def test_the_papers_auto_encoder_answers_differently_twice_and_a_seed_settles_it():
    purifier, x = made("conv-autoencoder"), images()
    assert not torch.equal(purifier(x), purifier(x))
    torch.manual_seed(0)
    first = purifier(x)
    torch.manual_seed(0)
    assert torch.equal(purifier(x), first)
    silent = ConvAutoencoder(noise=0.0).eval()
    assert torch.equal(silent(x), silent(x))
    with pytest.raises(InputError, match="32×32"):
        purifier(images(side=28))


def test_the_papers_auto_encoder_has_the_papers_layers():
    purifier = ConvAutoencoder()
    assert purifier.encoder(images()).shape == (4, 10)
    assert purifier.encoder[:8](images()).shape == (4, 288)
    assert sum(p.numel() for p in purifier.parameters()) == 88_667


def test_our_purifier_is_small_noisy_in_training_and_deterministic_in_use():
    purifier, x = UNetPurifier().eval(), images(side=28)
    assert sum(p.numel() for p in purifier.parameters()) < 1_000_000
    assert torch.equal(purifier(x), purifier(x))
    purifier.train()
    assert not torch.equal(purifier(x), purifier(x))
    quiet = UNetPurifier(noise=0.0).train()
    assert torch.equal(quiet(x), quiet(x))
    # the code is the noisy part, so that what it says reaches the output
    assert purifier(images(side=40)).shape == (4, 1, 40, 40)
    assert purifier(images(side=27)).shape == (4, 1, 27, 27)


def test_a_guard_is_the_pipeline_in_evaluation_mode():
    purifier, classifier = UNetPurifier(), CNN(width=4)
    pipeline = guard(purifier, classifier)
    x = images(side=28)
    assert not any(module.training for module in pipeline.modules())
    assert torch.equal(pipeline(x), classifier(purifier(x)))


def test_unknown_names_come_back_with_the_nearest():
    with pytest.raises(InputError, match=r"name of a defence, got 'unett': did you mean unet"):
        defences.build("unett", channels=1)
    with pytest.raises(InputError, match="name of a defence"):
        defences.load("mnist/nothing")


@pytest.mark.parametrize("name", defences.shipped() or [None])
def test_what_ships_loads(name):
    if name is None:
        pytest.skip("no trained defence ships yet")
    purifier = defences.load(name)
    assert not purifier.training
    side = purifier.settings.get("side", 28 if isinstance(purifier, UNetPurifier) else 32)
    out = purifier(images(side=side))
    assert torch.isfinite(out).all()
