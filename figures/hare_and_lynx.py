"""Figure 30. Hare and lynx, 1900 to 1920

Lotka–Volterra fitted to the pelts that the Hudson's Bay Company collected. Sought is u, the
logarithms of α, β, γ, δ and of the two populations in 1900; errors are log-normal, and L = ½ Σ r²
with r = log(y(t_i) / count_i). From eight starts, α and γ drawn from 0.2 to 2, β and δ from 0.005
to 0.1, evenly in the logarithm, and the populations those counted in 1900, Adam takes 250 steps:
either on all 21 years, or 50 each on the first 5, 8, 12, 16 and 21 counts. The growing horizon of
the first start is finished by Newton's method, six products Hv a step. Standard errors are the
roots of the diagonal of σ² H⁻¹, with H in u and σ² = Σ r² / (42 − 6). The figure shows (2.2),
(20.1), (21.3) and (23.4).

Caption. Top left: counts (dots), the fit (lines), and where all years at once end from the first
start, nearly flat (dotted). Top right: the field of the fit for the logarithms, arrows as long as
the square root of its size, its solution (line) and the counts (dots). The field is 0 at the cross,
γ/δ = 33.6 thousand hares and α/β = 19.9 thousand lynx, the means over a cycle; those of the counts
are 34.1 and 20.2. Bottom left: the residual over the horizon in use. All years at once find the
optimum from 5 of the eight starts, and are stuck at a residual of 0.62 or more from 3; a growing
horizon finds it from all eight. Newton's method then takes the norm of the gradient from 0.73 to
0.12, 2.9e-4, 3.6e-8 and to round-off. Bottom right: α 0.540 ± 0.059, β 0.0272 ± 0.0038, γ 0.796 ±
0.084, δ 0.0237 ± 0.0033, and in 1900 34.6 ± 2.8 thousand hares and 5.8 ± 0.5 thousand lynx, within
0.22 standard errors of the posterior means that Carpenter (2018) published, 0.55, 0.028, 0.80,
0.024, 34.0 and 5.9. α and γ are per year, β and δ per year and thousand pelts. σ is 0.24, and 0.25
there.
"""

import numpy as np

from minode import LotkaVolterra, hessian_vector_product, odeint, value_and_gradients
from minode.learning.fit import fit

from . import style
from ._pelts import pelts

SECONDS = 14
SIZE = (8.0, 6.0)
FIELD, (YEARS, COUNTS) = LotkaVolterra(), pelts()
T = YEARS - YEARS[0]
NAMES = ("$α$", "$β$", "$γ$", "$δ$", "hares", "lynx")
PUBLISHED = np.array([0.55, 0.028, 0.80, 0.024, 34.0, 5.9])          # posterior means, Carpenter (2018)
LOWEST, HIGHEST = np.array([0.2, 0.005, 0.2, 0.005]), np.array([2.0, 0.1, 2.0, 0.1])
STARTS, STEPS, RATE, NEWTON = 8, 50, 0.05, 4
HORIZONS = (5, 8, 12, 16, 21)
WAYS = {"whole": {21: STEPS * len(HORIZONS)}, "growing": dict.fromkeys(HORIZONS, STEPS)}     # {years: steps}
FREE = 2 * len(T) - 6                                    # degrees of freedom
ROUGH, FINE = {"rtol": 1e-4, "atol": 1e-6}, {"method": "dop853", "rtol": 1e-10, "atol": 1e-10}


def loss(ys, ws=None):
    """½ Σ r² over as many counts as there are states, its derivative, and that one's along ws."""
    r = np.log(ys / COUNTS[:len(ys)])
    value = 0.5 * np.sum(r**2), r / ys
    return value if ws is None else (*value, (1 - r) / ys**2 * ws)


def value_and_gradient(u, years, solver):
    """L and dL/du of the first `years` counts: what moves by a factor has x dL/dx for a derivative."""
    x = np.exp(u)
    value, gradients = value_and_gradients(loss, FIELD, x[4:], T[:years], x[:4], times=False, **solver)
    return value, x * np.concatenate([gradients.theta, gradients.y0])


def hessian(u):
    """H in u, a product with each unit vector, and the gradient, for x dL/dx moves as x does, too."""
    x, (_, gradient) = np.exp(u), value_and_gradient(u, len(T), FINE)
    rows = []
    for v in np.eye(6) * x:
        Hv = hessian_vector_product(loss, FIELD, x[4:], T, x[:4], v[4:], v[:4], **FINE)
        rows.append(x * np.concatenate([Hv.theta, Hv.y0]))
    return np.array(rows) + np.diag(gradient), gradient


def descend(u, horizons):
    """Adam from u, some steps on each horizon: the best u on the last, and the rms residual on the way."""
    residuals = []
    for years, steps in horizons.items():
        found = fit(lambda u, _: value_and_gradient(u, years, ROUGH), u, n_steps=steps, learning_rate=RATE,
                    progress=False)
        u = found.theta
        residuals.append(np.sqrt(found.history.loss / years))
    return u, np.concatenate(residuals)


def newton(u):
    """Newton's method from u: all its u, and the norm of the gradient at each."""
    path, norms = [u], []
    for k in range(NEWTON + 1):
        H, gradient = hessian(path[-1])
        norms.append(np.linalg.norm(gradient))
        if k < NEWTON:
            path.append(path[-1] - np.linalg.solve(H, gradient))
    return np.array(path), np.array(norms), H


def curves(u, t):
    """The populations of u at the times t."""
    x = np.exp(u)
    return odeint(FIELD, x[4:], t, x[:4], **FINE)


def rms(u):
    """The root-mean-square residual over all years, of hares and of lynx."""
    return np.sqrt(np.mean(np.log(curves(u, T) / COUNTS) ** 2, axis=0))


def compute():
    rng, years = np.random.default_rng(0), np.linspace(0.0, T[-1], 401)
    starts = np.log(LOWEST) + rng.uniform(size=(STARTS, 4)) * np.log(HIGHEST / LOWEST)
    starts = np.concatenate([starts, np.tile(np.log(COUNTS[0]), (STARTS, 1))], axis=1)
    ends, data = {}, {"starts": np.exp(starts)}
    for way, horizons in WAYS.items():
        ends[way], residuals = zip(*(descend(u, horizons) for u in starts))
        data[way] = np.array(residuals)
        data[way, "rms"] = np.array([np.sqrt(np.mean(rms(u) ** 2)) for u in ends[way]])
    path, norms, H = newton(ends["growing"][0])
    u = path[-1]
    sigma = np.sqrt(2 * loss(curves(u, T))[0] / FREE)
    plane = np.stack(np.meshgrid(np.geomspace(6, 100, 8), np.geomspace(4, 75, 8)), axis=-1)
    alpha, beta, gamma, delta = np.exp(u[:4])
    data |= {"plane": plane, "field": FIELD(0.0, plane, np.exp(u[:4])) / plane,      # d log y/dt
             "rest": np.array([gamma / delta, alpha / beta])}
    return data | {"u": u, "H": H, "norms": norms, "sigma": sigma, "rms": rms(u),
                   "estimates": np.exp(u), "relative errors": sigma * np.sqrt(np.diag(np.linalg.inv(H))),
                   "years": years, "fit": curves(u, years), "stuck": curves(ends["whole"][0], years)}


def draw(fig, data):
    top, bottom = fig.subfigures(2, 1)
    (ax, plane), (losses, ratios) = top.subplots(1, 2, width_ratios=[1.5, 1]), bottom.subplots(1, 2)
    years = YEARS[0] + data["years"]
    for k, (name, colour) in enumerate((("hares", style.BLUE), ("lynx", style.VERMILION))):
        ax.plot(YEARS, COUNTS[:, k], "o", color=colour)
        ax.plot(years, data["fit"][:, k], color=colour)
        ax.plot(years, data["stuck"][:, k], ":", color=colour, lw=1.4)
    ax.text(1903.7, 70, "hares", color=style.BLUE)
    ax.text(1905.2, 48, "lynx", color=style.ink(style.VERMILION))
    ax.set(xlabel="year", ylabel="pelts (thousands)", title="counts and fit", xticks=YEARS[::4],
           ylim=(0, None))

    ticks = (5, 10, 20, 50, 100)
    plane.plot(*data["fit"].T, color=style.BLACK, lw=1)
    plane.plot(*COUNTS.T, ".", color=style.GREY, ms=5)
    plane.plot(*data["rest"], "x", color=style.BLACK, ms=8, mew=2)
    arrows = data["field"] / np.sqrt(np.linalg.norm(data["field"], axis=-1, keepdims=True))
    plane.quiver(*np.moveaxis(data["plane"], -1, 0), *np.moveaxis(arrows, -1, 0), color=style.GREEN,
                 scale=16, width=0.009)
    plane.loglog()
    plane.minorticks_off()
    plane.set(aspect="equal", xlabel="hares (thousands)", ylabel="lynx (thousands)", xticks=ticks,
              xticklabels=ticks, yticks=ticks, yticklabels=ticks, title="field and orbit")

    for way, colour in (("whole", style.PURPLE), ("growing", style.GREEN)):
        losses.semilogy(data[way].T, color=colour, lw=1.1)
    for step in STEPS * np.arange(1, len(HORIZONS)):
        losses.axvline(step, color=style.PALE, lw=0.8, zorder=0)
    losses.text(255, 1.3, "all years at once", color=style.PURPLE, ha="right")
    losses.text(255, 0.13, "a growing horizon", color=style.ink(style.GREEN), ha="right")
    losses.minorticks_off()
    ticks = (0.1, 0.2, 0.5, 1, 2, 5)
    losses.set(xlabel="steps of Adam", ylabel="rms residual of log counts", yticks=ticks, yticklabels=ticks,
               title="from eight starts")

    ratio, height = data["estimates"] / PUBLISHED, -np.arange(6)
    ratios.errorbar(ratio, height, xerr=ratio * data["relative errors"], fmt="o", color=style.BLACK, capsize=3, lw=1.5)
    ratios.axvline(1.0, color=style.GREY, lw=1)
    ratios.set(yticks=height, yticklabels=NAMES, xlabel="estimate / published posterior mean",
               title="estimates ± one standard error")
