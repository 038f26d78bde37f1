"""Surrogate: a Gaussian process over candidate and rung that says what CIDEr a candidate will end with. scikit-learn, on the CPU.

One Matern kernel with a length scale a parameter and one over the rung: measurements at lower rungs inform the end as far as
they have agreed with it so far. Hyperparameters are the maximum of the posterior under broad priors: by likelihood alone, as
many length scales as there are parameters would be fitted to the noise of some twenty rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Hyperparameter, Kernel, WhiteKernel

Array = NDArray[np.float64]
FIT_ROWS = 200  # hyperparameters are fitted on so many rows at most
# Priors of the hyperparameters' logarithms: (mean, standard deviation). Values are standardised, ranges have length 1.
AMPLITUDE, LENGTH, RUNG_LENGTH, NOISE = (0.4, 0.7), (0.5, 0.8), (0.4, 0.8), (-4.0, 1.2)
_BOUNDS = (1e-3, 1e3)


class GroupedMatern(Kernel):
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


class Surrogate:
    """Rows are (columns of the encoder, then the rung). `groups` names the parameter of each column, rung excluded."""

    def __init__(self, groups: Sequence[int]) -> None:
        count = max(groups, default=-1) + 1
        self._groups = (*groups, count)
        means = [AMPLITUDE[0], *[LENGTH[0]] * count, RUNG_LENGTH[0], NOISE[0]]
        deviations = [AMPLITUDE[1], *[LENGTH[1]] * count, RUNG_LENGTH[1], NOISE[1]]
        self._prior = np.array(means), np.array(deviations)
        self._theta: Array = self._prior[0]

    def tune(self, rows: Array, values: Array) -> Array:
        """Fit the hyperparameters to rows (n, columns + 1) and values (n,), from the prior on; returns their logarithms."""
        rows, values = rows[-FIT_ROWS:], values[-FIT_ROWS:]
        self._theta = self._prior[0]
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=self._optimise)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(rows, _standard(values)[0])
        self._theta = np.array(model.kernel_.theta)
        return self._theta

    def fit(self, rows: Array, values: Array) -> Posterior:
        """What rows (n, columns + 1) and values (n,) say, under the hyperparameters as last tuned."""
        scaled, mean, deviation = _standard(values)
        model = GaussianProcessRegressor(self._kernel(), alpha=1e-8, optimizer=None).fit(rows, scaled)
        return Posterior(model, mean, deviation)

    def _kernel(self) -> Any:
        theta = np.exp(self._theta)
        matern = GroupedMatern(tuple(theta[1:-1]), self._groups)
        return ConstantKernel(theta[0], _BOUNDS) * matern + WhiteKernel(theta[-1], (1e-6, 1.0))

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

    def __init__(self, model: GaussianProcessRegressor, mean: float, deviation: float) -> None:
        self._model, self._mean, self._deviation = model, mean, deviation

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (n,) of the value without noise at rows (n, columns + 1)."""
        mean, sd = self._model.predict(rows, return_std=True)
        # The kernel's white part counts as noise of the new value; what a candidate is worth is without it.
        noise = self._model.kernel_.k2.noise_level
        return mean * self._deviation + self._mean, np.sqrt(np.maximum(sd**2 - noise, 1e-12)) * self._deviation


def _standard(values: Array) -> tuple[Array, float, float]:
    mean, deviation = float(values.mean()), float(values.std()) or 1.0
    return (values - mean) / deviation, mean, deviation
