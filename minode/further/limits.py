"""32. What a flow cannot do, and what training does to it

There are simple tasks that a neural ODE cannot learn, however large its network is. And while it is trained,
a solve usually needs more and more calls of f. This chapter explains both, and gives a remedy for each.

Solutions do not meet. Let u and v be two solutions of y' = f(t, y, θ), and let K be a Lipschitz constant of f
in y, such as (4.7). The rate of |u − v|² is 2 (u − v) · (f(t, u, θ) − f(t, v, θ)), whose size is at most 2 K
|u − v|². So the distance grows or shrinks by at most a factor e^{K |t − t₀|} (Grönwall 1919):

    e^{−K|t−t₀|} |u(t₀) − v(t₀)| ≤ |u(t) − v(t)| ≤ e^{K|t−t₀|} |u(t₀) − v(t₀)|.   (32.1)

The right half is the uniqueness of chapter 6: two solutions that begin at one point stay together. The left
half is its counterpart: two solutions that begin at different points never meet.

On a line. Let u(t₀) < v(t₀). If u were greater than v later, then by the intermediate value theorem they
would be equal at some time in between, which (32.1) excludes. So two different solutions have

    (u(t) − v(t)) (u(t₀) − v(t₀)) > 0                                    (32.2)

at all times: a flow of the line keeps the order of its points. It cannot take x to −x, not even for two
points. Trained to do so by least squares, it takes all points near minus their mean, the best it can do. A
layer y + r(y) of a residual network can take x to −x, with r(y) = −2y. It is one step of Euler's method with
h K = 2, too long a step to follow the solution. If h K < 1, a step keeps the order too.

In the plane. Take points y_i along a closed curve around a point c, near enough to each other. The angles
between them, as seen from c, add up to 2π times the number of times that the curve goes round c:

    w = (1/2π) Σ_i ∠(y_i − c, y_{i+1} − c).                              (32.3)

Let a flow carry both the curve and c. Then w changes continuously, because no point of the curve meets c. As
w is a whole number, it does not change at all. So the image of a ring still surrounds the image of the disc
inside it. No straight line separates the two, because a curve on the other side of a line from c has w = 0.
So an ODE-Net whose last layer is linear in y(T) cannot tell a disc from a ring in the plane. It can tell
finitely many points of them apart: these have gaps, and the flow pulls the disc through one.

More dimensions. Add n components that are 0 at first (augmented neural ODEs, Dupont, Doucet and Teh 2019):

    y(t₀) = (x, 0).                                                      (32.4)

(32.1) still holds, but now there is room to pass. A ring in space does not enclose a disc, which can be
lifted out of it. And with one more component, half a turn takes every x to −x:

    y' = π (−y₂, y₁),   y(0) = (x, 0)   gives   y(1) = (−x, 0).          (32.5)

In chapter 25, W_in does the same if it has more rows than columns.

The cost of a solve. A method that chooses its steps makes the error C h^q of a step as large as the tolerance
(10.4). So a tolerance ten times smaller takes about 10^{1/q} times as many steps, 1.6 times for dopri5, whose
q is 5. C depends on how fast the velocity changes along the path. The loss does not contain C, so nothing
keeps C small, and in training the calls of f usually increase (Chen and others 2018; Grathwohl and others
2019). On the way back, the discrete gradient takes one vjp for each call in an accepted step. backsolve
chooses its own steps for y, a and b together.

A penalty. The cheapest velocity is constant along each path: one step of any Runge–Kutta method is then
exact. Let m = (y(T) − y(t₀)) / (T − t₀) be its mean. In |f|² = |m + (f − m)|² the term m · (f − m) has mean
0:

    ∫ |f|² dt = |y(T) − y(t₀)|² / (T − t₀) + ∫ |f − m|² dt.              (32.6)

The integrals run from t₀ to T. The first term is the price of the distance, and the second that of an uneven
velocity. The mean of the second over all paths is S of (30.8) if T − t₀ = 1. Add λ ∫ |f|² dt to the loss, as
a mean over the batch. Of two equally good flows, training prefers that with shorter and straighter paths
(Finlay, Jacobsen, Nurbekyan and Oberman 2020). The penalty does not contain C, so measure what it saves.

The solver computes the integral as one more component, which begins at 0:

    d/dt [y, e] = [f(t, y, θ), |f(t, y, θ)|²].                           (32.7)

Its derivatives are those of f. A tangent that moves f by df (1.2) moves |f|² by

    d |f|² = 2 f · df.                                                   (32.8)

So a cotangent (α, γ) of the two velocities acts on df as α + 2 γ f does, and the products (1.3) are

    ( ((α + 2 γ f) f_y, 0),  Σ (α + 2 γ f) f_θ ),                        (32.9)

with 0 for e, on which no velocity depends. They contain no second derivative and need no further call of f.
An adaptive solve controls the error of e as well, unless its atol is made large.

Figure 46 shows (32.2) and (32.5), figure 33 shows (32.3) and (32.4), and figure 47 shows what (32.7) saves.

Exercises. 1. In which dimensions can a flow take every x to −x? (Its Jacobian has a positive determinant,
by (26.2).) 2. A flow has moved all points by the same distance, in a time of 1, and e is 4 for all of them.
How far were they moved at most?

Here the book ends."""

import numpy as np

from ..fields.base import VectorField, state_jacobian
from ..inputs import (as_bounded, as_count, as_curve_around, as_field, as_part_of, as_points, as_positive, as_span,
                      as_states_on_a_line, as_theta, as_times, has_second_derivatives, on_arrays)
from ..learning.probes import beside
from ..solvers.solve import odeint

# The parameters of `Linear(2)` that turn a plane by half a turn in a time of 1.
HALF_TURN = np.pi * np.array([0.0, -1.0, 1.0, 0.0])                                # (32.5)


def distances(f, gap, t, theta):
    """The least and the largest distance (N,) that two solutions can have at the times t (N,), by (32.1).

    gap is their distance at t[0]. f is an `MLP`, theta (p,). ValueError or TypeError for unusable input.

    >>> from minode import MLP
    >>> f = MLP([1, 1], ["identity"])                        # y' = −y: the least distance is the true one
    >>> distances(f, 2.0, [0.0, 1.0], np.array([-1.0, 0.0]))
    (array([2.        , 0.73575888]), array([2.        , 5.43656366]))
    """
    t, gap, theta = as_times(t), as_positive("gap", gap), as_theta(theta, as_bounded(f))
    growth = np.exp(f.lipschitz(theta) * np.abs(t - t[0]))                         # (32.1)
    return gap / growth, gap * growth                                              # (32.1)


def keeps_order(ys):
    """Whether the states ys (N, n, 1) of n solutions on a line have the same order at all N times, (32.2).

    ValueError or TypeError for another shape.

    >>> from minode import Linear
    >>> keeps_order(odeint(Linear(1), [[-1.0], [2.0], [3.0]], [0.0, 1.0, 2.0], np.array([-3.0])))
    True
    """
    ys = as_states_on_a_line(ys)
    i, j = np.triu_indices(ys.shape[1], 1)                   # each pair once
    gap = ys[:, i] - ys[:, j]
    return bool((gap * gap[0] > 0).all())                                          # (32.2)


def winding_number(curve, c):
    """How often a closed curve goes round the point c (2,), anticlockwise, by (32.3).

    curve (n, 2) are points along it; a straight line joins the last one to the first one. ValueError or
    TypeError for unusable input.

    >>> square = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    >>> winding_number(square, [0.0, 0.5]), winding_number(square, [0.0, 1.5])
    (1, 0)
    """
    z = as_curve_around(curve, c) @ np.array([1.0, 1j])             # y_i − c as complex numbers
    angles = np.angle(np.roll(z, -1) / z)                                          # (32.3)
    return round(np.sum(angles) / (2 * np.pi))                                     # (32.3)


def augmented(x, n=1):
    """x (..., d) with n more components that are 0: the initial states (..., d + n) of (32.4).

    ValueError or TypeError for unusable input.

    >>> augmented([[1.0], [2.0]])
    array([[1., 0.],
           [2., 0.]])
    """
    x = as_points("x", x)
    return np.concatenate([x, np.zeros((*x.shape[:-1], as_count("n", n)))], axis=-1)  # (32.4)


@on_arrays
class WithEnergy(VectorField):
    """The field (32.7) of the states [y, e], (..., d + 1), for a field f of y; e collects ∫ |f|² dt.

    θ (p,) is that of f. Of the velocity only the first n components count, all of them if n is None: for
    `WithEnergy(Flow(f), f.dim)` those of y and not that of log p. In a solve backwards in time e becomes
    negative. ValueError or TypeError for unusable input.

    >>> from minode import Linear
    >>> f = WithEnergy(Linear(2))
    >>> end = odeint(f, [1.0, 0.0, 0.0], [0.0, 1.0], HALF_TURN, rtol=1e-8, atol=1e-8)[-1]
    >>> np.allclose(end, [-1.0, 0.0, np.pi**2])              # the speed is π all along
    True
    """

    def __init__(self, f, n=None):
        self.f, self.dim, self.n_params = as_field(f), f.dim + 1, f.n_params
        self.counts = np.arange(f.dim) < as_part_of("n", n, f.dim)
        self.tstops = getattr(f, "tstops", ())
        if not has_second_derivatives(f):
            self.vjp_derivative = None

    def moving(self, velocity):
        """The velocity (..., d) with 0 for the components that do not count."""
        return np.where(self.counts, velocity, 0)

    def __call__(self, t, s, theta):
        return self.with_square(self.f(t, s[..., :-1], theta))

    def with_square(self, f):
        """[f, |f|²] for a velocity f (..., d)."""
        return beside(f, np.sum(self.moving(f) * f, axis=-1))                      # (32.7)

    def change(self, f, df):
        """How [f, |f|²] changes, (..., d + 1), if f changes by df (..., d)."""
        return beside(df, 2 * np.sum(self.moving(f) * df, axis=-1))                # (32.8)

    def vjp(self, t, s, theta, a):
        return self.value_and_vjp(t, s, theta)[1](a)

    def value_and_vjp(self, t, s, theta):
        f, vjp = self.f.value_and_vjp(t, s[..., :-1], theta)

        def product(a):
            alpha, gamma = a[..., :-1], a[..., -1:]
            to_y, to_theta = vjp(alpha + 2 * gamma * self.moving(f))               # (32.9)
            return beside(to_y, 0), to_theta                                       # (32.9)
        return self.with_square(f), product

    def jvp(self, t, s, theta, w, dtheta):
        y = s[..., :-1]
        return self.change(self.f(t, y, theta), self.f.jvp(t, y, theta, w[..., :-1], dtheta))

    def columns(self, t, y, theta, of_f):
        """The matrix (..., d + 1, k) whose columns are the changes by the columns of `of_f` (..., d, k)."""
        f = self.f(t, y, theta)[..., None, :]
        return np.swapaxes(self.change(f, np.swapaxes(of_f, -1, -2)), -1, -2)

    def jacobian(self, t, s, theta):
        y = s[..., :-1]
        return beside(self.columns(t, y, theta, state_jacobian(self.f, t, y, theta)), 0)

    def param_jacobian(self, t, s, theta):
        y = s[..., :-1]
        return self.columns(t, y, theta, self.f.param_jacobian(t, y, theta))

    def time_derivative(self, t, s, theta):
        y = s[..., :-1]
        return self.change(self.f(t, y, theta), self.f.time_derivative(t, y, theta))

    def vjp_derivative(self, t, s, theta, a, w, dtheta):
        y, w, alpha, gamma = s[..., :-1], w[..., :-1], a[..., :-1], a[..., -1:]
        f, df = self.f(t, y, theta), self.f.jvp(t, y, theta, w, dtheta)
        by_y, by_theta = self.f.vjp_derivative(t, y, theta, alpha + 2 * gamma * self.moving(f), w, dtheta)
        more_y, more_theta = self.f.vjp(t, y, theta, 2 * gamma * self.moving(df))  # the cotangent changes too
        return beside(by_y + more_y, 0), by_theta + more_theta


def energies(f, y0, t, theta, **solver):
    """∫ |f|² dt (...) of each path from y0 (..., d) at t[0] to t[-1], and ∫ |f − m|² dt (...), by (32.6).

    f is a `VectorField`, t (N,), theta (p,). `solver` are the keywords of `solve`. ValueError or TypeError
    for unusable input.

    >>> from minode import Linear
    >>> energies(Linear(1), [[3.0], [1.0]], [0.0, 1.0], np.zeros(1))     # nothing moves
    (array([0., 0.]), array([0., 0.]))
    """
    t = as_span(t)
    s = odeint(WithEnergy(f), augmented(y0), t, theta, **solver)
    e, moved = s[-1, ..., -1], s[-1, ..., :-1] - s[0, ..., :-1]
    return e, e - np.sum(moved**2, axis=-1) / (t[-1] - t[0])                       # (32.6)
