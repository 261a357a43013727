"""Figure 28. Finer steps: only the ODE-Net keeps its answers

1,797 handwritten digits of 8 × 8 pixels, a fifth of them held out, and three classifiers with the
same block g, a network 32–32–32 with tanh, between affine maps: six residual layers with a θ each; the
same layers with one θ for all; an ODE y' = g(y, θ), 0 ≤ t ≤ 1, by dopri5 at 1e-2. All are trained alike, by
500 steps of Adam on batches of 96, images moved by at most 0.4 pixels and with a little noise. The
learning rate is the same for all, 0.02; on another fifth, after training on the other three, half
of it and twice of it do as well, as far as so many images can tell. Both parts have the same writers,
so that nothing here is about a stranger's hand. The figure shows (25.1), (25.2) and (25.6).

Caption. Only the ODE-Net has learnt an equation: with finer steps it keeps every answer. The networks have learnt
their steps. With finer ones they change up to 7 and up to 45 of the 359 answers. As trained (large dots, means of
three seeds) the three are too near each other to rank, and all better than no block.

Numbers. As trained, the residual network is wrong on 1.39 %, the one with one θ on 1.67 %, the ODE-Net on 1.95 %,
which is 5.0, 6.0 and 7.0 of 359 images: all above 97 % right. With no block, 2.97 % are wrong. Chen and others (2018)
found the same error with a third of the parameters. So does this, with 0.30 of them, and it is the shared θ that
saves them, not the ODE. The price of the ODE is calls of f: 14 against 6. It takes only 2 steps, so there is little
memory to save in a gradient: checkpoint needs about a quarter less, and backsolve about as much.
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
COLOURS = dict(zip(models(), (style.GREY, style.PURPLE, style.VERMILION, style.BLUE)))
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
    ax, n = fig.subplots(), len(_digits.data()[1].labels)
    for name, shown in (("residual network", "residual network"), ("the same, one θ", "one θ for all layers"),
                        ("ODE-Net", "ODE-Net")):
        colour, calls, percent = COLOURS[name], data["calls"][name].mean(axis=0), 100 * data["errors"][name]
        for row, marker in zip(percent, "^sv"):
            ax.plot(calls, row, marker + "-", color=colour, ms=4, lw=0.6, alpha=0.6)
        ax.plot(calls, percent.mean(axis=0), color=colour, lw=2.5)
        ax.plot(calls[0], percent.mean(axis=0)[0], "o", color=colour, ms=10)
        most = data["changed"][name].max()
        result = f"up to {most} of {n} answers change" if most else "no answer changes"
        ax.text(1.1 * calls[-1], percent.mean(axis=0)[-1], f"{shown}:\n{result}", color=style.ink(colour),
                va="center" if most else "top")
    level = 100 * data["errors"]["no block"].mean()
    ax.plot([5, 100], [level, level], ":", color=style.GREY, lw=1.2)
    ax.text(5.1, level * 1.05, "no block", color=style.GREY, size=10)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.minorticks_off()
    ticks, percents = [6, 12, 24, 48, 96], [1, 2, 4, 8, 16]
    ax.set(xticks=ticks, xticklabels=ticks, xlim=(5, 290), yticks=percents, yticklabels=percents,
           xlabel="calls of $f$: as trained (large dots), then with finer steps", ylabel="held-out error, %",
           title="with finer steps, only the ODE-Net keeps its answers")
