"""Figure 90. Only compiled code is faster, and only where arrays are small

Times of this book's solvers and gradients beside those of other libraries, measured in turns in one
run, on one thread pinned to one core, in float64. Each ratio is that of the two medians that the
tables print. The times of JAX leave out its compiling, which is given beside them. One table
leaves nothing out: whole processes, from import to a trained network (the programs in
`figures/demo`). Printed as tables and drawn as ratios; shows (9.1), (12.1), (18.1), (30.3). Beside them
minode's solve next to the same method and network written out in NumPy, and the time that NumPy
and the others take for tanh, on which the networks spend much of theirs. MINODE_SPEED names the
tables to measure, "training solvers written batch gradients matching"; "readme" measures nothing and draws
those that README.md and figures/README.md print.

Caption. Only JAX's compiled code is faster than minode, as long as its compiling is left out and the
matrices are not large. Each dot is a library's time over minode's, both as the tables print them: to
the right of the line it is slower. The numbers depend on the machine; draw the figure to have
yours.
"""

import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

import minode
from minode import MLP, adam, flow_matching, log_prob, negative_log_likelihood, odeint, pairs, value_and_gradients

from . import _peers, _targets, style

SECONDS = 400
ON_REQUEST = True
SIZE = (8.0, 4.4)
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
    """A gradient to compute: the loss is Σ weights · ys², or without weights the mean of −log p(y0) at t[-1]."""

    name: str
    f: MLP
    theta: np.ndarray
    y0: np.ndarray
    t: np.ndarray
    weights: np.ndarray | None
    method: str
    rtol: float = 1e-6
    atol: float = 1e-9

    @property
    def is_likelihood(self):
        return self.weights is None

    @property
    def start(self):
        """The first state of the solve, with log det beside y for a likelihood (26.5)."""
        return np.concatenate([self.y0, np.zeros((len(self.y0), 1))], axis=-1) if self.is_likelihood else self.y0

    @property
    def times(self):
        return self.t[::-1].copy() if self.is_likelihood else self.t


def workloads(rng):
    """The workloads: four from narrow and long to wide and short, and the training of a flow."""
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
        Work("E: −log p of a flow 3–32–32–2, batch 128, 7 RK4 steps", _targets.MODEL, _targets.MODEL.init(rng),
             rng.normal(size=(128, 2)), np.linspace(0.0, 1.0, 8), None, "rk4"),
    ]


def solves(rng):
    """Solves in equal steps: A, C and D of the workloads, with RK4."""
    narrow, _, medium, wide, _ = workloads(rng)
    medium = medium._replace(name="C: 8–64–8, batch 256, 20 RK4 steps", t=np.linspace(0.0, 2.0, 21), method="rk4")
    return [narrow, medium, wide]


def written_out(work):
    """The states at work.t by RK4, as one would write it for this network: a function of no arguments."""
    (W1, b1), (W2, b2) = work.f.layers(work.theta)
    sigma_1, sigma_2 = ({"tanh": np.tanh, "identity": lambda z: z, "leaky_relu": lambda z: np.maximum(z, 0.01 * z)}[name]
                        for name in work.f.names)

    def f(t, y):
        if work.f.sees_time:
            y = np.concatenate([np.full((*y.shape[:-1], 1), t), y], axis=-1)
        return sigma_2(sigma_1(y @ W1.T + b1) @ W2.T + b2)

    def rk4():
        ys = [work.y0]
        for t, t_new in zip(work.t[:-1], work.t[1:]):
            y, h = ys[-1], t_new - t
            k1 = f(t, y)
            k2 = f(t + h / 2, y + h / 2 * k1)
            k3 = f(t + h / 2, y + h / 2 * k2)
            k4 = f(t + h, y + h * k3)
            ys.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
        return np.array(ys)
    return rk4


def in_turns(contenders, at_least=0.02, at_most=15.0):
    """{name: seconds per call in each round}, each round calling every contender in turn.

    A contender is called once and then timed; within a round it is called again until it has had
    `at_least` seconds. There are ROUNDS rounds, or as many as fit into `at_most` seconds, at least three.
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


def processes_in_turns(commands, rounds=3):
    """{name: seconds of the whole process in each round}, each round running every command in turn."""
    times = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            command()
            times[name].append(time.perf_counter() - started)
    return {name: np.array(seconds) for name, seconds in times.items()}


def compare(title, contenders, notes=(), measure=in_turns):
    """One table: median milliseconds of each contender, and their ratio to those of the first."""
    ms = {name: 1e3 * np.median(seconds) for name, seconds in measure(contenders).items()}
    rows = with_ratios(ms)
    print(f"\n{title}", file=sys.stderr)
    first = next(iter(rows)).split(",")[0]
    for name, (ms, ratio) in rows.items():
        print(f"    {name:28} {ms:9.3f} ms   {first} takes {1 / ratio:6.3f} of it", file=sys.stderr)
    for note in notes:
        print(f"    {note}", file=sys.stderr)
    return {"title": title, "rows": rows}


def with_ratios(ms):
    """{name: (milliseconds, their ratio to the first)}"""
    ours = next(iter(ms.values()))
    return {name: (median, median / ours) for name, median in ms.items()}


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
        if work.is_likelihood:
            return log_prob(work.f, work.y0, work.t, work.theta, **options)
        return odeint(work.f, work.y0, work.t, work.theta, **options)

    def gradient():
        if work.is_likelihood:
            return negative_log_likelihood(work.f, work.y0, work.t, work.theta, times=False, **options)[0]
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


def solve_table(work):
    """minode's solve beside the same steps and network written out."""
    by_hand = written_out(work)

    def ours():
        return odeint(work.f, work.y0, work.t, work.theta, method="rk4")

    if np.abs(ours() - by_hand()).max() > 1e-12:
        raise AssertionError(f"{work.name}: minode and the same written out differ")
    return compare(work.name, {"minode": ours, "written out in NumPy": by_hand})


def training_table():
    """From import to a trained network: whole processes, each of them a program in `figures/demo`."""
    folder, losses = Path(__file__).parent / "demo", {}
    paths = [str(Path(minode.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

    def command(name):
        def run():
            done = subprocess.run([sys.executable, str(folder / f"with_{name}.py")], env=environment,
                                  capture_output=True, text=True, check=True)
            losses[name] = [float(loss) for loss in done.stdout.split()]
        return run

    commands = {name: command(name) for name in ("minode", *_peers.for_training())}
    table = compare("500 steps on torchdiffeq's spiral, dopri5, from import to the end", commands,
                    measure=processes_in_turns)
    for name, (first, last) in losses.items():
        at_first, at_last = losses["minode"]
        if abs(first - at_first) > 1e-4 * at_first or abs(last - at_last) > 0.2 * at_last:
            raise AssertionError(f"{name} begins with the loss {first} and ends with {last}, minode {losses['minode']}")
    return table


def matching_table(rng):
    """One step of training by flow matching, whole: loss, gradient, Adam. The loss on the first 20 must be the others'."""
    f, theta, learning_rate = _targets.MODEL, _targets.MODEL.init(rng), 1e-3
    triples = pairs(_targets.Moons.draw(_targets.POINTS, rng), _targets.BATCH)(rng)
    state = [theta, None]

    def step():
        value, gradient = flow_matching(f, triples, state[0])
        state[:] = adam(state[0], gradient, state[1], learning_rate)
        return value

    contenders = {"minode (NumPy)": step} | _peers.step_contenders(f, theta, triples, learning_rate)
    losses = {name: [call() for _ in range(20)] for name, call in contenders.items()}
    ours = losses["minode (NumPy)"]
    for name, values in losses.items():
        if np.abs(np.subtract(values, ours)).max() > 1e-9:
            raise AssertionError(f"flow matching: {name} has the losses {values}, minode {ours}")
    return compare("a step of flow matching, 3–32–32–2, batch 128, Adam", contenders)


def as_markdown(tables):
    """The tables for README.md (the first) and figures/README.md, in milliseconds: those with the same contenders are one, a row each."""
    lines, header = [], None
    for table in tables:
        if header != list(table["rows"]):
            header = list(table["rows"])
            lines += ["", f"| ms | {' | '.join(header)} |", "|---" * (1 + len(header)) + "|"]
        times = [f"{ms:,.0f}" if ms >= 100 else f"{ms:.3g}" for ms, _ in table["rows"].values()]
        lines.append(f"| {table['title']} | {' | '.join(times)} |")
    return "\n".join(lines[1:])


def from_markdown(text):
    """The tables of times that a text has printed: those of `as_markdown`, in as many digits as there are."""
    tables, header = [], None
    for line in text.splitlines():
        title, *cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else [None]
        if title == "ms":
            header = cells
        elif title is None:
            header = None
        elif header and not title.startswith("---"):
            times = dict(zip(header, (float(cell.replace(",", "")) for cell in cells)))
            tables.append({"title": title, "rows": with_ratios(times)})
    return tables


def measured(rng, only=("training", "solvers", "written", "batch", "gradients", "matching")):
    """The tables one after the other, or only some of them."""
    if "training" in only:
        yield training_table()
    if "solvers" in only:
        yield from solver_tables(rng)
    if "written" in only:
        yield from map(solve_table, solves(rng))
    if "batch" in only:
        yield batch_table(rng)
    if "gradients" in only:
        yield from map(gradient_table, workloads(rng))
    if "matching" in only:
        yield matching_table(rng)
    if "gradients" in only:
        yield tanh_table()


def compute():
    only = os.environ.get("MINODE_SPEED", "training solvers written batch gradients matching").split()
    if only == ["readme"]:
        pages = [Path(__file__).parents[1] / "README.md", Path(__file__).parent / "README.md"]
        return {"tables": [table for page in pages for table in from_markdown(page.read_text(encoding="utf-8"))]}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("versions: " + ", ".join(f"{k} {v}" for k, v in _peers.versions().items()), file=sys.stderr)
    tables = list(measured(np.random.default_rng(0), only))
    print(f"\nfor README.md (the first) and figures/README.md:\n\n{as_markdown(tables)}", file=sys.stderr)
    return {"tables": tables, "versions": _peers.versions()}


LIBRARIES = {"SciPy": style.GREEN, "torchode": style.BLACK, "torchdiffeq": style.VERMILION, "diffrax": style.BLUE}


def draw(fig, data):
    ax, rows = fig.subplots(), {}
    for table in data["tables"]:
        if set(table["rows"]) - {"minode", "NumPy", "PyTorch", "JAX", "written out in NumPy"}:
            title = "solving, beside SciPy" if " beside " in table["title"] else table["title"].partition(", ")[0]
            title = f"gradient, {title}" if title[1] == ":" else title
            place = rows.setdefault(title, -len(rows))
            for name, (_, ratio) in table["rows"].items():
                library = next((library for library in LIBRARIES if name.startswith(library)), None)
                if library:
                    ax.semilogx(ratio, place, "o", color=LIBRARIES[library], ms=8,
                                mfc="none" if name.endswith("adjoint") else LIBRARIES[library])
    ax.axvline(1, color=style.BLACK, lw=1)
    ax.text(1.04, 0.65, "minode", va="center")
    style.key(ax, {"torchdiffeq (○ adjoint)" if name == "torchdiffeq" else name: colour
                   for name, colour in LIBRARIES.items()}, "lower right")
    ticks = (0.2, 0.5, 1, 2, 5, 10, 20, 50)
    ax.minorticks_off()
    ax.set(xlabel="time over the time of minode", ylim=(0.9 - len(rows) - 0.4, 0.95), xticks=ticks, xticklabels=ticks)
    ax.set_yticks([*rows.values()], [*rows])
