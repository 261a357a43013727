"""Figure 13. 133 steps of chosen size close the orbit that 24,000 equal ones miss

A satellite between the Earth and the Moon, in a frame that turns with them; distances in
units of that between Earth and Moon, time so that a month is 2π. From this start the orbit
closes after 17.06… (Arenstorf 1963; Hairer, Nørsett and Wanner, section II.0), so the
distance of its end from its start is the error. Near the Moon, at the start, the
satellite turns within minutes; far out it drifts for days. The figure shows (10.1) to
(10.4) at work: dopri5 with rtol = atol = 1e-6, beside equal steps.

Caption. Left: an orbit between the Earth and the Moon by dopri5, which chooses its steps (dots), by
RK4 in 6,000 equal steps and by Euler's method in 24,000; crosses mark the ends. Only the first
closes. Right: dopri5 takes its smallest steps at the Moon, 314 times smaller than the largest, and
shorter ones near the Earth (shaded).

Numbers. Euler's end is 1.9 away from the start, RK4's 0.35, that of dopri5 7.4e-5. The tolerance
is met with the 133 steps of dopri5 (35 more were rejected; 1,010 calls of f in all); the equal ones
take 24,000 calls for each of the two. The largest of the 133 is 314 times the smallest, the last
left out, which the end of the span cuts short. Near the Earth means closer than 0.7
of the distance of the Moon.
"""

from dataclasses import replace

import numpy as np
from matplotlib.patches import Circle

from minode.solvers.solve import run

from . import style

SECONDS = 0.8
MU = 0.012277471                            # the Moon's share of the mass
MOON, NEAR = 0.0045, 0.7                    # its radius, in distances from the Earth; what is near the Earth
PERIOD = 17.0652165601579625588917206249
Y0 = np.array([0.994, 0.0, 0.0, -2.00158510637908252240537862224])
EQUAL = {"Euler": ("euler", 24_000), "RK4": ("rk4", 6_000)}
TOLERANCE = 1e-6


def satellite(t, y):
    """(x₁, x₂, v₁, v₂)' with both masses on the first axis, at −μ and 1 − μ."""
    x_1, x_2, v_1, v_2 = y
    earth = (1 - MU) / ((x_1 + MU) ** 2 + x_2**2) ** 1.5
    moon = MU / ((x_1 - 1 + MU) ** 2 + x_2**2) ** 1.5
    return np.array([v_1, v_2,
                     x_1 + 2 * v_2 - earth * (x_1 + MU) - moon * (x_1 - 1 + MU),
                     x_2 - 2 * v_1 - earth * x_2 - moon * x_2])


def orbit(**solver):
    """Where and when the steps start, their sizes, the path, what it cost, and how far its end is off."""
    done = run(satellite, Y0, [0.0, PERIOD], tape=[], **solver)
    stats = replace(done.solution.stats)                 # before the drawing asks for more
    path = done.interpolation()(np.linspace(0.0, PERIOD, 1001))[:, :2]
    t, h, y, _ = zip(*done.tape)
    return {"t": np.array(t), "h": np.array(h), "at": np.array(y)[:, :2], "path": path,
            "stats": stats, "missed": np.linalg.norm(path[-1] - path[0])}


def compute():
    data = {name: orbit(method=method, step_size=PERIOD / n) for name, (method, n) in EQUAL.items()}
    data["dopri5"] = orbit(rtol=TOLERANCE, atol=TOLERANCE)
    h = data["dopri5"]["h"][:-1]                         # the last one is cut short by the end of the span
    return data | {"range": h.max() / h.min()}


def draw(fig, data):
    plane, sizes = fig.subplots(1, 2, width_ratios=[1, 1.15])
    colours = {"Euler": style.METHOD["euler"], "RK4": style.METHOD["rk4"], "dopri5": style.METHOD["dopri5"]}
    for name, colour in colours.items():
        plane.plot(*data[name]["path"].T, color=colour, lw=1.2)
        plane.plot(*data[name]["path"][-1], "x", color=colour, ms=8, mew=2)
    plane.plot(*data["dopri5"]["at"].T, ".", color=colours["dopri5"], ms=5)
    plane.plot(-MU, 0, "o", color=style.GREY, ms=10)
    plane.text(0.02, -0.1, "Earth", color=style.GREY, va="top", ha="center")
    plane.plot(*Y0[:2], "o", color=style.BLACK, ms=6)
    plane.text(1.06, 0.06, "Moon,\nstart", va="bottom")
    plane.text(-1.75, 1.9, "Euler", color=style.ink(colours["Euler"]), ha="center")
    plane.text(0.87, -0.27, "RK4", color=style.ink(colours["RK4"]))
    plane.text(-0.6, -1.35, "dopri5", color=style.ink(colours["dopri5"]), ha="center")
    plane.set(aspect="equal", xlabel="$x_1$ (Earth–Moon distances)", ylabel="$x_2$",
              title="133 steps close the orbit", xlim=(-2.1, 2.1), ylim=(-1.8, 2.3))
    draw_moon(plane.inset_axes([0.74, 0.01, 0.26, 0.26]), data["dopri5"]["at"], colours["dopri5"])

    row = data["dopri5"]
    t = np.linspace(0.0, PERIOD, len(row["path"]))
    near = np.linalg.norm(row["path"] - [-MU, 0], axis=1) < NEAR
    sizes.fill_between(t, 0, 1, where=near, color="#e9e9e9", lw=0, transform=sizes.get_xaxis_transform())
    sizes.semilogy(row["t"][:-1], row["h"][:-1], ".-", color=colours["dopri5"], lw=1)
    sizes.text(8.5, 0.5, f"dopri5, {len(row['h'])} steps", color=style.ink(colours["dopri5"]), ha="center")
    sizes.text(8.5, 0.03, "shaded: near the Earth", color=style.ink(style.GREY), ha="center")
    sizes.text(0.5, 6e-3, "at the\nMoon", color=style.ink(style.GREY), va="center")
    sizes.text(16.6, 6e-3, "at the\nMoon", color=style.ink(style.GREY), va="center", ha="right")
    for name, (_, n) in EQUAL.items():
        sizes.axhline(PERIOD / n, color=colours[name])
        sizes.text(8.5, 1.1 * PERIOD / n, f"{name}, {n:,} steps", color=style.ink(colours[name]), ha="center")
    sizes.set(xlabel="time $t$ (a month is $2\\pi$)", ylabel="step size $h$", ylim=(4e-4, 1),
              title="the size of a step")


def draw_moon(inset, at, colour):
    """The steps close to the Moon, which is drawn to scale."""
    half = len(at) // 2
    for part in (at[:half], at[half:]):
        inset.plot(*part.T, ".-", color=colour, lw=1, ms=5)
    inset.add_patch(Circle((1 - MU, 0), MOON, color=style.GREY, lw=0))
    inset.set(xlim=(0.968, 1.012), ylim=(-0.022, 0.022), xticks=[], yticks=[], aspect="equal")
    inset.set_title("at the Moon", size=9, pad=2)
    inset.spines[:].set(visible=True, color=style.PALE)
