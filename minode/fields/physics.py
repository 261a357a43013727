"""2. Four fields to differentiate by hand

Before the first network, here are four fields whose derivatives fit on a line. They are the
test problems of the book. One has a solution in closed form, one is fitted to real data, one
can be made stiff, and one is a popular first exercise. None of their Jacobians is symmetric in
general, so a missing transpose in a later chapter cannot go unnoticed. None of the four depends
on t. Such a field is called autonomous, and its f_t is 0. We write y' for dy/dt.

Linear. θ holds the entries of a d × d matrix A, row by row:

    y' = A y,     f_y = A,     (f_θ)_{i,jk} = [i = j] y_k.               (2.1)

The index jk belongs to the parameter A_jk, and [i = j] is 1 if i = j and 0 otherwise: row i of A
acts on component i alone. The map from y₀ to y(t) is called the flow of a field. Here it is
multiplication by the matrix exponential exp(A (t − t₀)), a solution to test solvers with.

Lotka and Volterra. y₁ counts the prey and y₂ the predators, in any units; θ = (α, β, γ, δ):

    y₁' = α y₁ − β y₁ y₂,     y₂' = −γ y₂ + δ y₁ y₂,                     (2.2)
    f_y = ( α − β y₂     −β y₁   )     f_θ = ( y₁  −y₁ y₂    0     0    )
          (   δ y₂     δ y₁ − γ  ),          (  0     0    −y₂   y₁ y₂  ).

The quantity δ y₁ − γ ln y₁ + β y₂ − α ln y₂ does not change along a solution: differentiate it and
insert (2.2). For positive rates and populations it is convex, and it tends to infinity as either
population tends to 0 or to infinity. So its level lines are closed curves round its minimum,
y = (γ/δ, α/β), and each solution runs round one of them for ever.

Van der Pol. This is an oscillator with one parameter, θ = (μ,):

    y₁' = y₂,     y₂' = μ (1 − y₁²) y₂ − y₁,                             (2.3)
    f_y = (       0              1        )     f_θ = (      0       )
          ( −2 μ y₁ y₂ − 1   μ (1 − y₁²)  ),          ( (1 − y₁²) y₂ ).

The term with μ drives the motion for |y₁| < 1 and brakes it outside. For large μ the solution
creeps for a long time, then jumps, and creeps again. While it creeps, neighbouring solutions
approach it much faster than it moves. Such a problem is called stiff: an explicit method
(chapter 7) must take steps as short as that approach, or its numbers explode (chapter 13).

The cubic spiral. Two components; θ holds the entries of a 2 × 2 matrix A, row by row:

    y' = A y³     (the cube of each component),                          (2.4)
    f_y = A diag(3 y²),     (f_θ)_{i,jk} = [i = j] y_k³.

For A = (−0.1, 2; −2, −0.1) it winds inwards, clockwise. It is the demonstration of torchdiffeq (Chen,
Rubanova, Bettencourt and Duvenaud, 2018), except that y³ A is computed there, with the row y³ on the
left. With the same A that spiral turns the other way.

(2.1) and (2.4) are both f = A g(y), with g(y) = y or g(y) = y³ for each component. The products of
chapter 1 then need neither f_y nor f_θ as a matrix. Write ⊙ for the product entry by entry. aᵀ g(y),
a column times a row, is a d × d matrix whose entry jk belongs to A_jk:

    f_y w + f_θ Δθ = A (g'(y) ⊙ w) + ΔA g(y),                            (2.5)
    a f_y = (a A) ⊙ g'(y),     Σ a f_θ = Σ aᵀ g(y).                      (2.6)

Second derivatives. Chapter 21 needs the change d(…) of the product (1.3) as y moves along w
and θ along Δθ, with a held fixed. For A g(y) apply the product rule to (2.6):

    d(a f_y) = (a ΔA) ⊙ g'(y) + (a A) ⊙ g''(y) ⊙ w,     d(Σ a f_θ) = Σ aᵀ (g'(y) ⊙ w).     (2.7)

For the other two, first multiply f_y and f_θ by a. Let d(a f_y) have the components d₁, d₂.
Lotka and Volterra: from a f_y = (a₁ α + (a₂ δ − a₁ β) y₂, (a₂ δ − a₁ β) y₁ − a₂ γ) we get

    d₁ = a₁ Δα + (a₂ Δδ − a₁ Δβ) y₂ + (a₂ δ − a₁ β) w₂,
    d₂ = (a₂ Δδ − a₁ Δβ) y₁ + (a₂ δ − a₁ β) w₁ − a₂ Δγ,
    d(a f_θ) = (a₁ w₁, −a₁ (w₁ y₂ + y₁ w₂), −a₂ w₂, a₂ (w₁ y₂ + y₁ w₂)).     (2.8)

Van der Pol: from a f_y = (−a₂ (2 μ y₁ y₂ + 1), a₁ + a₂ μ (1 − y₁²)) we get

    d₁ = −2 a₂ (Δμ y₁ y₂ + μ (w₁ y₂ + y₁ w₂)),     d₂ = a₂ (Δμ (1 − y₁²) − 2 μ y₁ w₁),
    d(a f_θ) = a₂ ((1 − y₁²) w₂ − 2 y₁ w₁ y₂).                           (2.9)

Figure 52 shows all four fields, figures 30 and 31 (2.2), figure 32 (2.4), figure 35 (2.1), and figure 18 (2.3).
Next: the nonlinearities of a network (chapter 3).
"""

import numpy as np

from ..inputs import as_count, on_arrays        # on_arrays: the class takes lists too, and refuses misfits
from .base import VectorField, rows


@on_arrays
class Autonomous(VectorField):
    """A field that does not depend on t."""

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


@on_arrays
class MatrixTimes(Autonomous):
    """f = A g(y): θ holds A, and g, g', g'' act on each component."""

    def __init__(self, dim):
        self.dim = as_count("dim", dim)
        self.n_params = self.dim**2

    def __call__(self, t, y, theta):
        A = theta.reshape(self.dim, self.dim)
        return self.g(y) @ A.T                                                     # (2.1) (2.4)

    def jacobian(self, t, y, theta):
        A = theta.reshape(self.dim, self.dim)
        return A * self.g_prime(y)[..., None, :]                                   # (2.1) (2.4)

    def param_jacobian(self, t, y, theta):
        delta = np.eye(self.dim, dtype=y.dtype)
        f_theta = np.einsum("ij,...k->...ijk", delta, self.g(y))                   # (2.1) (2.4)
        return f_theta.reshape(*y.shape, self.n_params)

    def jvp(self, t, y, theta, w, dtheta):
        A, dA = theta.reshape(self.dim, self.dim), dtheta.reshape(self.dim, self.dim)
        return (self.g_prime(y) * w) @ A.T + self.g(y) @ dA.T                      # (2.5)

    def vjp(self, t, y, theta, a):
        A = theta.reshape(self.dim, self.dim)
        a_f_y = (a @ A) * self.g_prime(y)                                          # (2.6)
        a_f_theta = rows(a).T @ rows(self.g(y))                                    # (2.6)
        return a_f_y, a_f_theta.ravel()

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        A, dA = theta.reshape(self.dim, self.dim), dtheta.reshape(self.dim, self.dim)
        d_y = (a @ dA) * self.g_prime(y) + (a @ A) * self.g_second(y) * w          # (2.7)
        d_theta = rows(a).T @ rows(self.g_prime(y) * w)                            # (2.7)
        return d_y, d_theta.ravel()


class Linear(MatrixTimes):
    """y' = A y (2.1) in d dimensions; θ is A row by row, p = d².

    y (..., d), θ (d²,). The flow is exp(A (t − t₀)): Moler and Van Loan (2003). ValueError if d
    is not a positive integer.

    >>> f, A = Linear(2), np.array([[0.0, 1.0], [-4.0, 0.0]])
    >>> f(0.0, np.array([1.0, 2.0]), A.ravel())
    array([ 2., -4.])
    """

    def g(self, y):
        return y                                                                   # (2.1)

    def g_prime(self, y):
        return np.ones_like(y)

    def g_second(self, y):
        return np.zeros_like(y)


class CubicSpiral(MatrixTimes):
    """y' = A y³ (2.4) in two dimensions; θ is A row by row, p = 4.

    y (..., 2), θ (4,). Chen, Rubanova, Bettencourt and Duvenaud (2018).

    >>> CubicSpiral()(0.0, np.array([2.0, 0.0]), np.array([-0.1, 2.0, -2.0, -0.1]))
    array([ -0.8, -16. ])
    """

    def __init__(self):
        super().__init__(2)

    def g(self, y):
        return y**3                                                                # (2.4)

    def g_prime(self, y):
        return 3 * y**2                                                            # (2.4)

    def g_second(self, y):
        return 6 * y


@on_arrays
class LotkaVolterra(Autonomous):
    """Prey and predators (2.2): state (prey, predators), θ = (α, β, γ, δ).

    y (..., 2) in any units of population, θ (4,): α and γ are rates per unit of time, β and δ per
    unit of time and of the other species. Lotka (1925), Volterra (1926).

    >>> LotkaVolterra()(0.0, np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02]))
    array([ 9. , -0.8])
    """
    dim, n_params = 2, 4

    def __call__(self, t, y, theta):
        (alpha, beta, gamma, delta), y_1, y_2 = theta, y[..., 0], y[..., 1]
        dy = np.empty(y.shape, np.result_type(y, theta))
        dy[..., 0] = alpha * y_1 - beta * y_1 * y_2                                # (2.2)
        dy[..., 1] = -gamma * y_2 + delta * y_1 * y_2                              # (2.2)
        return dy

    def jacobian(self, t, y, theta):
        (alpha, beta, gamma, delta), y_1, y_2 = theta, y[..., 0], y[..., 1]
        f_y = np.empty((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 0], f_y[..., 0, 1] = alpha - beta * y_2, -beta * y_1           # (2.2)
        f_y[..., 1, 0], f_y[..., 1, 1] = delta * y_2, delta * y_1 - gamma          # (2.2)
        return f_y

    def param_jacobian(self, t, y, theta):
        y_1, y_2 = y[..., 0], y[..., 1]
        f_theta = np.zeros((*y.shape, 4), np.result_type(y, theta))
        f_theta[..., 0, 0], f_theta[..., 0, 1] = y_1, -y_1 * y_2                   # (2.2)
        f_theta[..., 1, 2], f_theta[..., 1, 3] = -y_2, y_1 * y_2                   # (2.2)
        return f_theta

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (_, beta, _, delta), (d_alpha, d_beta, d_gamma, d_delta) = theta, dtheta
        y_1, y_2, w_1, w_2, a_1, a_2 = (x[..., i] for x in (y, w, a) for i in (0, 1))
        d_1 = a_1 * d_alpha + (a_2 * d_delta - a_1 * d_beta) * y_2 + (a_2 * delta - a_1 * beta) * w_2  # (2.8)
        d_2 = (a_2 * d_delta - a_1 * d_beta) * y_1 + (a_2 * delta - a_1 * beta) * w_1 - a_2 * d_gamma  # (2.8)
        d_theta = a_1 * w_1, -a_1 * (w_1 * y_2 + y_1 * w_2), -a_2 * w_2, a_2 * (w_1 * y_2 + y_1 * w_2)  # (2.8)
        return np.stack([d_1, d_2], axis=-1), np.array([np.sum(part) for part in d_theta])


@on_arrays
class VanDerPol(Autonomous):
    """The van der Pol oscillator (2.3): state (position, velocity), θ = (μ,).

    y (..., 2), θ (1,), without units. Stiff for large μ. Van der Pol (1926).

    >>> VanDerPol()(0.0, np.array([2.0, 1.0]), np.array([10.0]))
    array([  1., -32.])
    """
    dim, n_params = 2, 1

    def __call__(self, t, y, theta):
        (mu,), y_1, y_2 = theta, y[..., 0], y[..., 1]
        dy = np.empty(y.shape, np.result_type(y, theta))
        dy[..., 0] = y_2                                                           # (2.3)
        dy[..., 1] = mu * (1 - y_1**2) * y_2 - y_1                                 # (2.3)
        return dy

    def jacobian(self, t, y, theta):
        (mu,), y_1, y_2 = theta, y[..., 0], y[..., 1]
        f_y = np.empty((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 0], f_y[..., 0, 1] = 0, 1                                      # (2.3)
        f_y[..., 1, 0], f_y[..., 1, 1] = -2 * mu * y_1 * y_2 - 1, mu * (1 - y_1**2)  # (2.3)
        return f_y

    def param_jacobian(self, t, y, theta):
        y_1, y_2 = y[..., 0], y[..., 1]
        f_theta = np.zeros((*y.shape, 1), np.result_type(y, theta))
        f_theta[..., 1, 0] = (1 - y_1**2) * y_2                                    # (2.3)
        return f_theta

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (mu,), (d_mu,), a_2 = theta, dtheta, a[..., 1]
        y_1, y_2, w_1, w_2 = (x[..., i] for x in (y, w) for i in (0, 1))
        d_1 = -2 * a_2 * (d_mu * y_1 * y_2 + mu * (w_1 * y_2 + y_1 * w_2))         # (2.9)
        d_2 = a_2 * (d_mu * (1 - y_1**2) - 2 * mu * y_1 * w_1)                     # (2.9)
        d_theta = a_2 * ((1 - y_1**2) * w_2 - 2 * y_1 * w_1 * y_2)                 # (2.9)
        return np.stack([d_1, d_2], axis=-1), np.array([np.sum(d_theta)])
