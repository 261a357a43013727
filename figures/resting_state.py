"""Figure 20. Steps chosen for a state at rest are too long for its tangent, at any tolerance

x' = x − y, y' = y − x rests wherever x = y, and from (1, 1) to t = 5 the solution is (1, 1).
Its derivative is not at rest: along Δy₀ = (1, 0) the tangent is ((1 + e²ᵗ)/2, (1 − e²ᵗ)/2),
so that dx(5)/dx(0) is (1 + e¹⁰)/2 = 11013.7329. dopri5 controls the error of what it is given.
Given the state alone it sees no error at any tolerance, and each step is ten times as long
as the one before. The discrete gradient is the exact derivative of those steps, a good
answer to another question. Given (y, w), or [y, a, b], it takes the steps that these
need. The figure shows (16.2) with w in the norm (10.3), against (18.1) to (18.3) on the
steps of y alone, (17.2), and the finite differences (22.1).

Caption. A state at rest shows no error, and so dopri5 takes ever longer steps, the last 3.89 long (left).
The discrete gradient is exact for these steps, and at every tolerance it is 4,034 instead of 11,014
(right). Pushforward, backsolve and interpolate have the tangent or the cotangent in their norm, and
find the derivative.

Numbers. Left, with rtol = atol = 1e-3: 8 of them for the state alone, the last 3.89 long, and 8 for
state and tangent. Right: dx(5)/dx(0), which is 11013.7329. The discrete gradient gives 4034.0236 at
every tolerance. Central differences of the solver confirm it where ε is small beside the tolerance:
at 1e-3 to 1 % with ε = 6e-6, which is drawn, and to 1e-5 with ε = 1e-8. At 1e-8 pushforward,
backsolve and interpolate all give 11013.7332.
"""

import numpy as np

from minode import Linear, odeint, pullback, pushforward
from minode.gradients.checks import EPSILON, central_difference
from minode.gradients.tangent import tangent_rhs
from minode.solvers.solve import run

from . import style

SECONDS = 1
A, Y0, T = np.array([[1.0, -1.0], [-1.0, 1.0]]), np.ones(2), [0.0, 5.0]
FIELD, THETA, FIRST = Linear(2), A.ravel(), np.array([1.0, 0.0])
EXACT = (1 + np.exp(10)) / 2
TOLERANCES = 10.0 ** -np.arange(2, 11)
SHOWN = 1e-3
ROUTES = ("discrete", "checkpoint", "backsolve", "interpolate")
EPSILONS = {"differences": EPSILON, "fine differences": 1e-8}


def on_the_steps_of_y(tolerance):
    """The accepted times for y alone, and the tangent at them."""
    tape = run(FIELD, Y0, T, THETA, [], rtol=tolerance, atol=tolerance).tape
    times = np.array([step[0] for step in tape] + T[1:])
    return times, pushforward(FIELD, Y0, times, THETA, dy0=FIRST, method="dopri5", step_size=T[1])[1][:, 0]


def on_its_own_steps(tolerance):
    rhs = tangent_rhs(FIELD)
    done = run(lambda t, s, theta: rhs(t, s, theta, 0 * theta), (Y0, FIRST), T, THETA, [], rtol=tolerance, atol=tolerance)
    times = np.array([step[0] for step in done.tape] + T[1:])
    return times, np.array([step[2][2] for step in done.tape] + [done.solution.ys[1][-1, 0]])


def compute():
    rows = []
    for tolerance in TOLERANCES:
        solver = {"rtol": tolerance, "atol": tolerance}
        row = {route: pullback(FIELD, Y0, T, THETA, FIRST, gradient=route, **solver).y0[0]
               for route in ROUTES}
        row["pushforward"] = pushforward(FIELD, Y0, T, THETA, dy0=FIRST, **solver)[1][-1, 0]
        for name, epsilon in EPSILONS.items():
            row[name] = central_difference(lambda x: odeint(FIELD, [x, 1.0], T, THETA, **solver)[-1, 0], 1.0, 1.0,
                                           epsilon)
        rows.append(row)
    return {"values": {name: np.array([row[name] for row in rows]) for name in rows[0]},
            "y alone": on_the_steps_of_y(SHOWN), "pair": on_its_own_steps(SHOWN)}


def draw(fig, data):
    path, ax = fig.subplots(1, 2)
    t = np.linspace(*T, 200)
    path.semilogy(t, (1 + np.exp(2 * t)) / 2, color=style.PALE, lw=6)
    path.semilogy(*data["y alone"], "s-", color=style.ROUTE["discrete"], ms=6)
    path.semilogy(*data["pair"], ".-", color=style.W, lw=1, ms=7)
    times = data["y alone"][0]
    path.annotate("", (times[-2], 0.85), (times[-1], 0.85), arrowprops={
        "arrowstyle": "<->", "color": style.ROUTE["discrete"], "shrinkA": 0, "shrinkB": 0})
    path.text(times[-2:].mean(), 1.05, f"one step, $h = {times[-1] - times[-2]:.1f}$",
              color=style.ink(style.ROUTE["discrete"]), ha="center")
    path.text(5.0, 30, "steps for\n$y$ alone", color=style.ink(style.ROUTE["discrete"]), ha="right", va="bottom")
    path.text(3.15, 2200, "steps for $(y, w)$", color=style.ink(style.W), ha="right")
    path.text(2.2, 110, "exact", color=style.ink(style.GREY), ha="right")
    path.set(xlabel="time $t$", ylabel="$w_1 = \\partial x(t) / \\partial x(0)$", ylim=(0.5, 3e4),
             title="the tangent grows, the state rests")

    values = data["values"]
    ax.axhline(EXACT, color=style.PALE, lw=6)
    ax.semilogx(TOLERANCES, values["differences"], "x-", color=style.BLACK, lw=1, ms=6)
    for name, colour, width in (("backsolve", style.ROUTE["backsolve"], 4),
                                ("interpolate", style.ROUTE["interpolate"], 2.2), ("pushforward", style.W, 1)):
        ax.semilogx(TOLERANCES, values[name], color=colour, lw=width)
    ax.semilogx(TOLERANCES, values["discrete"], "s-", color=style.ROUTE["discrete"], ms=6)
    ax.text(3e-10, 11900, "pushforward, backsolve, interpolate", color=style.ink(style.W), ha="right")
    ax.text(1.5e-10, 3000, "discrete, on the steps for $y$", color=style.ink(style.ROUTE["discrete"]), ha="right")
    ax.text(4e-6, 8000, "central differences", ha="left", va="center")
    ax.set(xlabel="tolerance, rtol = atol", ylabel="$dx(5)/dx(0)$", ylim=(0, 13500),
           xlim=(3e-2, 3e-11), title="no tolerance helps the discrete gradient")
