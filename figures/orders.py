"""Figure 12. The order of every method, observed

A driven pendulum, x'' = −sin x − x'/5 + cos t from x = 1.5 at rest, is neither linear nor
autonomous, and its Jacobian is not symmetric: nothing in it hides a mistake in a table.
Every method of the book solves it to t = 6 in equal steps, the adaptive ones too, and is
compared at each of them with dop853 on 1,024 steps. The figure shows (9.3) for the
explicit methods, (13.1) for the implicit and (14.1), (14.2) and (14.3) for the reversible
ones, and of each the order that chapter 7 proves from its table. The slope beside a name
is taken over the three smallest errors above 5e-13, below which round-off is seen.

Caption. The largest error against the step size, for all 23 methods by name and for
reversible("rk4"), a colour for each order; beside the name the slope. It is the order of the
method to within 0.1 everywhere but for fehlberg45, 4.16, and dop853, 8.18: their leading error
is small, and near round-off higher ones still have a share. heun_euler at fixed steps is heun.
"""

import numpy as np

from minode import methods, odeint, reversible

from . import style

SECONDS = 2.5
SIZE = (8.0, 6.6)
END, Y0, DAMPING = 6.0, np.array([1.5, 0.0]), 0.2
REFERENCE = 1024
ROUND_OFF = 5e-13                           # errors below this are not counted in a slope
FAMILIES = {
    "explicit": ("euler", "midpoint", "heun", "rk4", "rk38"),
    "explicit pairs": ("heun_euler", "bosh3", "fehlberg45", "cash_karp", "dopri5", "tsit5", "dop853"),
    "implicit": ("implicit_euler", "implicit_midpoint", "trapezoid", "radau3", "gauss4", "radau5", "gauss6"),
    "implicit pairs, and reversible": ("trbdf2", "kvaerno5", "asynchronous_leapfrog", "reversible_heun",
                                       "reversible(rk4)"),
}
COLOURS = {1: style.PURPLE, 2: style.GREEN, 3: style.GREY, 4: style.BLUE, 5: style.VERMILION, 6: style.SKY,
           8: style.BLACK}
LOOKS = ("o-", "s--", "^:")


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) - DAMPING * y[1] + np.cos(t)])


def jacobian(t, y):
    return np.array([[0.0, 1.0], [-np.cos(y[0]), -DAMPING]])


def states(method, n):
    """The states after 0, 1, ..., n equal steps."""
    return odeint(pendulum, Y0, np.linspace(0.0, END, n + 1), method=method, step_size=END, jacobian=jacobian)


def find(name):
    return methods[name] if name in methods else reversible("rk4")


def compute():
    exact, data = states("dop853", REFERENCE), {}
    for title, names in FAMILIES.items():
        for name in names:
            method = find(name)
            n = 2 ** np.arange(3, 8 if "implicit" in title and method.order > 1 else 10)
            away = [states(method, k) - exact[::REFERENCE // k] for k in n]
            error = np.array([np.linalg.norm(distances, axis=1).max() for distances in away])
            counted = np.flatnonzero(error > ROUND_OFF)[-3:]
            data[name] = {"h": END / n, "error": error, "order": method.order,
                          "slope": style.slope(END / n[counted], error[counted])}
    return data


def draw(fig, data):
    axes = fig.subplots(2, 2, sharex=True, sharey=True).ravel()
    for ax, (title, names) in zip(axes, FAMILIES.items()):
        looks, labels = {}, []
        for name in names:
            row = data[name]
            order = row["order"]
            look = looks[order] = looks.get(order, -1) + 1
            ax.loglog(row["h"], np.maximum(row["error"], 1e-15), LOOKS[look], color=COLOURS[order], lw=1.3,
                      mfc=COLOURS[order] if look == 0 else "white")
            labels.append((row["error"][0], f"{name} {row['slope']:.2f}", COLOURS[order]))
        ax.set(title=title, ylim=(1e-15, 1e4), xlim=(0.009, 0.9))       # room for the labels
        ax.minorticks_off()
        style.end_labels(ax, row["h"][0], labels, gap=0.078, space=0.05, size=10)
    for ax in axes[2:]:
        ax.set_xlabel("step size $h$")
    for ax in axes[::2]:
        ax.set_ylabel("largest error")
