"""Fields by way of others. Subclasses of a network that write its methods anew: nothing that knows of networks may pass these by."""

import numpy as np

from minode import MLP, VectorField


class ProductsAlone(VectorField):
    """Another field's value and products, and no matrix."""

    def __init__(self, field):
        self.field, self.dim, self.n_params = field, field.dim, field.n_params

    def __call__(self, t, y, theta):
        return self.field(t, y, theta)

    def vjp(self, t, y, theta, a):
        return self.field.vjp(t, y, theta, a)

    def jvp(self, t, y, theta, w, dtheta):
        return self.field.jvp(t, y, theta, w, dtheta)

    def time_derivative(self, t, y, theta):
        return self.field.time_derivative(t, y, theta)


class MinusY(MLP):
    """An MLP minus y, which rewrites f and vjp alone: its value_and_vjp and jacobian are not those of the network."""

    def __call__(self, t, y, theta):
        return super().__call__(t, y, theta) - y

    def vjp(self, t, y, theta, a):
        a_f_y, a_f_theta = super().vjp(t, y, theta, a)
        return a_f_y - a, a_f_theta


class Residual(MinusY):
    """FFJORD's residual field NN(t, y) − y, of which the second derivatives are those of the network."""

    def jacobian(self, t, y, theta):
        return super().jacobian(t, y, theta) - np.eye(self.dim)

    def jvp(self, t, y, theta, w, dtheta):
        return super().jvp(t, y, theta, w, dtheta) - w


class Doubled(MLP):
    """2 NN(t, y): here the second derivatives are other ones too."""

    def __call__(self, t, y, theta):
        return 2 * super().__call__(t, y, theta)

    def jacobian(self, t, y, theta):
        return 2 * super().jacobian(t, y, theta)

    def param_jacobian(self, t, y, theta):
        return 2 * super().param_jacobian(t, y, theta)

    def time_derivative(self, t, y, theta):
        return 2 * super().time_derivative(t, y, theta)

    def jvp(self, t, y, theta, w, dtheta):
        return 2 * super().jvp(t, y, theta, w, dtheta)

    def vjp(self, t, y, theta, a):
        return super().vjp(t, y, theta, 2 * a)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        return super().vjp_derivative(t, y, theta, 2 * a, w, dtheta)
