"""Evaluation mode, the same answer each time, logits."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from steelman.evaluation.checks.answers import evaluation_mode, gives_logits, same_in_any_batch, same_twice
from steelman.norms import Linf
from steelman.records import Trust


class Stubborn(nn.Module):
    """Stays in training mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.dropout = nn.Dropout(0.5)
        self.train()

    def train(self, mode: bool = True) -> Stubborn:
        return super().train(True)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class Relative(nn.Module):
    """Images less the mean of their batch, as batch norm without running statistics gives them."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0, keepdim=True)


class Together(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            raise ValueError("more than 1 value per channel, please")
        return x


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * torch.randn_like(x)


def test_a_model_in_evaluation_mode_passes(context, sound):
    found = evaluation_mode(context(sound()))
    assert found.check.outcome == "pass"
    assert "None of 3 modules" in found.check.measured


def test_dropout_that_was_left_on_cannot_be_trusted_and_stays_as_it_was(context, sound):
    model = nn.Sequential(nn.Dropout(0.5), *sound()).train()
    found = evaluation_mode(context(model))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "of 64 answers are other ones" in found.check.measured
    assert all(part.training for part in model.modules())


def test_training_mode_that_changes_nothing_passes(context, sound):
    found = evaluation_mode(context(sound().train()))
    assert found.check.outcome == "pass"
    assert "changes none of 64 answers" in found.check.measured


def test_a_model_that_stays_in_training_mode_is_inflated(context, sound):
    found = evaluation_mode(context(Stubborn(sound())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert "although eval() was called" in found.check.measured


def test_the_same_answer_twice(context, sound):
    assert same_twice(context(sound())).check.outcome == "pass"


def test_random_answers_pass_where_they_are_averaged_alone(context, sound):
    asked = context(nn.Sequential(Noisy(), *sound()))
    averaged = same_twice(asked)
    assert averaged.check.outcome == "pass"
    assert "mean of 10 draws" in averaged.check.measured
    single = same_twice(replace(asked, attacker=replace(asked.attacker, draws=1)))
    assert (single.check.outcome, single.check.on_fail) == ("fail", Trust.CANNOT_TELL)


def test_an_answer_that_depends_on_the_batch_is_inflated(context, sound):
    found = same_in_any_batch(context(nn.Sequential(Relative(), *sound())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)


def test_batches_say_nothing_of_a_sound_model_and_are_not_asked_of_a_random_one(context, sound):
    assert same_in_any_batch(context(sound())).check.outcome == "pass"
    assert same_in_any_batch(context(nn.Sequential(Noisy(), *sound()))).check.outcome == "not applicable"


def test_a_model_that_refuses_an_image_alone_is_told_of(context, sound):
    found = same_in_any_batch(context(nn.Sequential(Together(), *sound())))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert "please" in found.check.measured


@pytest.mark.filterwarnings("ignore:the model seems to return probabilities")
def test_probabilities_are_inflated_where_their_logarithm_breaks_more(context, sound):
    found = gives_logits(context(nn.Sequential(*sound(), nn.Softmax(1)), ball=Linf(0.1), holds=True))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.INFLATED)
    assert [attack.name for attack in found.escalate] == ["pgd on log-probabilities"]


@pytest.mark.filterwarnings("ignore:the model seems to return probabilities")
def test_probabilities_cannot_be_trusted_where_nothing_breaks(context, sound):
    found = gives_logits(context(nn.Sequential(*sound(), nn.Softmax(1)), holds=False))
    assert (found.check.outcome, found.check.on_fail) == ("fail", Trust.CANNOT_TELL)
    assert found.escalate == ()


def test_logits_and_log_probabilities_pass(context, sound):
    assert gives_logits(context(sound())).check.outcome == "pass"
    assert gives_logits(context(nn.Sequential(*sound(), nn.LogSoftmax(1)))).check.outcome == "pass"
