"""What a field must keep to, besides right derivatives: each breach of it is called by its name."""

import math
import re

import numpy as np
import pytest

from minode import VectorField, check_field, check_gradients

Y, THETA = np.array([1.0, 2.0]), np.array([0.3])


class Forced(VectorField):
    """−θ y + u(t) in both components."""
    dim, n_params = 2, 1

    def u(self, t):
        return np.sin(t)

    def u_t(self, t):
        return np.cos(t)

    def __call__(self, t, y, theta):
        return -theta[0] * y + np.asarray(self.u(t))[..., None]

    def jacobian(self, t, y, theta):
        return -theta[0] * np.eye(2) + 0 * y[..., None]

    def param_jacobian(self, t, y, theta):
        return -y[..., None]

    def time_derivative(self, t, y, theta):
        return 0 * y + np.asarray(self.u_t(t))[..., None]


def writing(method, argument):
    """A method that adds to one of its arguments."""
    def write(self, *arguments):
        answer = getattr(Forced, method)(self, *arguments)
        arguments[["t", "y", "theta", "w", "dtheta"].index(argument) if method != "vjp" else 3][...] += 1.0
        return answer
    return {method: write}


def remembering(self, t, y, theta):
    self.calls = getattr(self, "calls", 0) + 1
    return Forced.__call__(self, t, y, theta) + 1e-6 * self.calls


def of_first_state(self, t, y, theta, w, dtheta):
    w = np.broadcast_to(w.reshape(-1, 2)[0], w.shape)
    return Forced.jvp(self, t, y, theta, w, dtheta)


RANDOM = np.random.default_rng(0)
CLOCK = "must take t as an array too, a time for each trajectory: np.sin(t) for math.sin(t), np.where for if"
BREACHES = {
    "f writes into y": (writing("__call__", "y"), "f(t, y, theta) must not write into y"),
    "f writes into θ": (writing("__call__", "theta"), "f(t, y, theta) must not write into theta"),
    "jacobian writes into y": (writing("jacobian", "y"), "jacobian must not write into y"),
    "param_jacobian writes into y": (writing("param_jacobian", "y"), "param_jacobian must not write into y"),
    "time_derivative writes into θ": (writing("time_derivative", "theta"), "time_derivative must not write into theta"),
    "jvp writes into w": (writing("jvp", "w"), "jvp must not write into w"),
    "vjp writes into a": (writing("vjp", "a"), "vjp must not write into a"),
    "f is random": ({"__call__": lambda s, t, y, th: Forced.__call__(s, t, y, th) + 1e-6 * RANDOM.normal(size=y.shape)},
                    "f(t, y, theta) must answer alike when it is called twice with the same arguments, not "),
    "f remembers": ({"__call__": remembering}, "f(t, y, theta) must answer alike when it is called twice"),
    "jacobian is random": ({"jacobian": lambda s, t, y, th: Forced.jacobian(s, t, y, th) + 1e-6 * RANDOM.normal()},
                           "jacobian must answer alike when it is called twice"),
    "math.sin(t)": ({"u": lambda s, t: math.sin(t), "u_t": lambda s, t: math.cos(t)}, f"__call__ {CLOCK}"),
    "math.cos(t) in f_t alone": ({"u_t": lambda s, t: math.cos(t)}, f"time_derivative {CLOCK}"),
    "a table": ({"u": lambda s, t: [1.0, 2.0][int(t)], "u_t": lambda s, t: 0.0}, f"__call__ {CLOCK}"),
    "if t < 5": ({"u": lambda s, t: 1.0 if t < 5 else 0.0, "u_t": lambda s, t: 0.0}, f"__call__ {CLOCK}"),
    "the first time for all": ({"u": lambda s, t: np.sin(np.ravel(t)[0]) + 0 * t}, f"__call__ {CLOCK}"),
    "the first tangent for all": ({"jvp": of_first_state}, "jvp must take any axes in front of the last, write y[..., 0]"),
    "f in float32": ({"__call__": lambda s, *p: Forced.__call__(s, *p).astype("f4")}, "but is rounded to float32"),
    "f is complex": ({"__call__": lambda s, *p: Forced.__call__(s, *p) + 0j}, "f(t, y, theta) must be real"),
    "f is NaN": ({"__call__": lambda s, t, y, th: np.nan * y}, "f(t, y, theta) must be finite where it is checked, but entry (0) is nan"),
    "jacobian in float32": ({"jacobian": lambda s, *p: Forced.jacobian(s, *p).astype("f4")},
                            "jacobian: f_y, in (1.2), (1.3) and (18.2) is rounded to float32: entry (0, 0) is "
                            "-0.300000011921, and by differences -0.3"),
    "jacobian is NaN": ({"jacobian": lambda s, *p: np.nan * Forced.jacobian(s, *p)},
                        "jacobian must be finite where it is checked, but entry (0, 0) is nan"),
    "eight digits": ({"jacobian": lambda s, *p: Forced.jacobian(s, *p) * (1 + 1e-8)}, "entry (0, 0) is -0.300000003, and"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_of_the_contract_is_called_by_its_name(breach):
    change, message = BREACHES[breach]
    f = type("Breach", (Forced,), change)()
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_field(f, 0.3, Y, THETA)
    if "alone" not in breach and "digits" not in breach and "jacobian in float32" != breach:
        with pytest.raises(AssertionError, match=re.escape(message)):
            check_gradients(f, Y, [0.3, 0.4], THETA, method="rk4")


def test_a_field_that_keeps_to_it_passes_and_its_arguments_stay_as_they_are():
    y, theta = np.stack([Y, -Y]), THETA.copy()
    y.flags.writeable = theta.flags.writeable = False
    assert check_field(Forced(), np.array([0.0, 0.3]), y, theta) and check_gradients(Forced(), y, [0.0, 0.3], theta)


@pytest.mark.eq("1.3")
def test_a_batch_whose_trajectories_meet_is_told_so():
    class Centred(Forced):
        def __call__(self, t, y, theta):
            return super().__call__(t, y - y.mean(axis=tuple(range(y.ndim - 1))), theta)
    with pytest.raises(AssertionError, match="must take any axes|must answer each trajectory of a batch by itself"):
        check_field(Centred(), 0.3, np.stack([Y, -2 * Y, 3 * Y]), THETA)


def test_a_field_that_is_defined_at_one_point_only_cannot_be_compared():
    class Point(Forced):
        def __call__(self, t, y, theta):
            return super().__call__(t, y, theta) + np.where(y == np.array([1.0, 2.0]), 0.0, np.nan)
    with pytest.raises(AssertionError, match="jacobian: .* cannot be compared: there are no finite values on either side"):
        check_field(Point(), 0.3, Y, THETA)
