"""Figure 42. The exact gradient of implicit steps learns the rates of a stiff reaction

Robertson's reaction (1966) turns A into C by way of B, which is used up almost as soon as it is made: A becomes B
at the rate θ₁ A, B and C become A and C at θ₂ B C, and two B become B and C at θ₃ B². kvaerno5 solves it with
rtol 1e-4, and chapter 29 takes its steps back: the figure shows (29.2) on the way to (20.1). The
measurements are those of SciPy's Radau at rtol 1e-10, each with noise of 2 % of itself. The loss is the sum of
the squares of what is missed, in units of the largest amount of each substance. SciPy's BFGS descends in log θ,
in which the three are of one size. The standard errors follow from the noise and from the sensitivities of
the amounts, one pushforward for each rate.

Caption. The exact gradient of kvaerno5's steps leads to three rate constants. Left: amounts measured with
2 % noise (dots), their course by the first guess (dotted), each rate off by a factor of five, and by the
rates learnt. Right: the rates over the true ones. They end within two standard errors, at 0.970, 0.955 and
0.976.
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

from minode import VectorField, odeint, pushforward, value_and_gradients

from . import style

SECONDS = 10
SIZE = (8.0, 3.9)
THETA, Y0 = np.array([0.04, 1e4, 3e7]), np.array([1.0, 0.0, 0.0])
T = np.concatenate([[0.0], np.geomspace(1e-2, 1e4, 13)])
NOISE, START = 0.02, np.array([5.0, 0.2, 0.2])              # of each number, relative; times the true rates
SOLVER = {"method": "kvaerno5", "rtol": 1e-4, "atol": 1e-9}
REFERENCE = {"method": "Radau", "rtol": 1e-10, "atol": 1e-14}
COLOURS = (style.BLUE, style.GREEN, style.VERMILION)


class Robertson(VectorField):
    """Three reactions (Robertson 1966): A → B at θ₁ A, B + C → A + C at θ₂ B C, 2B → B + C at θ₃ B²."""

    dim = n_params = 3
    made = np.array([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, -1.0, 1.0]])       # of A, B, C by each reaction

    def __call__(self, t, y, theta):
        return self.param_jacobian(t, y, theta) @ theta

    def jacobian(self, t, y, theta):
        A, B, C = y[..., 0], y[..., 1], y[..., 2]
        rates_y = np.zeros((*y.shape, 3), np.result_type(y, theta))
        rates_y[..., 0, 0] = theta[0]
        rates_y[..., 1, 1], rates_y[..., 1, 2] = theta[1] * C, theta[1] * B
        rates_y[..., 2, 1] = 2 * theta[2] * B
        return self.made.T @ rates_y

    def param_jacobian(self, t, y, theta):
        A, B, C = y[..., 0], y[..., 1], y[..., 2]
        return self.made.T * np.stack([A, B * C, B * B], axis=-1)[..., None, :]

    def time_derivative(self, t, y, theta):
        return np.zeros_like(y)


FIELD = Robertson()


def measured():
    """The states at T by SciPy's Radau, times noise, and the size of each component."""
    ys = solve_ivp(FIELD, T[[0, -1]], Y0, t_eval=T, args=(THETA,), jac=FIELD.jacobian, **REFERENCE).y.T
    noise = NOISE * np.random.default_rng(42).normal(size=ys.shape)
    noise[0] = 0.0
    return ys * np.exp(noise), ys.max(axis=0)


def learn(data, size):
    """The logarithms of the rates on the way, one row for each iteration of BFGS."""
    def loss(ys):
        r = (ys - data) / size
        return 0.5 * np.sum(r**2), r / size

    def objective(log_theta):
        value, gradients = value_and_gradients(loss, FIELD, Y0, T, np.exp(log_theta), times=False, **SOLVER)
        return value, gradients.theta * np.exp(log_theta)                    # of log θ, since dθ = θ d log θ
    path = [np.log(START * THETA)]
    minimize(objective, path[0], jac=True, method="BFGS", callback=lambda x: path.append(x.copy()))
    return np.array(path)


def standard_errors(theta, size):
    """Of log θ: from the sensitivities along each log θ, one pushforward each, and the noise."""
    ws = [pushforward(FIELD, Y0, T, theta, dtheta=theta * e, **SOLVER) for e in np.eye(3)]
    J = np.stack([(w / size).ravel() for _, w in ws], axis=-1)
    sigma = NOISE * (ws[0][0] / size).ravel()
    H = np.linalg.inv(J.T @ J)
    return np.sqrt(np.diag(H @ (J.T * sigma**2) @ J @ H))


def compute():
    data, size = measured()
    path = learn(data, size)
    t = np.concatenate([[0.0], np.geomspace(T[1], T[-1], 121)])
    courses = {name: odeint(FIELD, Y0, t, np.exp(log_theta), **SOLVER)[1:]
               for name, log_theta in (("start", path[0]), ("end", path[-1]))}
    return {"t": t[1:], "data": data, "path": np.exp(path) / THETA, **courses,
            "errors": standard_errors(np.exp(path[-1]), size)}


def draw(fig, data):
    course, learning = fig.subplots(1, 2, width_ratios=(1.25, 1))
    for i, (colour, label) in enumerate(zip(COLOURS, "ABC")):
        course.loglog(data["t"], data["start"][:, i], ":", color=colour)
        course.loglog(data["t"], data["end"][:, i], color=colour)
        course.loglog(T[1:], data["data"][1:, i], "o", color=colour)
    for label, x, y, colour in (("A", 0.012, 2, COLOURS[0]), ("B", 0.012, 1.1e-5, COLOURS[1]),
                                ("C", 0.03, 2.5e-4, COLOURS[2])):
        course.text(x, y, label, color=style.ink(colour))
    course.set(xlabel="time $t$", ylabel="amount", ylim=(3e-8, 10.0), title="measured (dots), guessed (dotted), learnt")
    n = np.arange(len(data["path"]))
    for i, (colour, place) in enumerate(zip(COLOURS, ((1.3, 2.8), (3.2, 1.1), (2.2, 0.125)))):
        learning.semilogy(n, data["path"][:, i], ".-", color=colour)
        learning.text(*place, f"$\\theta_{i + 1}$", color=style.ink(colour))
    learning.axhline(1.0, color=style.EXACT, lw=1)
    learning.text(n[-1], 1.07, "true", color=style.ink(style.EXACT), ha="right")
    learning.set(xlabel="iteration", ylabel="rate over the true rate", ylim=(0.1, 7.0),
                 title="learnt by the exact gradient")
    learning.set_yticks([0.1, 0.2, 0.5, 1.0, 2.0, 5.0], ["0.1", "0.2", "0.5", "1", "2", "5"])
    learning.minorticks_off()
