"""0. The whole idea on one page

A layer of a residual network adds what it computes to the state: y ← y + f(y). Place the layers at times h
apart, and let each add h f(t, y). The network is now Euler's method for dy/dt = f(t, y), and as h shrinks,
its states approach the solution. A neural ODE starts from the equation: f is a network with parameters θ,
the input is y₀, the output is y(T), and any solver computes it.

To learn, we need the derivatives of a loss L, a number computed from y(T). Change y₀ by a small Δy₀ and θ
by a small Δθ. The tangent w(t) is the change of y(t) to first order. From the equation follows

    dw/dt = f_y w + f_θ Δθ,   w(t₀) = Δy₀,   with f_y = ∂f/∂y and f_θ = ∂f/∂θ   (`tangent_rhs`).

One solve of it gives the change of L for one direction (Δy₀, Δθ). Cotangents, the derivatives of L, give it
for all: a(t) = ∂L/∂y(t), and b(t) = ∂L/∂θ with y(t) held fixed: b counts what Δθ does after t, and w what it
did before. So L changes by a · w + b · Δθ, the same number at every t. With dw/dt from above, its slope is

    0 = da/dt · w + a · (f_y w + f_θ Δθ) + db/dt · Δθ.

w and Δθ are arbitrary, so what multiplies each is zero: da/dt = −a f_y and db/dt = −a f_θ (`adjoint_rhs`).
Solve these backwards from T with y, from a = ∂L/∂y(T) and b = 0. At t₀, a is dL/dy₀ and b is dL/dθ. If L also
reads an earlier state, add ∂L/∂y(t_i) to a there. This gradient has a solver's errors. The chain rule through
the steps is exact for the states computed (`discrete_gradient`). In code vectors are rows, a batch has many.

Figure 1 (figures/README.md) shows layers near a solution, figure 50 layers and an ODE, figure 53 our spiral.
Next: the same in general, beginning with vector fields and their derivatives (chapter 1).

Exercises. 1. Derive, as in `discrete_gradient`, the exact dL/dy₀ and dL/dθ for the states of `odeint_euler`.
2. Predict, then run: let `compare` solve the adjoint system by `odeint_euler`. How does its error fall now?
"""
import numpy as np

def odeint_euler(f, y0, t):
    """The states at the times t by Euler's method: follow the slope at the start. Error O(h)."""
    ys = [y0]
    for t0, t1 in zip(t[:-1], t[1:]):
        ys.append(ys[-1] + (t1 - t0) * f(t0, ys[-1]))
    return np.array(ys)

def odeint_rk4(f, y0, t):
    """The same by the classical Runge–Kutta method: follow a mean of four slopes. Error O(h⁴)."""
    ys = [y0]
    for t0, t1 in zip(t[:-1], t[1:]):
        y, h = ys[-1], t1 - t0
        k1 = f(t0, y)                            # the slope at the start
        k2 = f(t0 + h / 2, y + h / 2 * k1)       # at the middle, reached along k1
        k3 = f(t0 + h / 2, y + h / 2 * k2)       # at the middle, reached along k2
        k4 = f(t0 + h, y + h * k3)               # at the end, reached along k3
        ys.append(y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))
    return np.array(ys)

def layers(theta, d):
    """W1 (H, d), b1 (H,), W2 (d, H), b2 (d,): theta holds them in this order, row by row."""
    H = (len(theta) - d) // (2 * d + 1)          # since len(theta) = H d + H + d H + d
    n = H * d
    return theta[:n].reshape(H, d), theta[n:n + H], theta[n + H:-d].reshape(d, H), theta[-d:]

def f(t, y, theta):
    """The network: z = y W1ᵀ + b1, x = tanh z, f = x W2ᵀ + b2. It does not look at t."""
    W1, b1, W2, b2 = layers(theta, y.shape[-1])
    x = np.tanh(y @ W1.T + b1)
    return x @ W2.T + b2

def jvp(t, y, theta, w, dtheta):
    """The Jacobian-vector product f_y w + f_θ Δθ: the product rule, from input to output."""
    (W1, b1, W2, b2), (dW1, db1, dW2, db2) = (layers(p, y.shape[-1]) for p in (theta, dtheta))
    x = np.tanh(y @ W1.T + b1)
    dz = w @ W1.T + y @ dW1.T + db1
    dx = (1 - x**2) * dz                         # tanh' = 1 − tanh²
    return dx @ W2.T + x @ dW2.T + db2

def vjp(t, y, theta, a):
    """The vector-Jacobian products a f_y and a f_θ: the chain rule, from output to input."""
    W1, b1, W2, b2 = layers(theta, y.shape[-1])
    x = np.tanh(y @ W1.T + b1)
    delta = (1 - x**2) * (a @ W2)                # the cotangent of z
    Y, X, A, D = np.atleast_2d(y, x, a, delta)   # the batch shares θ: sum over its rows
    a_f_theta = [(D.T @ Y).ravel(), D.sum(0), (A.T @ X).ravel(), A.sum(0)]    # W1, b1, W2, b2
    return delta @ W1, np.concatenate(a_f_theta)

def tangent_rhs(t, state, theta, dtheta):
    """The tangent system for the state (y, w): dy/dt and dw/dt."""
    y, w = state
    return f(t, y, theta), jvp(t, y, theta, w, dtheta)

def adjoint_rhs(t, state, theta):
    """The adjoint system for the state (y, a, b): dy/dt, da/dt and db/dt."""
    y, a, b = state
    a_f_y, a_f_theta = vjp(t, y, theta, a)
    return f(t, y, theta), -a_f_y, -a_f_theta

def discrete_gradient(ys, t, theta, dL_dys):
    """The exact dL/dy0 and dL/dθ for the states ys of `odeint_rk4` (in general: chapter 18)."""
    a, b = dL_dys[-1], np.zeros_like(theta)      # Y2_bar: the cotangent of Y2; vjp takes that of k2
    for n in reversed(range(len(t) - 1)):
        y, t0, h = ys[n], t[n], t[n + 1] - t[n]
        Y2 = y + h / 2 * f(t0, y, theta)                                       # the states Y_i once more
        Y3 = y + h / 2 * f(t0 + h / 2, Y2, theta)
        Y4 = y + h * f(t0 + h / 2, Y3, theta)
        Y4_bar, add4 = vjp(t0 + h, Y4, theta, h / 6 * a)                       # k4: once in y_{n+1}
        Y3_bar, add3 = vjp(t0 + h / 2, Y3, theta, h / 3 * a + h * Y4_bar)      # k3: twice, and in Y4
        Y2_bar, add2 = vjp(t0 + h / 2, Y2, theta, h / 3 * a + h / 2 * Y3_bar)  # k2: twice, and in Y3
        Y1_bar, add1 = vjp(t0, y, theta, h / 6 * a + h / 2 * Y2_bar)           # k1: once, and in Y2
        a = a + Y1_bar + Y2_bar + Y3_bar + Y4_bar + dL_dys[n]                  # y: in y_{n+1}, each Y_i, L
        b = b + add1 + add2 + add3 + add4                                      # θ: in all four k
    return a, b

def adam(theta, gradient, state, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """One step of Adam: move against the mean gradient m, each component divided by its usual size √v."""
    m, v, k = state or (0.0, 0.0, 0)
    m = beta1 * m + (1 - beta1) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    m_hat, v_hat = m / (1 - beta1**(k + 1)), v / (1 - beta2**(k + 1))   # m and v began at 0
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + epsilon), (m, v, k + 1)

def learn(n_steps=1000):
    """Learn the spiral dy/dt = A y³ from 40 short pieces of it, solved side by side as a batch."""
    A, y0, t = np.array([[-0.1, 2.0], [-2.0, -0.1]]), np.array([2.0, 0.0]), np.linspace(0, 5, 201)
    spiral = odeint_rk4(lambda t, y: y**3 @ A.T, y0, np.linspace(0, 5, 2001))[::10]  # every tenth
    data = np.stack([spiral[j:j + 196:5] for j in range(6)])    # piece i: states 5i to 5i + 5; (6, 40, 2)
    theta, state = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * 32 + 2), None
    for k in range(n_steps + 1):
        ys = odeint_rk4(lambda t, y: f(t, y, theta), data[0], t[:6])    # f ignores t: all may begin at 0
        if k % 100 == 0:
            print(f"step {k:4}   loss {np.mean((ys - data)**2):.1e}")
        _, dL_dtheta = discrete_gradient(ys, t[:6], theta, 2 * (ys - data) / ys.size)
        theta, state = adam(theta, dL_dtheta, state, learning_rate=0.1 * (1 - k / n_steps))
    distances = np.linalg.norm(odeint_rk4(lambda t, y: f(t, y, theta), y0, t) - spiral, axis=1)
    print(f"from y0 alone, the network follows the whole spiral to within {distances.max():.3f}")
    return theta

def compare(theta):
    """The derivative of L = |y_N|²/2 as RK4 computes L: by a complex step, and by three ways of this page."""
    y0, dy0, dtheta = np.array([2.0, 0.0]), np.array([0.6, -0.8]), np.cos(np.arange(len(theta)))
    def forwards(t, s): return np.concatenate(tangent_rhs(t, (s[:2], s[2:]), theta, dtheta))
    def backwards(t, s): return np.concatenate(adjoint_rhs(t, (s[:2], s[2:4], s[4:]), theta))
    print("relative errors of the tangent system, the discrete gradient, and the adjoint system:")
    for t in (np.linspace(0.0, 1.0, n + 1) for n in (50, 100, 200)):
        moved = odeint_rk4(lambda t, y: f(t, y, theta + 1e-30j * dtheta), y0 + 1e-30j * dy0, t)
        ys, exact = moved.real, np.sum(moved[-1]**2).imag / 2e-30    # L = |y|²/2, L(x + iε) = L(x) + iε dL
        w = odeint_rk4(forwards, np.concatenate([y0, dy0]), t)[-1, 2:]
        a, b = discrete_gradient(ys, t, theta, np.concatenate([0 * ys[:-1], ys[-1:]]))
        end = odeint_rk4(backwards, np.concatenate([ys[-1], ys[-1], 0 * theta]), t[::-1])[-1]
        found = ys[-1] @ w, a @ dy0 + b @ dtheta, end[2:4] @ dy0 + end[4:] @ dtheta
        print(f"{len(t) - 1:4} steps  ", *(f"{abs(dL / exact - 1):9.1e}" for dL in found))

if __name__ == "__main__":                       # python -m minode.one_page
    t = np.linspace(0.0, 10.0, 101)
    euler, rk4 = odeint_euler(lambda t, y: y, 2.0, t)[-1], odeint_rk4(lambda t, y: y, 2.0, t)[-1]
    print(f"y' = y, y(0) = 2: y(10) = {2 * np.exp(10):.2f}, Euler {euler:.2f}, RK4 {rk4:.2f}")
    compare(learn())
