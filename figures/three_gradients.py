"""Figure 9. One loss, three gradients

The loss is ½ Σ |y(t_i)|² over t = 0.5, 1, 1.5, 2, for the model of figure 4 with tanh in
place of its LeakyReLU, so that orders can be seen. Three things may be called its
gradient in (y₀, θ): that of the ODE's solution, here from SciPy's DOP853 on the
sensitivities (16.2) in all 46 directions, to 1e-13; that of the numbers the solver
computed, which the routes discrete, checkpoint and reversible give and the complex step
(22.3) confirms; and what comes of solving the adjoint equation backwards with the same solver,
y solved back with it (backsolve) or read from its dense output (interpolate). The figure
shows (18.1) to (18.4), (19.1), (19.4) and (17.2) to (17.4), all by way of (20.1).

Caption. Distances between the three, relative to the size of the gradient. The discrete
gradient and the complex step differ by round-off, less than 1e-14, at every step size; so do
discrete and checkpoint, and discrete and reversible. Backsolve approaches them with the
order of the method: the slopes of their distance are −1.03 for Euler, −3.99 for RK4 and −3.99
for reversible("rk4"). From the gradient of the ODE's solution both are about equally far, 0.36
and 0.52 with 4 Euler steps, 1.7e-4 and 2.4e-4 with 4 RK4 steps, and approach it with the same
order, as interpolate does. Only one is the gradient of the number that was computed.
"""

import numpy as np
from scipy.integrate import solve_ivp

from minode import MLP, odeint, reversible, value_and_gradients

from . import style
from .trajectory import THETA

SECONDS = 3
SIZE = (8.0, 4.6)
MODEL = MLP([4, 5, 3], ["tanh", "tanh"])
Y0, T = np.array([0.3, -0.2, 0.1]), np.linspace(0.0, 2.0, 5)
STEPS = np.array([4, 8, 16, 32, 64, 128])
METHODS = {"euler": "Euler", "rk4": "RK4", "reversible": 'reversible("rk4")'}
SECOND_COPY = reversible("rk4")
TINY = 1e-30


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
    axes = fig.subplots(1, 3, sharey=True)
    ring = {"marker": "o", "ms": 10, "mfc": "none", "lw": 1}
    lines = {"backsolve": ("backsolve to solution", style.ROUTE["backsolve"], ring),
             "interpolate": ("interpolate to solution", style.ROUTE["interpolate"], {"marker": "x", "ms": 7, "lw": 1}),
             "discrete": ("discrete to solution", style.ROUTE["discrete"], {"marker": "s", "ms": 4, "lw": 1}),
             "apart": ("backsolve to discrete", style.GREY, {"ls": ":"}),
             "complex_step": ("discrete to complex step", style.ROUTE["discrete"], {"marker": "D", "lw": 1}),
             "checkpoint": ("checkpoint to discrete", style.ROUTE["checkpoint"], {"marker": ".", "lw": 1}),
             "reversible": ("reversible to discrete", style.ROUTE["reversible"], {"marker": ".", "lw": 1})}
    for ax, (method, name) in zip(axes, METHODS.items()):
        for key, (label, colour, look) in lines.items():
            if key in data[method]:
                ax.loglog(STEPS, np.maximum(data[method][key], 1e-17), color=colour, label=label, **look)
        ax.set(xlabel="steps from 0 to 2", ylim=(1e-17, 10), xticks=STEPS, xticklabels=STEPS,
               title=f"{name}: slope −{data[method]['slope']:.2f}")
        ax.minorticks_off()
    axes[0].set_ylabel("relative distance")
    handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels())}
    fig.legend(handles.values(), handles, loc="outside lower center", ncols=3, title="distance from")
