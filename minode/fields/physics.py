"""2. Four fields that can be differentiated in the head

Before a network, four right-hand sides whose derivatives fit on a line. They are
the test problems of the book: one solvable in closed form, one fitted to real
data, one that turns stiff, and one that is everybody's first neural-ODE exercise.
In general none of their Jacobians is symmetric, so a transpose that is missing
somewhere in a later chapter cannot hide.

Linear. With θ the entries of a d × d matrix A, row by row,

    y' = A y,     f_y = A,     (f_θ)_{i,jk} = δ_ij y_k,                  (2.1)

with δ_ij = 1 where i = j and 0 elsewhere, for a row of A moves its own component alone.
The flow is the matrix exponential, y(t) = exp(A (t − t₀)) y₀, which makes it the
problem on which a solver can be compared with an exact answer.

Lotka and Volterra. Prey y₁ and predators y₂, θ = (α, β, γ, δ), populations in
any unit and rates per unit of time:

    y₁' =  α y₁ − β y₁ y₂,     y₂' = −γ y₂ + δ y₁ y₂.                    (2.2)

The quantity δ y₁ − γ ln y₁ + β y₂ − α ln y₂ does not change along a solution:
differentiate it and insert (2.2). Where y₁, y₂ > 0 it is convex, with its minimum
at (γ/δ, α/β), and grows without bound towards the edges, so its level lines are
closed curves, and the orbits run along them.

Van der Pol. An oscillator whose friction changes sign, θ = (μ,):

    y₁' = y₂,     y₂' = μ (1 − y₁²) y₂ − y₁.                             (2.3)

For large μ it creeps and jumps by turns, and explicit solvers suffer.

The cubic spiral. Two components, θ the entries of a 2 × 2 matrix A, row by row,

    y' = A y³     (the cube of each component),                          (2.4)
    f_y = A · diag(3 y²),     (f_θ)_{i,jk} = δ_ij y_k³.

With A = (−0.1, 2; −2, −0.1) it winds inwards; it is the demonstration problem
that torchdiffeq ships (Chen, Rubanova, Bettencourt, Duvenaud 2018), but for its
sense: with y³ in front of A, there it turns the other way.

(2.1) and (2.4) are one formula, f = A g(y) with g applied to each component,
and share their code. Of the d³ entries of f_θ only d² are not zero, and the
products of chapter 1 are had without it, and without f_y: for a move (w, ΔA), and
for a row a,

    f_y w + f_θ Δθ = A (g'(y) w) + ΔA g(y),                              (2.5)
    a f_y = (a A) g'(y),     Σ a f_θ = Σ aᵀ g(y),                        (2.6)

with g' times each component, and aᵀ g(y) a column times a row. None of the four
fields looks at the clock: f_t = 0.

Next: the nonlinearities of a network (chapter 3).
"""

import numpy as np

from .base import VectorField, refuse


class _Autonomous(VectorField):
    """A field that does not depend on t."""

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


class _MatrixTimes(_Autonomous):
    """f = A g(y), A of d × d entries in θ, g and its derivative acting on each component."""

    def __init__(self, dim):
        if not isinstance(dim, (int, np.integer)) or dim < 1:
            raise ValueError(f"dim must be a positive integer, not {dim!r}")
        self.dim, self.n_params = int(dim), int(dim) ** 2

    def g(self, y):
        raise NotImplementedError

    def g_prime(self, y):
        raise NotImplementedError

    def g_second(self, y):
        raise NotImplementedError

    def __call__(self, t, y, theta):
        if y.shape[-1:] != (self.dim,) or len(theta) != self.n_params:
            refuse(self, y, theta)
        return self.g(y) @ theta.reshape(self.dim, self.dim).T                     # (2.1) (2.4)

    def jacobian(self, t, y, theta):
        return theta.reshape(self.dim, self.dim) * self.g_prime(y)[..., None, :]   # (2.1) (2.4)

    def param_jacobian(self, t, y, theta):
        unit = np.eye(self.dim, dtype=y.dtype)
        blocks = np.einsum("ij,...k->...ijk", unit, self.g(y))                     # (2.1) (2.4)
        return blocks.reshape(*y.shape, self.n_params)

    def jvp(self, t, y, theta, w, dtheta):
        A, dA = theta.reshape(self.dim, self.dim), dtheta.reshape(self.dim, self.dim)
        return (self.g_prime(y) * w) @ A.T + self.g(y) @ dA.T                      # (2.5)

    def vjp(self, t, y, theta, a):
        A, rows = theta.reshape(self.dim, self.dim), a.reshape(-1, self.dim)
        a_f_theta = rows.T @ self.g(y).reshape(-1, self.dim)                       # (2.6)
        return (a @ A) * self.g_prime(y), a_f_theta.ravel()                        # (2.6)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        A, dA = theta.reshape(self.dim, self.dim), dtheta.reshape(self.dim, self.dim)
        change = (a @ dA) * self.g_prime(y) + (a @ A) * self.g_second(y) * w       # (2.1) (2.4)
        moved = (self.g_prime(y) * w).reshape(-1, self.dim)
        return change, (a.reshape(-1, self.dim).T @ moved).ravel()                 # (2.1) (2.4)


class Linear(_MatrixTimes):
    """y' = A y (2.1) in d dimensions; θ is A row by row, p = d².

    y (..., d), θ (d²,), in units of one over time. The flow is exp(A (t − t₀)): Moler and Van Loan
    (2003). ValueError where d is not a positive integer.

    >>> f, A = Linear(2), np.array([[0.0, 1.0], [-4.0, 0.0]])
    >>> f(0.0, np.array([1.0, 2.0]), A.ravel())
    array([ 2., -4.])
    """

    def g(self, y):
        return y

    def g_prime(self, y):
        return np.ones_like(y)

    def g_second(self, y):
        return np.zeros_like(y)


class CubicSpiral(_MatrixTimes):
    """y' = A y³ (2.4) in two dimensions; θ is A row by row, p = 4.

    y (..., 2), θ (4,). Chen, Rubanova, Bettencourt and Duvenaud (2018).

    >>> CubicSpiral()(0.0, np.array([2.0, 0.0]), np.array([-0.1, 2.0, -2.0, -0.1]))
    array([ -0.8, -16. ])
    """

    def __init__(self):
        super().__init__(2)

    def g(self, y):
        return y**3

    def g_prime(self, y):
        return 3 * y**2

    def g_second(self, y):
        return 6 * y


class LotkaVolterra(_Autonomous):
    """Prey and predator (2.2); state (prey, predator), θ = (α, β, γ, δ).

    y (..., 2) in any unit of population, θ (4,): α and γ are rates, per unit of time, β and δ
    rates per unit of the other species. Lotka (1925), Volterra (1926).

    >>> LotkaVolterra()(0.0, np.array([30.0, 4.0]), np.array([0.5, 0.05, 0.8, 0.02]))
    array([ 9. , -0.8])
    """

    dim, n_params = 2, 4

    def __call__(self, t, y, theta):
        if y.shape[-1:] != (2,) or len(theta) != 4:
            refuse(self, y, theta)
        alpha, beta, gamma, delta = theta
        prey, predator = y.T                 # of a single state these are numbers, y[..., 0] would be an array
        dy = np.empty(y.shape, np.result_type(y, theta))
        dy.T[0] = (alpha - beta * predator) * prey                                 # (2.2)
        dy.T[1] = (delta * prey - gamma) * predator                                # (2.2)
        return dy

    def jacobian(self, t, y, theta):
        alpha, beta, gamma, delta = theta
        prey, predator = y[..., 0], y[..., 1]
        f_y = np.empty((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 0] = alpha - beta * predator
        f_y[..., 0, 1] = -beta * prey
        f_y[..., 1, 0] = delta * predator
        f_y[..., 1, 1] = delta * prey - gamma
        return f_y

    def param_jacobian(self, t, y, theta):
        prey, predator = y[..., 0], y[..., 1]
        f_theta = np.zeros((*y.shape, 4), np.result_type(y, theta))
        f_theta[..., 0, 0] = prey
        f_theta[..., 0, 1] = -prey * predator
        f_theta[..., 1, 2] = -predator
        f_theta[..., 1, 3] = prey * predator
        return f_theta

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (_, beta, _, delta), (d_alpha, d_beta, d_gamma, d_delta) = theta, dtheta
        (prey, predator), (u, v), (a_1, a_2) = (np.moveaxis(x, -1, 0) for x in (y, w, a))
        meet = delta * a_2 - beta * a_1
        d_meet = d_delta * a_2 - d_beta * a_1
        change = np.stack([d_alpha * a_1 + d_meet * predator + meet * v,           # (2.2)
                           d_meet * prey + meet * u - d_gamma * a_2], axis=-1)     # (2.2)
        rate = prey * v + u * predator
        return change, np.array([np.sum(a_1 * u), -np.sum(a_1 * rate), -np.sum(a_2 * v), np.sum(a_2 * rate)])


class VanDerPol(_Autonomous):
    """The van der Pol oscillator (2.3); state (position, velocity), θ = (μ,).

    y (..., 2), θ (1,), without units. Stiff for large μ. Van der Pol (1926).

    >>> VanDerPol()(0.0, np.array([2.0, 1.0]), np.array([10.0]))
    array([  1., -32.])
    """

    dim, n_params = 2, 1

    def __call__(self, t, y, theta):
        if y.shape[-1:] != (2,) or len(theta) != 1:
            refuse(self, y, theta)
        (mu,), x, v = theta, y[..., 0], y[..., 1]
        dy = np.empty(y.shape, np.result_type(y, theta))
        dy[..., 0] = v
        dy[..., 1] = mu * (1 - x * x) * v - x                                      # (2.3)
        return dy

    def jacobian(self, t, y, theta):
        (mu,), x, v = theta, y[..., 0], y[..., 1]
        f_y = np.empty((*y.shape, 2), np.result_type(y, theta))
        f_y[..., 0, 0] = 0
        f_y[..., 0, 1] = 1
        f_y[..., 1, 0] = -2 * mu * x * v - 1
        f_y[..., 1, 1] = mu * (1 - x * x)
        return f_y

    def param_jacobian(self, t, y, theta):
        x, v = y[..., 0], y[..., 1]
        f_theta = np.zeros((*y.shape, 1), np.result_type(y, theta))
        f_theta[..., 1, 0] = (1 - x * x) * v
        return f_theta

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        (mu,), (d_mu,), a_2 = theta, dtheta, a[..., 1]
        (x, v), (dx, dv) = np.moveaxis(y, -1, 0), np.moveaxis(w, -1, 0)
        bend = x * dv + v * dx
        change = np.stack([-2 * a_2 * (d_mu * x * v + mu * bend),                  # (2.3)
                           a_2 * (d_mu * (1 - x * x) - 2 * mu * x * dx)], axis=-1)  # (2.3)
        return change, np.array([np.sum(a_2 * ((1 - x * x) * dv - 2 * x * v * dx))])
