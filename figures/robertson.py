"""Figure 42. Three rate constants that span nine decades, learnt from the course of one reaction

PLACEHOLDER (29.2).
"""

import numpy as np

from minode import VectorField


class Robertson(VectorField):
    """Three reactions (Robertson 1966): A → B at θ₁ A, B + C → A + C at θ₂ B C, 2B → B + C at θ₃ B²."""

    dim = n_params = 3
    made = np.array([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])       # of A, B, C by each reaction

    def __call__(self, t, y, theta):
        return self.param_jacobian(t, y, theta) @ theta

    def jacobian(self, t, y, theta):
        A, B, C = y[..., 0], y[..., 1], y[..., 2]
        rates_y = np.zeros((*y.shape, 3), np.result_type(y, theta))
        rates_y[..., 0, 0] = theta[0]
        rates_y[..., 1, 1], rates_y[..., 1, 2] = theta[1] * C, theta[1] * B
        rates_y[..., 2, 1] = 2 * theta[2] * B
        return self.made.T @ rates_y

    def param_jacobian(self, t, y, theta):
        A, B, C = y[..., 0], y[..., 1], y[..., 2]
        return self.made.T * np.stack([A, B * C, B * B], axis=-1)[..., None, :]

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)
