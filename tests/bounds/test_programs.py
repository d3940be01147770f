"""How a network is recorded: what is refused, and that what is not refused is the network."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import bounds, defences, models
from steelman.errors import InputError
from steelman.norms import L0, Linf
from steelman.threat import Threat

X = torch.linspace(0, 1, 2 * 64).view(2, 1, 8, 8)


class Of(nn.Module):
    """A function of images, and a linear layer behind it."""

    def __init__(self, f, size=64):
        super().__init__()
        self.f = f
        self.head = nn.Linear(size, 3)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        return self.head(self.f(x).flatten(1))


def partly(x):
    x = x * 2
    x[:, :, 0].relu_()
    return x


def through_a_view(x):
    x = x * 2
    view = x.view(len(x), -1)
    x += 1
    x.mul_(2)
    view.add_(1)
    return x


def filled(x):
    out = torch.zeros_like(x)
    out[:, :, 1:] = x[:, :, 1:]
    return out


REFUSED = {
    "softmax": (lambda x: torch.softmax(x, 1), "_softmax"),
    "exponential": (torch.exp, "exp"),
    "rounding": (lambda x: torch.div(x, 0.1, rounding_mode="floor"), "rounds"),
    "quantised": (lambda x: (x * 255).to(torch.uint8).float(), "uint8"),
    "half precision": (lambda x: x.half().float(), "float16"),
    "a quotient": (lambda x: 1 / (1 + x), "reciprocal"),
    "both factors of a matrix product": (lambda x: x @ x, "bmm"),
    "a comparison": (lambda x: (x > 0.5).float(), "gt"),
    "noise": (lambda x: x + 0.1 * torch.randn_like(x), "random"),
    "dropout that is on": (lambda x: F.dropout(x, 0.5, training=True), "random"),
    "a mean of the batch": (lambda x: x - x.mean(0, keepdim=True), "batch"),
    "a batch turned round": (lambda x: x.flip(0), "batch"),
    "statistics of the batch": (lambda x: F.batch_norm(x, None, None, training=True), "statistics"),
    "a steep leak": (lambda x: F.leaky_relu(x - 0.5, 2.0), "slope"),
    "clamp to the image": (lambda x: torch.clamp(x, x * 0.5, x * 2), "clamp"),
    "a part written in place": (partly, "writes into part"),
    "a view written in place": (through_a_view, "writes into part"),
    "a blank filled in": (filled, "writes into part"),
    "a mean that decides": (lambda x: x if float(x.mean() * -1) > -0.5 else 1 - x, "decide"),
    "a way past torch": (lambda x: x + torch.from_numpy(x.numpy()), "branches"),
    "a number that is used": (lambda x: x / float(x.max()), "branches"),
    "a largest that decides": (lambda x: x if float(x.max()) > 0.97 else 1 - x, "branches"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_bound_is_refused(name):
    f, word = REFUSED[name]
    model = Of(f).eval()
    x = X * 0.9
    with pytest.raises(InputError, match="expected") as raised:
        bounds.crown(model, x, Linf(0.1))
    assert word in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_error_names_the_operation_its_module_what_there_is_and_the_way_out():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Softmax(1)), nn.Flatten(), nn.Linear(72, 3))
    said = bounds.supported(model.eval(), X)
    for word in ("_softmax", "1.1 (Softmax)", "convolution", "sigmoid", "smoothing"):
        assert word in said


def test_a_model_in_training_mode_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 3), nn.Dropout())).eval()
    model[1].train()
    assert "1 in training mode" in bounds.supported(model, X)


def test_a_network_that_writes_into_itself_is_refused():
    class Counts(Of):
        def forward(self, x):
            self.seen += 1
            return super().forward(x + self.seen)

    assert "of its own" in bounds.supported(Counts(nn.Identity()).eval(), X)


def test_a_classifier_that_abstains_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    model[1].abstains = True
    assert "abstain" in bounds.supported(model, X)


def test_logits_that_do_not_depend_on_the_image_are_refused():
    assert "constants" in bounds.supported(lambda x: torch.ones(len(x), 3), X)


@pytest.mark.parametrize("build", [lambda: nn.Conv2d(1, 2, 3), lambda: lambda x: "logits"])
def test_what_is_not_logits_is_refused(build):
    assert "expected logits" in bounds.supported(build(), X) or "evaluation" in bounds.supported(build(), X)


LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
Y = torch.tensor([0, 1])
BAD = {
    "images": (lambda: bounds.interval(LINEAR, X * 255, 0.1), "divide|normalisation"),
    "NaN": (lambda: bounds.interval(LINEAR, X * torch.nan, 0.1), "expected images"),
    "integers": (lambda: bounds.interval(LINEAR, X.long(), 0.1), "float32"),
    "no images": (lambda: bounds.interval(LINEAR, X[:0], 0.1), "images"),
    "a negative eps": (lambda: bounds.interval(LINEAR, X, -0.1), "eps >= 0"),
    "an endless eps": (lambda: bounds.interval(LINEAR, X, Linf()), "finite eps"),
    "eps for others": (lambda: bounds.interval(LINEAR, X, torch.ones(3)), "one value for each"),
    "another norm": (lambda: bounds.interval(LINEAR, X, L0(3)), "L0"),
    "an endless box": (lambda: bounds.interval(LINEAR, X, Threat(Linf(0.1), low=-torch.inf)), "finite sides"),
    "no threat": (lambda: bounds.interval(LINEAR, X, "Linf"), "threat"),
    "a method": (lambda: bounds.margins(LINEAR, X, Y, 0.1, "crwn"), "crown"),
    "methods": (lambda: bounds.certify(LINEAR, X, Y, 0.1, methods=("ibp", "lp")), "method"),
    "no methods": (lambda: bounds.certify(LINEAR, X, Y, 0.1, methods=()), "method"),
    "an intermediate": (lambda: bounds.crown(LINEAR, X, 0.1, "lp"), "intermediate"),
    "labels too large": (lambda: bounds.margins(LINEAR, X, Y + 2, 0.1), "labels in"),
    "labels below 0": (lambda: bounds.certify(LINEAR, X, Y - 1, 0.1), "labels in"),
    "labels of others": (lambda: bounds.certify(LINEAR, X, torch.zeros(3).long(), 0.1), "labels as 2"),
    "labels that are no integers": (lambda: bounds.margins(LINEAR, X, Y.float(), 0.1), "integers"),
    "one class": (lambda: bounds.margins(LINEAR[:1].append(nn.Linear(64, 1)).eval(), X, Y * 0, 0.1), "two classes"),
    "no batch": (lambda: bounds.certify(LINEAR, X, Y, 0.1, batch=0), "batch"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(name):
    ask, word = BAD[name]
    with pytest.raises(InputError, match=word):
        ask()


@pytest.mark.parametrize("name", [*models.shipped(), "resnet", "resnet that means"])
def test_every_classifier_of_ours_is_supported(name):
    built = {"resnet": "none", "resnet that means": "mean"}
    model = models.ResNet18(width=8, denoise=built[name]).eval() if name in built else models.load(name)
    assert bounds.supported(model, torch.rand(2, 1, 28, 28)) is None


@pytest.mark.parametrize("build", [models.VGG16, models.PaperVGG])
def test_the_large_classifiers_are_supported_at_another_size(build):
    assert bounds.supported(models.Resized(build().eval(), 32).eval(), torch.rand(1, 1, 28, 28)) is None


@pytest.mark.parametrize("build", [defences.UNetPurifier, defences.Reformer, defences.BayesianAutoencoder])
@pytest.mark.parametrize("side", [28, 30])
def test_our_deterministic_purifiers_are_supported(build, side):
    pipeline = defences.guard(build(), models.CNN())
    assert bounds.supported(pipeline, torch.rand(2, 1, side, side)) is None


@pytest.mark.parametrize("build", [defences.JPEG, defences.BitDepth, defences.PuVAE, defences.RandomResizePad])
def test_what_cannot_be_bounded_in_front_is_refused(build):
    assert "expected" in bounds.supported(defences.guard(build(), models.CNN()), torch.rand(2, 1, 28, 28))


def test_the_papers_auto_encoder_is_supported_without_its_noise():
    x = torch.rand(2, 1, 28, 28)
    for noise in (0.0, 1.0):
        purifier = models.Resized(defences.ConvAutoencoder(noise=noise), 32)
        said = bounds.supported(defences.guard(purifier, models.CNN()), x)
        assert (said is None) == (noise == 0.0)


def test_recording_leaves_everything_as_it_was():
    model = defences.guard(models.Resized(defences.ConvAutoencoder(noise=0.0), 32), models.CNN())
    x = torch.rand(2, 1, 28, 28)
    before, state = x.clone(), {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    bounds.margins(model, x, torch.tensor([0, 1]), 0.01)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(x, before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
