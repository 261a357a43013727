"""21. Second derivatives

The gradient of a loss is a map from (y₀, θ) to (dL/dy₀, dL/dθ). Its derivative along a direction
v = (v_y, v_θ) is the product of the Hessian H with v, a vector as long as the gradient:

    H v = d/dε ∇L(y₀ + ε v_y, θ + ε v_θ)   at ε = 0.

It costs about as much as a few gradients. The Hessian itself would cost such a product for each
component of y₀ and θ. Newton's method needs H v, and so do standard errors. To find it we
differentiate what chapters 18 and 20 compute, line by line. In this chapter a dot over a letter
is the derivative along v: ẏ is how y moves when (y₀, θ) moves along v.

Forwards, this is the tangent system (chapter 16). Beside y_n, Y_i and k_i we compute

    ẏ_n = w_n,     Ẏ_i = w_n + Σ_j a_ij h k̇_j,     k̇_i = f_y Ẏ_i + f_θ v_θ.

Backwards, differentiate (18.1) to (18.4). (18.1) and (18.3) are linear in the cotangents with
constant coefficients, so they keep their form, with a dot on every cotangent. (18.2) and (18.4)
gain a term, because f_y and f_θ change too:

    (Ȳ_i)˙ = (k̄_i)˙ f_y + k̄_i (f_yy Ẏ_i + f_yθ v_θ),                     (21.1)
    ḃ_n = ḃ_{n+1} + Σ_i ( (k̄_i)˙ f_θ + k̄_i (f_θy Ẏ_i + f_θθ v_θ) ).      (21.2)

f_yy Ẏ_i is the change of the matrix f_y along Ẏ_i, f_yθ v_θ that along v_θ, and so on. So the two
terms with a bracket are the derivative of the vector-Jacobian product along (Ẏ_i, v_θ) with its
cotangent held fixed. The field gives it as `VectorField.vjp_derivative`. Nowhere else is a second
derivative of the field needed. So `reverse_step` of chapter 18 takes back the pair (a, ȧ) just as
it takes back a, if it is given a product of pairs in place of the vjp. The loss has a second
derivative as well: its gradient ∂L/∂y(t_i) moves with the states, and the reader's loss(ys, ws)
says how. At the start, (20.1) with dots is

    H v = ( ȧ(t₀⁺) + (∂L/∂y(t₀))˙,  ḃ(t₀) ).                             (21.3)

The times. dL/dt is a sum of products of a cotangent with f_t or with a velocity, (18.7) to
(18.9). By the product rule each of them changes along v by two terms. f_t itself changes by
f_ty w + f_tθ v_θ. We have no formula for this, and take the complex step (22.3).

The steps are those that the solver accepted for y, held fixed as in chapter 18. σ'' of relu and
leaky_relu is zero wherever it exists. Their curvature sits in the kinks, and this product does
not see it.

Figure 27 shows Newton's method with H v, beside gradient descent.

Next: how to find out whether any of this is right (chapter 22).
"""

import numpy as np

from ..inputs import as_loss_value, as_point, as_real, as_twice, check_loss, check_second, read_only
from ..solvers.dense import dense_output
from ..solvers.solve import KEYWORDS, find_method, run
from ..solvers.tableaus import Tableau
from .discrete import output_cotangents, reverse_step
from .pullback import Gradients, finite, in_precision
from .step_times import StepEnds, add_outputs, add_steps, moving_ends
from .tangent import tangent_rhs

TINY = 1e-30            # of a complex step, which subtracts nothing


def hessian_vector_product(loss, f, y0, t, theta, v_y0, v_theta, **solver):
    """H v (21.3) for the discrete gradient, as `Gradients` (its .t is the change of dL/dt_i).

    loss(ys, ws) -> (L, dL_dys, the derivative of dL_dys along ws), the last two of the shape of ys. ys and ws are
    (N, ..., d). f is a `VectorField`, y0 (..., d), t (N,), theta (p,). v_y0 has the shape of y0, v_theta that of
    theta. `solver` are the keywords of `solve`, with an explicit Runge–Kutta method. ValueError or TypeError for
    unusable input, SolverError if the solve fails. Pearlmutter (1994).

    >>> from minode import LotkaVolterra
    >>> theta, t = np.array([0.5, 0.05, 0.8, 0.02]), np.linspace(0.0, 2.0, 5)
    >>> def loss(ys, ws): return 0.5 * np.sum(ys**2), ys, ws
    >>> Hv = hessian_vector_product(loss, LotkaVolterra(), [30.0, 4.0], t, theta, [1.0, 0.0], 0 * theta)
    >>> Hv.y0.shape, Hv.theta.shape
    ((2,), (4,))
    """
    y0, theta = as_point(as_twice(f), y0, theta)
    v_y0 = as_real("v_y0", v_y0, y0.shape).astype(y0.dtype)
    v_theta = as_real("v_theta", v_theta, theta.shape).astype(theta.dtype)
    check_loss(loss, "loss(ys, ws) -> (L, dL_dys, its derivative along ws)")
    method = find_method(solver.get("method", "dopri5"))
    check_second(method, isinstance(method, Tableau), solver, KEYWORDS)
    first = run(f, y0, t, theta, [], **solver)
    times, ys, ws, tape = states_and_tangents(f, first, y0, theta, v_y0, v_theta, method)
    _, dL_dys, dL_dys_dot = as_loss_value(loss(read_only(ys), read_only(ws)), "(L, dL_dys, its derivative along ws)")
    g, g_dot = as_real("dL_dys", dL_dys, ys.shape), as_real("its derivative", dL_dys_dot, ys.shape)
    with np.errstate(all="ignore"):                                        # an overflow is a SolverError
        pairs = first.solution._replace(ys=np.stack([ys, ws], axis=1))
        ends = StepEnds(PairField(f, v_theta, y0.shape), pairs, theta, np.stack([g_dot, g], axis=1),
                        moving_ends(method, solver.get("step_size")))
        pairs_of_g = np.stack([g, g_dot], axis=1)                          # but `ends` takes (ċ, c)
        a_dot, b_dot = backward_pass_of_pairs(f, tape, method, theta, v_theta, times, pairs_of_g, ends)
        Hv = Gradients(y0=a_dot + g_dot[0], theta=b_dot, t=ends.gradient())        # (21.3)
        Hv = in_precision(Hv, y0, theta)
    return finite(Hv, first.solution)


def states_and_tangents(f, first, y0, theta, v_y0, v_theta, method):
    """The times, ys and ws, and the tape of the pair (y, w) along the steps of a first solve of y alone."""
    times, grid = first.problem.t, np.array([step[0] for step in first.tape] + [first.problem.t[-1]])
    if len(times) == 1:
        return times, y0[None], v_y0[None], []
    rhs, tape = tangent_rhs(f), []
    pair = run(lambda t, state, theta: rhs(t, state, theta, v_theta), (y0, v_y0), times, theta, tape, method=method,
               grid=grid, max_steps=len(grid))
    return times, *pair.solution.ys, tape


class PairField:
    """The field of the pair (y, w), states (..., 2, *shape of y): f and f_y w + f_θ v_θ, and their f_t.

    A number c · x, with c a cotangent, changes along v by ċ · x + c · ẋ. If `StepEnds` is told of the pairs (ċ, c) in
    place of c and (x, ẋ) in place of x, it gathers just that, the change of dL/dt. The change of f_t is found by a
    complex step along (w, v_θ).
    """

    def __init__(self, f, v_theta, shape):
        self.f, self.v_theta, self.shape = f, v_theta, shape

    def at(self, t, pair):
        """(t, y, w)."""
        d = len(self.shape)
        return np.take(t, 0, axis=-d) if np.ndim(t) else t, *np.moveaxis(pair, -1 - d, 0)

    def pair(self, x, x_dot):
        return np.stack([x, x_dot], axis=-1 - len(self.shape))

    def __call__(self, t, pair, theta):
        t, y, w = self.at(t, pair)
        return self.pair(self.f(t, y, theta), self.f.jvp(t, y, theta, w, self.v_theta))

    def time_derivative(self, t, pair, theta):
        t, y, w = self.at(t, pair)
        moved = self.f.time_derivative(t, y + 1j * TINY * w, theta + 1j * TINY * self.v_theta)
        return self.pair(self.f.time_derivative(t, y, theta), np.imag(moved) / TINY)


def swapped(pair):
    """(ċ, c) from (c, ċ), the halves of the last axis."""
    return np.roll(pair, pair.shape[-1] // 2, axis=-1)


def backward_pass_of_pairs(f, tape, tableau, theta, v_theta, times, g, ends):
    """ȧ (..., d) at the first state and ḃ (p,), from the tape of (y, w).

    g (M, 2, ..., d) are the cotangents of the outputs and their derivatives along v.
    """
    table, shape, p, flat = dense_output(tableau), g.shape[2:], len(theta), g.reshape(len(g), -1)
    t, h = (np.array([step[i] for step in tape]) for i in (0, 1))
    to_a, inside = output_cotangents(t, h, table, times, flat)
    a, b = np.zeros(flat.shape[1]) + to_a.get(len(tape), 0.0), np.zeros(2 * p)
    ends.begin(t, swapped(a))
    for n in inside:
        add_outputs(ends, table, n, tape[n], times, swapped(flat))
    for n, (t, h, y, hK) in reversed(list(enumerate(tape))):
        s = len(table.P) if n in inside else tableau.used
        stages = (y + table.A[:s, :s] @ hK[:s]).astype(y.dtype, copy=False).reshape(s, 2, *shape)    # Y_i and Ẏ_i
        products = [pair_product(f, t + table.c[i] * h, Y, Y_dot, theta, v_theta)
                    for i, (Y, Y_dot) in enumerate(stages)]
        bars = np.empty((2, s, a.size))
        a, b = reverse_step(table, h, products, a, b, inside.get(n), bars)
        a, k_bar = a + to_a.get(n, 0.0), swapped(bars[0])
        ends.visit([t], [swapped(a)])
        add_steps(ends, table, [n], stages[:, None], k_bar[:, None], np.array([np.vdot(k_bar, hK[:s] / h)]))
    return a.reshape(2, *shape)[1], b[p:]


def pair_product(f, t, Y, Y_dot, theta, v_theta):
    """A function (k̄, k̄˙) -> (Ȳ, Ȳ˙) and what b and ḃ gain, all flat, at a stage Y that moves along Y_dot."""
    def product(pair):
        k_bar, k_bar_dot = pair.astype(Y.dtype, copy=False).reshape(2, *Y.shape)
        Y_bar, k_bar_f_theta = f.vjp(t, Y, theta, k_bar)
        k_bar_dot_f_y, k_bar_dot_f_theta = f.vjp(t, Y, theta, k_bar_dot)
        k_bar_f_yy, k_bar_f_thetay = f.vjp_derivative(t, Y, theta, k_bar, Y_dot, v_theta)    # the two brackets
        Y_bar_dot = k_bar_dot_f_y + k_bar_f_yy                                     # (21.1)
        b_dot = k_bar_dot_f_theta + k_bar_f_thetay                                 # (21.2)
        return np.concatenate([Y_bar.ravel(), Y_bar_dot.ravel()]), np.concatenate([k_bar_f_theta, b_dot])
    return product
