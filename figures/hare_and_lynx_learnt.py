"""Figure 31. A network fits the years it is shown better, and forecasts no better

Three models of the pelts of figure 30, fitted to 1900–1912 alone and asked for 1913–1920:
Lotka–Volterra, it plus a network 2–8–2, and a network 2–16–2 alone. The state is the logarithm of
the populations, in units of their geometric means: errors are log-normal, and no population is
negative. The two populations in 1900 are fitted with the rest, from a horizon that grows; the sum
starts from the fit of Lotka–Volterra with nothing added. The weights decay, each network has two
seeds, and nothing was chosen by what it does after 1912. The sum of two fields is a field of the
reader's own, with its derivatives. The figure shows (2.2), (4.1), (20.1), (23.4) and (24.2).

Caption. Networks fit the years they are shown better than Lotka–Volterra, and forecast the others no better. Nor does
any model clearly beat repeating the counts of ten years before (dotted): the forecast is 16 counts of two correlated
series, too few to rank the models. Right: each line is one fit, and each network has two seeds.

Numbers. Lotka–Volterra has 0.19 in the years fitted and 0.38 in the forecast; the count of ten years before would
have had 0.40, the mean 0.82. With a network at decay 0.03, which is drawn, it is 0.09 in the years fitted and 0.45 in
the forecast, with the network alone 0.09 to 0.11 and 0.46 to 0.47. At decay 3 the sum has 0.16 and 0.37, and the
network alone learns next to nothing. Nor can these data tell how much noise was learnt: σ = 0.24 in figure 30 is the
misfit of Lotka–Volterra, not a noise that was measured.
"""

import numpy as np

from minode import MLP, VectorField, odeint, value_and_gradients
from minode.learning.fit import decay, fit
from minode.learning.optimisers import cosine

from . import style
from ._pelts import pelts

SECONDS = 14
SIZE = (8.0, 4.3)
YEARS, COUNTS = pelts()
T, KNOWN = YEARS - YEARS[0], 13                          # 1900 to 1912 are fitted
UNIT = np.exp(np.log(COUNTS[:KNOWN]).mean(axis=0))       # geometric means
X = np.log(COUNTS / UNIT)
DECAYS, SEEDS, SHOWN = (0.03, 0.3, 3.0), (0, 1), (0.03, 0)
SOLVER = {"method": "rk4", "step_size": 0.5}


class Physics(VectorField):
    """Lotka–Volterra for the logarithms x of the populations: x₁' = α − β e^x₂, x₂' = δ e^x₁ − γ."""

    dim, n_params = 2, 4

    def __call__(self, t, x, theta):
        alpha, beta, gamma, delta = theta
        dx, y = np.empty(x.shape, np.result_type(x, theta)), np.exp(x)
        dx[..., 0] = alpha - beta * y[..., 1]
        dx[..., 1] = delta * y[..., 0] - gamma
        return dx

    def jacobian(self, t, x, theta):
        f_x, y = np.zeros((*x.shape, 2), np.result_type(x, theta)), np.exp(x)
        f_x[..., 0, 1] = -theta[1] * y[..., 1]
        f_x[..., 1, 0] = theta[3] * y[..., 0]
        return f_x

    def param_jacobian(self, t, x, theta):
        f_theta, y = np.zeros((*x.shape, 4), np.result_type(x, theta)), np.exp(x)
        f_theta[..., 0, 0], f_theta[..., 0, 1] = 1, -y[..., 1]
        f_theta[..., 1, 2], f_theta[..., 1, 3] = -1, y[..., 0]
        return f_theta

    def time_derivative(self, t, x, theta):
        return np.zeros_like(x)


class Sum(VectorField):
    """The sum of two fields, θ of the first and then of the second: what both do is added, as are derivatives."""

    def __init__(self, first, second):
        self.parts, self.cut = (first, second), first.n_params
        self.dim, self.n_params = first.dim, first.n_params + second.n_params

    def of(self, name, t, x, theta):
        """What both parts answer to this call."""
        first, second = self.parts
        return getattr(first, name)(t, x, theta[:self.cut]), getattr(second, name)(t, x, theta[self.cut:])

    def __call__(self, t, x, theta):
        return sum(self.of("__call__", t, x, theta))

    def jacobian(self, t, x, theta):
        return sum(self.of("jacobian", t, x, theta))

    def param_jacobian(self, t, x, theta):
        return np.concatenate(self.of("param_jacobian", t, x, theta), axis=-1)

    def time_derivative(self, t, x, theta):
        return sum(self.of("time_derivative", t, x, theta))


PHYSICS, NETWORK = Physics(), MLP([2, 16, 2], ["tanh", "identity"])
SMALL = MLP([2, 8, 2], ["tanh", "identity"])
BOTH = Sum(PHYSICS, SMALL)


def loss(xs):
    """½ Σ r², r the difference of the logarithms, over as many counts as there are states."""
    r = xs - X[:len(xs)]
    return 0.5 * np.sum(r**2), r


def learn(field, theta, x0, rate, horizons, weight_decay=0.0, weights=slice(0)):
    """Adam on θ and x0, some steps on each horizon {years: steps}, with decay of some of the weights."""
    u = np.concatenate([theta, x0])
    for years, steps in horizons.items():
        def objective(u, batch):
            value, gradients = value_and_gradients(loss, field, u[-2:], T[:years], u[:-2], times=False, **SOLVER)
            gradient = np.concatenate([gradients.theta, gradients.y0])
            penalty, share = decay(u[weights], weight_decay)
            gradient[weights] += share
            return value + penalty, gradient
        u = fit(objective, u, n_steps=steps, learning_rate=lambda step: cosine(step, rate, steps),
                largest_gradient=5.0, progress=False).theta
    return u


def forecast(field, u, t):
    return odeint(field, u[-2:], t, u[:-2], **SOLVER)


def residuals(field, u):
    """The rms residual of the years that were fitted, and of those after them."""
    r = forecast(field, u, T) - X
    return np.sqrt(np.mean(r[:KNOWN] ** 2)), np.sqrt(np.mean(r[KNOWN:] ** 2))


def compute():
    alone = learn(PHYSICS, np.full(4, 0.7), X[0], 0.1, {5: 50, 9: 50, KNOWN: 100})
    found = {"alone": alone}
    for weight_decay in DECAYS:
        for seed in SEEDS:
            start = SMALL.init(np.random.default_rng(seed))
            start[-18:] = 0.0                            # the last layer: at first nothing is added
            key = "both", weight_decay, seed
            found[key] = learn(
                BOTH, np.concatenate([alone[:4], start]), alone[-2:], 0.03, {KNOWN: 200}, weight_decay, slice(4, -2))
            start = NETWORK.init(np.random.default_rng(seed))
            key = "network", weight_decay, seed
            found[key] = learn(NETWORK, start, X[0], 0.03, {5: 80, 9: 80, KNOWN: 200}, weight_decay, slice(0, -2))

    years, data = np.linspace(0.0, T[-1], 201), {}
    for name in MODELS:
        field = MODELS[name][0]
        runs = {key[1:]: u for key, u in found.items() if key[0] == name} or {SHOWN: found[name]}
        data[name] = {"curve": UNIT * np.exp(forecast(field, runs[SHOWN], years)),
                      "residuals": {key: residuals(field, u) for key, u in runs.items()}}
    guesses = {"mean": 0 * X[KNOWN:], "ten years before": X[KNOWN - 10:len(X) - 10]}
    return data | {"years": years, "guesses": {
        name: np.sqrt(np.mean((X[KNOWN:] - guess) ** 2)) for name, guess in guesses.items()}}


MODELS = {"alone": (PHYSICS, style.BLUE), "both": (BOTH, style.GREEN), "network": (NETWORK, style.VERMILION)}


def draw(fig, data):
    hares, slopes = fig.subplots(1, 2, width_ratios=[1.25, 1])
    names = {"alone": "Lotka–Volterra", "both": "with a network", "network": "network alone"}
    years = YEARS[0] + data["years"]
    hares.axvspan(YEARS[0] - 0.5, YEARS[KNOWN - 1] + 0.5, color="#ededed", lw=0, zorder=0)
    hares.semilogy(YEARS, COUNTS[:, 0], "o", color=style.BLACK)
    for model, (_, colour) in MODELS.items():
        hares.plot(years, data[model]["curve"][:, 0], color=colour, lw=2)
    hares.minorticks_off()
    ticks = (10, 20, 50, 100)
    hares.set(xlabel="year", ylabel="hares (thousand pelts)", yticks=ticks, yticklabels=ticks, ylim=(6, 140),
              xlim=(YEARS[0] - 0.5, YEARS[-1] + 0.5), xticks=YEARS[::5], title="hares: counts, and three models")
    hares.text(1900, 112, "fitted", color=style.ink(style.GREY))
    hares.text(1913, 112, "forecast", color=style.ink(style.GREY))
    hares.grid(axis="x", visible=False)
    style.key(hares, {names[model]: colour for model, (_, colour) in MODELS.items()}, "lower left")

    ends = [(data["guesses"]["ten years before"], "ten years before", style.BLACK)]
    for model, (_, colour) in MODELS.items():
        rows = [row for (weight_decay, _), row in data[model]["residuals"].items() if weight_decay == SHOWN[0]]
        slopes.plot((0, 1), np.transpose(rows), "o-", color=colour, lw=2, ms=7)
        ends.append((np.mean(rows, axis=0)[1], names[model], colour))
    slopes.plot((0.9, 1.07), 2 * [ends[0][0]], ":", color=style.BLACK, lw=1.8)
    slopes.set(xticks=(0, 1), xticklabels=("fitted\n1900–1912", "forecast\n1913–1920"), xlim=(-0.2, 1.9),
               ylim=(0, 0.54), ylabel="rms residual of log counts", title="better fits, no better forecasts")
    slopes.grid(axis="x", visible=False)
    style.end_labels(slopes, 1.07, ends, gap=0.065)
