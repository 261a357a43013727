"""Figure 32. A network learns to spiral near its data, and not in the corners

The demonstration that torchdiffeq ships (Chen and others, 2018): 1,000 states on y' = A y³ (there y³ A, which
turns the other way) from t = 0 to 25, and a network 2–50–2 with tanh that reads y³, its weights drawn from N(0,
0.1²), its biases 0. In each step 20 pieces of 10 states in a row are drawn, each solved from its first state on
by RK4, one step from state to state. The loss is half the mean square of the differences. The demonstration
itself takes 2,000 steps of RMSprop down the mean |difference|; here 1,000 steps of Adam, whose learning rate
falls from 0.03 to 0, are enough. To read y³ is to be told much of the answer: the field is then linear in what
the network reads. The figure shows (2.4), (4.1), (18.4), (23.4) and (23.6).

Caption. The network's solution from the first state on (blue) winds onto the data (grey) as it learns; titles say how
far apart the two are on average. Before training it leads outwards and never back. Below, the learnt field (blue)
over the true one (grey): near the data they agree, but not in the corners, which have no data.

Numbers. As means of |difference| of the components they are 10, 0.63, 0.63 and 0.048 apart. With 0 steps the field is
that of the weights drawn, whose solution is out of the picture from t = 0.7 on, and at t = 25 at (18, −16). Arrows
are as long as the cube root of the speed. If |y| is between 1/2 and 2 the fields differ by less than 20 %; in the
corners, somewhere by more than 40 %. Of the loss each batch is drawn (pale) and a running median of 31 batches.
"""

import numpy as np

from minode import MLP, CubicSpiral, VectorField, odeint, value_and_gradients
from minode.learning.fit import fit
from minode.learning.optimisers import cosine

from . import style

SECONDS = 4
SIZE = (8.0, 5.2)
Y0, T = np.array([2.0, 0.0]), np.linspace(0.0, 25.0, 1000)
A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
BATCH, LENGTH, RATE, STEPS = 20, 10, 3e-2, 1000
SHOWN = (0, 30, 300, STEPS)                # steps of Adam
EDGE = 2.4                                 # of the pictures of the solutions


class OfCubes(VectorField):
    """A network of y³ (the cube of each component) instead of y."""

    def __init__(self, widths, activations):
        self.net = MLP(widths, activations)
        self.dim, self.n_params, self.init = self.net.dim, self.net.n_params, self.net.init

    def __call__(self, t, y, theta):
        return self.net(t, y**3, theta)

    def jacobian(self, t, y, theta):
        return self.net.jacobian(t, y**3, theta) * (3 * y**2)[..., None, :]

    def param_jacobian(self, t, y, theta):
        return self.net.param_jacobian(t, y**3, theta)

    def time_derivative(self, t, y, theta):
        return self.net.time_derivative(t, y**3, theta)

    def vjp(self, t, y, theta, a):
        return self.value_and_vjp(t, y, theta)[1](a)

    def value_and_vjp(self, t, y, theta):
        value, vjp_of_net = self.net.value_and_vjp(t, y**3, theta)

        def vjp(a):
            a_f_x, a_f_theta = vjp_of_net(a)
            return 3 * y**2 * a_f_x, a_f_theta
        return value, vjp


FIELD = OfCubes([2, 50, 2], ["tanh", "identity"])


def compute():
    spiral, rng = CubicSpiral(), np.random.default_rng(0)
    data = odeint(spiral, Y0, T, A.ravel(), rtol=1e-9, atol=1e-9)

    def draw_batch(rng):
        """Pieces of LENGTH states in a row, (LENGTH, BATCH, 2)."""
        first = rng.choice(len(T) - LENGTH, BATCH, replace=False)
        return data[first + np.arange(LENGTH)[:, None]]

    def objective(theta, pieces):
        def loss(ys):
            return 0.5 * np.mean((ys - pieces) ** 2), (ys - pieces) / pieces.size
        value, gradients = value_and_gradients(loss, FIELD, pieces[0], T[:LENGTH], theta, times=False, method="rk4")
        return value, gradients.theta

    now, snapshots = np.zeros(FIELD.n_params), {}
    for W, _ in FIELD.net.layers(now):                   # views: the weights are drawn, the biases 0
        W[:] = 0.1 * rng.normal(size=W.shape)
    for steps in SHOWN:
        if steps:
            now = fit(objective, now, n_steps=steps, data=draw_batch, progress=False,
                      learning_rate=lambda step: cosine(step, RATE, STEPS))
        theta = now.last if steps else now
        snapshots[steps] = odeint(FIELD, Y0, T, theta)
    plane = np.stack(np.meshgrid(*[np.linspace(-2.0, 2.0, 11)] * 2), axis=-1)
    return {"data": data, "snapshots": snapshots, "loss": now.history.loss, "plane": plane,
            "away": {steps: np.abs(ys - data).mean() for steps, ys in snapshots.items()},
            "learnt": FIELD(0.0, plane, now.last), "true": spiral(0.0, plane, A.ravel())}


def draw(fig, data):
    above, below = fig.subfigures(2, 1, height_ratios=[1, 1.85])
    for ax, (steps, ys) in zip(above.subplots(1, 4, sharey=True), data["snapshots"].items()):
        ax.plot(*data["data"].T, color=style.PALE, lw=3)
        ax.plot(*ys.T, color=style.BLUE, lw=1.2)
        ax.set(aspect="equal", xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=(-2, 0, 2), yticks=(-2, 0, 2),
               title=f"{steps:,} steps: {data['away'][steps]:.2g}")
    above.axes[0].set_ylabel("$y_2$")
    ax, field = below.subplots(1, 2, width_ratios=[1, 1.35])
    steps, half = np.arange(1, STEPS + 1), 15
    median = np.median(np.lib.stride_tricks.sliding_window_view(data["loss"], 2 * half + 1), axis=1)
    ax.semilogy(steps, data["loss"], color=style.PALE, lw=0.6)
    ax.plot(steps[half:-half], median, color=style.BLUE)
    ax.set(xlabel="steps of Adam", ylabel="loss of a batch", title="the loss, and its running median",
           xticks=(0, 500, 1000))
    for name, colour, width in (("true", style.PALE, 0.011), ("learnt", style.BLUE, 0.004)):
        style.field(field, data[name], data["plane"], power=1 / 3, color=colour, longest=1.3,
                    fastest=np.linalg.norm(data["true"], axis=-1).max(), width=width)
    field.set(aspect="equal", xlabel="$y_1$", ylabel="$y_2$", title="the field (grey), and the field learnt (blue)",
              xticks=(-2, -1, 0, 1, 2), yticks=(-2, -1, 0, 1, 2))
