"""6. Euler's method and the classical Runge–Kutta method

A residual network adds to its state, layer after layer, what each layer computes:
y_i = y_{i−1} + f_{i−1}(y_{i−1}). Give the layers times t_i, and multiply what a layer adds by
the time h since the layer before it:

    y_i = y_{i−1} + h f(t_{i−1}, y_{i−1}),     h = t_i − t_{i−1}.        (6.1)

This is Euler's method for y' = f(t, y). As the grid is refined, the states of the layers
approach the solution

    y(t) = y₀ + ∫ f(τ, y(τ)) dτ   from t₀ to t.

The factor h is essential. If we only add more layers, and each adds as much as before, the
states do not approach the solution of any differential equation.

Existence. When is there exactly one solution to approach? If f is continuous in t and
Lipschitz in y (chapter 3), there is exactly one, near t₀ (Picard and Lindelöf). Neither
"Lipschitz" nor "near" may be left out. The field y' = √|y| is continuous but not Lipschitz
at 0. From y = 0 it is solved both by staying at 0 and by t²/4. The field y' = y² is Lipschitz
near each point, but its slope 2y has no bound. Its solution from y₀ > 0 at t = 0 is
1/(1/y₀ − t), which tends to infinity as t tends to 1/y₀. A network with Lipschitz activations
is Lipschitz everywhere (4.7), so its solution exists for all time.

The error of one step. Expand the solution at t_{i−1}: y(t_i) = y + h y' + h²/2 y'' + …. Euler's
step keeps the first two terms. If it starts on the solution, it therefore ends at most C h²
away from it, with C = max |y''|/2. This is called the local error.

The error of all steps. Only the first step starts on the solution. Let e_i be the distance
of y_i from y(t_i), and let K be the Lipschitz constant of f. Compare the Euler step from
y_{i−1} with the Euler step from y(t_{i−1}). They start e_{i−1} apart, and their velocities
differ by at most K e_{i−1}, so they end at most (1 + hK) e_{i−1} apart. The step from
y(t_{i−1}) ends at most C h² from the solution. Together,

    e_i ≤ (1 + hK) e_{i−1} + C h².

Begin with e₀ = 0 and insert this n times, for n equal steps of length h = T/n. The sum is
geometric, and 1 + x ≤ e^x, so

    e_n ≤ C h² (1 + (1 + hK) + … + (1 + hK)^{n−1}) = C h² ((1 + hK)^n − 1)/(hK) ≤ C h (e^{KT} − 1)/K.

This is Gronwall's inequality for steps. It says two things. There are T/h local errors, so
one power of h is lost when they add up. And on its way to the end each of them can grow by a
factor of at most e^{KT}, because nearby solutions may move apart. A method has order p if its
error at the end is at most a constant times h^p. Euler's method has order one.

The argument needs only two properties of a method. Its local error is at most C h^{p+1}; if
p ≥ 1 the method is called consistent. And what it adds to y, divided by h, is Lipschitz in y.
Then it is convergent: its error tends to 0 with h, like h^p. From now on we look at one step only.

The classical method evaluates f four times. It combines the values so that the local error
is of the size of h⁵, and has order four:

    k₁ = f(t_{i−1},       y_{i−1})                                       (6.2)
    k₂ = f(t_{i−1} + h/2, y_{i−1} + h/2 k₁)                              (6.3)
    k₃ = f(t_{i−1} + h/2, y_{i−1} + h/2 k₂)                              (6.4)
    k₄ = f(t_{i−1} + h,   y_{i−1} + h k₃)                                (6.5)
    y_i = y_{i−1} + h/6 (k₁ + 2k₂ + 2k₃ + k₄)                            (6.6)

Chapter 7 says how its order is proved. If f depends on t alone, y is an integral, and (6.6) is
Simpson's rule for it. (Kutta 1901; Hairer, Nørsett and Wanner, Solving Ordinary Differential
Equations I, sections II.1 and II.3.)

A worked example: y' = y, y(0) = 2, 100 steps to t = 10, so h = 0.1. An Euler step multiplies
y by 1 + h, so y₁₀₀ = 2 · 1.1¹⁰⁰ = 27561.22. The solution is 2e¹⁰ = 44052.93, and Euler's method
is 37.4 % below it. We could have predicted this: ln(1 + h) ≈ h − h²/2, so (1 + h)^{T/h} ≈
e^{T − hT/2}, and e^{−1/2} − 1 = −39 %. A Runge–Kutta step multiplies y by 1 + h + h²/2 + h³/6
+ h⁴/24. Its result, 44052.594, is wrong by eight parts in a million.

A mistake to know: k₄ belongs at t_{i−1} + h. Suppose that `t` in the code is already the new
time. Then `t + h` puts k₄ one whole step too late. On y' = y nothing shows, because f does
not depend on t; on y' = y cos t the order drops from four to one. That is why the tests
measure the order of a method on problems that depend on t.

Figure 48 shows one step of either method. Figure 1 shows (6.1), figure 2 shows (6.1) and (6.6) on
the worked example, and figure 3 the late k₄. Figure 4 shows (6.6) on a network, figure 11 the two
fields above, and figure 35 what the error of (6.1) does to a field that is learnt with it.
Next: both methods, and all others, as tables of numbers (chapter 7).

Exercises. 1. Predict, then run: solve y' = 5t⁴ from y(0) = 0 to t = 1 by `odeint_rk4` in n
steps. What exactly is the error? 2. Break this line: give the four k in (6.6) equal weights
h/4. Which order is left?
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
    """The states at t, each computed from the one before by step(f, t, h, y)."""
    problem = initial_value_problem(f, y0, t)
    times = problem.t.tolist()
    ys = np.empty((len(times), problem.y.size), problem.y.dtype)
    ys[0] = problem.y
    with np.errstate(all="ignore"):                          # an overflow raises the SolverError below
        for i in range(1, len(times)):
            h = times[i] - times[i - 1]
            ys[i] = step(problem.f, times[i - 1], h, ys[i - 1]) if h else ys[i - 1]
            if not np.isfinite(ys[i]).all():
                raise SolverError(
                    f"the state is no longer finite after the step from t = {times[i - 1]} to {times[i]}",
                    times[i - 1], Solution(problem.t[:i], problem.unflatten(ys[:i])))
    return problem.unflatten(ys)
