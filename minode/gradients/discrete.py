"""18. The exact derivative of the steps

The solver did not compute y(T) but some numbers y_0, y_1, …, y_N, each from the
one before by

    Y_i = y_n + Σ_{j<i} a_ij h k_j,   k_i = f(t_n + c_i h, Y_i),   y_{n+1} = y_n + Σ_i b_i h k_i.

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

An output inside a step, y_n + Σ_j b_j(θ) h k_j by (11.1), with cotangent g, adds its share

    h b_j(θ) g  to λ_j,     g  to a_n,                                   (18.5)

and where a dense output has stages of its own, they are stages like the others, with
weight b_j = 0 in the step. An output at the end of a step simply joins a_{n+1}. A method that
chooses its steps is differentiated along the steps it took: its accepted t_n and h are
numbers here, not functions of y₀ and θ.

How does it compare with chapter 17? Divide (18.1) by h b_i and the recursion is a
Runge–Kutta method again, run backwards on da/dt = −a f_y with its own table,
a*_ij = b_j − b_j a_ji / b_i; and the pair of tables conserves (17.1) exactly, step by
step (Sanz-Serna, SIAM Review 58, 2016). The backward solve of chapter 17 uses the
same table in both directions, conserves (17.1) only up to its error, and recomputes
y on the way. So the two gradients differ by O(h^p). Neither is nearer to the
gradient of the true solution; but a minimiser that is shown one function and the
gradient of another may find no step downhill.

The price is memory: the increments of all steps are kept. Y_i is recovered from
y_n and them by (9.1).

Next: the door to both routes (chapter 19).
"""

import numpy as np

from ..solvers.dense import all_increments, weights_at, interpolant


def sweep(f, tape, tableau, theta, times, cotangents, b):
    """The derivative of a chain of explicit steps, last step first.

    tape lists the steps (t, h, y, hK) with flat y. cotangents (N, ..., d) are those of the
    outputs at `times` (N,), the first of which is the first state and not looked at.
    b is ∂L/∂θ (p,). Returns a at the first state (..., d) and b there.
    """
    dense, shape = interpolant(tableau), cotangents.shape[1:]
    A, weights, c = extended(tableau, dense)
    out = len(times) - 1
    a = np.zeros(shape)
    for t, h, y, hK in reversed(tape):
        share, direct, last = np.zeros((len(weights), *shape)), 0.0, tableau.stages
        while out > 0 and abs(times[out] - t) >= abs(h):
            a = a + cotangents[out]
            out -= 1
        while out > 0 and times[out] != t:
            theta_out = (times[out] - t) / h
            share += np.multiply.outer(weights_at(dense, theta_out), cotangents[out])  # (18.5)
            direct, last = direct + cotangents[out], len(weights)
            out -= 1
        if last > len(hK):
            hK, _ = all_increments(lambda t, y: f(t, y.reshape(shape), theta).ravel(), dense, t, h, y, hK)
        Y = (y + A[:last, :len(hK)] @ hK).reshape(last, *shape)                    # (9.1)
        mu = np.zeros((last, *shape))
        for i in range(last - 1, -1, -1):
            lam = h * (weights[i] * a + share[i] + np.tensordot(A[i + 1:last, i], mu[i + 1:], 1))  # (18.1)
            if not lam.any():
                continue
            mu[i], lam_f_theta = f.vjp(t + c[i] * h, Y[i], theta, lam)             # (18.2)
            b = b + lam_f_theta                                                    # (18.4)
        a = a + mu.sum(axis=0) + direct                                            # (18.3) (18.5)
    return a + cotangents[1:out + 1].sum(axis=0), b


def extended(tableau, dense):
    """A, b, c of a method with the stages of its dense output added, which have weight 0."""
    A, b, c = tableau.arrays
    r, s = len(dense.P), tableau.stages
    A_all, b_all, c_all = np.zeros((r, r)), np.zeros(r), np.zeros(r)
    A_all[:s, :s], b_all[:s], c_all[:s] = A, b, c
    for i, (row, node) in enumerate(dense.extra, start=s):
        A_all[i, :len(row)], c_all[i] = row, node
    return A_all, b_all, c_all
