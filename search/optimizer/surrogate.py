"""Surrogate: a Gaussian process over candidate and rung that says what CIDEr a candidate will end with. scikit-learn, on the CPU.

One Matern kernel with a length scale a parameter and one over the rung: measurements at lower rungs inform the end as far as
they have agreed with it so far. Hyperparameters are the maximum of the posterior under broad priors: by likelihood alone, as
many length scales as there are parameters would be fitted to the noise of some twenty rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, Kernel

Array = NDArray[np.float64]
FIT_ROWS = 200  # hyperparameters are fitted on so many rows at most
# Priors of the hyperparameters' logarithms: (mean, standard deviation). Values are standardised, ranges have length 1.
AMPLITUDE, LENGTH, RUNG_LENGTH, RUNG_NOISE, NOISE = (0.4, 0.7), (0.5, 0.8), (0.4, 0.8), (-2.0, 1.2), (-4.0, 1.2)
_BOUNDS = (1e-3, 1e3)


class GroupedMatern(Kernel):  # type: ignore[misc]  # sklearn is untyped
    """Matern 5/2 with one length scale for each group of columns: `groups` names the group of each column."""

    def __init__(self, lengths: Sequence[float] | Array, groups: Sequence[int]) -> None:
        self.lengths, self.groups = lengths, groups

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        """The lengths; scikit-learn optimises their logarithms."""
        return Hyperparameter("lengths", "numeric", _BOUNDS, len(self.lengths))

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Kernel (n, m); with `eval_gradient` also its gradient (n, n, groups) by the logarithms of the lengths."""
        scale = 1.0 / np.asarray(self.lengths, dtype=np.float64)[list(self.groups)]
        x = X * scale
        root = np.sqrt(5.0) * cdist(x, x if Y is None else Y * scale)
        decay = np.exp(-root)
        kernel = (1.0 + root + root * root / 3.0) * decay
        if not eval_gradient:
            return kernel
        outer = (5.0 / 3.0) * (1.0 + root) * decay
        members = np.asarray(self.groups)
        gradient = np.empty((*kernel.shape, len(self.lengths)))
        for group in range(len(self.lengths)):
            part = x[:, members == group]
            gradient[:, :, group] = outer * cdist(part, part, "sqeuclidean")
        return kernel, gradient

    def diag(self, X: Array) -> Array:  # noqa: N803
        """Ones (n,)."""
        return np.ones(len(X))

    def is_stationary(self) -> bool:
        """Yes: a function of distances."""
        return True


class RungNoise(Kernel):  # type: ignore[misc]  # sklearn is untyped
    """White noise with one level below the last rung (last column below 1) and one at it.

    On the way a candidate is judged in the middle of its training, by fewer images: what is luck there is no luck at the end.
    """

    def __init__(self, levels: Sequence[float] | Array) -> None:
        self.levels = levels

    @property
    def hyperparameter_levels(self) -> Hyperparameter:
        """Variances (below, at the last rung); scikit-learn optimises their logarithms."""
        return Hyperparameter("levels", "numeric", (1e-6, 10.0), 2)

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Kernel (n, m), zero between different rows; with `eval_gradient` also its gradient (n, n, 2)."""
        if Y is not None:
            return np.zeros((len(X), len(Y)))
        value = self.diag(X)
        if not eval_gradient:
            return np.diag(value)
        below = X[:, -1] < 1.0
        return np.diag(value), np.dstack([np.diag(value * below), np.diag(value * ~below)])

    def diag(self, X: Array) -> Array:  # noqa: N803
        """Variances (n,)."""
        return np.where(X[:, -1] < 1.0, self.levels[0], self.levels[1])

    def is_stationary(self) -> bool:
        """No: it depends on the rung."""
        return False


class Surrogate:
    """Rows are (columns of the encoder, then the rung). `groups` names the parameter of each column, rung excluded."""

    def __init__(self, groups: Sequence[int]) -> None:
        count = max(groups, default=-1) + 1
        self._groups = (*groups, count)
        means = [AMPLITUDE[0], *[LENGTH[0]] * count, RUNG_LENGTH[0], RUNG_NOISE[0], NOISE[0]]
        deviations = [AMPLITUDE[1], *[LENGTH[1]] * count, RUNG_LENGTH[1], RUNG_NOISE[1], NOISE[1]]
        self._prior = np.array(means), np.array(deviations)
        self._theta: Array = self._prior[0]

    def tune(self, rows: Array, values: Array) -> Array:
        """Fit the hyperparameters to rows (n, columns + 1) and values (n,), from the prior on; returns their logarithms."""
        rows, values = rows[-FIT_ROWS:], values[-FIT_ROWS:]
        self._theta = self._prior[0]
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=self._optimise)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, Scale.of(rows, values).standard(rows, values))
        self._theta = np.array(model.kernel_.theta)
        return self._theta

    def fit(self, rows: Array, values: Array, scale: Scale | None = None) -> Posterior:
        """What rows (n, columns + 1) and values (n,) say, under the hyperparameters as last tuned; `scale` if it is known."""
        scale = scale or Scale.of(rows, values)
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=None)
        return Posterior(model.fit(rows, scale.standard(rows, values)), scale)

    def _kernel(self) -> Any:
        theta = np.exp(self._theta)
        matern = GroupedMatern(tuple(theta[1:-2]), self._groups)
        return ConstantKernel(theta[0], _BOUNDS) * matern + RungNoise(tuple(theta[-2:]))

    def _optimise(self, loss: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
        """scikit-learn's hook: its negative log likelihood plus the negative log prior, by L-BFGS-B from one start."""
        mean, deviation = self._prior

        def penalised(theta: Array) -> tuple[float, Array]:
            value, gradient = loss(theta, eval_gradient=True)
            z = (theta - mean) / deviation
            return value + 0.5 * float(z @ z), gradient + z / deviation

        found = minimize(
            penalised, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-4}
        )
        return found.x, float(found.fun)


class Posterior:
    """A fitted model in the values' own unit."""

    def __init__(self, model: GaussianProcessRegressor, scale: Scale) -> None:
        self._model, self.scale = model, scale

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the value at the end of rows (n, columns), the luck of a training included."""
        mean, sd = self._model.predict(np.c_[rows, np.ones(len(rows))], return_std=True)
        return mean * self.scale.spread + self.scale.center, sd * self.scale.spread


@dataclass(frozen=True, slots=True)
class Scale:
    """Values as the model sees them: brought to the end of training by how much curves grow, then without mean and spread.

    Curves rise in proportion: as values stand, a candidate that was never measured would be taken for half trained.
    """

    growth: dict[float, float]  # rung -> how many times larger a value at the end is
    center: float
    spread: float

    @classmethod
    def of(cls, rows: Array, values: Array) -> Scale:
        """From rows (n, columns + 1), equal ones but for the rung being one candidate's, and values (n,)."""
        curves: dict[bytes, dict[float, float]] = {}
        for row, value in zip(rows, values, strict=True):
            curves.setdefault(row[:-1].tobytes(), {})[float(row[-1])] = float(value)
        growth, above = {1.0: 1.0}, 1.0
        for rung in sorted({float(r) for r in rows[:, -1]} - {1.0}, reverse=True):
            both = [(curve[rung], curve[above]) for curve in curves.values() if rung in curve and above in curve]
            here, there = sum(low for low, _ in both), sum(high for _, high in both)
            growth[rung] = growth[above] * (there / here if here > 0 and there > 0 else 1.0)
            above = rung
        last = np.array([curve[max(curve)] * growth[max(curve)] for curve in curves.values()])
        return cls(growth, float(last.mean()), float(last.std()) or 1.0)

    def standard(self, rows: Array, values: Array) -> Array:
        """Values (n,) at rows (n, columns + 1) as the model sees them."""
        grown = np.array([value * self.growth[float(rung)] for rung, value in zip(rows[:, -1], values, strict=True)])
        return (grown - self.center) / self.spread
