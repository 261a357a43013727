"""Figure 12. Every method shows the order that its table promises

A driven pendulum, x'' = −sin x − x'/5 + cos t from x = 1.5 at rest, is neither linear nor
autonomous, and its Jacobian is not symmetric: nothing in it hides a mistake in a table.
Every method of the book solves it to t = 6 in equal steps, the adaptive ones too, and is
compared at each of them with dop853 on 1,024 steps. The figure shows (9.3) for the
explicit methods, (13.1) for the implicit and (14.1), (14.2) and (14.3) for the reversible
ones, and of each the order that chapter 7 proves from its table. The slope beside a name
is taken over the three smallest errors above 5e-13, below which round-off is seen.

Caption. The error of all methods by name and of reversible("rk4") falls with the slope of their
order (grey). Beside a name stands the measured slope. It is the order to within 0.1, except for
fehlberg45 and dop853: their leading error is small, so that higher orders still have a share
near round-off.

Numbers. There are 23 methods by name. The slope of fehlberg45 is 4.16, that of dop853 8.18. heun_euler
at fixed steps is heun.
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
PANELS = {f"order {order}": (order,) for order in range(1, 6)} | {"orders 6 and 8": (6, 8)}
COLOURS = {"explicit": style.BLUE, "implicit": style.VERMILION, "reversible": style.BLACK}
LOOKS = ("o-", "s--", "^:", "v-.")


def pendulum(t, y):
    return np.array([y[1], -np.sin(y[0]) - DAMPING * y[1] + np.cos(t)])


def jacobian(t, y):
    return np.array([[0.0, 1.0], [-np.cos(y[0]), -DAMPING]])


def states(method, n):
    """The states after 0, 1, ..., n equal steps."""
    return odeint(pendulum, Y0, np.linspace(0.0, END, n + 1), method=method, step_size=END, jacobian=jacobian)


def kind_of(name):
    """explicit, implicit or reversible."""
    explicit = [*FAMILIES["explicit"], *FAMILIES["explicit pairs"]]
    return "explicit" if name in explicit else "implicit" if hasattr(find(name), "A") else "reversible"


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
    axes = fig.subplots(2, 3, sharex=True, sharey=True).ravel()
    for ax, (title, orders) in zip(axes, PANELS.items()):
        names = [name for name in data if data[name]["order"] in orders and name != "heun_euler"]
        names.sort(key=lambda name: -data[name]["error"][0])                # the highest line first
        h, middle = np.array([0.012, 0.75]), names[(len(names) - 1) // 2]
        for order in orders:
            row = data[middle if len(orders) == 1 else next(name for name in names if data[name]["order"] == order)]
            guide = row["error"][2] * (h / row["h"][2]) ** order
            ax.loglog(h, guide, color="#dedede", lw=9, zorder=1, solid_capstyle="butt")
        seen = {}
        for name in names:
            row, kind = data[name], kind_of(name)
            look = LOOKS[seen.setdefault(kind, 0) % len(LOOKS)]
            seen[kind] += 1
            counted = row["error"] > ROUND_OFF
            ax.loglog(row["h"][counted], row["error"][counted], look, color=COLOURS[kind], lw=1.1, ms=4, mfc="white")
        style.key(ax, {f"{'heun, heun_euler' if name == 'heun' else name} {data[name]['slope']:.2f}":
                       COLOURS[kind_of(name)] for name in names}, "lower left", size=9)
        ax.set(title=title, ylim=(1e-13, 1e2), xlim=(0.009, 0.9), xticks=(0.01, 0.1), xticklabels=("0.01", "0.1"))
        ax.minorticks_off()
    axes[0].invert_xaxis()
    style.key(axes[0], COLOURS, (0.35, 0.62), size=10)
    for ax in axes[3:]:
        ax.set_xlabel("step size $h$")
    for ax in axes[::3]:
        ax.set_ylabel("largest error")
