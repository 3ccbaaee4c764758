"""How θ follows the gradient: `step` turns it into Δθ. What they remember is in `moments`, arrays
that are saved with a run. n is the length of θ."""

import numpy as np


class SGD:
    """θ += lr · v with v = momentum · v + g, as torch.optim.SGD; the paper has no momentum."""

    def __init__(self, n: int, momentum: float = 0.0):
        self.momentum = momentum
        self.moments = [np.zeros(n, np.float32)] if momentum else []

    def step(self, gradient: np.ndarray, lr: float, t: int) -> np.ndarray:
        """Δθ (n,) float32 for the t-th gradient (from 1); may reuse the gradient's memory."""
        if self.momentum:
            (velocity,) = self.moments
            velocity *= np.float32(self.momentum)
            gradient += velocity
            velocity[:] = gradient
        gradient *= np.float32(lr)
        return gradient


class Adam:
    """Kingma & Ba 2015 with the constants and the semantics of torch.optim.Adam; `momentum`
    other than 0 takes the place of β₁ = 0.9."""

    BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

    def __init__(self, n: int, momentum: float = 0.0):
        self.beta1 = momentum or self.BETA1
        self.moments = [np.zeros(n, np.float32), np.zeros(n, np.float32)]

    def step(self, gradient: np.ndarray, lr: float, t: int) -> np.ndarray:
        """Δθ (n,) float32 for the t-th gradient (from 1)."""
        first, second = self.moments
        first += np.float32(1 - self.beta1) * (gradient - first)
        second *= np.float32(self.BETA2)
        second += np.float32(1 - self.BETA2) * gradient * gradient
        scale = np.sqrt(second) / np.float32(np.sqrt(1 - self.BETA2**t)) + np.float32(self.EPSILON)
        return np.float32(lr / (1 - self.beta1**t)) * first / scale


class ClipUp:
    """Toklu et al. 2020: v = momentum · v + lr · √n · g / |g|, no longer than 2 · lr · √n; θ += v.

    Every gradient counts by its direction alone. The steps of the paper are a length for the whole
    of θ; here lr is the root mean square of a parameter's step, so that it does not change with n.
    """

    MOMENTUM = 0.9

    def __init__(self, n: int, momentum: float = 0.0):
        self.momentum = momentum or self.MOMENTUM
        self.moments = [np.zeros(n, np.float32)]

    def step(self, gradient: np.ndarray, lr: float, t: int) -> np.ndarray:
        """Δθ (n,) float32 for the t-th gradient (from 1)."""
        (velocity,) = self.moments
        unit = lr * np.sqrt(gradient.size)
        length = float(np.linalg.norm(gradient))
        velocity *= np.float32(self.momentum)
        if length > 0:
            velocity += np.float32(unit / length) * gradient
        length = float(np.linalg.norm(velocity))
        if length > 2 * unit:
            velocity *= np.float32(2 * unit / length)
        return velocity.copy()


OPTIMIZERS = {"sgd": SGD, "adam": Adam, "clipup": ClipUp}
