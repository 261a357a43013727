"""6. Euler's method and the classical Runge–Kutta method

A residual network adds to its state, layer after layer, what each layer computes:
y_i = y_{i−1} + f_{i−1}(y_{i−1}). Give the layers times t_i and let the residual
shrink with their distance, and it reads

    y_i = y_{i−1} + h f(t_{i−1}, y_{i−1}),     h = t_i − t_{i−1}.        (6.1)

That is Euler's method for y' = f(t, y), and as the grid is refined the layers
close in on the solution,

    y(t) = y₀ + ∫ f(τ, y(τ)) dτ   from t₀ to t.

"Let the residual shrink" is not decoration. More layers alone, with residuals
as large as before, do not tend to any differential equation.

When is there one solution to tend to? If f is continuous in t and Lipschitz in y,
exactly one, near t₀ (Picard and Lindelöf). Neither "Lipschitz" nor "near" may be
dropped: y' = √|y| from y = 0 is continuous, not Lipschitz, and is solved both by
staying at 0 and by t²/4; y' = y² is Lipschitz near each point but not globally,
and its solution from y₀ > 0 at t = 0, which is 1/(1/y₀ − t), is gone at t = 1/y₀. A
network with Lipschitz activations is Lipschitz everywhere (4.7) and has its solution
for all time.

Euler's step follows the tangent at the left end. Expand the solution at t_{i−1}:
y(t_i) = y + h y' + h²/2 y'' + …, so each step is wrong by h²/2 y'', and T/h steps
by a multiple of h: order one. The classical method evaluates f four times and weights
the values so that the expansion agrees through h⁴: order four.

    k₁ = f(t_{i−1},       y_{i−1})                                       (6.2)
    k₂ = f(t_{i−1} + h/2, y_{i−1} + h/2 k₁)                              (6.3)
    k₃ = f(t_{i−1} + h/2, y_{i−1} + h/2 k₂)                              (6.4)
    k₄ = f(t_{i−1} + h,   y_{i−1} + h k₃)                                (6.5)
    y_i = y_{i−1} + h/6 (k₁ + 2k₂ + 2k₃ + k₄)                            (6.6)

For f = f(t) alone (6.6) is Simpson's rule. (Kutta 1901; Hairer, Nørsett and
Wanner, Solving Ordinary Differential Equations I, section II.1.)

The worked example y' = y, y(0) = 2, 100 steps to t = 10, where h = 0.1. One
Euler step multiplies by 1 + h, so y₁₀₀ = 2 · 1.1¹⁰⁰ = 27561.22, against 2e¹⁰ =
44052.93. That is 37.4 % too little, about what (1 + h)^{T/h} ≈ e^{T − hT/2} predicts:
e^{−1/2} − 1 = −39 %. One Runge–Kutta step multiplies by 1 + h + h²/2 + h³/6 + h⁴/24,
and the result, 44052.594, is wrong by eight parts in a million.

The trap: k₄ belongs at t_{i−1} + h. Let `t` in a closure already be the new time,
write `t + h`, and k₄ lands one whole step too late. On y' = y nothing shows, for
f does not look at t; on y' = y cos t the order drops from four to one. That is
why the tests measure the order of a method on problems that do look at t.

Next: both methods, and all others, as tables of numbers (chapter 7).
"""

import numpy as np

from .states import Solution, SolverError, initial_value_problem


def odeint_euler(f, y0, t):
    """Euler's method (6.1), one step for each interval of t.

    f(t, y) returns dy/dt with the shape of y; y0 is an array or a tuple of
    arrays; t is (N,), sorted up or down. Returns the states at t, (N, ...), the
    first of them y0. ValueError or TypeError for unusable input, SolverError
    (with the states so far) if f turns infinite or NaN. Euler (1768).

    >>> t = np.linspace(0.0, 10.0, 101)
    >>> float(odeint_euler(lambda t, y: y, 2.0, t)[-1])            # exact: 44052.9...
    27561.22467964...
    """
    def step(f, t, h, y):
        return y + h * f(t, y)                                                     # (6.1)
    return one_step_per_interval(step, f, y0, t)


def odeint_rk4(f, y0, t):
    """The classical Runge–Kutta method (6.2)–(6.6), one step for each interval of t.

    f(t, y) returns dy/dt with the shape of y; y0 is an array (...) or a tuple of
    arrays; t is (N,). Returns the states (N, ...); errors as for `odeint_euler`, a
    ValueError, a TypeError or a SolverError. Kutta (1901).

    >>> t = np.linspace(0.0, 10.0, 101)
    >>> float(odeint_rk4(lambda t, y: y, 2.0, t)[-1])
    44052.59380175...
    """
    def step(f, t, h, y):
        k1 = f(t, y)                                                               # (6.2)
        k2 = f(t + h / 2, y + h / 2 * k1)                                          # (6.3)
        k3 = f(t + h / 2, y + h / 2 * k2)                                          # (6.4)
        k4 = f(t + h, y + h * k3)                                                  # (6.5)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)                             # (6.6)
    return one_step_per_interval(step, f, y0, t)


def one_step_per_interval(step, f, y0, t):
    """The states at t, each from the one before by step(f, t, h, y)."""
    problem = initial_value_problem(f, y0, t)
    times = problem.t.tolist()
    ys = np.empty((len(times), problem.y.size), problem.y.dtype)
    ys[0] = problem.y
    with np.errstate(all="ignore"):                          # an overflow is a SolverError
        for i in range(1, len(times)):
            h = times[i] - times[i - 1]
            ys[i] = step(problem.f, times[i - 1], h, ys[i - 1]) if h else ys[i - 1]
            if not np.isfinite(ys[i]).all():
                raise SolverError(
                    f"the state is no longer finite after the step from t = {times[i - 1]} to {times[i]}",
                    times[i - 1], Solution(problem.t[:i], problem.unflatten(ys[:i])))
    return problem.unflatten(ys)
