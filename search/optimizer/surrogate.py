"""A Gaussian process over candidates and rungs that predicts a candidate's CIDEr at the end of training. Uses scikit-learn.

One Matern kernel has a length scale for each parameter and one for the rung, so measurements at lower rungs inform the end as
far as they have agreed with it. Hyperparameters maximise the posterior under broad priors: by likelihood alone, a length scale
for each parameter would be fitted to the noise of some twenty rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, Kernel

Array = NDArray[np.float64]
FIT_ROWS = 200  # most rows that hyperparameters are fitted to
# Priors of the hyperparameters' logarithms: (mean, standard deviation). Values are standardised and ranges have length 1.
AMPLITUDE, LENGTH, RUNG_LENGTH, RUNG_NOISE, NOISE = (0.4, 0.7), (0.5, 0.8), (0.4, 0.8), (-2.0, 1.2), (-4.0, 1.2)
_BOUNDS = (1e-3, 1e3)


class GroupedMatern(Kernel):  # type: ignore[misc]  # sklearn is untyped
    """Matern 5/2 with one length scale for each group of columns; `groups` gives the group of each column."""

    def __init__(self, lengths: Sequence[float] | Array, groups: Sequence[int]) -> None:
        self.lengths, self.groups = lengths, groups

    @property
    def hyperparameter_lengths(self) -> Hyperparameter:
        """The lengths; scikit-learn optimises their logarithms."""
        return Hyperparameter("lengths", "numeric", _BOUNDS, len(self.lengths))

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Returns the kernel (n, m); with `eval_gradient` also its gradient (n, n, groups) by the logarithms of the lengths."""
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
        """Returns ones (n,)."""
        return np.ones(len(X))

    def is_stationary(self) -> bool:
        """Returns true: the kernel depends on distances alone."""
        return True


class RungNoise(Kernel):  # type: ignore[misc]  # sklearn is untyped
    """White noise with one level below the last rung (last column below 1) and one at it.

    Below the last rung a candidate is measured in the middle of its training and on fewer images, so the noise is another.
    """

    def __init__(self, levels: Sequence[float] | Array) -> None:
        self.levels = levels

    @property
    def hyperparameter_levels(self) -> Hyperparameter:
        """Variances (below, at the last rung); scikit-learn optimises their logarithms."""
        return Hyperparameter("levels", "numeric", (1e-6, 10.0), 2)

    def __call__(self, X: Array, Y: Array | None = None, eval_gradient: bool = False) -> Any:  # noqa: N803
        """Returns the kernel (n, m), zero between different rows; with `eval_gradient` also its gradient (n, n, 2)."""
        if Y is not None:
            return np.zeros((len(X), len(Y)))
        value = self.diag(X)
        if not eval_gradient:
            return np.diag(value)
        below = X[:, -1] < 1.0
        return np.diag(value), np.dstack([np.diag(value * below), np.diag(value * ~below)])

    def diag(self, X: Array) -> Array:  # noqa: N803
        """Returns variances (n,)."""
        return np.where(X[:, -1] < 1.0, self.levels[0], self.levels[1])

    def is_stationary(self) -> bool:
        """Returns false: the kernel depends on the rung."""
        return False


class Surrogate:
    """The model of a study. A row is the encoder's columns, then the rung; `groups` gives the parameter of each column."""

    def __init__(self, groups: Sequence[int]) -> None:
        count = max(groups, default=-1) + 1
        self._groups = (*groups, count)
        means = [AMPLITUDE[0], *[LENGTH[0]] * count, RUNG_LENGTH[0], RUNG_NOISE[0], NOISE[0]]
        deviations = [AMPLITUDE[1], *[LENGTH[1]] * count, RUNG_LENGTH[1], RUNG_NOISE[1], NOISE[1]]
        self._prior = np.array(means), np.array(deviations)
        self._theta: Array = self._prior[0]

    def tune(self, rows: Array, values: Array) -> Array:
        """Fits the hyperparameters to rows (n, columns + 1) and values (n,), from the prior on; returns their logarithms."""
        rows, values = rows[-FIT_ROWS:], values[-FIT_ROWS:]
        self._theta = self._prior[0]
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=self._optimise)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, Scale.of(rows, values).standard(rows, values))
        self._theta = np.array(model.kernel_.theta)
        return self._theta

    def fit(self, rows: Array, values: Array, scale: Scale | None = None) -> Posterior:
        """Returns the posterior of rows (n, columns + 1), values (n,) and tuned hyperparameters; `scale` is fitted if None."""
        scale = scale or Scale.of(rows, values)
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=None)
        return Posterior(model.fit(rows, scale.standard(rows, values)), scale)

    def _kernel(self) -> Any:
        theta = np.exp(self._theta)
        matern = GroupedMatern(tuple(theta[1:-2]), self._groups)
        return ConstantKernel(theta[0], _BOUNDS) * matern + RungNoise(tuple(theta[-2:]))

    def _optimise(self, loss: Callable[..., Any], start: Array, bounds: Array) -> tuple[Array, float]:
        """Minimises scikit-learn's negative log likelihood plus the negative log prior, by L-BFGS-B from one start."""
        mean, deviation = self._prior

        def penalised(theta: Array) -> tuple[float, Array]:
            value, gradient = loss(theta, eval_gradient=True)
            z = (theta - mean) / deviation
            return value + 0.5 * float(z @ z), gradient + z / deviation

        options = {"maxiter": 40, "ftol": 1e-4}
        optimum = minimize(penalised, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return optimum.x, float(optimum.fun)


class Posterior:
    """A fitted model; predictions are in the unit of the values."""

    def __init__(self, model: GaussianProcessRegressor, scale: Scale) -> None:
        self._model, self.scale = model, scale

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Returns mean and standard deviation (n,) of the value of rows (n, columns) at the last rung, noise included."""
        mean, sd = self._model.predict(np.c_[rows, np.ones(len(rows))], return_std=True)
        return mean * self.scale.spread + self.scale.center, sd * self.scale.spread

    def left_out(self) -> Array:
        """Returns the mean (n,) that the model would give for each of the n rows it was fitted to, had it not seen that row."""
        inverse = cho_solve((self._model.L_, True), np.eye(len(self._model.alpha_)))
        standard = self._model.y_train_ - self._model.alpha_ / np.diag(inverse)
        return np.asarray(standard * self.scale.spread + self.scale.center)


@dataclass(frozen=True, slots=True)
class Scale:
    """Standardises values: multiplied to the end of training by the growth of curves, then without mean and spread.

    Without the growth, the model would expect a candidate that was never measured to be as good as a half trained one.
    """

    growth: dict[float, float]  # rung -> value at the end divided by the value there
    center: float
    spread: float

    @classmethod
    def of(cls, rows: Array, values: Array) -> Scale:
        """Fits the scale to rows (n, columns + 1) and values (n,). Rows that differ in the rung alone are of one candidate."""
        curves: dict[bytes, dict[float, float]] = {}
        for row, value in zip(rows, values, strict=True):
            curves.setdefault(row[:-1].tobytes(), {})[float(row[-1])] = float(value)
        growth, above = {1.0: 1.0}, 1.0
        for rung in sorted({float(r) for r in rows[:, -1]} - {1.0}, reverse=True):
            both = [(curve[rung], curve[above]) for curve in curves.values() if rung in curve and above in curve]
            low, high = sum(value for value, _ in both), sum(value for _, value in both)
            growth[rung] = growth[above] * (high / low if low > 0 and high > 0 else 1.0)
            above = rung
        last = np.array([curve[max(curve)] * growth[max(curve)] for curve in curves.values()])
        return cls(growth, float(last.mean()), float(last.std()) or 1.0)

    def standard(self, rows: Array, values: Array) -> Array:
        """Returns the standardised values (n,) of rows (n, columns + 1) and values (n,)."""
        grown = np.array([value * self.growth[float(rung)] for rung, value in zip(rows[:, -1], values, strict=True)])
        return (grown - self.center) / self.spread
