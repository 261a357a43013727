"""Figure 9. Only the discrete gradient is the gradient of what was computed

The loss is ½ Σ |y(t_i)|² over t = 0.5, 1, 1.5, 2, for the model of figure 4 with tanh in
place of its LeakyReLU, so that orders can be seen. Three things may be called its
gradient in (y₀, θ): that of the ODE's solution, here from SciPy's DOP853 on the
sensitivities (16.2) in all 46 directions, to 1e-13; that of the numbers the solver
computed, which the routes discrete, checkpoint and reversible give and the complex step
(22.3) confirms; and what comes of solving the adjoint equation backwards with the same solver,
y solved back with it (backsolve) or read from its dense output (interpolate). The figure
shows (18.1) to (18.4), (19.1), (19.4) and (17.2) to (17.4), all by way of (20.1).

Caption. Only the discrete gradient is the gradient of the number that was computed: at every step
size it agrees with a complex step to round-off (blue), as checkpoint and reversible do. The
adjoint equation solved backwards (vermilion) differs from it by the error of the solver.

Numbers. The discrete gradient and the complex step differ by less than 1e-14, relative to the size
of the gradient; so do discrete and checkpoint, and discrete and reversible. The slopes of the
distance between backsolve and discrete are −1.03 for Euler, −3.99 for RK4 and −3.99 for
reversible("rk4"). From the gradient of the ODE's solution both are about equally far, 0.36 and
0.52 with 4 Euler steps, 1.7e-4 and 2.4e-4 with 4 RK4 steps, and they approach it with the same
order, as interpolate does.
"""

import numpy as np
from scipy.integrate import solve_ivp

from minode import MLP, odeint, reversible, value_and_gradients

from . import style
from .trajectory import THETA

SECONDS = 3
MODEL = MLP([4, 5, 3], ["tanh", "tanh"])
Y0, T = np.array([0.3, -0.2, 0.1]), np.linspace(0.0, 2.0, 5)
STEPS = np.array([4, 8, 16, 32, 64, 128])
METHODS = {"euler": "Euler", "rk4": "RK4", "reversible": 'reversible("rk4")'}
SECOND_COPY = reversible("rk4")
TINY = 1e-30
ROUND_OFF = 1e-17, 1e-14                    # the band on which the discrete gradient lies


def loss(ys):
    """½ Σ |y(t_i)|² for i ≥ 1, and its derivative."""
    weight = (np.arange(len(ys)) > 0)[:, None]
    return 0.5 * np.sum(weight * ys**2), weight * ys


def of_the_solution():
    """The gradient of the ODE's own loss: SciPy, forward sensitivities in all directions."""
    d, n = MODEL.dim, MODEL.dim + MODEL.n_params

    def rhs(t, state):
        y, S = state[:d], state[d:].reshape(d, n)
        dS = MODEL.jacobian(t, y, THETA) @ S
        dS[:, d:] += MODEL.param_jacobian(t, y, THETA)
        return np.concatenate([MODEL(t, y, THETA), dS.ravel()])

    start = np.concatenate([Y0, np.eye(d, n).ravel()])
    states = solve_ivp(rhs, T[[0, -1]], start, "DOP853", T, rtol=1e-13, atol=1e-13).y.T
    return np.einsum("id,idn->n", loss(states[:, :d])[1], states[:, d:].reshape(-1, d, n))


def by_route(route, **solver):
    """The gradient of the loss in y0 and θ, one after the other."""
    gradients = value_and_gradients(loss, MODEL, Y0, T, THETA, gradient=route, **solver)[1]
    return np.concatenate([gradients.y0, gradients.theta])


def by_complex_step(**solver):
    """The gradient of the computed loss, one imaginary step at a time."""
    gradient = []
    for step in 1j * TINY * np.eye(len(Y0) + len(THETA)):
        y0, theta = Y0 + step[:3], THETA + step[3:]
        ys = odeint(MODEL, y0, T, theta, **solver)
        gradient.append(loss(ys)[0].imag / TINY)
    return np.array(gradient)


def compute():
    exact = of_the_solution()
    size = np.linalg.norm(exact)
    data = {}
    for method in METHODS:
        frugal = "reversible" if method == "reversible" else "checkpoint"
        rows = []
        for n in STEPS:
            solver = {"method": SECOND_COPY if method == "reversible" else method, "step_size": T[-1] / n}
            discrete, backsolve = by_route("discrete", **solver), by_route("backsolve", **solver)
            differences = {"apart": backsolve - discrete, "discrete": discrete - exact,
                           "backsolve": backsolve - exact,
                           "interpolate": by_route("interpolate", **solver) - exact,
                           frugal: by_route(frugal, **solver) - discrete}
            if frugal == "checkpoint":
                differences["complex_step"] = discrete - by_complex_step(**solver)
            rows.append({name: np.linalg.norm(difference) / size for name, difference in differences.items()})
        data[method] = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        data[method]["slope"] = style.slope(T[-1] / STEPS[1:], data[method]["apart"][1:])
    return data


def draw(fig, data):
    ax = fig.subplots()
    ax.axhspan(ROUND_OFF[0], ROUND_OFF[1], color="#eeeeee", lw=0)
    labels = []
    for method, marker in (("euler", "s-"), ("rk4", "o-")):
        row, name = data[method], METHODS[method]
        ax.loglog(STEPS, row["apart"], marker, color=style.ROUTE["backsolve"])
        ax.loglog(STEPS, row["complex_step"], marker, color=style.ROUTE["discrete"], lw=1)
        labels.append((row["apart"][-1], f"{name}: adjoint equation\nsolved backwards,\n"
                                         f"slope −{row['slope']:.2f}", style.ROUTE["backsolve"]))
    labels.append((np.sqrt(np.prod(ROUND_OFF)), "Euler (squares), RK4 (dots):\ndiscrete gradient",
                   style.ROUTE["discrete"]))
    ax.text(STEPS[0], 0.75 * ROUND_OFF[1], "round-off", color=style.ink(style.GREY), va="top")
    ax.set(xlabel="steps from 0 to 2", ylim=(ROUND_OFF[0], 10), xticks=STEPS, xticklabels=STEPS,
           ylabel="relative distance", title="distance from the derivative of the computed loss")
    ax.minorticks_off()
    style.end_labels(ax, STEPS[-1], labels, gap=0.2, space=0.02)
