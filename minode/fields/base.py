"""1. Vector fields and their derivatives

A neural ODE is a differential equation whose right-hand side has parameters,

    dy/dt = f(t, y, θ),   y(t₀) = y₀.                                    (1.1)

The field f takes a time, a state y with d components and one flat vector θ with
p components, and returns the d components of the velocity. θ is an argument
like the others: nothing is hidden inside an object, so a derivative with
respect to θ is asked for in the same way as one with respect to y.

Everything later in the book is built from three partial derivatives of f,

    f_y = ∂f/∂y  (d × d),   f_θ = ∂f/∂θ  (d × p),   f_t = ∂f/∂t  (d),

and mostly not from these matrices but from two products with them. Move y by w
and θ by Δθ, and to first order f moves by the Jacobian-vector product

    f_y w + f_θ Δθ.                                                      (1.2)

Weigh the components of f with a row vector a, and the weighted sum depends on
y and θ through the vector-Jacobian product

    ( a f_y ,  Σ a f_θ ).                                                (1.3)

The sum runs over the batch. A state may have any number of leading axes, each
index of them a trajectory of its own, and all of them share one θ. A y per
trajectory therefore gets a cotangent per trajectory, and θ gets the sum of
what all of them have to say: whatever is copied going forwards is added coming
back. Forgetting that sum is the commonest mistake in code of this kind.

Three conventions, used without a word from here on. States, tangents and
cotangents are rows: `y` is `(..., d)`, and f_y w is computed as the row whose
i-th entry is Σ_j (f_y)_ij w_j. A time `t` is a number, or an array with the
batch's shape where each trajectory has its own clock. And f must accept
complex y and θ, because one of the book's ways of checking a derivative is a
step into the complex plane (chapter 22).

Next: four fields simple enough to differentiate in the head (chapter 2).
"""

from math import prod

import numpy as np

FEW_ENTRIES = 600       # of f_y in all the batch, and ten times as many of f_θ: more cost more than they save


class VectorField:
    """A right-hand side f(t, y, θ) with its derivatives written by hand.

    Subclass it, set `dim` (d) and `n_params` (p), and write `__call__`,
    `jacobian`, `param_jacobian` and `time_derivative`. The two products `vjp`
    and `jvp` then follow from the matrices, and may be overridden by something
    faster that never forms them. `minode.check_field` compares all of them
    with finite differences.

    Shapes: y (..., d), theta (p,), arrays both; the velocity (1.1) is (..., d), `jacobian` f_y (..., d, d),
    `param_jacobian` f_θ (..., d, p), `time_derivative` f_t (..., d); t is a number, or has the
    batch's shape. What a subclass did not write raises NotImplementedError and says so.
    Second derivatives (chapter 21) ask for `vjp_derivative` besides.

    >>> class Decay(VectorField):           # y' = −θ y², one component
    ...     dim, n_params = 1, 1
    ...     def __call__(self, t, y, theta): return -theta * y**2
    ...     def jacobian(self, t, y, theta): return (-2 * theta * y)[..., None]
    ...     def param_jacobian(self, t, y, theta): return (-y**2)[..., None]
    ...     def time_derivative(self, t, y, theta): return np.zeros_like(y)
    >>> f, y, theta = Decay(), np.array([3.0]), np.array([0.5])
    >>> f(0.0, y, theta), f.jvp(0.0, y, theta, w=np.array([1.0]), dtheta=np.array([2.0]))
    (array([-4.5]), array([-21.]))
    """

    dim: int
    n_params: int

    def __call__(self, t, y, theta):
        """The velocity (1.1): y is (..., d), theta (p,), the answer (..., d)."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(t, y, theta)")

    def jacobian(self, t, y, theta):
        """f_y, of shape (..., d, d): row i holds the derivatives of component i."""
        raise NotImplementedError(f"{type(self).__name__} must define jacobian(t, y, theta)")

    def param_jacobian(self, t, y, theta):
        """f_θ, of shape (..., d, p), one matrix for each trajectory of the batch."""
        raise NotImplementedError(f"{type(self).__name__} must define param_jacobian(t, y, theta)")

    def time_derivative(self, t, y, theta):
        """f_t, of shape (..., d): zero for a field that does not look at the clock."""
        raise NotImplementedError(f"{type(self).__name__} must define time_derivative(t, y, theta)")

    def jvp(self, t, y, theta, w, dtheta):
        """The Jacobian-vector product (1.2): w is (..., d), dtheta (p,), the answer (..., d)."""
        f_y, f_theta = self.jacobian(t, y, theta), self.param_jacobian(t, y, theta)
        return (f_y @ w[..., None])[..., 0] + f_theta @ dtheta                     # (1.2)

    def vjp(self, t, y, theta, a):
        """The vector-Jacobian product (1.3): a is (..., d), the answers (..., d) and (p,)."""
        f_y, f_theta = self.jacobian(t, y, theta), self.param_jacobian(t, y, theta)
        return (a[..., None, :] @ f_y)[..., 0, :], np.tensordot(a, f_theta, a.ndim)  # (1.3)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        """How the product (1.3) changes as y moves along w and θ along Δθ with a held fixed.

        Shapes as in `vjp`. Second derivatives of the loss need it (chapter 21), and the derivative
        of the trace of f_y (chapter 26).
        """
        raise NotImplementedError(f"{type(self).__name__} must define "
                                  "vjp_derivative(t, y, theta, a, w, dtheta) for second derivatives")

    def bind(self, theta, y):
        """The field with θ filled in, a function f(t, y) for states of y's dtype: a `Bound`."""
        return Bound(self, theta)


class Bound:
    """A field with θ filled in: f(t, y), and a vector-Jacobian product that sums its share of θ.

    `noted(t, y)` is f(t, y) at a number t, and puts on the list `log` what `pull` needs for the
    vector-Jacobian product there; `give_back` takes what is not needed any more. `linearize(t, y)` is for
    a sweep that needs f_y before it knows a, as that of states which are small has it (chapter 18).

    A field that can do better than begin anew in each call overrides `bind`. What that returns needs
    f(t, y), `vjp` and `a_f_theta`; of `noted`, `log`, `pull` and `give_back` it has all, or no `noted`;
    of `linearize` and `is_small` both, or no `linearize`; and `read_in_place(y)` or none: an array like
    y, or None, from which f(t, y) reads its y without keeping it. None is as good as not there.
    """

    def __init__(self, field, theta):
        self.field, self.theta = field, theta
        self.total = np.zeros(field.n_params)
        self.log = []

    def __call__(self, t, y):
        return self.field(t, y, self.theta)                                        # (1.1)

    def noted(self, t, y):
        self.log.append((t, y))
        return self(t, y)

    def pull(self, note, a, out):
        """The vector-Jacobian product at the point of that note, into out; a f_θ is added as in `vjp`."""
        out[...] = self.vjp(*note, a)

    def give_back(self, notes):
        """For fields whose notes are worth using again."""

    def vjp(self, t, y, a):
        """a f_y; a f_θ is added to what `a_f_theta` returns."""
        a_f_y, a_f_theta = self.field.vjp(t, y, self.theta, a)
        self.total += a_f_theta
        return a_f_y

    def linearize(self, t, y):
        """f_y (..., d, d), and the function of a (..., d) that adds a f_θ to what `a_f_theta` returns."""
        def pull_theta(a):
            self.total = self.total + self.field.vjp(t, y, self.theta, a)[1]
        return self.field.jacobian(t, y, self.theta), pull_theta

    def is_small(self, shape):
        """Whether for states of this shape, (..., d), all Jacobians at once are worth their time and memory.

        Never where the field has the products alone.
        """
        written = getattr(type(self.field), "jacobian", VectorField.jacobian) is not VectorField.jacobian
        few = prod(shape) * shape[-1] < FEW_ENTRIES and prod(shape) * self.field.n_params < 10 * FEW_ENTRIES
        return written and few

    def a_f_theta(self):
        """The sum of the a f_θ of all calls."""
        return self.total.copy()


def refuse(field, y, theta):
    """The error of a field that was called with a y or a θ of another shape than it takes."""
    raise ValueError(f"y and theta must have shapes (..., {field.dim}) and ({field.n_params},), "
                     f"not {np.shape(y)} and {np.shape(theta)}")


def as_generator(rng):
    """`rng`, if it can draw a θ: whatever is drawn in this book is drawn with a NumPy Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a NumPy Generator, np.random.default_rng(0), not {rng!r}")
    return rng
