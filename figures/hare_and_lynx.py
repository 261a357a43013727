"""Figure 30. A growing horizon finds the cycle from every start, all years at once only from some

Lotka–Volterra fitted to the pelts that the Hudson's Bay Company collected, 1900 to 1920. Sought is u, the
logarithms of α, β, γ, δ and of the two populations in 1900; errors are log-normal, and L = ½ Σ r²
with r = log(y(t_i) / count_i). From eight starts, α and γ drawn from 0.2 to 2, β and δ from 0.005
to 0.1, evenly in the logarithm, and the populations those counted in 1900, Adam takes 250 steps:
either on all 21 years, or 50 each on the first 5, 8, 12, 16 and 21 counts. The growing horizon of
the first start is finished by Newton's method, six products Hv a step. Standard errors are the
roots of the diagonal of σ² H⁻¹, with H in u and σ² = Σ r² / (42 − 6). The figure shows (2.2),
(20.1), (21.3) and (23.4).

Caption. Fitted to all years at once, five of eight starts find the cycle, and three get stuck (dotted: one of them).
With a growing horizon, all eight find it. Above: counts (dots) and the fit. Below: the fit among the arrows of its
field, which is 0 at the cross, near the means of the counts.

Numbers. The field is 0 at γ/δ = 33.6 thousand hares and α/β = 19.9 thousand lynx, the means over a cycle; those of
the counts are 34.1 and 20.2. All years at once find the optimum from 5 of the eight starts, and are stuck at a
residual of 0.62 or more from 3. From where the growing horizon of the first start ends, Newton's method takes the
norm of the gradient from 0.73 to 0.12, 2.9e-4, 3.6e-8 and to round-off. Estimates ± one standard error: α 0.540 ±
0.059, β 0.0272 ± 0.0038, γ 0.796 ± 0.084, δ 0.0237 ± 0.0033, and in 1900 34.6 ± 2.8 thousand hares and 5.8 ± 0.5
thousand lynx, within 0.22 standard errors of the posterior means that Carpenter (2018) published, 0.55, 0.028, 0.80,
0.024, 34.0 and 5.9. α and γ are per year, β and δ per year and thousand pelts. σ is 0.24, and 0.25 there.
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
    """Adam from u, some steps on each horizon: the best u on the last."""
    for years, steps in horizons.items():
        u = fit(lambda u, _: value_and_gradient(u, years, ROUGH), u, n_steps=steps, learning_rate=RATE,
                progress=False).theta
    return u


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
    ends, data = {}, {}
    for way, horizons in WAYS.items():
        ends[way] = [descend(u, horizons) for u in starts]
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
    panels = fig.subplot_mosaic([["fit", "fit"], ["plane", "ends"]], height_ratios=[1, 1.3], width_ratios=[1, 1.3])
    ax, years = panels["fit"], YEARS[0] + data["years"]
    for k, colour in enumerate((style.BLUE, style.VERMILION)):
        ax.plot(YEARS, COUNTS[:, k], "o", color=colour)
        ax.plot(years, data["fit"][:, k], color=colour)
        ax.plot(years, data["stuck"][:, k], ":", color=colour, lw=2)
    ax.text(1902.0, 74, "hares", color=style.BLUE, ha="right")
    ax.text(1905.0, 55, "lynx", color=style.ink(style.VERMILION))
    ax.text(1906.4, 36, "stuck (dotted)", color=style.ink(style.GREY))
    ax.set(xlabel="year", ylabel="pelts (thousands)", title="counts, and Lotka–Volterra fitted to them",
           xticks=YEARS[::4], ylim=(0, None))

    ax, ticks = panels["plane"], np.array([5, 10, 20, 50, 100])
    style.field(ax, data["field"], np.log(data["plane"]), color=style.GREEN, width=0.007)
    ax.plot(*np.log(data["fit"]).T, color=style.BLACK, lw=1.5)
    ax.plot(*np.log(COUNTS).T, ".", color=style.GREY, ms=6)
    ax.plot(*np.log(data["rest"]), "x", color=style.BLACK, ms=9, mew=2)
    ax.set(aspect="equal", xlabel="hares (thousands)", ylabel="lynx (thousands)", xticks=np.log(ticks),
           xticklabels=ticks, yticks=np.log(ticks), yticklabels=ticks, title="the field and its orbit")

    ax, least = panels["ends"], np.sqrt(np.mean(data["rms"] ** 2))
    for k, (way, colour) in enumerate((("whole", style.PURPLE), ("growing", style.GREEN))):
        ends = np.sort(data[way, "rms"])
        found = int(np.sum(ends < 1.1 * least))
        ax.plot(k + 0.08 * (np.arange(STARTS) - (STARTS - 1) / 2), ends, "o", color=colour, ms=9)
        ax.text(k, 0.3, f"{found} of {STARTS} find the cycle", color=style.ink(colour), ha="center")
    ax.axhline(least, color=style.GREY, lw=0.8, zorder=0)
    ax.set(xticks=(0, 1), xticklabels=("all years at once", "a growing horizon"), xlim=(-0.5, 1.5), ylim=(0, 0.99),
           ylabel="rms residual of log counts", title="where eight starts end")
    ax.grid(axis="x", visible=False)
    ax.tick_params(axis="x", labelsize=11, length=0)
