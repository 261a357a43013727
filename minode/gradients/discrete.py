"""18. The exact derivative of the steps

The solver did not compute y(T) but some numbers y_0, y_1, …, y_N, each from the
one before by

    Y_i = y_n + h Σ_{j<i} a_ij k_j,   k_i = f(t_n + c_i h, Y_i),   y_{n+1} = y_n + h Σ_i b_i k_i.

The loss that was printed is a function of these numbers. Its derivative is found
as for a network, by asking of every intermediate quantity, last one first, with
what weights L depends on it, all else computed from it included. Suppose the
weights a_{n+1} of y_{n+1} are known. Write λ_i for those of k_i and μ_i for those
of Y_i. k_i is used in y_{n+1}, with factor h b_i, and in the later stages Y_j, with
factors h a_ji; Y_i is used in k_i alone; y_n in y_{n+1} and in every Y_i. So

    λ_i = h ( b_i a_{n+1} + Σ_{j>i} a_ji μ_j ),                          (18.1)
    μ_i = λ_i f_y(t_n + c_i h, Y_i),                                     (18.2)
    a_n = a_{n+1} + Σ_i μ_i,                                             (18.3)
    b_n = b_{n+1} + Σ_i λ_i f_θ(t_n + c_i h, Y_i).                       (18.4)

The stages are visited from the last to the first; A is read by columns, which is
its transpose; (18.2) and the sum in (18.4) are one vector-Jacobian product. No
limit was taken anywhere: this is the derivative of the numbers that were computed,
at any step size, up to the rounding of the arithmetic.

How does it compare with chapter 17? Divide (18.1) by h b_i and the recursion is a
Runge–Kutta method again, run backwards on da/dt = −a f_y with its own table,
a*_ij = b_j − b_j a_ji / b_i; and the pair of tables conserves (17.1) exactly, step by
step (Sanz-Serna, SIAM Review 58, 2016). The backward solve of chapter 17 uses the
same table in both directions, conserves (17.1) only up to its error, and recomputes
y on the way. So the two gradients differ by O(h^p). Neither is nearer to the
gradient of the true solution; but a minimiser that is shown one function and the
gradient of another may find no step downhill.

The price is memory: the stages of all steps are kept. Where Y_i are needed they are
recovered from y_n and the k_j by (9.1), all at once.

Next: the door to both routes (chapter 19).
"""

import numpy as np


def sweep(f, steps, tableau, theta, cotangents, b):
    """The derivative of a chain of explicit steps, last step first.

    `steps` is the forward pass, a list of (t, h, y, K) with y (..., d) and K (s, ..., d).
    cotangents[n] is ∂L/∂y_n (..., d), one for each of the len(steps) + 1 states of the
    chain. b is ∂L/∂θ (p,). Returns a at the first state and b there.
    """
    A, weights, c = tableau.arrays()
    a = cotangents[-1]
    for n in range(len(steps) - 1, -1, -1):
        t, h, y, K = steps[n]
        Y = y + h * np.tensordot(A, K, 1)                                          # (9.1)
        mu = np.zeros_like(K)
        for i in range(tableau.stages - 1, -1, -1):
            lam = h * (weights[i] * a + np.tensordot(A[i + 1:, i], mu[i + 1:], 1))  # (18.1)
            mu[i], lam_f_theta = f.vjp(t + c[i] * h, Y[i], theta, lam)             # (18.2)
            b = b + lam_f_theta                                                    # (18.4)
        a = a + mu.sum(axis=0) + cotangents[n]                                     # (18.3)
    return a, b
