"""Logistic regression of a few scores."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor, nn

from steelman.defences.detectors.watched import demand


class Logistic(nn.Module):
    """A weighted sum of standardised columns, (N, D) to (N,): the log-odds of an attack where it was fitted on one.

    penalty: weight of half the squared norm of the weights beside the summed log-loss.
    positive: no weight falls below zero, so that a score that calls images suspicious never speaks for them.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, penalty: float = 1.0, positive: bool = False) -> None:
        super().__init__()
        self.penalty = penalty
        self.positive = positive
        for name in ("mean", "scale", "weight", "bias"):
            self.register_buffer(name, torch.empty(0))

    def forward(self, columns: Tensor) -> Tensor:
        demand(self, self.weight)
        return ((columns - self.mean) / self.scale) @ self.weight + self.bias

    def fit(self, clean: Tensor, attacked: Tensor | None) -> None:
        """Fits to columns (N, D) and (M, D), each kind weighing half; without attacked ones every weight is 1 / D."""
        self.mean = clean.mean(0)
        self.scale = clean.std(0).clamp_min(1e-6 * (1 + self.mean.abs()))
        columns = clean.shape[1]
        if attacked is None:
            self.weight, self.bias = torch.full_like(self.mean, 1 / columns), clean.new_zeros(())
            return
        rows = torch.cat([clean, attacked]).sub(self.mean).div(self.scale).double().cpu().numpy()
        signs = np.concatenate([-np.ones(len(clean)), np.ones(len(attacked))])
        shares = np.concatenate([np.full(len(clean), 0.5 / len(clean)), np.full(len(attacked), 0.5 / len(attacked))])
        shares *= len(rows)

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            margins = signs * (rows @ point[:-1] + point[-1])
            value = shares @ np.logaddexp(0, -margins) + 0.5 * self.penalty * point[:-1] @ point[:-1]
            slope = -shares * signs * expit(-margins)
            return float(value), np.append(rows.T @ slope + self.penalty * point[:-1], slope.sum())

        bounds = [(0.0 if self.positive else None, None)] * columns + [(None, None)]
        found = minimize(loss, np.zeros(columns + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
        point = torch.from_numpy(found).to(clean)
        self.weight, self.bias = point[:-1], point[-1]
