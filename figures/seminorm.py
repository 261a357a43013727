"""Figure 24. What b has no say in

Backwards, b collects the gradient in θ and hands nothing on: its error stays where it is made.
But it is most of the state [y, a, b], here 252 numbers beside 80, and starts from zero,
where its scale is atol alone. In the usual norm it shortens the steps that y and a would allow.
The seminorm leaves it out. A network 3–50–2 with tanh on 20 trajectories to t = 2, the loss
½ |y(2)|², backsolve with dopri5; errors of dL/dθ are relative, and against the discrete
gradient of dop853 at 1e-12. The figure shows (17.3) under the norms (10.3) and (17.7).

Caption. Left: vector-Jacobian products of the way back against rtol, solid for atol = rtol/1000,
dotted for atol = rtol. The seminorm takes 0.53 to 0.90 of the products in the first case, 0.70
to 1.00 in the second. Right: the error of dL/dθ against the products, for atol = rtol/1000. b,
left to itself, is at most 2.4 times less accurate at the same tolerance, and more accurate
for the same number of products.
"""

import numpy as np

from minode import MLP, value_and_gradients
from minode.gradients.adjoint import seminorm

from . import style

SECONDS = 0.5
TOLERANCES = 10.0 ** -np.arange(2, 10)
RATIOS = {"atol = rtol/1000": 1e-3, "atol = rtol": 1.0}
NORMS = {"norm": (None, style.VERMILION), "seminorm": (seminorm, style.BLUE)}
T = [0.0, 2.0]
COUNTS = (20, 50, 100, 200)                # marked on the axes


class Counting(MLP):
    """An MLP that counts its vector-Jacobian products."""

    calls = 0

    def vjp(self, t, y, theta, a):
        self.calls += 1
        return super().vjp(t, y, theta, a)


def loss(ys):
    weight = np.zeros((len(ys), 1, 1))
    weight[-1] = 1
    return 0.5 * np.sum(weight * ys**2), weight * ys


def compute():
    rng = np.random.default_rng(0)
    model = Counting([3, 50, 2], ["tanh", "identity"])
    theta, y0 = model.init(rng), rng.normal(size=(20, 2))

    def gradient(**solver):
        return value_and_gradients(loss, model, y0, T, theta, times=False, **solver)[1].theta

    exact = gradient(method="dop853", rtol=1e-12, atol=1e-12)
    data = {}
    for name, ratio in RATIOS.items():
        for kind, (norm, _) in NORMS.items():
            rows = []
            for rtol in TOLERANCES:
                model.calls = 0
                found = gradient(gradient="backsolve", backward={"norm": norm}, rtol=rtol, atol=ratio * rtol)
                rows.append((model.calls, np.linalg.norm(found - exact) / np.linalg.norm(exact)))
            data[name, kind] = np.transpose(rows)
    return data


def draw(fig, data):
    calls, errors = fig.subplots(1, 2)
    for (name, kind), (count, error) in data.items():
        tight, (_, colour) = RATIOS[name] < 1, NORMS[kind]
        calls.loglog(TOLERANCES, count, "o-" if tight else ".:", color=colour)
        if tight:
            errors.loglog(count, error, "o-", color=colour)
    calls.minorticks_off()
    errors.minorticks_off()
    calls.set(xlabel="rtol", xlim=(2e-2, 5e-10), yticks=COUNTS, yticklabels=COUNTS,
              ylabel="vector–Jacobian products", title="products for a tolerance")
    calls.text(1.6e-2, 75, "norm of $y, a, b$", color=style.ink(style.VERMILION))
    calls.text(1e-6, 20, "seminorm, of $y, a$", color=style.BLUE)
    errors.text(88, 8e-8, "norm", color=style.ink(style.VERMILION))
    errors.text(22, 3e-8, "seminorm", color=style.BLUE)
    errors.set(xlabel="vector–Jacobian products", xticks=COUNTS, xticklabels=COUNTS,
               ylabel="relative error of $dL/dθ$", title="what they buy")
