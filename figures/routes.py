"""Figure 26. For the same error the discrete gradient costs least, the reversible one most

The gradient of ½ Σ |y(t_i)|² at four times up to 2, in y₀ and θ, of a network 9–64–8 with
tanh on 8 trajectories, by all routes of chapter 20. The cost is counted in calls of f and of
its vector-Jacobian product, there and back. The error is the distance from the gradient of
the solution, for which the discrete gradient of dop853 at 1e-13 stands in. The figure
shows (20.1) on top of (18.1) to (18.4), (19.1), (19.4), (17.2) and (17.3).

Caption. With equal steps (right) all routes have about the same error and differ in cost: checkpoint,
backsolve and interpolate call f and its products about 1.5 times as often as discrete, reversible 4
times. With dopri5 (left) backsolve and interpolate cost more: their norm has the cotangent in it, and
they start anew at each output.

Numbers. Left: dopri5 with tolerances from 1e-2 to 1e-10; the lines are not straight because a number of
steps is whole. For a relative error of 1e-8 discrete takes 116 calls, checkpoint 175, backsolve 284 and
interpolate 251. Right: RK4, 1 to 32 steps between two outputs, and for the reversible route
reversible("rk4"). For 1e-8 they take 194, 291, 277 and 272, reversible 776. Discrete and checkpoint have
the same error throughout; with equal steps no route's is more than 1.9 times another's.
"""

import numpy as np

from minode import MLP, VectorField, reversible, value_and_gradients

from . import style
from .work_precision import calls_for

SECONDS = 2
TOLERANCES = 10.0 ** -np.arange(2, 11)
STEPS = 2 ** np.arange(6)                  # between two outputs
ROUTES = {route: (style.ROUTE[route], marker) for route, marker in (
    ("discrete", "s"), ("checkpoint", "o"), ("reversible", "^"), ("backsolve", "v"), ("interpolate", "D"))}
CALLS = {"dopri5": (30, 100, 300), "RK4, equal steps": (30, 100, 300, 1000, 3000)}      # marked on the axes
READ_OFF = 1e-8                            # the error for which the caption gives the calls
T = np.linspace(0.0, 2.0, 5)


class Counted(VectorField):
    """A field that counts the calls of f and of its vector-Jacobian product."""

    def __init__(self, field):
        self.field, self.dim, self.n_params = field, field.dim, field.n_params
        self.calls = 0

    def __call__(self, t, y, theta):
        self.calls += 1
        return self.field(t, y, theta)

    def vjp(self, t, y, theta, a):
        self.calls += 1
        return self.field.vjp(t, y, theta, a)


def loss(ys):
    """½ Σ |y(t_i)|² for i ≥ 1, and its derivative."""
    weight = np.ones((len(ys), 1, 1))
    weight[0] = 0
    return 0.5 * np.sum(weight * ys**2), weight * ys


def compute():
    rng = np.random.default_rng(0)
    model = MLP([9, 64, 8], ["tanh", "identity"])
    theta, y0 = model.init(rng), rng.normal(size=(8, 8))

    def by_route(field, **solver):
        gradients = value_and_gradients(loss, field, y0, T, theta, times=False, **solver)[1]
        return np.concatenate([gradients.y0.ravel(), gradients.theta])

    exact = by_route(model, method="dop853", rtol=1e-13, atol=1e-13)
    data = {}
    for route in ROUTES:
        settings = {"adaptive": [{"rtol": tolerance, "atol": tolerance} for tolerance in TOLERANCES],
                    "equal": [{"method": "rk4", "step_size": T[1] / n} for n in STEPS]}
        if route == "reversible":
            settings = {"equal": [solver | {"method": reversible("rk4")} for solver in settings["equal"]]}
        for kind, solvers in settings.items():
            rows = []
            for solver in solvers:
                field = Counted(model)
                found = by_route(field, gradient=route, **solver)
                rows.append((field.calls, np.linalg.norm(found - exact) / np.linalg.norm(exact)))
            calls, errors = np.transpose(rows)
            data[route, kind] = {"calls": calls, "error": errors, "for": calls_for(READ_OFF, calls, errors)}
    return data


def draw(fig, data):
    axes = dict(zip(("adaptive", "equal"), fig.subplots(1, 2, sharey=True)))
    for (route, kind), row in data.items():
        colour, marker = ROUTES[route]
        axes[kind].loglog(row["calls"], row["error"], marker=marker, color=colour, lw=0.8)
    for ax, calls in zip(axes.values(), CALLS.values()):
        ax.minorticks_off()
        ax.set(xlabel="calls of $f$ and of its products", xticks=calls, xticklabels=[f"{n:,}" for n in calls],
               ylim=(4e-12, 1e-3))
    left, right = axes.values()
    left.set(ylabel="relative error of the gradient", title="dopri5")
    right.set_title("RK4, equal steps: same error, other cost")
    for route, x, y, ha in (("discrete", 95, 1e-9, "right"), ("checkpoint", 47, 2.5e-4, "left"),
                            ("backsolve", 150, 8e-5, "left"), ("interpolate", 150, 2e-5, "left")):
        left.text(x, y, route, color=style.ink(ROUTES[route][0]), ha=ha, va="center")
    least = data["discrete", "equal"]["for"]
    for route, x, y, ha in (("discrete", 200, 4e-9, "right"), ("checkpoint", 28, 2.5e-10, "left"),
                            ("backsolve", 28, 8e-11, "left"), ("interpolate", 28, 2.6e-11, "left"),
                            ("reversible", 420, 2e-6, "left")):
        times = data[route, "equal"]["for"] / least
        text = f"{route}: 1" if route == "discrete" else f"{route}: {times:.1f} times"
        right.text(x, y, text, color=style.ink(ROUTES[route][0]), ha=ha, va="center")
