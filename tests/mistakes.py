"""The negative controls: for every equation of the book, mistakes someone could make in its line of code.

CONTROLS maps an equation to rows (module, fragment, replacement, what the mistake is). The fragment stands,
once, in a line of that module that carries the equation's number (or, where the number follows an opening
bracket, down to the closing one). A row whose fragment is not there any more is an error, so that the table
moves with the book. `python -m pytest -p tests.controls --controls` plants them all, and `--eq 17.2` besides
only those of one equation.
"""

import pytest

from tests.book import ROOT, Source
from tests.controls import Mistake

BASE, PHYSICS, ACTIVATIONS, MLP = (f"fields/{name}.py" for name in ("base", "physics", "activations", "mlp"))
STATES, TEXTBOOK, TABLEAUS, EXPLICIT, ADAPTIVE, DENSE, BATCH, IMPLICIT, REVERSIBLE = (
    f"solvers/{name}.py" for name in
    ("states", "textbook", "tableaus", "explicit", "adaptive", "dense", "batch", "implicit", "reversible"))
TANGENT, ADJOINT, DISCRETE, PULLBACK, CHECKS = (
    f"gradients/{name}.py" for name in ("tangent", "adjoint", "discrete", "pullback", "checks"))

CONTROLS = {
    "1.2": [(BASE, "f_y @ w[..., None])[..., 0]", "w[..., None, :] @ f_y)[..., 0, :]", "f_yᵀ for f_y"),
            (BASE, " + f_theta @ dtheta", "", "Δθ forgotten")],
    "1.3": [(BASE, "(a[..., None, :] @ f_y)[..., 0, :]", "(f_y @ a[..., None])[..., 0]",
             "f_y for its transpose"),
            (BASE, "np.tensordot(a, f_theta, a.ndim)", "np.tensordot(a, f_theta, a.ndim) / a[..., 0].size",
             "the mean over the batch for the sum")],
    "2.1": [(PHYSICS, "self.dim).T", "self.dim)", "Aᵀ for A in f"),
            (PHYSICS, "self.g_prime(y)[..., None, :]", "self.g_prime(y)[..., None]",
             "rows of f_y scaled, not columns"),
            (PHYSICS, '"ij,...k->...ijk"', '"ij,...k->...ikj"', "A read column by column in f_θ")],
    "2.2": [(PHYSICS, "alpha - beta", "alpha + beta", "predators feed the prey"),
            (PHYSICS, "delta * prey - gamma", "delta * prey + gamma", "predators thrive alone"),
            (PHYSICS, "(delta * prey - gamma) * predator", "(delta * prey - gamma) * prey",
             "the wrong species")],
    "2.3": [(PHYSICS, "(1 - x * x)", "(1 + x * x)", "friction that never changes sign"),
            (PHYSICS, "* v - x", "* v + x", "a spring that pushes")],
    "2.4": [(PHYSICS, "self.g_prime(y)[..., None, :]", "1.0", "the chain rule forgotten"),
            (PHYSICS, "self.g(y) @", "y @", "the cube forgotten")],
    "3.1": [(ACTIVATIONS, "1.0 - x * x", "1.0 - x", "the slope of tanh"),
            (ACTIVATIONS, "x * (1.0 - x)", "x * (1.0 + x)", "the slope of sigmoid"),
            (ACTIVATIONS, "lambda z, x: np.cos(z)", "lambda z, x: -np.cos(z)", "the sign of a slope"),
            (ACTIVATIONS, '_leaky(0.01)', '_leaky(0.1)', "a leak ten times too large")],
    "3.2": [(ACTIVATIONS, "0.25", "0.2", "L of sigmoid too small"),
            (ACTIVATIONS, "_swish_slope, 1.0998", "_swish_slope, 1.0", "L of swish too small")],
    "4.1": [(MLP, "x @ W.T + b", "x @ W.T", "a bias forgotten"),
            (MLP, "x = sigma.value(z)", "x = z", "an activation forgotten"),
            (MLP, "_column(t) * W[:, 0]", "_column(t) * W[:, -1]", "the time in the wrong column")],
    "4.2": [(MLP, "dx @ W.T + x @ dW.T + db", "dx @ W.T + x @ dW.T", "db forgotten"),
            (MLP, "dx @ W.T + x @ dW.T", "dx @ W.T + dx @ dW.T", "dx for x beside dW"),
            (MLP, "sigma.slope(z, x_next) * dz", "dz", "σ' forgotten")],
    "4.3": [(MLP, ".slope(z, x)", ".slope(x, x)", "σ' at x for σ' at z"),
            (MLP, "delta @ layers[l][0]", "g @ layers[l][0]", "g for δ")],
    "4.4": [(MLP, "rows.T @", "0.5 * rows.T @", "a half too many"),
            (MLP, "rows.sum(axis=0)", "rows[0]", "b_l from the first of the batch alone")],
    "4.5": [(MLP, "G * self.sigmas[l].slope(z, x)[..., None, :]", "G", "σ' forgotten"),
            (MLP, "G = D @", "G = G @", "G for D")],
    "4.6": [(MLP, "D[..., :, None] * x[..., None, None, :]", "D[..., :, None] * x[..., None, None, ::-1]",
             "x_{l−1} in the wrong order"),
            (MLP, "stop - n:stop] = D", "stop - n:stop] = 1.0", "the cotangent of a bias taken for 1")],
    "4.7": [(MLP, "np.linalg.norm(W, 2)", "np.linalg.norm(W, 2) / 2", "half of each norm"),
            (MLP, "np.prod(slopes) * ", "", "the activations' constants forgotten")],
    "5.1": [(STATES, "[part.ravel() for part in parts]", "[part.ravel() for part in parts[::-1]]",
             "the parts of y swapped"),
            (STATES, "[np.ravel(part) for part in f(t, unpack(y))]",
             "[np.ravel(part) for part in f(t, unpack(y))[::-1]]", "the parts of f swapped"),
            (STATES, "np.reshape(f(t, y.reshape(shape)), -1)", "np.reshape(f(t, y.reshape(shape)), -1, 'F')",
             "columns for rows")],
    "6.1": [(TEXTBOOK, "y + h * f", "y + f", "a residual that does not shrink with the step"),
            (TEXTBOOK, "f(t, y)", "f(t + h, y)", "the velocity of the wrong end")],
    "6.2": [(TEXTBOOK, "f(t, y)", "f(t + h, y)", "k₁ at the new time")],
    "6.3": [(TEXTBOOK, "f(t + h / 2,", "f(t,", "c₂ = 0"), (TEXTBOOK, "h / 2 * k1", "h * k1", "a₂₁ = 1")],
    "6.4": [(TEXTBOOK, "f(t + h / 2,", "f(t + h,", "c₃ = 1"), (TEXTBOOK, "k2", "k1", "k₁ for k₂")],
    "6.5": [(TEXTBOOK, "f(t + h,", "f(t + 2 * h,", "k₄ one step too late: the source text's error"),
            (TEXTBOOK, "h * k3", "h * k2", "k₂ for k₃")],
    "6.6": [(TEXTBOOK, "k1 + 2 * k2 + 2 * k3 + k4", "2 * k1 + k2 + k3 + 2 * k4",
             "the weights of another method")],
    "7.1": [(TABLEAUS, "_near(sum(b), 1)", "True", "weights taken on trust")],
    "7.2": [(TABLEAUS, "_near(sum(row), node)", "True", "nodes taken on trust")],
    "9.1": [(EXPLICIT, "y + np.dot(a_i, hK_before)", "y", "every stage at y"),
            (DISCRETE, "A[:last, :len(hK)]", "A[:last, :len(hK)][::-1]", "the stages in the wrong order")],
    "9.2": [(EXPLICIT, "t + c_i * h", "t", "c := 0"),
            (EXPLICIT, "(t, y)", "(t_new, y)", "k₁ at the new time")],
    "9.3": [(EXPLICIT, "np.dot(b, stages)", "stages[-1]", "the last stage alone"),
            (EXPLICIT, "np.dot(b,", "np.dot(b[::-1],", "b read backwards")],
    "9.4": [(EXPLICIT, "np.ceil(", "np.floor(", "steps longer than step_size"),
            (EXPLICIT, "t_a + j * (t_b - t_a) / m", "t_a + j * step_size",
             "steps of step_size, the last one shorter")],
    "10.1": [(ADAPTIVE, "measure(smooth(np.dot(e, hK)), scale)", "measure(np.dot(e, hK), scale)",
              "no filter"),
             (ADAPTIVE, "scale: measure(np.dot(e, hK), scale)", "scale: 2 * measure(np.dot(e, hK), scale)",
              "twice the error"),
             (ADAPTIVE, "measure(np.dot(e_3, hK), scale)", "measure(np.dot(e, hK), scale)",
              "one estimate for two")],
    "10.2": [(ADAPTIVE, "self.rtol * size", "self.rtol", "a relative tolerance that is absolute"),
             (ADAPTIVE, "self.atol + ", "", "atol forgotten")],
    "10.3": [(ADAPTIVE, " / r.size", "", "a sum for the mean"),
             (ADAPTIVE, "math.sqrt", "", "the root forgotten")],
    "10.4": [(ADAPTIVE, "(-1 / q)", "(-1 / (q + 1))", "the order of the error off by one"),
             (ADAPTIVE, "E_prev / E", "E / E_prev", "the integral part upside down"),
             (ADAPTIVE, "self.safety * ", "", "no safety")],
    "10.5": [(ADAPTIVE, " / h_0", "", "a difference for the second derivative")],
    "10.6": [(ADAPTIVE, "** (1 / q)", "** (1 / (q - 1))", "the order of the first step off by one"),
             (ADAPTIVE, "100 * h_0", "h_0", "never longer than the trial step")],
    "11.1": [(DENSE, "np.tensordot(interpolant.P, powers, 1)", "np.tensordot(interpolant.P, powers[::-1], 1)",
              "powers of θ in the wrong order"), (DENSE, "y + (", "(", "the state at the start forgotten")],
    "11.2": [(DENSE, "[0, 3, -2]", "[0, 2, -1]", "another cubic"),
             (DENSE, "[1, -2, 1]", "[1, -1, 0]", "the slope at the start"),
             (DENSE, "[0, -1, 1]", "[0, 1, -1]", "the sign of the slope at the end")],
    "12.1": [(BATCH, ".real / d", ".real", "a sum for the mean"),
             (BATCH, "spread(h)", "spread(h).mean()", "one step for all"),
             (BATCH, "accepted = E < 1", "accepted = np.full_like(E < 1, (E < 1).all())",
              "one verdict for all"),
             (BATCH, "np.where(accepted, t_new, t)", "t_new", "a clock that moves on rejection")],
    "13.1": [(IMPLICIT, "known + A_block @ hk", "known + A_block.T @ hk", "Aᵀ for A"),
             (IMPLICIT, "h * np.array([f(t_i, Y_i)", "h * np.array([f(times[0], Y_i)",
              "all stages at the time of the first")],
    "13.2": [(IMPLICIT, "z * b @", "b @", "z forgotten"), (IMPLICIT, "- z * A", "+ z * A", "a sign")],
    "13.3": [(IMPLICIT, '"ij,ibkl->bikjl"', '"ij,iblk->bikjl"', "f_yᵀ for f_y"),
             (IMPLICIT, '"ij,ibkl->bikjl"', '"ji,ibkl->bikjl"', "Aᵀ for A"),
             (IMPLICIT, "M + np.eye(m * d)", "M", "the 1 forgotten")],
    "13.4": [(IMPLICIT, 'last["h"] * ', "", "h forgotten"),
             (IMPLICIT, "np.linalg.solve(M, e.reshape(-1, d, 1))", "e", "no filter")],
    "14.1": [(REVERSIBLE, "y + h / 2 * v", "y + h * v", "a whole step for a half"),
             (REVERSIBLE, "f(t + h / 2,", "f(t,", "the velocity at the wrong time"),
             (REVERSIBLE, "y_half + h / 2 * v_new, v_new", "y_half + h / 2 * v, v_new", "the old velocity")],
    "14.2": [(REVERSIBLE, "2 * y - z", "y", "y for its reflection"),
             (REVERSIBLE, "h / 2 * (k + k_new)", "h * k_new", "one velocity for two")],
    "14.3": [(REVERSIBLE, "self.increment(f, t, h, z)", "self.increment(f, t, h, y)", "y for z"),
             (REVERSIBLE, "self.increment(f, t_new, -h, y_new)", "self.increment(f, t_new, h, y_new)",
              "the sign of h")],
    "14.4": [(REVERSIBLE, "z_new + ", "z_new - ", "a sign"), (REVERSIBLE, ") / c, z", "), z", "λ forgotten")],
    "16.1": [(TANGENT, "f(t, y, theta)", "f(t, w, theta)", "the velocity of w"),
             (ADJOINT, "f(t, y, theta)", "-f(t, y, theta)", "y running away backwards")],
    "16.2": [(TANGENT, "f.jvp(t, y, theta, w, dtheta)", "f.jvp(t, y, theta, w, 0 * dtheta)",
              "f_θ Δθ forgotten"),
             (TANGENT, "f.jvp(t, y, theta, w, dtheta)",
              "f.vjp(t, y, theta, w)[0] + f.jvp(t, y, theta, 0 * w, dtheta)", "f_yᵀ for f_y"),
             (TANGENT, "f.jvp(t,", "f.jvp(0 * t,", "the tangent's clock stopped")],
    "17.1": [(ADJOINT, " + np.vdot(b, dtheta)", "", "b · Δθ forgotten"), (ADJOINT, " + ", " - ", "a sign")],
    "17.2": [(ADJOINT, "-a_f_y", "a_f_y", "the sign of a'"),
             (ADJOINT, "-a_f_y", "-f.jvp(t, y, theta, a, 0 * theta)", "f_y for its transpose")],
    "17.3": [(ADJOINT, "-a_f_theta", "a_f_theta", "the sign of b'"),
             (ADJOINT, "-a_f_theta", "0 * b", "b left at its start")],
    "17.4": [(ADJOINT, "a + cotangents[i]", "cotangents[i]", "a forgotten at the jump"),
             (ADJOINT, "a + cotangents[i]", "a + cotangents[-1]", "the jump of the last time at every time"),
             (ADJOINT, "a + cotangents[i]", "a - cotangents[i]", "the sign of the jump")],
    "17.5": [(ADJOINT, "cotangents * velocity", "cotangents", "velocity forgotten"),
             (ADJOINT, "per_trajectory.sum(axis=1)", "per_trajectory[:, 0]",
              "one component of one trajectory")],
    "17.6": [(ADJOINT, "-np.vdot", "np.vdot", "the sign of dL/dt₀"),
             (ADJOINT, "a0, velocity[0]", "a0 + cotangents[0], velocity[0]",
              "the loss on y(t₀) added too early")],
    "18.1": [(DISCRETE, "A[i + 1:last, i]", "A[i, i + 1:last]", "A by rows"),
             (DISCRETE, "weights[i] * a", "a", "b_i forgotten"),
             (DISCRETE, " + np.tensordot(A[i + 1:last, i], mu[i + 1:], 1)", "",
              "the later stages forgotten")],
    "18.2": [(DISCRETE, "t + c[i] * h", "t", "c := 0"),
             (DISCRETE, "Y[i]", "y", "the Jacobian at the start of the step")],
    "18.3": [(DISCRETE, "mu.sum(axis=0)", "mu[0]", "the first stage alone"),
             (DISCRETE, "a + mu", "mu", "a forgotten")],
    "18.4": [(DISCRETE, "b + lam_f_theta", "b - lam_f_theta", "a sign"),
             (DISCRETE, "b + lam_f_theta", "lam_f_theta", "the last one alone")],
    "18.5": [(DISCRETE, "+ direct", "", "the share of y_n forgotten"),
             (DISCRETE, "weights_at(dense, theta_out)", "weights_at(dense, 1.0)",
              "an output inside a step taken for its end")],
    "20.1": [(PULLBACK, "a + dL_dys[0]", "a", "the loss on y₀ itself forgotten"),
             (PULLBACK, "theta=b", "theta=-b", "the sign of dL/dθ")],
    "22.1": [(CHECKS, "g(x - epsilon * v)", "g(x)", "a one-sided difference of half the size"),
             (CHECKS, "(g(x + epsilon * v) - g(x - epsilon * v)) / (2 * epsilon)",
              "(g(x + epsilon * v) - g(x)) / epsilon", "a forward difference")],
    "22.2": [(CHECKS, "1 / 3", "1 / 2", "the ε of forward differences"),
             (CHECKS, "1 / 3", "1 / 6", "an ε too large")],
    "22.3": [(CHECKS, "np.imag", "np.real", "the real part"), (CHECKS, "1j *", "-1j *", "a sign")],
    "22.4": [(CHECKS, "abs(np.vdot(a, forward) - np.vdot(a_f_y, w) - np.vdot(a_f_theta, dtheta))", "0.0",
              "a check that sees nothing"), (CHECKS, " - np.vdot(a_f_theta, dtheta)", "", "Δθ forgotten")],
    "22.5": [(CHECKS, "abs(np.vdot(cotangent, ws) - reverse)", "0.0", "a check that sees nothing"),
             (CHECKS, "np.vdot(cotangent, ws)", "np.vdot(cotangent, ys)", "states for tangents")],
}


def controls():
    """The table as a list of `Mistake`s; UsageError names the rows whose fragment is not there just once."""
    read, planted, wrong = {}, [], []
    for number, rows in CONTROLS.items():
        for module, fragment, replacement, what in rows:
            source = read.setdefault(module, Source(ROOT / "minode" / module))
            lines = source.text.splitlines(keepends=True)
            places = [line for s in source.numbered_statements() if number in s.numbers
                      for line in s.lines for _ in range(lines[line - 1].count(fragment))]
            if len(places) == 1:
                lines[places[0] - 1] = lines[places[0] - 1].replace(fragment, replacement)
                planted.append(Mistake((number,), source.name, places[0], what, "".join(lines)))
            else:
                wrong.append(f"{source.name}: {fragment!r} should stand once in the lines of ({number}), "
                             f"but stands on lines {places}")
    if wrong:
        raise pytest.UsageError("\n".join(wrong))
    return planted
