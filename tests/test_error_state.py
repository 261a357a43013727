"""Results and errors do not depend on the caller's `np.errstate`: on every route the same numbers and the same words."""

import numpy as np
import pytest

from minode import (MLP, Classifier, DiffusedMixture, Layered, Linear, LotkaVolterra, SolverError, VanDerPol, adam,
                    euler_maruyama, fit, hessian_vector_product, log_prob, methods, negative_log_likelihood, odeint,
                    odeint_euler, odeint_rk4, pullback, pushforward, reversible, sample, sgd, solve, value_and_gradients)
from minode.learning.classify import cross_entropy

STATES = ["raise", "ignore", "call"]                 # "call" with no function to call is an error of its own
TINY, HUGE = 1e-200, 1e200                           # whose squares underflow, and overflow
NETWORK = MLP([3, 4, 2], ["softplus", "identity"])
THETA = NETWORK.init(np.random.default_rng(0))
FAR = np.array([[800.0, -800.0], [TINY, -TINY]])     # exp underflows
MIXTURE = DiffusedMixture(1, 2)
OF_MIXTURE = MIXTURE.pack([0.5, 0.5], [[-40.0], [40.0]], [0.1, 0.1])
MODEL = Classifier(3, MLP([2, 2], ["tanh"]), 2, method="rk4")
T = np.linspace(0.0, 1.0, 3)


def decay(t, y):
    return -y


def squares(ys, ws=None):
    return (0.5 * np.sum(ys[-1]), *[np.concatenate([0 * ys[:-1], 0.5 + 0 * ys[-1:]])] * (1 if ws is None else 2))


def parabola(theta, batch):
    return 0.0, TINY * np.ones_like(theta)


QUIET = {
    **{f"solve by {name}": lambda name=name: odeint(decay, [TINY, 1.0], T, method=name,
                                                    jacobian=lambda t, y: -np.eye(2)) for name in methods},
    "solve by reversible": lambda: odeint(decay, [TINY, 1.0], T, method=reversible("rk4")),
    "odeint_euler": lambda: odeint_euler(decay, [TINY, 5e-324], T), "odeint_rk4": lambda: odeint_rk4(decay, [TINY], T),
    "per_trajectory": lambda: odeint(decay, FAR, T, per_trajectory=True), "tstops": lambda: odeint(decay, FAR, T, tstops=[0.3]),
    "interpolate": lambda: solve(decay, [TINY, 5e-324], T, method="dop853").interpolate([0.1, 0.9]),
    "interpolate of many": lambda: solve(decay, FAR, T, method="dop853", per_trajectory=True).interpolate([0.1, 0.9]),
    "at rest": lambda: odeint(lambda t, y: 0 * y, [0.0, 1.0], T, method="kvaerno5", jacobian=lambda t, y: np.zeros((2, 2))),
    "two numbers": lambda: odeint(lambda t, y: (y[1] * TINY * TINY, -y[0]), (1.0, 2.0), T)[0],
    "a softplus network": lambda: odeint(NETWORK, FAR, T, THETA), "softplus by hand": lambda: NETWORK(0.0, FAR, THETA),
    "swish by hand": lambda: MLP([2, 2], ["swish"])(0.0, FAR, np.array([1.0, 0, 0, 1.0, 0, 0])),
    **{f"gradient by {gradient}": lambda gradient=gradient: pullback(NETWORK, FAR, T, THETA, FAR, gradient=gradient)[:2]
       for gradient in ("discrete", "checkpoint", "backsolve", "interpolate")},
    "gradient by reversible": lambda: pullback(NETWORK, FAR, T, THETA, FAR, gradient="reversible", method="reversible_heun")[:2],
    "gradient of many": lambda: pullback(LotkaVolterra(), TINY * np.ones((3, 2)), T, np.ones(4), TINY * np.ones((3, 2)),
                                         per_trajectory=True),
    "gradient of layers": lambda: pullback(Layered(Linear(2), 2), FAR, [0.0, 2.0], TINY * np.ones(8), TINY * np.ones((2, 2))),
    "pushforward": lambda: pushforward(VanDerPol(), TINY * np.ones(2), T, [3.0], dy0=TINY * np.ones(2)),
    "value_and_gradients": lambda: value_and_gradients(squares, VanDerPol(), TINY * np.ones(2), T, [TINY])[1],
    "hessian_vector_product": lambda: hessian_vector_product(squares, VanDerPol(), TINY * np.ones(2), T, [1.0],
                                                             TINY * np.ones(2), [TINY]),
    "log_prob": lambda: log_prob(MIXTURE, [[0.0], [300.0]], T, OF_MIXTURE, method="midpoint"),
    "log_prob far out": lambda: log_prob(Linear(1), [HUGE], T, [TINY], method="rk4"),
    "negative_log_likelihood": lambda: negative_log_likelihood(MIXTURE, [[0.0], [30.0]], T, OF_MIXTURE, method="midpoint")[1][:2],
    "sample": lambda: sample(MIXTURE, 3, T, OF_MIXTURE, np.random.default_rng(0), method="midpoint"),
    **{f"a mixture's {name}": lambda name=name: getattr(MIXTURE, name)(0.1, np.array([[300.0], [0.0]]), OF_MIXTURE)
       for name in ("__call__", "jacobian", "param_jacobian", "time_derivative", "log_density", "score", "density_rate")},
    "a mixture's vjp_derivative": lambda: MIXTURE.vjp_derivative(0.1, np.array([[300.0]]), OF_MIXTURE, np.ones((1, 1)),
                                                                 np.ones((1, 1)), np.ones(6)),
    "a mixture's draw": lambda: MIXTURE.draw(3, 0.1, MIXTURE.pack([1.0, 1e-320], [[0.0], [1.0]], [1.0, 1.0]),
                                             np.random.default_rng(0)),
    "cross_entropy": lambda: cross_entropy(FAR, [1, 0]), "adam": lambda: adam(np.ones(2), TINY * np.ones(2), None, 0.1)[0],
    "sgd": lambda: sgd(np.ones(2), TINY * np.ones(2), (5e-324 * np.ones(2),), TINY)[0],
    "fit": lambda: fit(parabola, TINY * np.ones(2), n_steps=3, weight_decay=0.1, largest_gradient=1e-300, progress=False).theta,
    "euler_maruyama": lambda: euler_maruyama(lambda t, y: TINY * y * TINY, [1.0], T, np.random.default_rng(0)),
    "Classifier.logits": lambda: MODEL.logits(TINY * np.ones((2, 3)), TINY * np.ones(MODEL.n_params)),
    "Classifier.value_and_gradient": lambda: MODEL.value_and_gradient(TINY * np.ones((2, 3)), [0, 1],
                                                                      TINY * np.ones(MODEL.n_params))[1]}

WRONG = {
    "solve": (lambda: odeint(lambda t, y: y * y, [HUGE], T), SolverError, "f is not finite at the initial state"),
    "solve that blows up": (lambda: odeint(lambda t, y: y * y, [1.0], [0.0, 2.0]), SolverError, "step size underflow"),
    "rk4": (lambda: odeint_rk4(lambda t, y: np.log(y - 1), [1.0], T), SolverError, "no longer finite"),
    "trbdf2": (lambda: odeint(lambda t, y: y / 0, [1.0], T, method="trbdf2", jacobian=lambda t, y: np.ones((1, 1)) / 0),
               SolverError, "not finite"),
    "own steps": (lambda: odeint(lambda t, y: y / 0, [[1.0]], T, per_trajectory=True), SolverError, "trajectory 0: f is not"),
    "dL/dt": (lambda: pullback(Linear(1), [10.0], [0.0, 1e-300], [1.0], [1e308], method="euler"), SolverError,
              "the gradient is no longer finite"),
    "sgd": (lambda: sgd(np.full(2, 1.7e308), np.full(2, -1e308), None, 1.0), ValueError, "the new theta must be finite"),
    "adam": (lambda: adam(np.ones(2), np.full(2, HUGE), None, 0.1), ValueError, r"gradient\*\*2 must be finite"),
    "euler_maruyama": (lambda: euler_maruyama(lambda t, y: y * y, [1e150], [0.0, 1e10, 2e10], np.random.default_rng(0)),
                       ValueError, r"g\(t, y\) must be finite|end of the path must be finite"),
    "logits": (lambda: MODEL.logits(np.full((2, 3), HUGE), np.full(MODEL.n_params, HUGE)), ValueError, "y0 must be finite"),
    "mean": (lambda: negative_log_likelihood(Linear(1), [HUGE], T, [TINY], method="rk4"), ValueError, "L, what loss returns")}


def flat(answer):
    return [np.asarray(part) for part in (answer if isinstance(answer, tuple) else (answer,)) if part is not None]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", QUIET)
def test_the_numbers_are_those_of_any_error_state(what):
    expected = flat(QUIET[what]())
    for state in STATES:
        with np.errstate(all=state):
            got = flat(QUIET[what]())
        assert all(a.tobytes() == b.tobytes() for a, b in zip(got, expected, strict=True))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", WRONG)
def test_the_errors_are_those_of_any_error_state(what):
    call, error, message = WRONG[what]
    for state in ("warn", *STATES):
        with np.errstate(all=state), pytest.raises(error, match=message):
            call()


def test_the_error_state_of_the_caller_is_as_it_was():
    with np.errstate(all="raise"):
        before = np.geterr()
        for call in QUIET.values():
            call()
        assert np.geterr() == before
