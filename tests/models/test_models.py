"""Classifiers: shapes, sizes, weights from files, and names that lead to them."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from steelman import models, weights
from steelman.errors import InputError
from steelman.models import CNN, VGG16, LeNet, PaperVGG, Resized, folded, resize, transfer


def images(n=2, channels=1, side=32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.fixture(scope="module")
def shallow():
    """A VGG16 with a small head, so that tests of its features do not pay for sixteen million weights a time."""
    model = VGG16()
    model.classifier = nn.Linear(512, 10)
    return model


@pytest.mark.parametrize("name", models.catalogue)
@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 7)])
def test_images_go_in_and_logits_come_out(name, channels, classes):
    model = models.build(name, channels=channels, classes=classes)
    assert not model.training
    x = images(channels=channels)
    with torch.no_grad():
        logits = model(x)
        assert torch.allclose(model(x), logits)
    assert logits.shape == (2, classes)
    assert torch.isfinite(logits).all()
    assert (logits < 0).any()
    assert model.settings["channels"] == channels
    assert model.settings["classes"] == classes
    rebuilt = type(model)(**model.settings)
    assert [p.shape for p in rebuilt.parameters()] == [p.shape for p in model.parameters()]


@pytest.mark.parametrize("side", [8, 28, 32, 33])
def test_the_compact_classifier_is_small_and_takes_any_side(side):
    model = CNN().eval()
    assert parameters(model) <= 1_000_000
    with torch.no_grad():
        assert model(images(side=side)).shape == (2, 10)


def test_the_small_lenet_is_the_network_of_the_paper_with_other_widths(tmp_path):
    model = LeNet(channels=3, classes=7)
    body = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 7)),
    )
    body.load_state_dict(dict(zip(body.state_dict(), model.state_dict().values(), strict=True)))
    x, same = images(4, 3, 28).requires_grad_(), images(4, 3, 28).requires_grad_()
    assert torch.allclose(model(x), body(same), atol=1e-5)
    model(x).square().sum().backward()
    body(same).square().sum().backward()
    assert torch.allclose(x.grad, same.grad, atol=1e-5)
    weights.write(LeNet(), tmp_path / "lenet.safetensors", {})
    assert (tmp_path / "lenet.safetensors").stat().st_size < 900_000


@pytest.mark.parametrize("side", [4, 28, 33])
def test_the_small_lenet_takes_any_side_and_answers_the_same_in_training(side):
    model, x = LeNet(), images(side=side)
    with torch.no_grad():
        assert model(x).shape == (2, 10)
        assert torch.equal(model.train()(x), model.eval()(x))


def test_vgg16_is_configuration_d():
    model = VGG16()
    widths = [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model.features) == 5
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in model.features) == 13
    # with three colours as many as torchvision's 14,723,136 of vgg16_bn's features
    assert parameters(VGG16(channels=3).features) == 14_723_136


def test_the_papers_vgg_is_that_of_its_code():
    model = PaperVGG()
    widths = [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [layer.out_features for layer in model.classifier if isinstance(layer, nn.Linear)] == [4096, 4096, 10]
    assert model.classifier[2].p == 0.65


@pytest.mark.parametrize("name", ["paper_vgg", "vgg16"])
def test_another_side_is_an_error_with_a_way_out(name):
    model = models.build(name, channels=1, classes=10)
    with pytest.raises(InputError, match=r"expected images of 32×32, got \(2, 1, 28, 28\): .*fitted"):
        model(images(side=28))
    with torch.no_grad():
        assert Resized(model, 32)(images(side=28)).shape == (2, 10)


def test_resizing_there_and_back():
    x = images(side=28)
    assert resize(x, 28) is x
    assert torch.allclose(resize(torch.full((1, 1, 28, 28), 0.3), 32), torch.tensor(0.3))
    seen = []

    def inner(x):
        seen.append(x.shape)
        return x

    class Stage(nn.Module):
        def forward(self, x):
            return inner(x)

    out = Resized(Stage(), 32)(x)
    assert seen == [(2, 1, 32, 32)]
    assert out.shape == x.shape
    x.requires_grad_()
    Resized(Stage(), 32)(x).sum().backward()
    assert (x.grad > 0).all()


def settled(model, x):
    """The model with batch statistics and scales of its own, as after training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model.train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
        with torch.no_grad():
            model(x)
    return model


@pytest.mark.parametrize("kind", ["cnn", "vgg16", "batch norm elsewhere"])
def test_folding_changes_no_answer_and_not_the_original(kind, shallow):
    elsewhere = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten())
    x = images(4)
    model = settled({"cnn": CNN(), "vgg16": copy.deepcopy(shallow), "batch norm elsewhere": elsewhere}[kind], x)
    before = weights.digest(model)
    small = folded(model)
    assert model.training
    assert weights.digest(model) == before
    assert not small.training
    model.eval()
    with torch.no_grad():
        assert torch.allclose(small(x), model(x), atol=1e-4)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in small.modules())
    assert left == {"cnn": 0, "vgg16": 0, "batch norm elsewhere": 2}[kind]


def torchvision_state(*, batch_norm, width=1):
    """A state dict with the names and shapes of torchvision's vgg16 or vgg16_bn, and numbers of our own."""
    generator, state, place, inside = torch.Generator().manual_seed(0), {}, 0, 3
    for item in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if item == 0:
            place += 1
            continue
        outside = item // width
        state[f"features.{place}.weight"] = torch.randn(outside, inside, 3, 3, generator=generator) * 0.05
        state[f"features.{place}.bias"] = torch.randn(outside, generator=generator)
        if batch_norm:
            for part in ("weight", "bias", "running_mean", "running_var"):
                state[f"features.{place + 1}.{part}"] = torch.rand(outside, generator=generator) + 0.5
            state[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(7)
        place, inside = place + (3 if batch_norm else 2), outside
    state["classifier.0.weight"] = torch.zeros(8, 8)
    return state


@pytest.fixture(scope="module", params=["vgg16", "vgg16_bn"])
def checkpoint(request, tmp_path_factory):
    """Both kinds, one as safetensors and one as a torch file."""
    state = torchvision_state(batch_norm=request.param == "vgg16_bn")
    folder = tmp_path_factory.mktemp("checkpoint")
    if request.param == "vgg16":
        path = folder / "vgg16.pth"
        torch.save(state, path)
    else:
        path = folder / "vgg16_bn.safetensors"
        save_file(state, path)
    return state, path


@pytest.fixture(scope="module")
def transferred(checkpoint):
    _, path = checkpoint
    return transfer(path, channels=1, classes=4)


def test_transfer_takes_the_features_and_leaves_the_head(checkpoint, transferred):
    state, path = checkpoint
    theirs = [value for name, value in state.items() if name.endswith(".weight") and value.dim() == 4]
    bias = [state[name.replace("weight", "bias")] for name in state if state[name].dim() == 4]
    ours = [layer for layer in transferred.features if isinstance(layer, nn.Conv2d)]
    for layer, weight, offset in list(zip(ours, theirs, bias, strict=True))[1:]:
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, offset)
    assert torch.allclose(ours[0].weight, theirs[0].sum(1, keepdim=True))
    norms = [layer for layer in transferred.features if isinstance(layer, nn.BatchNorm2d)]
    if "features.1.running_var" in state:
        assert torch.equal(norms[0].running_var, state["features.1.running_var"])
        assert torch.equal(norms[12].weight, state["features.41.weight"])
    else:
        assert all((norm.running_mean == 0).all() and (norm.running_var == 1).all() for norm in norms)
    coloured = transfer(path, channels=3, classes=4)
    assert torch.equal(coloured.features[0].weight, theirs[0])
    # a grey image says the same in one channel and in three
    x = images()
    with torch.no_grad():
        one, three = transferred.features[0](x), coloured.features[0](x.expand(-1, 3, -1, -1))
    assert torch.allclose(one, three, atol=1e-5)


def test_frozen_features_stay_frozen(transferred):
    model = copy.deepcopy(transferred).train()
    assert model.training
    assert model.classifier.training
    assert not any(module.training for module in model.features.modules())
    assert not any(parameter.requires_grad for parameter in model.features.parameters())
    assert all(parameter.requires_grad for parameter in model.classifier.parameters())
    statistics = {name: value.clone() for name, value in model.features.state_dict().items()}
    model(images()).sum().backward()
    assert all(torch.equal(value, statistics[name]) for name, value in model.features.state_dict().items())
    assert all(parameter.grad is None for parameter in model.features.parameters())


def test_fine_tuned_features_train(checkpoint):
    model = transfer(checkpoint[1], frozen=False).train()
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: {}, "13 convolutions"),
        (lambda state: {"features.0.weight": state["features.0.weight"]}, "13 convolutions under 'features.', got 1"),
        (lambda state: {name.replace("features.", "body."): value for name, value in state.items()}, "13 convolutions"),
        (lambda state: {name: value for name, value in state.items() if name != "features.2.bias"}, "configuration D"),
        (lambda state: {name.replace("features.0", "features.a"): v for name, v in state.items()}, "configuration D"),
        (lambda state: torchvision_state(batch_norm=False, width=4), "configuration D"),
    ],
)
def test_another_networks_checkpoint_is_an_error(spoil, message, suffix, tmp_path):
    path = tmp_path / f"checkpoint.{suffix}"
    state = {name: value.clone() for name, value in spoil(torchvision_state(batch_norm=False)).items()}
    if suffix == "pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(InputError, match=message):
        transfer(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: torch.save(nn.Linear(2, 2), path), "weights_only"),
        (lambda path: torch.save([1, 2], path), "expected a state dict of tensors in .*, got list"),
        (lambda path: torch.save({"epoch": 3}, path), "state dict of tensors"),
        (lambda path: path.write_bytes(b"not a file of torch"), "weights_only"),
        (lambda path: None, "found none"),
    ],
)
def test_a_file_that_is_no_state_dict_is_an_error(content, message, tmp_path):
    path = tmp_path / "checkpoint.pth"
    content(path)
    with pytest.raises(InputError, match=message):
        transfer(path)


@pytest.fixture
def factories(tmp_path, monkeypatch):
    (tmp_path / "brought_along.py").write_text(
        "import torch\n"
        "number = 3\n"
        "def good():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).train()\n"
        "def other():\n    return 'a model'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_factory_brings_a_model_along(factories):
    factory = models.catalogue.get("brought_along:good", code=True)
    model = models.build(factory, channels=9, classes=9)
    assert not model.training
    assert model(images(side=4)).shape == (2, 3)
    path = factories / "weights.safetensors"
    weights.write(model, path, {})
    again = models.build(factory, channels=1, classes=3, weights_file=path)
    assert weights.digest(again) == weights.digest(model)
    weights.write(CNN(width=4), path, {})
    with pytest.raises(InputError, match="another network"):
        models.build(factory, channels=1, classes=3, weights_file=path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere_at_all:good", "PYTHONPATH"),
        ("brought_along:missing", "name of a thing in brought_along, got 'missing'"),
        ("brought_along:number", "expected a function or a class as .*, got int"),
        ("brought_along:other", "to give an nn.Module, got str"),
        (":good", "expected package.module:name"),
        ("brought_along:", "expected package.module:name"),
    ],
)
def test_a_factory_that_is_none_is_an_error(factories, name, message):
    with pytest.raises(InputError, match=message):
        models.build(models.catalogue.resolve(name, code=True), channels=1, classes=3)
    with pytest.raises(InputError, match="would run code"):
        models.build(name, channels=1, classes=3)


def test_a_model_gets_the_channels_and_classes_that_it_takes(factories):
    made = models.build(lambda classes: nn.Sequential(nn.Flatten(), nn.Linear(16, classes)), channels=1, classes=7)
    assert made(images(side=4)).shape == (2, 7)
    with pytest.raises(InputError, match="setting of <lambda>, got 'width'"):
        models.build(lambda classes: nn.Linear(1, classes), channels=1, classes=7, width=3)


def test_unknown_names_come_back_with_the_nearest():
    with pytest.raises(InputError, match=r"name of a model, got 'vgg': did you mean .*vgg16"):
        models.build("vgg", channels=1, classes=10)
    with pytest.raises(InputError, match="name of a model"):
        models.load("mnist/none")
    with pytest.raises(InputError, match="name of a model"):
        models.build("mnist/none", channels=1, classes=10)


@pytest.mark.parametrize("name", models.shipped() or [None])
def test_what_ships_loads_and_folds(name):
    if name is None:
        pytest.skip("no trained classifier ships yet")
    model, x = models.load(name), images(4, side=28)
    assert not model.training
    assert parameters(model) <= 1_000_000
    with torch.no_grad():
        assert torch.allclose(folded(model)(x), model(x), atol=1e-4)
    assert weights.digest(models.build(name, channels=1, classes=10)) == weights.digest(model)


def test_resized_gives_an_image_back_in_the_size_that_came():
    assert Resized(nn.Identity(), 16)(torch.rand(2, 1, 20, 28)).shape == (2, 1, 20, 28)


def test_loading_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    for name in models.shipped():
        models.load(name)
    assert torch.equal(before, torch.get_rng_state())
