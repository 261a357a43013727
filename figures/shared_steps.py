"""Figure 16. A batch in common steps takes every small step that any one of it needs

Two batches by dopri5: as one system with steps in common, its error measured by the root
mean square (10.3) or by the maximum, norm=…, and with steps for each trajectory. The
figure shows (12.2), (12.3) and (10.3). Left, van der Pol oscillators with μ = 10 for one period,
started at random phases, rtol = atol = 1e-5. Right, 63 planets on circles and one comet of
eccentricity 0.9 with the same period 2π, after which each is back where it began, so that the
distance from there is its error. In a mean over 64 the comet's error counts an eighth of what
it is; the source text's "the error may increase" is this.

Caption. Left: steps of eight van der Pol oscillators (ticks). In common, the batch takes small steps
whenever any of them jumps, 2.6 times as many as each takes alone. Right: among 63 planets, a mean
over the batch hides the error of a comet, which at 1e-7 becomes 8.7 times less accurate; a maximum
does not.

Numbers. Van der Pol: at μ = 2 a batch of 64 takes 1.2 times as many steps in common as of their own
with the mean, 1.7 times with the maximum; at μ = 10, 4.2 and 6.1 times. At 1e-7 (rings) the planets
take 36 steps each of their own and the comet 101. In common, with the mean, all take 81 and the
comet is 8.7 times less accurate; with the maximum they take 117 and it is 2.7 times more accurate.
The tolerances on the right are 1e-4 to 1e-9.
"""

import numpy as np

from minode import VanDerPol, solve
from minode.solvers.solve import run

from . import style

SECONDS = 2
SIZES, MU, VAN_DER_POL_TOLERANCE = (1, 2, 4, 8, 16, 32, 64), (2.0, 10.0), 1e-5
ECCENTRICITY, TOLERANCES, RINGED = 0.9, 10.0 ** -np.arange(4, 10), 1e-7
DRAWN = 8                                  # of the oscillators, on the left


def maximum(error, scale):
    return np.abs(error / scale).max()


WAYS = {"own": {"per_trajectory": True}, "mean": {}, "maximum": {"norm": maximum}}
COLOURS = {"own": style.BLUE, "mean": style.VERMILION, "maximum": style.GREEN}


def on_the_cycle(mu, rng):
    """The period, and states at 64 random phases of it."""
    solution = solve(VanDerPol(), [2.0, 0.0], [0.0, 60.0], [mu], rtol=1e-7, atol=1e-7)
    t = np.linspace(20.0, 60.0, 20_001)
    y_1 = solution.interpolate(t)[:, 0]
    upwards = t[1:][(y_1[:-1] < 0) & (y_1[1:] >= 0)]
    period = upwards[1] - upwards[0]
    return period, solution.interpolate(upwards[0] + period * rng.uniform(size=max(SIZES)))


def raster(mu, y0, period):
    """The times of the steps over one period: of each alone, in the order in which they jump first, and in common."""
    def times(start):
        tape = run(VanDerPol(), start, [0.0, period], [mu], [],
                   **dict.fromkeys(("rtol", "atol"), VAN_DER_POL_TOLERANCE)).tape
        return np.array([step[0] for step in tape] + [period])

    def jumps(t):
        return t[np.argmin(np.diff(t[t < period / 2]))]
    return {"own": sorted((times(start) for start in y0), key=jumps), "common": times(y0)}


def sun(t, y):
    pull = (y[..., 0] ** 2 + y[..., 1] ** 2) ** -1.5
    return np.stack([y[..., 2], y[..., 3], -pull * y[..., 0], -pull * y[..., 1]], axis=-1)


def planets_and_comet(rng):
    """63 states on the unit circle, and the comet's at its furthest from the sun."""
    angle, e = rng.uniform(0.0, 2 * np.pi, 63), ECCENTRICITY
    planets = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], axis=-1)
    return np.concatenate([planets, [[1 + e, 0.0, 0.0, ((1 - e) / (1 + e)) ** 0.5]]])


def compute():
    rng, ratios = np.random.default_rng(0), {}
    for mu in MU:
        period, y0 = on_the_cycle(mu, rng)
        both = dict.fromkeys(("rtol", "atol"), VAN_DER_POL_TOLERANCE)
        steps = {way: np.array([np.mean(solve(VanDerPol(), y0[:B], [0.0, period], [mu], **both, **options).stats.n_steps)
                                for B in SIZES]) for way, options in WAYS.items()}
        ratios[mu] = {way: steps[way] / steps["own"] for way in ("mean", "maximum")}
    drawn = raster(mu, y0[:DRAWN], period)
    y0, comet = planets_and_comet(rng), {}
    for way, options in WAYS.items():
        done = [solve(sun, y0, [0.0, 2 * np.pi], rtol=tol, atol=tol, **options) for tol in TOLERANCES]
        steps = np.array([np.broadcast_to(solution.stats.n_steps, 64) for solution in done])
        comet[way] = {"planets": steps[:, :-1].mean(axis=1), "comet": steps[:, -1], "all": steps.mean(axis=1),
                      "error": np.array([np.linalg.norm(solution.ys[-1, -1] - y0[-1]) for solution in done])}
    return {"ratios": ratios, "comet": comet, "raster": drawn}


def draw(fig, data):
    raster, ax = fig.subplots(1, 2, width_ratios=[1.1, 1])
    own, common = data["raster"]["own"], data["raster"]["common"]
    end, rows = common[-1], range(len(own), 0, -1)
    for row, times in zip(rows, own):
        raster.plot(times, np.full(len(times), row), "|", color=COLOURS["own"], ms=10, mew=0.9)
        raster.text(1.03 * end, row, f"{len(times) - 1}", color=style.ink(COLOURS["own"]), va="center")
    raster.plot(common, np.full(len(common), -0.4), "|", color=COLOURS["mean"], ms=18, mew=0.9)
    raster.text(1.03 * end, -0.4, f"{len(common) - 1}", color=style.ink(COLOURS["mean"]), va="center")
    raster.text(0, 8.75, "each its own steps", color=style.ink(COLOURS["own"]))
    raster.text(1.03 * end, 8.75, "steps", ha="center")
    raster.text(0, 0.2, "all in common", color=style.ink(COLOURS["mean"]))
    raster.set(xlabel="time $t$", xlim=(-0.02 * end, end), ylim=(-1.2, 9.4), yticks=[],
               title="eight van der Pol oscillators")
    raster.spines["left"].set_visible(False)

    ringed = np.argmin(np.abs(TOLERANCES - RINGED))
    for way, row in data["comet"].items():
        ax.loglog(row["all"], row["error"], "o-", color=COLOURS[way])
        ax.plot(row["all"][ringed], row["error"][ringed], "o", color=COLOURS[way], ms=11, mfc="none")
    ax.text(26, 3e-7, "steps of\ntheir own", color=style.ink(COLOURS["own"]), ha="right")
    ax.text(60, 2e-3, "in common,\nmean over the batch", color=style.ink(COLOURS["mean"]))
    ax.text(250, 3e-8, "in common,\nmaximum", color=style.ink(COLOURS["maximum"]))
    row = data["comet"]["own"]
    ax.annotate("rtol $10^{-7}$", (row["all"][ringed], row["error"][ringed]), (-9, 0), textcoords="offset points",
                ha="right", va="center", color=style.ink(style.GREY))
    ax.minorticks_off()
    ax.set(xlabel="steps of a trajectory, on average", ylabel="error of the comet", xlim=(8, 800),
           xticks=[10, 30, 100, 300], xticklabels=[10, 30, 100, 300], title="63 planets and a comet")
