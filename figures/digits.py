"""Figure 28. The same block as a residual network and as an ODE

1,797 handwritten digits of 8 × 8 pixels, a fifth of them held out, and three classifiers with the
same block g, a network 32–32–32 with tanh, between affine maps: six residual layers with a θ each; the
same layers with one θ for all; an ODE y' = g(y, θ), 0 ≤ t ≤ 1, by dopri5 at 1e-2. All are trained alike, by
500 steps of Adam on batches of 96, images moved by at most 0.4 pixels and with a little noise. The
learning rate is the same for all, 0.02; on another fifth, after training on the other three, half
of it and twice of it do as well, as far as so many images can tell. Both parts have the same writers,
so that nothing here is about a stranger's hand. The figure shows (25.1), (25.2) and (25.6).

Caption. Left: the held-out error, three seeds (small dots) and their means. The residual network is wrong
on 1.39 %, the one with one θ on 1.67 %, the ODE-Net on 1.95 %, which is 5.0, 6.0 and 7.0 of 359 images:
all above 97 % right, too near each other for three seeds to tell apart, and better than no block at
all (2.97 %). Chen and others (2018) found the same error with a third of the parameters; so does this,
with 0.30 of them, and it is the shared θ that saves them, not the ODE. Its price is calls of f: 14
against 6. What it has over the others is to be a flow. With finer steps it gives all the same answers,
where the residual network changes up to 7 of them and the network with one θ up to 45: what these
learnt is their steps, not an equation. Right: the memory of a gradient. The ODE-Net takes only 2 steps, so
there is little to save: checkpoint needs about a quarter less, and backsolve about as much.
"""

import tracemalloc

import numpy as np

from minode import Classifier

from . import _digits, style
from ._digits import SEEDS, data, models, trained

SECONDS = 25
SIZE = (8.0, 4.0)
FINER = (1, 2, 4, 8, 16)                   # steps in the place of one, for the networks
TIGHTER = (1, 1e-2, 1e-4, 1e-6)            # times the tolerance, for the ODE-Net
COLOURS = dict(zip(models(), (style.GREY, style.VERMILION, style.ORANGE, style.BLUE)))
COSTS = (("residual network", "discrete"), ("the same, one θ", "discrete"), ("ODE-Net", "discrete"),
         ("ODE-Net", "checkpoint"), ("ODE-Net", "backsolve"))


def finer(name):
    """The classifier as it was trained, and with ever more calls of f."""
    model = models()[name]
    if name == "no block":
        return [model]
    if name == "ODE-Net":
        options = [{**model.solver, "rtol": 1e-2 * tight, "atol": 1e-2 * tight} for tight in TIGHTER]
    else:
        options = [{**model.solver, "step_size": 1.0 / more} for more in FINER]
    return [Classifier(64, model.field, 10, model.t, **solver) for solver in options]


def answers(model, theta):
    """The digits that the held-out images are taken for, and the calls of f that it took."""
    _, held = data()
    model.field.n_f = 0
    return model.logits(held.images, theta).argmax(axis=1), model.field.n_f


def compute():
    training, held = data()
    batch = training.images[:_digits.BATCH], training.labels[:_digits.BATCH]
    result = {"parameters": {}, "errors": {}, "changed": {}, "calls": {}, "costs": {}}
    result["misread"] = {factor: _digits.misread(factor * _digits.RATE) for factor in (0.5, 1, 2)}
    for name, model in models().items():
        thetas = [trained(name, seed).last for seed in SEEDS]
        found = [[answers(variant, theta) for variant in finer(name)] for theta in thetas]
        digits = np.array([[answer for answer, _ in row] for row in found])
        result["parameters"][name] = model.n_params
        result["errors"][name] = np.mean(digits != held.labels, axis=-1)           # (seeds, variants)
        result["changed"][name] = np.sum(digits != digits[:, :1], axis=-1)
        result["calls"][name] = np.array([[calls for _, calls in row] for row in found])
    for name, route in COSTS:
        theta = trained(name, 0).last
        models()[name].value_and_gradient(*batch, theta, gradient=route)           # what is made but once
        model = models()[name]
        tracemalloc.start()
        model.value_and_gradient(*batch, theta, gradient=route)
        memory = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)                # its last digits vary
        tracemalloc.stop()
        result["costs"][name, route] = memory, model.field.n_f, model.field.n_vjp
    return result


def draw(fig, data):
    error, costs = fig.subplots(1, 2, width_ratios=[1.9, 1])
    for name, colour in COLOURS.items():
        if name == "no block":
            continue
        calls, percent = data["calls"][name].mean(axis=0), 100 * data["errors"][name]
        for row in percent:
            error.plot(calls, row, "o", color=colour, ms=3, alpha=0.6)
        error.plot(calls, percent.mean(axis=0), color=colour)
        error.plot(calls[0], percent.mean(axis=0)[0], "o", color=colour, ms=9)
        error.text(1.12 * calls[-1], percent.mean(axis=0)[-1], f"{name}\n{data['parameters'][name]:,} parameters",
                   color=style.ink(colour), size=10, va="center")
    error.set_xscale("log", base=2)
    error.set_yscale("log", base=2)
    error.minorticks_off()
    ticks = [6, 12, 24, 48, 96]
    error.set(xticks=ticks, xticklabels=ticks, xlim=(5, 400), yticks=[1, 2, 4, 8, 16], yticklabels=[1, 2, 4, 8, 16], xlabel="calls of $f$ on the way forward",
              ylabel="held-out error, %", title="as trained (large dots), then with finer steps")
    level = 100 * data["errors"]["no block"].mean()
    error.plot([5, 100], [level, level], ":", color=style.GREY, lw=1.2)
    error.text(17, level * 1.04, "no block", color=style.GREY, size=10)
    for row, (name, route) in enumerate(COSTS):
        memory = data["costs"][name, route][0]
        costs.barh(row, memory, color=COLOURS[name], height=0.62)
        costs.text(memory + 0.05, row, f"{memory:.1f} MB", va="center", size=10)
        costs.text(0.04, row, route, va="center", size=9, color="white" if COLOURS[name] == style.BLUE else "black")
    costs.invert_yaxis()
    costs.grid(axis="y", visible=False)
    costs.set(yticks=[], xlim=(0, 4.1), xlabel="peak memory, MB", title="one gradient, a batch of 96")
