"""Figure 51. For the way back keep every state, some of them, or one

Euler's method takes 16 steps there and 16 back, on the reversible route asynchronous leapfrog. Time
goes to the right: each column is a step that is taken or taken back. A cell is the state at the
beginning of a step, while it is in memory, dark if this step is at work. The checkpoints are those of
the class `Checkpoints` of chapter 19. The tests compare the order of the work, and what is kept, with
the calls of real gradients. The figure shows (17.2), (18.3), (19.1) and (19.2).

Caption. Each row is a step, each column a moment: which states are in memory (dark: at work)? Discrete
fills its tape and drains it. Checkpoint stores every fourth state and takes the steps between two of
them again. Backsolve and reversible keep one state and compute the others anew on the way back.

Numbers. At most 16, 7, 1 and 1 of the 16 states are in memory. Each route takes 16 steps back.
Checkpoint takes 32 steps forwards, the others 16.
"""

import numpy as np

from minode.gradients.memory import Checkpoints

from . import style

SECONDS = 1
SIZE = (8.0, 4.0)
STEPS = 16


def there(n):
    """One column for each step taken from 0 to n, all of which are kept."""
    return [(k, "f", set(range(k + 1))) for k in range(n)]


def discrete():
    """[(step, "f" or "vjp", the steps whose states are in memory)], in the order of the work."""
    return there(STEPS) + [(k, "vjp", set(range(k + 1))) for k in reversed(range(STEPS))]


def checkpoint():
    """The same for the checkpoints of chapter 19. The state of a step is its number here."""
    checkpoints, work = Checkpoints(), []
    for k in range(STEPS):
        checkpoints.append((float(k), 1.0, k, None))                               # (19.1)
        work.append((k, "f", {*checkpoints.states, k}))
    for state, times in checkpoints.stretches(float(STEPS)):
        stretch, stored = [int(t) for t in times[:-1]], set(checkpoints.states)
        work += [(k, "f", stored | set(range(state, k + 1))) for k in stretch]
        work += [(k, "vjp", stored | set(range(state, k + 1))) for k in reversed(stretch)]
    return work


def no_tape():
    """The same for the routes that keep the last state and come by the others on the way back."""
    return [(k, "f", {k}) for k in range(STEPS)] + [(k, "vjp", {k}) for k in reversed(range(STEPS))]


ROUTES = {"discrete": discrete, "checkpoint": checkpoint, "backsolve": no_tape, "reversible": no_tape}


def raster(work):
    """Whether a step (row) is in memory at a time (column)."""
    held = np.zeros((STEPS, len(work)), bool)
    for column, (_, _, steps) in enumerate(work):
        held[list(steps), column] = True
    return held


def compute():
    work = {route: schedule() for route, schedule in ROUTES.items()}
    return {"work": work, "held": {route: raster(columns) for route, columns in work.items()}}


def draw(fig, data):
    widths = [held.shape[1] for held in data["held"].values()]
    graph, *panels = fig.subplots(1, 1 + len(ROUTES), sharey=True, width_ratios=[10, *widths])
    draw_graph(graph)
    for ax, (route, held) in zip(panels, data["held"].items()):
        colour, work = style.ROUTE[route], data["work"][route]
        for row, column in np.argwhere(held):
            now = row == work[column][0]
            ax.add_patch(Cell((column, row - 0.5), colour, 1.0 if now else 0.45))
        turn = next(column for column, (_, call, _) in enumerate(work) if call == "vjp" or column >= STEPS)
        ax.axvline(turn, color=style.BLACK, lw=0.8, ls=":")
        ax.set(xlim=(0, held.shape[1]), ylim=(-1.3, STEPS + 1.6), xticks=[],
               title=f"{route}: " + said(held.sum(axis=0).max()))
        ax.title.set_color(style.ink(colour))
        ax.text(turn / 2, -0.75, "there", ha="center", va="top", size=10)
        ax.text((turn + held.shape[1]) / 2, -0.75, "back", ha="center", va="top", size=10)
        ax.tick_params(left=False)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.grid(False)


def said(n):
    return f"{n} state{'' if n == 1 else 's'}"


def Cell(corner, colour, alpha):
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, facecolor=colour, alpha=alpha, edgecolor="white", lw=0.3)


def draw_graph(ax):
    """The graph of the computation: y₀ → y₁ → … → y₁₆ → L, from the bottom up."""
    for k in range(STEPS + 1):
        ax.annotate("", (0, k + 0.75), (0, k + 0.15), arrowprops={
            "arrowstyle": "->", "color": style.BLACK, "shrinkA": 0, "shrinkB": 0, "lw": 0.9, "mutation_scale": 7})
        ax.plot(0, k, "o", color=style.Y, ms=5)
    for k in (0, 1, 2, STEPS - 1, STEPS):
        ax.text(-0.35, k, f"$y_{{{k}}}$", ha="right", va="center", color=style.Y)
    ax.text(-0.35, STEPS / 2, "…", ha="right", va="center", color=style.Y, rotation=90)
    ax.text(0, STEPS + 1.1, "$L$", ha="center", va="center")
    ax.set(xlim=(-1.6, 0.9))
    ax.axis("off")
