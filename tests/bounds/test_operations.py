"""Every operation with a bound: no image of the set is ever outside of it, sampled, at a corner, or attacked."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from steelman import bounds
from steelman.bounds.rules import RULES
from steelman.norms import L1, L2, Linf
from steelman.threat import Threat


class Run(nn.Module):
    """A function of feature maps (N, 4, 8, 8) between a convolution and a linear layer."""

    def __init__(self, middle, after=None):
        super().__init__()
        self.middle = middle
        self.before = nn.Conv2d(2, 4, 3, padding=1)
        with torch.no_grad():
            size = self.middle(torch.rand(1, 4, 8, 8)).flatten(1).shape[1]
            self.before.weight *= 3
        self.after = after or nn.Sequential(nn.ReLU(), nn.Linear(size, 5))

    def forward(self, x):
        return self.after(self.middle(self.before(x)).flatten(1))


class Residual(nn.Module):
    """A way around a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, z):
        return z + self.layer(z)


def normed():
    norm = nn.BatchNorm2d(4)
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    nn.init.uniform_(norm.weight, -2, 2)
    nn.init.normal_(norm.bias)
    return norm


MASK = torch.linspace(-2, 2, 64).view(8, 8)

OPERATIONS = {
    "conv": lambda: nn.Conv2d(4, 6, 3, stride=2, padding=1),
    "conv dilated in groups": lambda: nn.Conv2d(4, 6, 3, dilation=2, groups=2),
    "conv padded to the same": lambda: nn.Conv2d(4, 4, 4, padding="same"),
    "conv reflecting": lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    "transposed conv": lambda: nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed conv in groups": lambda: nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2, dilation=2, bias=False),
    "conv in one dimension": lambda: nn.Sequential(nn.Flatten(2), nn.Conv1d(4, 3, 5, stride=3)),
    "linear": lambda: nn.Linear(8, 3),
    "linear without bias": lambda: nn.Linear(8, 3, bias=False),
    "matrix": lambda: lambda z: z.permute(0, 2, 3, 1) @ MASK[:4, :3].to(z),
    "batch norm": normed,
    "batch norm without scale": lambda: nn.BatchNorm2d(4, affine=False),
    "relu": nn.ReLU,
    "relu in place": lambda: nn.ReLU(inplace=True),
    "leaky relu": lambda: nn.LeakyReLU(0.2),
    "prelu": lambda: nn.PReLU(4),
    "relu6": lambda: nn.Sequential(Times(8.0), nn.ReLU6()),
    "hardtanh": lambda: nn.Hardtanh(-0.3, 0.2),
    "clamp": lambda: lambda z: z.clamp(-0.2, 0.4),
    "clamp from below": lambda: lambda z: z.clamp(min=-0.1),
    "clamp in place": lambda: lambda z: (z * 1.0).clamp_(max=0.1),
    "gelu": nn.GELU,
    "gelu of wide": lambda: nn.Sequential(Times(40.0), nn.GELU()),
    "gelu by tanh": lambda: nn.GELU("tanh"),
    "gelu by tanh of wide": lambda: nn.Sequential(Times(40.0), nn.GELU("tanh")),
    "sigmoid": nn.Sigmoid,
    "sigmoid of wide": lambda: nn.Sequential(Times(60.0), nn.Sigmoid()),
    "tanh": nn.Tanh,
    "tanh of wide": lambda: nn.Sequential(Times(20.0), nn.Tanh()),
    "max pool": lambda: nn.MaxPool2d(2),
    "max pool overlapping": lambda: nn.MaxPool2d(3, stride=2, padding=1),
    "max pool dilated": lambda: nn.MaxPool2d((2, 3), stride=(1, 2), dilation=2, ceil_mode=True),
    "average pool": lambda: nn.AvgPool2d(3, stride=2, padding=1),
    "average pool of what is there": lambda: nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "adaptive pool": lambda: nn.AdaptiveAvgPool2d(3),
    "adaptive pool to one": lambda: nn.AdaptiveAvgPool2d(1),
    "mean": lambda: lambda z: z.mean((2, 3)),
    "sum": lambda: lambda z: z.sum(1),
    "nearest": lambda: nn.Upsample(scale_factor=2),
    "bilinear": lambda: nn.Upsample(size=11, mode="bilinear"),
    "bilinear by corners": lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
    "reshape": lambda: lambda z: z.reshape(len(z), 16, 4, 4).transpose(1, 3).flatten(1),
    "merged with the batch": lambda: lambda z: F.avg_pool2d(z.view(-1, 1, 8, 8), 2).view(len(z), -1),
    "slices": lambda: lambda z: z[:, 1:3, ::2, -5:].contiguous(),
    "select": lambda: lambda z: z[:, 2],
    "repeated whole": lambda: lambda z: z.repeat(1, 2, 1, 1),
    "clamp_min": lambda: lambda z: torch.clamp_min(z, 0.1),
    "repeated": lambda: lambda z: z.repeat_interleave(2, 2),
    "expanded": lambda: lambda z: z[:, :, None].expand(-1, -1, 3, -1, -1),
    "flip and roll": lambda: lambda z: torch.roll(z.flip(3), 3, 2),
    "pixel shuffle": lambda: nn.Sequential(nn.PixelShuffle(2), nn.PixelUnshuffle(4)),
    "stack": lambda: lambda z: torch.stack([z, 2 * z], 1),
    "concatenation": lambda: lambda z: torch.cat([z, F.relu(z), torch.ones(len(z), 1, 8, 8).to(z)], 1),
    "chunks": lambda: lambda z: F.relu(z.chunk(2, 1)[1]) - z.chunk(2, 1)[0],
    "padding": lambda: lambda z: F.pad(z, (1, 2, 0, 1), value=0.7),
    "replicated": lambda: lambda z: F.pad(z, (1, 2, 0, 1), mode="replicate"),
    "reflected": lambda: lambda z: F.pad(z, (1, 2, 0, 1), mode="reflect"),
    "residual": lambda: Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True))),
    "difference": lambda: lambda z: F.relu(z) - z,
    "difference scaled": lambda: lambda z: torch.sub(F.relu(z), z, alpha=0.3),
    "from a constant": lambda: lambda z: 1 - z,
    "scaled": lambda: lambda z: -(z * MASK.to(z) / 3 - MASK.to(z)) * 2 + 1,
    "in place": lambda: lambda z: (z * 2).sub_(MASK).mul_(0.5).add_(F.relu(z)),
    "broadcast sum": lambda: lambda z: z + z.mean((2, 3), keepdim=True),
    "product": lambda: lambda z: z[:, :2] * z[:, 2:],
    "product broadcast": lambda: lambda z: torch.sigmoid(z.mean((2, 3), keepdim=True)) * z,
    "square": lambda: lambda z: z * z,
    "mixture": lambda: lambda z: torch.lerp(z[:, :2], z[:, 2:], torch.sigmoid(z[:, 1:3])),
    "mixture with a constant": lambda: lambda z: torch.lerp(MASK.to(z).expand_as(z), z, torch.sigmoid(z)),
    "mixture by a constant": lambda: lambda z: torch.lerp(z, F.relu(z), 0.3),
    "dropout in use": lambda: nn.Dropout(0.5),
    "noise times zero": lambda: lambda z: z + 0.0 * torch.randn_like(z),
    "detached": lambda: lambda z: z - z.detach().to(z.dtype, copy=True) / 2,
}


class Times(nn.Module):
    """Scales, so that an activation sees wide intervals."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, z):
        return z * self.by


def network(name, dtype=torch.float64):
    torch.manual_seed(1)
    return Run(OPERATIONS[name]()).to(dtype).eval().requires_grad_(False)


def images(threat, x, model, count=100):
    """Images of a set, (C, N, *S): drawn from it, corners of its box, and what ascends or descends each logit."""
    around = x.expand(count, *x.shape).flatten(0, 1)
    wide = threat.eps if threat.ball.name == "Linf" else 10.0
    drawn = [threat.project(around + wide * (2 * torch.rand_like(around) - 1), around=around)]
    drawn.append(threat.project(around + wide * torch.randn_like(around).sign(), around=around))
    for logit in range(5):
        for sign in (-1, 1):
            found = x.clone()
            for _ in range(6):
                found.requires_grad_()
                (grad,) = torch.autograd.grad(sign * model(found)[:, logit].sum(), found)
                found = threat.project(found.detach() + threat.eps / 2 * threat.ball.steepest(grad), around=x)
            drawn.append(found)
    return torch.cat(drawn).unflatten(0, (-1, len(x)))


def nothing_leaves(model, threat, x, *several):
    """Asserts that no answer to any image of the set is outside of the bounds."""
    shown = images(threat, x, model)
    with torch.no_grad():
        logits = model(shown.flatten(0, 1)).unflatten(0, shown.shape[:2])
    for found in several:
        assert bool((logits >= found.lower).all())
        assert bool((logits <= found.upper).all())


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_nothing_leaves_the_bounds(name):
    model = network(name)
    x = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    for eps in (0.02, 0.2):
        threat = Threat(Linf(eps))
        found = bounds.interval(model, x, threat)
        linear = bounds.crown(model, x, threat, "ibp")
        tight = bounds.crown(model, x, threat)
        nothing_leaves(model, threat, x, found, linear, tight)
        assert float((tight.upper - tight.lower).mean()) <= float((linear.upper - linear.lower).mean()) * (1 + 1e-9)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_in_single_precision_rounding_is_allowed_for(name):
    model = network(name, torch.float32)
    x = torch.rand(2, 2, 8, 8)
    for eps in (0.0, 1e-6, 0.05):
        threat = Threat(Linf(eps))
        nothing_leaves(model, threat, x, bounds.interval(model, x, threat), bounds.crown(model, x, threat))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_at_eps_zero_the_bounds_are_the_logits(name):
    model = network(name)
    x = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    for found in (bounds.interval(model, x, 0.0), bounds.crown(model, x, 0.0, "ibp"), bounds.crown(model, x, 0.0)):
        assert torch.allclose(found.lower, model(x), atol=1e-7)
        assert torch.allclose(found.upper, model(x), atol=1e-7)


@pytest.mark.parametrize("ball", [L2(0.5), L1(2.0), L2(0.1)], ids=["L2", "L1", "small L2"])
@pytest.mark.parametrize("name", ["relu", "max pool", "gelu", "product"])
def test_nothing_leaves_the_bounds_of_other_norms(name, ball):
    model = network(name)
    x = torch.rand(2, 2, 8, 8, dtype=torch.float64)
    threat = Threat(ball)
    found = bounds.crown(model, x, threat)
    box = bounds.interval(model, x, threat)
    assert bool(((found.upper - found.lower) < 0.7 * (box.upper - box.lower)).all())
    nothing_leaves(model, threat, x, found)


def test_every_rule_is_tried_here():
    """A rule that no network above runs into would be one that nothing holds to its word."""
    from steelman.bounds.program import record

    met = set()
    for name in OPERATIONS:
        if name == "conv padded to the same":
            continue
        x = torch.rand(1, 2, 8, 8, dtype=torch.float64)
        met |= {node.name for node in record(network(name), x, x, x).live()}
    # split_with_sizes, mm and others that torch chooses by version or shape are other names of what is met
    assert set(RULES) - met <= {"alias", "split_with_sizes", "squeeze", "unbind", "index_select", "t", "clamp_max"}
