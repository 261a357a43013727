"""Figure 90. Speed, side by side

Times of this book's solvers and gradients beside those of other libraries, measured in turns in one
run, on one thread pinned to one core, in float64. Each ratio is the median over the rounds of the times of that round; the times of
JAX leave out its compiling, which is given beside them. Printed as tables and drawn as
ratios; shows (9.1), (12.1), (18.1). Beside them the time that NumPy and the others take for tanh, on
which the networks spend much of theirs.

Caption. Time of the others over the time of minode, on a logarithmic scale: blue bars, to the
right of 1, are slower than minode, the others faster. The numbers depend on the machine and
on what else it does; draw the figure to have yours.
"""

import math
import os
import sys
import time
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

from minode import MLP, odeint, value_and_gradients

from . import _peers, style

SECONDS = 90
ON_REQUEST = True
SIZE = (8.0, 9.0)
ROUNDS = 15

THETA = (0.55, 0.028, 0.80, 0.024)
MU = 0.012277471
PERIOD = 17.0652165601579625588917206249


def lotka_volterra(t, y):
    alpha, beta, gamma, delta = THETA
    return np.array([(alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]])


def lotka_volterra_rows(t, y):
    alpha, beta, gamma, delta = THETA
    dy, prey, predator = np.empty_like(y), y[:, 0], y[:, 1]
    dy[:, 0] = (alpha - beta * predator) * prey
    dy[:, 1] = (delta * prey - gamma) * predator
    return dy


def arenstorf(t, y):
    x, z, vx, vz = y
    d1, d2 = ((x + MU) ** 2 + z**2) ** 1.5, ((x - 1 + MU) ** 2 + z**2) ** 1.5
    return np.array([vx, vz, x + 2 * vz - (1 - MU) * (x + MU) / d1 - MU * (x - 1 + MU) / d2,
                     z - 2 * vx - (1 - MU) * z / d1 - MU * z / d2])


def wide_field(rng):
    W, b = rng.normal(size=(64, 64)) * 1.5 / 8, rng.normal(size=64)
    return lambda t, y: np.tanh(W @ y + b * math.cos(t))


class Work(NamedTuple):
    """A gradient to compute: the loss is Σ weights · ys²."""

    name: str
    f: MLP
    theta: np.ndarray
    y0: np.ndarray
    t: np.ndarray
    weights: np.ndarray
    method: str
    rtol: float = 1e-6
    atol: float = 1e-9


def workloads(rng):
    """The four workloads, from narrow and long to wide and short."""
    def work(name, f, y0, t, many, method, *tolerances):
        weights = np.ones((len(t), *y0.shape)) / y0.size
        if not many:
            weights[:-1] = 0.0
        return Work(name, f, f.init(rng), y0, t, weights, method, *tolerances)
    return [
        work("A: 4–5–3, one trajectory, 100 RK4 steps", MLP([4, 5, 3], ["leaky_relu", "tanh"]),
             rng.normal(size=3), np.linspace(0.0, 2.0, 101), False, "rk4"),
        work("B: 2–50–2, batch 20, loss on 10 times, dopri5", MLP([2, 50, 2], ["tanh", "identity"]),
             rng.normal(size=(20, 2)), np.linspace(0.0, 25.0, 1000)[:10], True, "dopri5", 1e-7, 1e-9),
        work("C: 8–64–8, batch 256, dopri5", MLP([8, 64, 8], ["tanh", "identity"]),
             rng.normal(size=(256, 8)), np.array([0.0, 2.0]), False, "dopri5", 1e-6, 1e-8),
        work("D: 64–256–64, batch 1024, 20 RK4 steps", MLP([64, 256, 64], ["tanh", "identity"]),
             rng.normal(size=(1024, 64)), np.linspace(0.0, 1.0, 21), False, "rk4"),
    ]


def in_turns(contenders, at_least=0.02, at_most=15.0):
    """{name: seconds per call in each round}, each round calling every contender in turn.

    A contender is called once and then timed; within a round it is called again until it has had
    `at_least` seconds; there are ROUNDS rounds, or fewer, but three, where they would take more than `at_most` seconds.
    """
    repeats, a_round = {}, 0.0
    for name, call in contenders.items():
        call()
        started = time.perf_counter()
        call()
        seconds = time.perf_counter() - started
        repeats[name] = max(1, int(at_least / seconds))
        a_round += seconds * (1 + repeats[name])
    rounds = int(np.clip(at_most / a_round, 3, ROUNDS))
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()                                           # which finds the caches full of the one before
            started = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - started) / repeats[name])
    return {name: np.array(seconds) for name, seconds in times.items()}


def compare(title, contenders, notes=()):
    """One table: median milliseconds of each contender, and the median of the ratios to the first."""
    times = in_turns(contenders)
    ours = next(iter(times.values()))
    rows = {name: (1e3 * np.median(seconds), np.median(seconds / ours)) for name, seconds in times.items()}
    print(f"\n{title}", file=sys.stderr)
    first = next(iter(rows)).split(",")[0]
    for name, (ms, ratio) in rows.items():
        print(f"    {name:28} {ms:9.3f} ms   {first} takes {1 / ratio:6.3f} of it", file=sys.stderr)
    for note in notes:
        print(f"    {note}", file=sys.stderr)
    return {"title": title, "rows": rows}


def solver_tables(rng):
    problems = {
        "Lotka–Volterra": (lotka_volterra, np.array([30.0, 4.0]), (0.0, 40.0)),
        "Arenstorf": (arenstorf, np.array([0.994, 0.0, 0.0, -2.00158510637908252240537862224]), (0.0, PERIOD)),
        "64-wide tanh": (wide_field(rng), rng.normal(size=64), (0.0, 10.0)),
    }
    for name, (f, y0, span) in problems.items():
        for ours, theirs in (("dopri5", "RK45"), ("dop853", "DOP853")):
            for tol in (1e-6, 1e-9):
                yield compare(f"{name}, {ours} beside {theirs}, rtol = atol = {tol:g}", {
                    "minode": lambda: odeint(f, y0, span, method=ours, rtol=tol, atol=tol),
                    "SciPy": lambda: solve_ivp(f, span, y0, method=theirs, rtol=tol, atol=tol)})


def batch_table(rng):
    y0, span, rtol, atol = rng.uniform([10.0, 2.0], [50.0, 20.0], (1000, 2)), np.array([0.0, 40.0]), 1e-6, 1e-9

    def scipy_loop():
        for row in y0:
            solve_ivp(lotka_volterra, span, row, rtol=rtol, atol=atol)

    contenders = {"minode, per_trajectory": lambda: odeint(
        lotka_volterra_rows, y0, span, rtol=rtol, atol=atol, per_trajectory=True)}
    contenders |= _peers.batch_contenders(THETA, y0, span, rtol, atol)
    contenders["SciPy RK45 in a loop"] = scipy_loop
    return compare("1,000 Lotka–Volterra trajectories, each its own steps, rtol 1e-6, atol 1e-9", contenders)


def tanh_table():
    """What the networks of B, C and D spend a quarter to two thirds of their time on, by itself."""
    x = np.linspace(-3.0, 3.0, 2**16)
    out = np.empty_like(x)
    return compare("tanh of 65,536 numbers", {"NumPy": lambda: np.tanh(x, out)} | _peers.tanh_contenders(x))


def gradient_table(work):
    def loss(ys):
        weighted = work.weights * ys
        return np.vdot(weighted, ys), 2 * weighted
    options = dict(method=work.method, rtol=work.rtol, atol=work.atol)

    def forward():
        return odeint(work.f.bind(work.theta, work.y0), work.y0, work.t, **options)

    def gradient():
        return value_and_gradients(loss, work.f, work.y0, work.t, work.theta, times=False, **options)[0]

    peers, notes = _peers.gradient_contenders(work), []
    for name, call in peers.items():
        started = time.perf_counter()
        value = call()
        if name.startswith("diffrax"):
            notes.append(f"{name}: {time.perf_counter() - started:.1f} s of compiling left out")
        tolerance = 1e-9 if work.method == "rk4" and name.startswith("diffrax") else 1e-4
        if abs(value - gradient()) > tolerance * abs(value):
            raise AssertionError(f"{work.name}: {name} computes {value}, minode {gradient()}")
    return compare(work.name, {"minode": gradient, "minode, forward alone": forward} | peers, notes=notes)


def as_markdown(tables):
    """The tables for the README, in milliseconds: those with the same contenders are one, a row each."""
    lines, header = [], None
    for table in tables:
        if header != list(table["rows"]):
            header = list(table["rows"])
            lines += ["", f"| ms | {' | '.join(header)} |", "|---" * (1 + len(header)) + "|"]
        times = [f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}" for ms, _ in table["rows"].values()]
        lines.append(f"| {table['title']} | {' | '.join(times)} |")
    return "\n".join(lines[1:])


def compute():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    print("versions: " + ", ".join(f"{k} {v}" for k, v in _peers.versions().items()), file=sys.stderr)
    only = os.environ.get("MINODE_SPEED", "solvers batch gradients").split()
    tables = list(solver_tables(rng)) if "solvers" in only else []
    tables += [batch_table(rng)] if "batch" in only else []
    tables += [*map(gradient_table, workloads(rng)), tanh_table()] if "gradients" in only else []
    print(f"\nfor README.md:\n\n{as_markdown(tables)}", file=sys.stderr)
    return {"tables": tables, "versions": _peers.versions()}


def draw(fig, data):
    rows = [(table["title"], name, ratio) for table in data["tables"] if "NumPy" not in table["rows"]
            for name, (_, ratio) in list(table["rows"].items())[1:]]
    ax, place = fig.subplots(), -np.arange(len(rows))
    ax.barh(place, [ratio - 1 for _, _, ratio in rows], left=1, height=0.7,
            color=[style.VERMILION if ratio < 1 else style.BLUE for _, _, ratio in rows])
    ax.set_yticks(place, [name for _, name, _ in rows], fontsize=8)
    ax.set(xscale="log", xlabel="time over the time of minode", ylim=(place[-1] - 0.6, 0.6))
    ratios = [ratio for _, _, ratio in rows]
    ax.set_xlim(0.7 * min(ratios), 30 * max(ratios))
    for y, (title, _, ratio) in zip(place, rows):
        text = title if y == 0 or title != rows[-y - 1][0] else ""
        ax.text(max(ratio, 1.0) * 1.1, y, f"{ratio:.2g}" + (f"    {text}" if text else ""), va="center", fontsize=7)
    ax.axvline(1, color=style.BLACK, lw=1)
    ax.grid(axis="y", visible=False)
