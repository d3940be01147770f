"""What holds for every defence of the catalogue, and what each promises of its own."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import defences, weights
from steelman.attacks import Last, averaged, fgsm
from steelman.defences import ConvAutoencoder, StraightThrough, UNetPurifier, guard
from steelman.errors import InputError
from steelman.models import CNN, Resized
from steelman.norms import Linf

every = pytest.mark.parametrize("name", defences.catalogue)
colours = pytest.mark.parametrize("channels", [1, 3])


def made(name, channels=1, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return defences.build(name, channels=channels).eval()


def images(n=4, channels=1, side=32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


@every
@colours
@pytest.mark.parametrize("training", [True, False])
def test_images_go_in_and_images_come_out(name, channels, training):
    purifier, x = made(name, channels).train(training), images(channels=channels)
    before = x.clone()
    out = purifier(x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.isfinite(out).all()
    assert torch.equal(x, before)
    assert purifier.training == training


@every
@colours
def test_a_gradient_reaches_the_image_and_every_parameter(name, channels):
    purifier, x = made(name, channels).train(), images(channels=channels).requires_grad_()
    purifier(x).square().sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in purifier.parameters())


@every
def test_an_attack_goes_through_it(name):
    model = guard(made(name), CNN(width=4))
    x, y = images(), torch.tensor([0, 1, 2, 3])
    result = fgsm(Linf(0.1)).with_goal(Last()).through(averaged(2))(model, x, y)
    assert (result.distance > 0.05).all()


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
    assert weights.digest(other) != weights.digest(purifier)
    settings = weights.fill(other, path)
    assert settings == {"defence": name, "arguments": purifier.settings, "seed": 1}
    for loaded in (other, defences.load(path)):
        assert not loaded.training
        assert weights.digest(loaded) == weights.digest(purifier)
        torch.manual_seed(0)
        expected = purifier(x)
        torch.manual_seed(0)
        assert torch.equal(loaded(x), expected)


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
        weights.write(defences.build(purifier.kind, channels=3), path, {})
        return "another shape"
    weights.write(purifier, path, {})
    content = path.read_bytes()
    path.write_bytes(content[: {"truncated header": 20, "truncated": -5}[kind]])
    return "damaged or other file"


@every
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
def test_a_bad_file_is_one_error_and_leaves_the_module_alone(name, kind, tmp_path):
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
    with pytest.raises(InputError, match=r"expected images \(N, 1, H, W\) for \w+, got \(4, 3, 32, 32\)"):
        purifier(images(channels=3))
    with pytest.raises(InputError, match="expected images"):
        purifier(images()[0])
    if name == "unet":
        assert purifier(images(side=30)).shape == (4, 1, 30, 30)
        assert purifier(images(side=27)).shape == (4, 1, 27, 27)
    else:
        with pytest.raises(InputError, match="Resized"):
            purifier(images(side=30))
    out = Resized(purifier, 32)(images(side=30))
    assert out.shape == (4, 1, 30, 30)


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
    purifier, x = made("unet"), images(side=28)
    assert sum(p.numel() for p in purifier.parameters()) < 1_000_000
    assert torch.equal(purifier(x), purifier(x))
    purifier.train()
    assert not torch.equal(purifier(x), purifier(x))
    quiet = UNetPurifier(noise=0.0).train()
    assert torch.equal(quiet(x), quiet(x))
    # the code is the noisy part, so that what it says reaches the output
    assert purifier(images(side=40)).shape == (4, 1, 40, 40)


def test_our_purifier_answers_each_image_on_its_own():
    purifier, x = made("unet"), images(side=28)
    alone = torch.cat([purifier(image) for image in x.split(1)])
    assert torch.allclose(alone, purifier(x), atol=1e-6)


def test_straight_through_runs_the_stage_and_passes_the_gradient():
    x = images(2, side=4).requires_grad_()
    stage = StraightThrough(torch.round)
    out = stage(x)
    assert torch.equal(out, torch.round(x))
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    (out * weight).sum().backward()
    assert torch.equal(x.grad, weight)
    with torch.no_grad():
        assert torch.equal(stage(x), torch.round(x))


def test_straight_through_is_differentiated_as_its_stand_in():
    x = images(2, side=4).requires_grad_()
    soft = nn.Sequential(nn.AvgPool2d(3, 1, 1))
    out = StraightThrough(torch.round, backward=soft)(x)
    assert torch.equal(out, torch.round(x))
    (grad,) = torch.autograd.grad(out.square().sum(), x)
    (expected,) = torch.autograd.grad((soft(x) * (2 * torch.round(x))).sum(), x)
    assert torch.allclose(grad, expected)


def test_straight_through_of_the_identity_gives_a_value_of_its_own():
    x = images(1, side=4).requires_grad_()
    out = StraightThrough(lambda x: x)(x)
    assert torch.equal(out, x)
    assert out.data_ptr() != x.data_ptr()


def test_straight_through_opens_a_stage_that_hides_its_gradient():
    hidden, model = torch.round, nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    x, y = images(6, side=4), torch.zeros(6, dtype=torch.int64)
    attack = fgsm(Linf(0.3)).with_goal(Last())
    closed = attack(lambda x: model(hidden(x)), x, y)
    assert torch.equal(closed.x, x)
    opened = attack(nn.Sequential(StraightThrough(hidden), model), x, y)
    moved = hidden(x).requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
    assert torch.allclose(opened.x, (x + 0.3 * grad.sign()).clamp(0, 1), atol=1e-6)


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
    out = purifier(images(side=28 if isinstance(purifier, UNetPurifier) else 32))
    assert torch.isfinite(out).all()
