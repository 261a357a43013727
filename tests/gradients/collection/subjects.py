"""Right fields of real subjects, each at one point and over one span of time, in the units of its subject.

The formulas are analytic, and their derivatives are complex steps (22.3), right to round-off. So they share
nothing with the differences that the checks take. The fields that the package ships stand behind them.
"""

from typing import NamedTuple

import numpy as np

from minode import MLP, CubicSpiral, DiffusedMixture, Layered, Linear, LotkaVolterra, VanDerPol, VectorField
from tests.gradients.problems import ForcedPendulum


class Formula(VectorField):
    """A field from an analytic formula(t, y, θ) for columns: y and θ are sequences of components."""

    def __init__(self, formula, d, p):
        self.formula, self.dim, self.n_params, self.dim_out = formula, d, p, d

    def __call__(self, t, y, theta):
        columns = self.formula(np.asarray(t), np.moveaxis(y, -1, 0), theta)
        one = 0 * (y[..., 0] + t)
        return np.stack([one + column for column in columns], axis=-1)

    def jacobian(self, t, y, theta):
        return np.stack([np.imag(self(t, y + 1e-30j * size * e, theta)) / (1e-30 * size)
                         for e, size in zip(np.eye(self.dim), self.sizes(y))], axis=-1)

    def param_jacobian(self, t, y, theta):
        columns = [np.imag(self(t, y, theta + 1e-30j * size * e)) / (1e-30 * size)
                   for e, size in zip(np.eye(self.n_params), self.sizes(theta))]
        return np.stack(columns, axis=-1) if columns else np.zeros((*y.shape, 0))

    def time_derivative(self, t, y, theta):
        return np.imag(self(np.asarray(t) + 1e-30j, y + 0j, theta)) / 1e-30

    @staticmethod
    def sizes(x):
        """A size for each component of x, over the batch."""
        size = np.abs(x).reshape(-1, x.shape[-1]).max(axis=0)
        return np.where(size == 0, 1.0, size)


class Case(NamedTuple):
    """A field where it is checked: at (t, y, θ), and along `times` from y by `options`."""

    name: str
    f: VectorField
    t: float
    y: np.ndarray
    theta: np.ndarray
    times: np.ndarray
    options: dict = {"method": "rk4"}


CASES = []


def case(name, y, theta, span=1.0, t=0.3, n=6, **options):
    """Decorate a formula: put its field among the cases."""
    def put(formula):
        f = formula if isinstance(formula, VectorField) else Formula(formula, np.shape(y)[-1], len(theta))
        CASES.append(Case(name, f, t, np.array(y, float), np.array(theta, float), np.linspace(t, t + span, n) if np.ndim(t) == 0
                          else np.linspace(0.0, span, n), options or {"method": "rk4"}))
        return formula
    return put


exp, sin, cos, log, tanh, sqrt = np.exp, np.sin, np.cos, np.log, np.tanh, np.sqrt

# -- chemistry, mol/L and seconds -----------------------------------------------------------
@case("Michaelis–Menten, K 1e-4", [2e-4, 1e-6], [1e-6, 1e-4], 60.0)
@case("Michaelis–Menten, K 1e-9", [3e-9, 1e-9], [1e-8, 1e-9], 0.1)
def michaelis(t, y, th): v = th[0] * y[0] / (th[1] + y[0]); return [-v, v]
@case("binding of a ligand", [1e-9, 5e-9, 2e-10], [1e6, 1e-3], 100.0)
def binding(t, y, th): v = th[0] * y[0] * y[1] - th[1] * y[2]; return [-v, -v, v]
@case("Robertson", [0.9, 3e-5, 0.1], [0.04, 1e4, 3e7], 1e-3)
@case("Robertson at the start", [1.0, 0.0, 0.0], [0.04, 1e4, 3e7], 1e-5)
def robertson(t, y, th):
    a, b, c = th[0] * y[0], th[1] * y[1] * y[2], th[2] * y[1]**2
    return [b - a, a - b - c, c]
@case("Arrhenius, A 1e10", [1.0, 400.0], [1e10, 8e4, 200.0], 0.05)
def arrhenius(t, y, th):
    k = th[0] * exp(-th[1] / (8.314 * y[1]))
    return [-k * y[0], k * y[0] * th[2] - 0.1 * (y[1] - 300)]
@case("dimerisation of a mixture", [1e-3, 2e-6], [5.0, 1e-2], 10.0)
def dimer(t, y, th): v = th[0] * y[0]**2 - th[1] * y[1]; return [-2 * v, v]
@case("acid and base", [1e-7, 1e-7, 1e-3], [1e-3, 1e4, 1e-5], 1e-3)
def acid(t, y, th): v = th[0] - 1e11 * y[0] * y[1] * 1e-3; w = th[2] * y[2] - th[1] * y[0] * y[2]; return [v + w, v, -w]
@case("Hill switch, n 4", [2e-8], [1e-9, 1e-8, 0.01], 10.0)
def hill(t, y, th): return [th[0] * y[0]**4 / (th[1]**4 + y[0]**4) - th[2] * y[0]]
@case("Brusselator", [1.2, 2.9], [1.0, 3.0], 3.0)
def brusselator(t, y, th): return [th[0] + y[0]**2 * y[1] - (th[1] + 1) * y[0], th[1] * y[0] - y[0]**2 * y[1]]
@case("uranium by the year", [1.0], [1.55e-10], 1e9)
def decay(t, y, th): return [-th[0] * y[0]]
@case("1e-10 mol/L decays", [1e-10], [1.5])
def decay_small(t, y, th): return [-th[0] * y[0]]

# -- growth and epidemics -------------------------------------------------------------------
@case("Gompertz at 1e-3", [1e-3], [0.5])
@case("Gompertz at 1e-8", [1e-8], [0.5])
def gompertz(t, y, th): return [-th[0] * y[0] * log(y[0])]
@case("logistic, 1e9 cells", [1e6], [0.7, 1e9], 5.0)
def logistic(t, y, th): return [th[0] * y[0] * (1 - y[0] / th[1])]
@case("SIR in persons", [9.9e6, 1e3, 0.0], [2.5e-8, 0.1], 20.0)
@case("SIR in fractions", [0.9999, 1e-4, 0.0], [0.3, 0.1], 20.0)
def sir(t, y, th): i, r = th[0] * y[0] * y[1], th[1] * y[1]; return [-i, i - r, r]
@case("SEIR by seasons", [1e6, 10.0, 5.0, 0.0], [1e-6, 0.2, 0.1, 0.3], 30.0)
def seir(t, y, th):
    i = th[0] * (1 + th[3] * cos(2 * np.pi * t / 365)) * y[0] * y[2]
    return [-i, i - th[1] * y[1], th[1] * y[1] - th[2] * y[2], th[2] * y[2]]
@case("a population with a contact rate of 2e-5", [1e5, 10.0], [2e-5, 0.5, 1e5], 2.0)
def contacts(t, y, th): return [0.01 * (th[2] - y[0]) - th[0] * y[0] * y[1], th[0] * y[0] * y[1] - th[1] * y[1]]
@case("virus and cells", [1e7, 1e3, 1e5], [2e-9, 0.5, 3.0, 100.0], 1.0)
def virus(t, y, th):
    i = th[0] * y[0] * y[2]
    return [-i, i - th[1] * y[1], th[3] * y[1] - th[2] * y[2]]
@case("Allee effect", [30.0], [0.1, 20.0, 100.0], 5.0)
def allee(t, y, th): return [th[0] * y[0] * (y[0] / th[1] - 1) * (1 - y[0] / th[2])]
@case("Holling, predators and prey", [50.0, 3.0], [0.8, 0.05, 0.02, 0.4], 5.0)
def holling(t, y, th):
    v = th[1] * y[0] * y[1] / (1 + th[2] * y[0])
    return [th[0] * y[0] - v, 0.5 * v - th[3] * y[1]]
@case("a drug, two compartments, ng", [1e-6, 0.0], [0.3, 0.1, 0.05, 1e-7], 5.0)
def drug(t, y, th):
    return [th[3] * exp(-t) - (th[0] + th[2]) * y[0] + th[1] * y[1], th[0] * y[0] - th[1] * y[1]]

# -- orbits in SI units ---------------------------------------------------------------------
@case("the Earth", [1.496e11, 0.0, 0.0, 29780.0], [1.327e20], 3e6)
@case("the Earth, half a year on", [-1.2e11, 8e10, -1.6e4, -2.4e4], [1.327e20], 3e6)
@case("a satellite", [6.778e6, 0.0, 0.0, 7669.0], [3.986e14], 600.0)
def kepler(t, y, th):
    r3 = (y[0]**2 + y[1]**2)**1.5
    return [y[2], y[3], -th[0] * y[0] / r3, -th[0] * y[1] / r3]
@case("free fall with drag, J2", [6.878e6, 0.0, 1e5, 0.0, 7600.0, 10.0], [3.986e14, 1.08e-3, 1e-12], 60.0)
def j2(t, y, th):
    r = sqrt(y[0]**2 + y[1]**2 + y[2]**2); v = sqrt(y[3]**2 + y[4]**2 + y[5]**2)
    k = 1.5 * th[1] * (6.378e6 / r)**2
    return [y[3], y[4], y[5], *(-th[0] * y[i] / r**3 * (1 + k * (c - 5 * (y[2] / r)**2)) - th[2] * v * y[3 + i]
                                for i, c in enumerate((1, 1, 3)))]
@case("restricted three bodies", [0.994, 0.0, 0.0, -2.0], [0.012277471], 0.05)
def three(t, y, th):
    m = th[0]; a, b = ((y[0] + m)**2 + y[1]**2)**1.5, ((y[0] - 1 + m)**2 + y[1]**2)**1.5
    return [y[2], y[3], y[0] + 2 * y[3] - (1 - m) * (y[0] + m) / a - m * (y[0] - 1 + m) / b,
            y[1] - 2 * y[2] - (1 - m) * y[1] / a - m * y[1] / b]

# -- circuits, neurons, lasers --------------------------------------------------------------
@case("mains hum, sin(377 t)", [0.3], [1.0], 0.02)
def hum(t, y, th): return [th[0] * sin(377 * t) + 0 * y[0]]
@case("RLC at 50 Hz", [1e-6, 0.02], [0.1, 1e-5, 50.0, 325.0], 0.02)
def rlc(t, y, th): return [y[1], (th[3] * sin(2 * np.pi * 50 * t) - th[2] * y[1] - y[0] / th[1]) / th[0]]
@case("a diode, 1e-14 A", [0.6], [1e-14, 0.02585, 1e-9, 1e3], 1e-7)
def diode(t, y, th): return [((5 * cos(377 * t) - y[0]) / th[3] - th[0] * (exp(y[0] / th[1]) - 1)) / th[2]]
@case("a carrier at 1 MHz", [0.0, 1e-3], [1e6, 1e-3], 1e-6, t=2e-6)
def carrier(t, y, th): return [y[1] * cos(2 * np.pi * th[0] * t), th[1] * sin(2 * np.pi * th[0] * t) - y[0]]
@case("Hodgkin–Huxley, a gate", [-65.0, 0.3], [120.0, 36.0, 0.3], 1.0)
def hodgkin(t, y, th):
    v, n = y; a, b = 0.01 * (v + 55) / (1 - exp(-(v + 55) / 10)), 0.125 * exp(-(v + 65) / 80)
    return [10 - th[1] * n**4 * (v + 77) - th[2] * (v + 54.4), a * (1 - n) - b * n]
@case("FitzHugh–Nagumo", [-1.0, 0.5], [0.7, 0.8, 12.5, 0.5], 2.0)
def fitzhugh(t, y, th): return [y[0] - y[0]**3 / 3 - y[1] + th[3], (y[0] + th[0] - th[1] * y[1]) / th[2]]
@case("Morris–Lecar, volts", [-0.04, 0.1], [0.004, 0.008, 0.002, 0.018], 1e-3)
def morris(t, y, th):
    m = 0.5 * (1 + tanh((y[0] + 0.0012) / th[3]))
    return [-(th[0] * m * (y[0] - 0.12) + th[1] * y[1] * (y[0] + 0.084) + th[2] * (y[0] + 0.06)) / 2e-5,
            40 * (0.5 * (1 + tanh((y[0] - 0.002) / 0.03)) - y[1])]
@case("a steep sigmoid", [0.02, 0.5], [50.0, 0.1])
def sigmoid(t, y, th): return [tanh(th[0] * y[0]) - y[1], th[1] / (1 + exp(-100 * (y[1] - 0.45)))]
@case("a laser, 1e15 photons", [1e15, 1e-3], [1e-13, 1e3, 0.5], 1e-4)
def laser(t, y, th): return [(y[1] * 1e3 - th[2]) * y[0], th[1] * 1e-3 - y[1] - th[0] * y[0] * y[1] * 1e-3]

# -- mechanics and heat ---------------------------------------------------------------------
@case("a double pendulum", [1.0, -0.5, 0.2, 0.3], [9.81, 1.0, 0.7], 0.5)
def double(t, y, th):
    a, b, p, q = y; g, l, m = th; c, s = cos(a - b), sin(a - b); den = l * (1 + m * s * s)
    return [p, q, (m * g * sin(b) * c - m * s * (l * p * p * c + l * q * q) - (1 + m) * g * sin(a)) / den,
            ((1 + m) * (l * p * p * s - g * sin(b) + g * sin(a) * c) + m * l * q * q * s * c) / den]
@case("Duffing", [0.5, -0.2], [0.3, -1.0, 1.0, 0.5], 2.0)
def duffing(t, y, th): return [y[1], -th[0] * y[1] - th[1] * y[0] - th[2] * y[0]**3 + th[3] * cos(1.2 * t)]
@case("Lorenz", [1.0, 2.0, 20.0], [10.0, 28.0, 8 / 3], 2.0, n=101)
def lorenz(t, y, th): return [th[0] * (y[1] - y[0]), y[0] * (th[1] - y[2]) - y[1], y[0] * y[1] - th[2] * y[2]]
@case("steel, 2e11 Pa", [1e-4, 0.01], [2e11, 7.8e3, 1e2], 1e-4)
def steel(t, y, th): return [y[1], -th[0] * 1e-4 * y[0] / th[1] - th[2] * y[1] + 9.81]
@case("heat along a rod", 300 + 50 * np.sin(np.arange(8.0)), [1e-4, 0.01], 1.0)
def heat(t, y, th):
    left, right = np.concatenate([y[:1], y[:-1]]), np.concatenate([y[1:], y[-1:]])
    return list(th[0] / th[1]**2 * (left - 2 * y + right))
@case("radiation, T⁴", [1200.0, 300.0], [5.67e-8, 0.5], 0.01)
def radiation(t, y, th): v = th[0] * th[1] * (y[0]**4 - y[1]**4); return [-v, 0.1 * v]
@case("a spring at rest", [0.0, 0.0], [4.0, 0.1])
def spring(t, y, th): return [y[1], -th[0] * sin(y[0]) - th[1] * y[1]]
@case("1/y near 0", [0.01], [1.0], 1e-5)
def inverse(t, y, th): return [th[0] / y[0]]
@case("√y at 1e-4", [1e-4], [1.0], 1e-3)
def root(t, y, th): return [-th[0] * sqrt(y[0])]
@case("exp(40 y)", [0.3], [1e-3], 1e-4)
def steep(t, y, th): return [th[0] * exp(40 * y[0])]
@case("1e10 beside 1", [1e10, 1.0], [0.5, 0.3])
def apart(t, y, th): return [-th[0] * y[0], th[1] * y[1]]
@case("a far clock", [1.0, 2.0], [0.3], 1.0, t=1e6)
def clock(t, y, th): return [-th[0] * y[1] + cos(2 * t), y[0]]

# -- fields of the package, batches, kinks --------------------------------------------------
RNG = np.random.default_rng(5)
NET, TALL = MLP([3, 8, 2], ["tanh", "identity"]), MLP([4, 16, 16, 3], ["softplus", "sin", "tanh"])
MIXTURE = DiffusedMixture(2, 2)
case("Linear", [1.0, -2.0], [0.0, 1.0, -4.0, -0.1])(Linear(2))
case("Lotka–Volterra in thousands", [3e4, 4e3], [0.5, 5e-5, 0.8, 2e-5], 2.0)(LotkaVolterra())
case("van der Pol, a batch", [[2.0, 0.5], [-1.3, 3.0]], [3.0])(VanDerPol())
case("the cubic spiral", [2.0, 0.0], [-0.1, 2.0, -2.0, -0.1])(CubicSpiral())
case("a network", [0.3, -0.7], NET.init(RNG))(NET)
case("a network, a batch and its clocks", RNG.normal(size=(4, 2)), NET.init(RNG), t=np.array([0.0, 0.3, -2.0, 1.0]))(NET)
case("a deep network, 400 parameters", RNG.normal(size=3), TALL.init(RNG), n=5)(TALL)
case("a large network's weights", [0.3, -0.7], 30 * NET.init(RNG), 0.1)(NET)
case("leaky relu", [0.3, -0.7], NET.init(RNG))(MLP([3, 8, 2], ["leaky_relu", "identity"]))
case("layers at whole times", [0.3, 0.7], np.tile(MLP([2, 4, 2], ["tanh", "identity"]).init(RNG), 3) + 0.1 * np.sin(np.arange(66.0)),
     3.0, t=0.0, n=4, method="euler")(Layered(MLP([2, 4, 2], ["tanh", "identity"]), 3))
case("a mixture, s 0.01", [0.3, 0.7], MIXTURE.pack([0.5, 0.5], [[1.0, 0], [-1, 0.5]], [0.01, 0.02]), 0.1, t=0.01)(MIXTURE)
case("a mixture at its start", [0.99, 0.001], MIXTURE.pack([0.5, 0.5], [[1.0, 0], [-1, 0.5]], [1e-3, 2e-3]), 1e-4, t=0.0)(MIXTURE)
case("a pendulum, a batch", RNG.normal(size=(3, 2)), [3.0, 0.2, 1.5])(ForcedPendulum())
case("a pendulum by dopri5", [0.4, -0.3], [3.0, 0.2, 1.5], 5.0, method="dopri5", rtol=1e-3)(ForcedPendulum())
