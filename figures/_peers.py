"""The other libraries in the speed figure: each contender a function of no arguments, or left out

A contender computes the loss and its gradient of one workload, or solves one problem, in
float64 on one thread, and returns a number to compare. torchdiffeq and torchode need PyTorch,
diffrax needs JAX; what is not installed is not in the figure.
"""

import importlib.util
import math
import os
from importlib.metadata import version

import numpy as np

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")


def available(*names):
    return all(importlib.util.find_spec(name) is not None for name in names)


def versions():
    """{library: version} of those that are installed."""
    names = ("numpy", "scipy", "torch", "torchdiffeq", "torchode", "jax", "diffrax")
    return {name: version(name) for name in names if available(name)}


def for_training():
    """The libraries for which there is a program in `figures/demo`, of those that are installed."""
    needs = {"torchdiffeq": ("torch", "torchdiffeq"), "diffrax": ("jax", "diffrax")}
    return [name for name, libraries in needs.items() if available(*libraries)]


def gradient_contenders(work):
    """{name: function of no arguments -> loss} for a workload of figures/speed.py."""
    contenders = {}
    if available("torch", "torchdiffeq"):
        contenders["torchdiffeq, backprop"] = torchdiffeq_gradient(work, adjoint=False)
        contenders["torchdiffeq, adjoint"] = torchdiffeq_gradient(work, adjoint=True)
    if available("jax", "diffrax"):
        contenders["diffrax, default"] = diffrax_gradient(work)
    return contenders


def step_contenders(f, theta, triples, learning_rate):
    """{name: function of no arguments -> loss} of one step of Adam each call, down the flow matching loss (30.3)."""
    contenders = {}
    if available("torch"):
        contenders["PyTorch"] = torch_matching(f, theta, triples, learning_rate)
    if available("jax"):
        contenders["JAX"] = jax_matching(f, theta, triples, learning_rate)
    return contenders


def torch_matching(f, theta, triples, learning_rate):
    import torch
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    layers = []
    for (W, b), name in zip(f.layers(theta), f.names):
        linear = torch.nn.Linear(W.shape[1], W.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(W), torch.tensor(b)
        layers += [linear, {"tanh": torch.nn.Tanh, "identity": torch.nn.Identity}[name]()]
    network, (x0, x1, t) = torch.nn.Sequential(*layers), map(torch.tensor, triples)
    optimiser, t = torch.optim.Adam(network.parameters(), lr=learning_rate), t[:, None]

    def step():
        optimiser.zero_grad()
        r = network(torch.cat([t, (1 - t) * x0 + t * x1], -1)) - (x1 - x0)
        loss = (r**2).sum(-1).mean()
        loss.backward()
        optimiser.step()
        return loss.item()
    return step


def jax_matching(f, theta, triples, learning_rate):
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    sigma = {"tanh": jnp.tanh, "identity": lambda x: x}

    def loss(layers, x0, x1, t):
        x = jnp.concatenate([t, (1 - t) * x0 + t * x1], -1)
        for (W, b), name in zip(layers, f.names):
            x = sigma[name](x @ W.T + b)
        return ((x - (x1 - x0)) ** 2).sum(-1).mean()

    @jax.jit
    def adam(state, x0, x1, t):
        layers, m, v, k = state
        value, g = jax.value_and_grad(loss)(layers, x0, x1, t)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
        layers = jax.tree.map(lambda theta, m, v: theta - learning_rate * (m / (1 - 0.9**k)) / (
            jnp.sqrt(v / (1 - 0.999**k)) + 1e-8), layers, m, v)
        return value, (layers, m, v, k + 1)

    layers = [(jnp.array(W), jnp.array(b)) for W, b in f.layers(theta)]
    zeros = jax.tree.map(jnp.zeros_like, layers)
    state, (x0, x1, t) = [(layers, zeros, zeros, 1.0)], map(jnp.array, triples)
    t = t[:, None]

    def step():
        value, state[0] = adam(state[0], x0, x1, t)
        return float(jax.block_until_ready(value))
    return step


def value(work, ys, weights):
    """The loss of a workload, of arrays of any library: Σ weights · ys², or the mean of −log p."""
    if not work.is_likelihood:
        return (weights * ys**2).sum()
    z, log_det = ys[-1][:, :-1], ys[-1][:, -1]
    return (0.5 * (z**2).sum(-1) + log_det).mean() + 0.5 * work.f.dim * math.log(2 * math.pi)


def torchdiffeq_gradient(work, adjoint):
    import torch
    import torchdiffeq
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    sigma = {"tanh": torch.nn.Tanh, "leaky_relu": torch.nn.LeakyReLU, "identity": torch.nn.Identity}
    layers = []
    for (W, b), name in zip(work.f.layers(work.theta), work.f.names):
        linear = torch.nn.Linear(W.shape[1], W.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(W), torch.tensor(b)
        layers += [linear, sigma[name]()]

    class Field(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(*layers)

        def forward(self, t, y):
            return self.net(torch.cat([t.expand(*y.shape[:-1], 1), y], -1) if work.f.sees_time else y)

    class Flow(Field):
        def forward(self, t, state):
            with torch.enable_grad():
                y = state[:, :-1].requires_grad_(True)
                dy = super().forward(t, y)
                trace = sum(torch.autograd.grad(dy[:, i].sum(), y, create_graph=True)[0][:, i]
                            for i in range(work.f.dim))
                return torch.cat([dy, -trace[:, None]], -1)

    field, t = Flow() if work.is_likelihood else Field(), torch.tensor(work.times)
    weights = None if work.is_likelihood else torch.tensor(work.weights)
    odeint = torchdiffeq.odeint_adjoint if adjoint else torchdiffeq.odeint

    def run():
        y0 = torch.tensor(work.start, requires_grad=True)
        field.zero_grad()
        loss = value(work, odeint(field, y0, t, method=work.method, rtol=work.rtol, atol=work.atol), weights)
        loss.backward()
        return loss.item()
    return run


def diffrax_gradient(work):
    import diffrax
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    sigma = {"tanh": jnp.tanh, "leaky_relu": jax.nn.leaky_relu, "identity": lambda x: x}

    def field(t, y, layers):
        x = jnp.concatenate([jnp.full((*y.shape[:-1], 1), t), y], -1) if work.f.sees_time else y
        for (W, b), name in zip(layers, work.f.names):
            x = sigma[name](x @ W.T + b)
        return x

    def flow(t, state, layers):
        y, trace = state[:, :-1], 0.0
        for i, unit in enumerate(jnp.eye(work.f.dim)):
            dy, column = jax.jvp(lambda y: field(t, y, layers), (y,), (jnp.broadcast_to(unit, y.shape),))
            trace = trace + column[:, i]
        return jnp.concatenate([dy, -trace[:, None]], -1)

    class RK4(diffrax.AbstractERK):
        tableau = diffrax.ButcherTableau(
            a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
            b_sol=np.array([1, 2, 2, 1]) / 6, b_error=np.zeros(4), c=np.array([0.5, 0.5, 1.0]))
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms):
            return 4

    t, weights = jnp.array(work.times), None if work.is_likelihood else jnp.array(work.weights)
    fixed = work.method == "rk4"
    solver = RK4() if fixed else diffrax.Dopri5()
    control = diffrax.StepTo(ts=t) if fixed else diffrax.PIDController(rtol=work.rtol, atol=work.atol)
    saved = diffrax.SaveAt(t1=True) if fixed else diffrax.SaveAt(ts=t)

    def loss(parameters):
        y0, layers = parameters
        ys = diffrax.diffeqsolve(diffrax.ODETerm(flow if work.is_likelihood else field), solver, t[0], t[-1],
                                 None if fixed else 0.01, y0, layers, saveat=saved, stepsize_controller=control,
                                 max_steps=4096).ys
        return value(work, ys, weights[-1:] if fixed and weights is not None else weights)

    gradient = jax.jit(jax.value_and_grad(loss))
    parameters = jnp.array(work.start), [(jnp.array(W), jnp.array(b)) for W, b in work.f.layers(work.theta)]

    def run():
        return float(jax.block_until_ready(gradient(parameters))[0])
    return run


def tanh_contenders(x):
    """{name: function} computing tanh of the array x."""
    contenders = {}
    if available("torch"):
        import torch
        torch.set_num_threads(1)
        ours, out = torch.tensor(x), torch.tensor(x)
        contenders["PyTorch"] = lambda: torch.tanh(ours, out=out)
    if available("jax"):
        import jax
        import jax.numpy as jnp
        jax.config.update("jax_enable_x64", True)
        tanh, theirs = jax.jit(jnp.tanh), jnp.array(x)
        contenders["JAX"] = lambda: jax.block_until_ready(tanh(theirs))
    return contenders


def batch_contenders(theta, y0, t, rtol, atol):
    """{name: function} solving Lotka–Volterra from each row of y0 with steps of its own."""
    contenders = {}
    if available("torch", "torchode"):
        contenders["torchode"] = torchode_batch(theta, y0, t, rtol, atol)
    if available("jax", "diffrax"):
        contenders["diffrax, vmap"] = diffrax_batch(theta, y0, t, rtol, atol)
    return contenders


def torchode_batch(theta, y0, t, rtol, atol):
    import torch
    import torchode
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    alpha, beta, gamma, delta = theta

    def field(t, y):
        prey, predator = y[:, 0], y[:, 1]
        return torch.stack([(alpha - beta * predator) * prey, (delta * prey - gamma) * predator], dim=1)

    term = torchode.ODETerm(field)
    control = torchode.IntegralController(atol=atol, rtol=rtol, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    y0, t_eval = torch.tensor(y0), torch.tensor(t).expand(len(y0), -1)

    def run():
        with torch.no_grad():
            problem = torchode.InitialValueProblem(y0=y0, t_eval=t_eval)
            return solver.solve(problem).ys[:, -1].sum().item()
    return run


def diffrax_batch(theta, y0, t, rtol, atol):
    import diffrax
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    alpha, beta, gamma, delta = theta

    def field(t, y, args):
        prey, predator = y
        return jnp.stack([(alpha - beta * predator) * prey, (delta * prey - gamma) * predator])

    def one(y0):
        return diffrax.diffeqsolve(diffrax.ODETerm(field), diffrax.Dopri5(), t[0], t[-1], None, y0,
                                   stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol)).ys[0]
    every, y0 = jax.jit(jax.vmap(one)), jnp.array(y0)

    def run():
        return float(jax.block_until_ready(every(y0)).sum())
    return run
