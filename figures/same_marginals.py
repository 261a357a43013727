"""Figure 38. Shaken or carried, particles have the same density

A mixture of three normal densities on the line forgets itself in the Ornstein–Uhlenbeck process
(27.1). Left the shaken paths, by (27.9) with 500 steps; right those of the field (27.3), which their
starts determine. The paths that are drawn start from the same points; for the tests the two kinds
start from different draws. The blue is the density (27.5), known at all times; its square root is
drawn, so that its tails are seen. The figure shows (27.2), which both obey.

Caption. Noise and a field give particles the same density at every time (blue), by quite different paths. Carried
paths never cross, so that each particle keeps its rank; shaken ones lose most of it. Far right, at the end: 4,000
particles of each kind, and the exact density.

Numbers. Of 4,000 particles of each kind, the empirical distributions differ by at most 0.018 at any of the five times
0.1, 0.3, 0.7, 1.2 and 2 (a Kolmogorov–Smirnov test gives p = 0.51 or more), and from the exact one by 0.017. Of the
shaken ones, the correlation of first and last rank is 0.25.
"""

import numpy as np
from scipy.stats import ks_2samp, kstest, norm, spearmanr

from minode import DiffusedMixture, euler_maruyama, odeint

from . import style
from ._targets import shade

SECONDS = 0.5
SIZE = (8.0, 3.6)
MIXTURE = DiffusedMixture(1, 3)
THETA = MIXTURE.pack([0.4, 0.35, 0.25], [[-2.2], [0.4], [2.4]], [0.3, 0.2, 0.4])
T = np.linspace(0.0, 2.0, 501)
TESTED = np.searchsorted(T, [0.1, 0.3, 0.7, 1.2, 2.0])
PARTICLES, DRAWN = 4000, 8
EDGE = 4.0


def cumulative(t):
    """The distribution function of the mixture at time t."""
    w, (m, v) = np.exp(THETA[:3]), MIXTURE.normals(t, THETA)
    return lambda x: norm.cdf(x[..., None], m[:, 0], np.sqrt(v)) @ w


def compute():
    rng = np.random.default_rng(4)
    start = MIXTURE.draw(PARTICLES, 0.0, THETA, rng)
    shaken = euler_maruyama(MIXTURE.drift, start, T, rng)[..., 0]
    carried = odeint(MIXTURE, start, T, THETA)[..., 0]
    other = MIXTURE.draw(PARTICLES, 0.0, THETA, rng)
    alone = odeint(MIXTURE, other, T, THETA)[..., 0]           # for a test that wants two samples
    two = [ks_2samp(shaken[i], alone[i]) for i in TESTED]
    exact = [kstest(x[i], cumulative(T[i])).statistic for x in (shaken, alone) for i in TESTED]
    x = np.linspace(-EDGE, EDGE, 161)
    density = np.exp(MIXTURE.log_density(T[::5, None], x[:, None] + np.zeros((101, 1, 1)), THETA))
    order = np.argsort(start[:, 0])
    return {"shaken": shaken, "carried": carried, "alone": alone, "x": x, "density": density,
            "apart": max(test.statistic for test in two), "p": min(test.pvalue for test in two),
            "from exact": max(exact), "kept": bool((np.diff(carried[-1, order]) > 0).all()),
            "ranks": spearmanr(shaken[0], shaken[-1]).statistic}


def draw(fig, data):
    left, right, end = fig.subplots(1, 3, sharey=True, width_ratios=(4, 4, 1.9))
    pick = np.argsort(data["shaken"][0])[np.linspace(60, PARTICLES - 60, DRAWN).astype(int)]
    for ax, name, title in ((left, "shaken", "shaken: $dx = -x\\,dt + \\sqrt{2}\\,dW$"),
                            (right, "carried", "carried: $dx/dt = -x - ∇\\log p$")):
        shade(ax, T[::5], data["x"], np.sqrt(data["density"].T), 1.0, levels=7)
        ax.plot(T[::4], data[name][::4, pick], color=style.BLACK, lw=0.9)
        ax.set(title=title, xlabel="time $t$", ylim=(-EDGE, EDGE))
    left.set_ylabel("$x$")
    bins = np.linspace(-EDGE, EDGE, 41)
    for name, colour in (("shaken", style.VERMILION), ("alone", style.GREEN)):
        end.hist(data[name][-1], bins, density=True, histtype="step", orientation="horizontal", color=colour, lw=1.2)
    end.plot(data["density"][-1], data["x"], color=style.BLUE, lw=1.2)
    style.key(end, {"shaken": style.VERMILION, "carried": style.GREEN, "exact": style.BLUE}, "upper right")
    end.set(title="at $t$ = 2", xlabel="density", xticks=[0, 0.4])
