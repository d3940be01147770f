"""What every attack says of itself: what it asks and finds, its parts, its cost, and the key that it is known by."""

import inspect
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from steelman.attacks import (
    Asks,
    AttackLike,
    Break,
    Confident,
    Finds,
    Last,
    Nearest,
    Result,
    Single,
    Worst,
    apgd,
    at_input,
    autoattack,
    averaged,
    blurred,
    borrowed,
    catalogue,
    corruptions,
    cw,
    fab_t,
    fmn,
    nes,
    patch,
    pgd,
    sgd_uap,
    spatial,
    square,
    standard,
    transfer,
)
from steelman.attacks.attack_like import on_each
from steelman.errors import InputError
from steelman.losses import cross_entropy, margin
from steelman.norms import L0, L1, L2, Linf
from steelman.threat import Threat

from .conformance import Network, images

ASKS = {
    Asks.SCORES: ("square", "nes", "spsa", "one-pixel"),
    Asks.DECISIONS: ("boundary", "geoda", "hopskipjump", "spatial"),
    Asks.NOTHING: ("transfer", "corruptions"),
}
NEAREST = ("boundary", "geoda", "hopskipjump", "ddn", "fmn", "sigma-zero", "jsma", "fab", "fab-t", "deepfool")
NEAREST += ("lbfgs", "cw", "ead")
FINDS = {
    Finds.NEAREST: NEAREST,
    Finds.OUTSIDE: ("patch", "lavan", "spatial", "corruptions"),
}
RADII = {"Linf": Linf(0.1), "L2": L2(0.5), "L1": L1(2.0), "L0": L0(3)}


def usual(name, norm=None):
    entry = catalogue[name]
    if entry.surrogate:
        return transfer(pgd(Linf(0.1)), Network())
    return entry() if entry.finds is Finds.OUTSIDE else entry(RADII[norm or entry.norms[0]])


every = pytest.mark.parametrize("name", catalogue)


@every
def test_it_says_what_it_asks_and_what_it_finds(name):
    attack = usual(name)
    assert isinstance(attack, AttackLike)
    assert attack.asks is next((asks for asks, names in ASKS.items() if name in names), Asks.GRADIENTS)
    assert attack.finds is next((finds for finds, names in FINDS.items() if name in names), Finds.WITHIN)
    assert (catalogue[name].asks, catalogue[name].finds) == (attack.asks, attack.finds)


@every
def test_its_parts_cost_and_the_rest_fit_what_it_is(name):
    attack = usual(name)
    cascade = name in ("autoattack", "standard", "corruptions")
    assert attack.parts() == (tuple(one.name for one in attack.attacks) if cascade else (attack.name,))
    assert on_each(attack) is not (cascade or attack.learns_from_all)
    assert attack.learns_from_all is (name in ("universal", "sgd-uap", "patch"))
    assert attack.cost(4) >= 0
    if attack.asks is not Asks.GRADIENTS:
        assert attack.cost(4) == 0
        assert attack.without_gradients() == (attack.attacks if cascade else (attack,))
    else:
        assert all(part.asks is not Asks.GRADIENTS for part in attack.without_gradients())
    several = cascade and attack.asks is Asks.GRADIENTS
    assert len(attack.for_random()) == (2 if several else 1)
    assert attack.oblivious().name == ("pgd" if several else attack.name)


@every
def test_built_twice_it_has_one_key_and_at_another_radius_another(name):
    attack = usual(name)
    assert attack.key() == usual(name).key()
    assert " at 0x" not in attack.key()
    assert attack.at(0.05).key() != attack.key()
    assert attack.at(0.05).at(attack.threat.eps).key() == attack.key()
    assert attack.with_goal(Last()).key() != attack.key()
    assert attack.threat.at(0.05).eps == attack.at(0.05).threat.eps


def test_no_two_attacks_of_the_catalogue_share_a_key():
    keys = [usual(name).key() for name in catalogue]
    keys += [usual(name, "L2").key() for name, entry in catalogue.items() if "L2" in entry.norms[1:] and name != "bim"]
    assert len(set(keys)) == len(keys) - 1  # transfer is made on one threat here


OTHER = {int: lambda value: value + 2, float: lambda value: value + 0.01, bool: lambda value: not value}


@pytest.mark.parametrize("name", [name for name, entry in catalogue.items() if not entry.surrogate])
def test_any_other_setting_is_another_key(name):
    entry, before = catalogue[name], usual(name).key()
    threat = () if entry.finds is Finds.OUTSIDE else (RADII[entry.norms[0]],)
    for key, parameter in inspect.signature(entry.recipe).parameters.items():
        if type(parameter.default) in OTHER:
            try:
                other = entry(*threat, **{key: OTHER[type(parameter.default)](parameter.default)})
            except InputError:  # a switch that another norm has
                continue
            assert other.key() != before, key


def test_what_decides_the_result_beside_settings_is_in_the_key():
    base = pgd(Linf(0.1))
    others = [
        base.through(averaged(10)),
        base.through(averaged(20)),
        base.through(blurred(0.1)),
        base.through(borrowed(nn.Linear(2, 2))),
        base.through(borrowed(nn.Linear(2, 2))),
        pgd(Threat(Linf(0.1), levels=256)),
        pgd(Threat(Linf(0.1), low=-1.0)),
        pgd(L2(0.1)),
        base.at(torch.tensor([0.1, 0.2])),
        base.at(torch.tensor([0.1, 0.3])),
        pgd(Linf(0.1), loss=margin),
        pgd(Linf(0.1), loss=lambda logits, y: margin(logits, y)),
        pgd(Linf(0.1), loss=lambda logits, y: 2 * margin(logits, y)),
        pgd(Linf(0.1), start=at_input),
        *(base.with_goal(goal) for goal in (Worst(), Last(), Nearest(), Confident(1.0), Confident(2.0))),
        pgd(Linf(0.1), targeted=True),
        replace(base, restarts=2),
    ]
    keys = [attack.key() for attack in (base, *others)]
    assert len(set(keys)) == len(keys)


def test_of_a_loss_made_in_a_function_what_it_holds_is_in_the_key():
    def scaled(by):
        return lambda logits, y: by * cross_entropy(logits, y)

    one, same, other = (pgd(Linf(0.1), loss=scaled(by)).key() for by in (1.0, 1.0, 2.0))
    assert one == same != other


def test_one_weight_of_the_surrogate_is_another_key_and_so_is_a_part_of_a_cascade():
    surrogate = Network()
    attack = transfer(pgd(Linf(0.1)), surrogate, called="mine")
    before, record = attack.key(), repr(attack)
    assert before == attack.key()
    with torch.no_grad():
        surrogate.layers[1].weight[0, 0] += 1e-6
    assert attack.key() != before
    assert repr(attack) == record
    whole = standard(Linf(0.1))
    parts = (*whole.attacks[:-1], replace(whole.attacks[-1], restarts=2))
    assert replace(whole, attacks=parts).key() != whole.key()
    assert replace(whole, near=(1.0,) * len(parts)).key() != whole.key()
    change = torch.zeros(1, 4, 3)
    learnt = sgd_uap(Linf(0.1))
    assert learnt.showing(change).key() != learnt.showing(change + 1e-6).key()


def test_a_key_is_the_same_in_another_process():
    line = "from steelman import Linf; from steelman.attacks import standard; print(standard(Linf(0.1)).key(), end='')"
    there = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True).stdout
    assert there == standard(Linf(0.1)).key()


def test_an_estimator_says_what_is_asked_and_what_has_its_own_keeps_it():
    estimate = nes(Linf(0.1)).gradient
    assert pgd(Linf(0.1)).through(estimate).asks is Asks.SCORES
    assert pgd(Linf(0.1)).through(borrowed(nn.Identity())).asks is Asks.SCORES
    assert pgd(Linf(0.1)).through(blurred(0.1)).asks is Asks.GRADIENTS
    assert nes(Linf(0.1)).through(averaged(10)).gradient == estimate
    assert square(Linf(0.1)).through(averaged(10)).gradient == averaged(10)
    mixed = standard(Linf(0.1)).through(averaged(10)).through(averaged(20))
    assert all(part.gradient == averaged(10) for part in mixed.attacks)


def test_what_is_found_follows_the_goal_and_the_radius():
    assert pgd(Linf(0.1)).with_goal(Nearest()).finds is Finds.NEAREST
    assert fmn(Linf(0.1)).with_goal(Break()).finds is Finds.WITHIN
    assert cw(L2(), confidence=5.0).finds is Finds.NEAREST
    assert spatial(Linf(0.1)).finds is Finds.WITHIN
    assert corruptions().finds is Finds.OUTSIDE
    assert patch().finds is Finds.OUTSIDE
    assert standard(Linf(0.1)).with_goal(Nearest()).finds is Finds.NEAREST


def test_costs_add_up_what_rules_take():
    assert pgd(Linf(0.1), steps=7, restarts=3).cost(10) == 21
    assert catalogue["apgd-t"](Linf(0.1)).cost(4) == 300
    assert autoattack(Linf(0.1)).cost(10) == 100 + 900
    assert fab_t(Linf(0.1)).cost(10) == 0


def test_a_random_model_gets_the_first_parts_and_then_every_step():
    core, last = standard(Linf(0.1)).for_random()
    assert core.parts() == standard(Linf(0.1)).parts()[:3]
    assert (last.name, last.goal) == ("apgd", Worst())
    assert pgd(Linf(0.1)).leaves
    assert not any(attack.leaves for attack in (core, last, sgd_uap(Linf(0.1))))


@dataclass(frozen=True)
class Grey(Single):
    """Pulls every image to one grey, as far as the ball goes: it looks at no answer."""

    threat: Threat
    level: float = 0.5

    name = "grey"
    targeted = False
    asks = Asks.NOTHING
    finds = Finds.WITHIN

    def __call__(self, model, x, y, **settings):
        there = self.threat.project(torch.full_like(x, self.level), around=x)
        broken = model(there).argmax(1) != y
        count = torch.ones_like(y)
        distance = self.threat.distance(there, around=x)
        by = torch.where(broken, 0, -1)
        return Result(there, broken, ~count.bool(), broken * 2.0 - 1, distance, count, count - 1, by)


def test_an_attack_of_ones_own_answers_the_rest_by_building_on_single():
    attack = Grey(Threat(Linf(0.1)))
    assert isinstance(attack, AttackLike)
    assert attack.key() == Grey(Threat(Linf(0.1))).key() != Grey(Threat(Linf(0.1)), level=0.4).key()
    assert attack.at(0.3).key() == Grey(Threat(Linf(0.3))).key()
    assert attack.parts() == ("grey",)
    assert attack.without_gradients() == attack.for_random() == (attack,)
    assert attack.with_goal(Worst()) is attack.through(averaged(3)) is attack
    crafted = transfer(attack, Network(), called="net")
    model = Network()
    x, y, _ = images(model)
    assert crafted.name == "transfer-grey"
    assert torch.equal(crafted.with_goal(Last())(model, x, y).x, attack(model, x, y).x)


def test_what_lacks_a_member_is_no_attack():
    assert not isinstance(pgd, AttackLike)
    assert not isinstance(nn.Identity(), AttackLike)
    assert isinstance(apgd(Linf(0.1)), AttackLike)
