"""Six stiff problems of the literature, each with its Jacobian, its span and the state at the end

They are those of the Test Set for Initial Value Problem Solvers (Mazzia and Magherini 2008) and of Hairer and
Wanner (1996), sections IV.1 and IV.10: a reaction of three species by Robertson, van der Pol's oscillator
with μ = 1000, the growth of plant tissue in light (HIRES), the Oregonator of Field and Noyes, E5, a pyrolysis
by Datta, and a model of air pollution by Verwer.
"""

from typing import Callable, NamedTuple

import numpy as np

SMALL = 1e-2                           # of a problem's `size`: what is smaller than that counts as so large


class Stiff(NamedTuple):
    """y' = f(t, y) from y0 over `span`, with f_y = jacobian(t, y). atol is rtol · size.

    `end` is the state at the end: what the test set prints, and for E5 (at 10⁵) and most of pollution's species what
    SciPy's Radau finds with rtol = 1e-12.
    """

    f: Callable
    jacobian: Callable
    y0: np.ndarray
    span: tuple
    size: float
    end: tuple

    def error(self, y):
        """The root mean square of the relative errors of y at the end."""
        return float(np.sqrt(np.mean(((y - self.end) / (np.abs(self.end) + SMALL * self.size)) ** 2)))


def robertson(t, y):
    a, b, c = y
    return np.array([-0.04 * a + 1e4 * b * c, 0.04 * a - 1e4 * b * c - 3e7 * b * b, 3e7 * b * b])


def robertson_jacobian(t, y):
    a, b, c = y
    return np.array([[-0.04, 1e4 * c, 1e4 * b], [0.04, -1e4 * c - 6e7 * b, -1e4 * b], [0, 6e7 * b, 0]])


def van_der_pol(t, y):
    return np.array([y[1], 1000 * (1 - y[0]**2) * y[1] - y[0]])


def van_der_pol_jacobian(t, y):
    return np.array([[0.0, 1.0], [-2000 * y[0] * y[1] - 1, 1000 * (1 - y[0]**2)]])


HIRES = np.zeros((8, 8))
HIRES[0, :3] = -1.71, 0.43, 8.32
HIRES[1, :2] = 1.71, -8.75
HIRES[2, 2:5] = -10.03, 0.43, 0.035
HIRES[3, 1:4] = 8.32, 1.71, -1.12
HIRES[4, 4:7] = -1.745, 0.43, 0.43
HIRES[5, 3:7] = 0.69, 1.71, -0.43, 0.69
HIRES[6:, 6] = -1.81, 1.81
CONSTANT, TOGETHER = np.array([0.0007, 0, 0, 0, 0, 0, 0, 0]), 280 * np.array([0, 0, 0, 0, 0, -1, 1, -1])


def hires(t, y):
    return HIRES @ y + CONSTANT + TOGETHER * (y[5] * y[7])


def hires_jacobian(t, y):
    f_y = HIRES.copy()
    f_y[:, 5] += TOGETHER * y[7]
    f_y[:, 7] += TOGETHER * y[5]
    return f_y


def orego(t, y):
    a, b, c = y
    return np.array([77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)])


def orego_jacobian(t, y):
    a, b, c = y
    return np.array([[77.27 * (1 - 2 * 8.375e-6 * a - b), 77.27 * (1 - a), 0],
                     [-b / 77.27, -(1 + a) / 77.27, 1 / 77.27], [0.161, 0, -0.161]])


E5_A, E5_B, E5_C, E5_M = 7.89e-10, 1.1e7, 1.13e3, 1e6


def e5(t, y):
    first, both, with_two, back = E5_A * y[0], E5_B * y[0] * y[2], E5_M * E5_C * y[1] * y[2], E5_C * y[3]
    return np.array([-first - both, first - with_two, first - both - with_two + back, both - back])


def e5_jacobian(t, y):
    A, B, C, D = E5_A, E5_B, E5_C, E5_M * E5_C
    return np.array([[-A - B * y[2], 0, -B * y[0], 0], [A, -D * y[2], -D * y[1], 0],
                     [A - B * y[2], -D * y[2], -B * y[0] - D * y[1], C], [B * y[2], 0, B * y[0], -C]])


# Pollution: 25 reactions of 20 species. Each row: the constant, what reacts, and what comes of it (numbered from 1).
REACTIONS = [
    (0.35, [1], [2, 3]), (26.6, [2, 4], [1]), (12300.0, [5, 2], [1, 6]), (0.00086, [7], [5, 5, 8]),
    (0.00082, [7], [8]), (15000.0, [7, 6], [5, 8]), (0.00013, [9], [5, 8, 10]), (24000.0, [9, 6], [11]),
    (16500.0, [11, 2], [1, 10, 12]), (9000.0, [11, 1], [13]), (0.022, [13], [1, 11]), (12000.0, [10, 2], [1, 14]),
    (1.88, [14], [5, 7]), (16300.0, [1, 6], [15]), (4800000.0, [3], [4]), (0.00035, [4], [16]), (0.0175, [4], [3]),
    (1e8, [16], [6, 6]), (4.44e11, [16], [3]), (1240.0, [17, 6], [5, 18]), (2.1, [19], [2]), (5.78, [19], [1, 3]),
    (0.0474, [1, 4], [19]), (1780.0, [19, 1], [20]), (3.12, [20], [1, 19])]
RATES = np.array([row[0] for row in REACTIONS])
FIRST = np.array([row[1][0] - 1 for row in REACTIONS])
SECOND = np.array([(row[1] + [21])[1] - 1 for row in REACTIONS])                  # a twenty-first that is always 1
GAIN = np.zeros((20, 25))
for _n, (_, _used, _made) in enumerate(REACTIONS):
    for _i in _used:
        GAIN[_i - 1, _n] -= 1
    for _i in _made:
        GAIN[_i - 1, _n] += 1


def pollution(t, y):
    y = np.append(y, 1.0)
    return GAIN @ (RATES * y[FIRST] * y[SECOND])


def pollution_jacobian(t, y):
    y, rates, n = np.append(y, 1.0), np.zeros((25, 21), np.result_type(y)), np.arange(25)
    rates[n, FIRST] += RATES * y[SECOND]
    rates[n, SECOND] += RATES * y[FIRST]
    return GAIN @ rates[:, :20]


POLLUTED = np.zeros(20)
POLLUTED[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007

PROBLEMS = {
    "robertson": Stiff(robertson, robertson_jacobian, np.array([1.0, 0, 0]), (0.0, 1e11), 1e-8,
                       (0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050)),
    "van der pol": Stiff(van_der_pol, van_der_pol_jacobian, np.array([2.0, 0]), (0.0, 2000.0), 1e-3,
                         (0.1706167732170483e1, -0.8928097010247975e-3)),
    "hires": Stiff(hires, hires_jacobian, np.array([1.0, 0, 0, 0, 0, 0, 0, 0.0057]), (0.0, 321.8122), 1e-4,
                   (0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
                    0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2)),
    "orego": Stiff(orego, orego_jacobian, np.array([1.0, 2.0, 3.0]), (0.0, 360.0), 1e-2,
                   (0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3)),
    "e5": Stiff(e5, e5_jacobian, np.array([1.76e-3, 0, 0, 0]), (0.0, 1e5), 1e-14,
                (7.481320824121e-06, 2.373478156943e-12, 2.212358668689e-12, 1.611194871793e-13)),
    "pollution": Stiff(pollution, pollution_jacobian, POLLUTED, (0.0, 60.0), 1e-6,
                       (0.5646255480022769e-1, 0.1342484130422339, 0.4139734331099427e-8, 0.5523140207484359e-2,
                        2.018977262302e-07, 1.464541863494e-07, 0.07784249118998, 0.3245075353396,
                        0.00749401338388, 1.622293157302e-08, 1.135863833257e-08, 0.002230505975721,
                        0.0002087162882799, 1.39692101684e-05, 0.008964884856898, 4.35284636933e-18,
                        0.006899219696263, 0.0001007803037366, 1.77214651397e-06, 5.682943292316e-05)),
}
