"""Figure 27. Down the valley, with the Hessian and without
"""
import numpy as np

from minode import LotkaVolterra, hessian_vector_product, odeint, value_and_gradients

from . import style

SECONDS = 2
FIELD, Y0, T = LotkaVolterra(), np.array([30.0, 4.0]), np.linspace(0.0, 10.0, 11)
TRUE = np.array([0.55, 0.028, 0.80, 0.024])
FREE = [0, 2]                              # α and γ
START = np.array([0.47, 0.72])
SOLVER = {"method": "rk4", "step_size": 0.25}


def theta_of(pair):
    theta = TRUE.copy()
    theta[FREE] = pair
    return theta


def residual(ys, data):
    return (ys - data) / 20


def compute():
    data = odeint(lambda t, y: FIELD(t, y, TRUE), Y0, T, **SOLVER)

    def loss(ys, ws=None):
        r = (ys - data) / 20
        value = 0.5 * np.sum(r**2)
        return (value, r / 20) if ws is None else (value, r / 20, ws / 400)

    def gradient(pair):
        value, g = value_and_gradients(loss, FIELD, Y0, T, theta_of(pair), **SOLVER)
        return value, g.theta[FREE]

    def hessian(pair):
        return np.array([hessian_vector_product(loss, FIELD, Y0, T, theta_of(pair), 0 * Y0, np.eye(4)[i], **SOLVER).theta[FREE] for i in FREE])

    return gradient, hessian
if __name__=="__main__":
    g,h=compute()
    for start in ([.5,.75],[.47,.72],[.6,.72],[.5,.9],[.62,.86]):
        p=np.array(start); print(start)
        for k in range(9):
            v,gr=g(p); H=h(p); print(p,v,np.linalg.eigvalsh(H)); p=p-np.linalg.solve(H,gr)
