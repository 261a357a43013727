"""1. Vector fields and their derivatives

A neural ODE is a differential equation whose right-hand side has parameters,

    dy/dt = f(t, y, θ),   y(t₀) = y₀.                                    (1.1)

The field f takes a time t, a state y with d components and one flat vector θ with p
components. It returns the velocity, which has d components too. θ is an argument like the
others and not hidden inside an object. So we ask for a derivative with respect to θ in the
same way as for one with respect to y.

The first derivatives of a solution are built from three partial derivatives of f,

    f_y = ∂f/∂y  (d × d),   f_θ = ∂f/∂θ  (d × p),   f_t = ∂f/∂t  (d).

Mostly we do not need the matrices f_y and f_θ themselves, but two products with them. The
first tells how f moves if y and θ move. A small displacement (w, Δθ) of (y, θ) is called a
tangent. To first order it moves f by the Jacobian-vector product

    f_y w + f_θ Δθ.                                                      (1.2)

The second product goes the other way. Suppose that a number L depends on y and θ only
through f. The row a = ∂L/∂f is called the cotangent of f (chapters 0 and 17 put that
of y here): if f changes by df, then L changes by a · df. By (1.2) this is
(a f_y) · w + (a f_θ) · Δθ. So ∂L/∂y and ∂L/∂θ, the cotangents of y and θ, are the two
parts of the vector-Jacobian product

    ( a f_y ,  Σ a f_θ ).                                                (1.3)

The sum runs over the batch. A state may have any number of leading axes: each of their
indices stands for a trajectory of its own, and all trajectories share one θ. So y gets one
cotangent per trajectory, and θ gets the sum over all of them: what is broadcast on the way
forward is summed on the way back.

Three conventions hold from here on.
1. States, tangents and cotangents are rows: y is (..., d). The product f_y w is returned as
   a row too, with the entries Σ_j (f_y)_ij w_j. For d = 2 and w = (1, 0) these are the first
   column of f_y.
2. A time t is a number, or an array with the shape of the batch if each trajectory has its
   own clock.
3. f must accept complex y and θ, because one of the ways to check a derivative is a step
   into the complex plane (chapter 22).

Second derivatives of f are needed wherever we differentiate a quantity that already contains
a first one: the gradient for a Hessian (chapter 21), the divergence that changes a density
(26), and the score (27).

Figure 5 shows a tangent along a trajectory, and figure 6 a cotangent.
Next: four fields simple enough to differentiate by hand (chapter 2).

Exercises. 1. Derive f_y, f_θ and f_t of the driven oscillator y = (x, v) with x' = v and
v' = θ₁ x − θ₂ x³ + cos t. Write it as a `VectorField`. `minode.check_field` decides.
2. Break this line: in `vjp` compute f_y a instead of a f_y. For which fields is that right?
"""

import math

import numpy as np


class VectorField:
    """A right-hand side f(t, y, θ) with its derivatives written by hand.

    Subclass it, set `dim` (d) and `n_params` (p), and write `__call__`, `jacobian`,
    `param_jacobian` and `time_derivative`. The products `vjp` and `jvp` then follow from the
    matrices. You may override them with faster ones that never form a matrix.
    `minode.check_field` compares all of them with finite differences.

    Both y (..., d) and theta (p,) are arrays; t is a number, or has the batch's shape. The velocity
    (1.1) is (..., d), `jacobian` f_y (..., d, d), `param_jacobian` f_θ (..., d, p) and
    `time_derivative` f_t (..., d). A method that a subclass did not write raises NotImplementedError
    and says so. Second derivatives (chapter 21) also need `vjp_derivative`.

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
        """The velocity f(t, y, θ) of (1.1): y is (..., d), theta (p,), the answer (..., d)."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(t, y, theta)")

    def jacobian(self, t, y, theta):
        """f_y, of shape (..., d, d): row i holds the derivatives of component i."""
        raise NotImplementedError(f"{type(self).__name__} must define jacobian(t, y, theta)")

    def param_jacobian(self, t, y, theta):
        """f_θ, of shape (..., d, p), one matrix for each trajectory of the batch."""
        raise NotImplementedError(f"{type(self).__name__} must define param_jacobian(t, y, theta)")

    def time_derivative(self, t, y, theta):
        """f_t, of shape (..., d): zero if f does not depend on t."""
        raise NotImplementedError(f"{type(self).__name__} must define time_derivative(t, y, theta)")

    def jvp(self, t, y, theta, w, dtheta):
        """The Jacobian-vector product (1.2): w is (..., d), dtheta (p,), the answer (..., d)."""
        y, theta, w, dtheta = as_tangent_point(self, y, theta, w, dtheta)
        f_y, f_theta = self.jacobian(t, y, theta), self.param_jacobian(t, y, theta)
        return (f_y @ w[..., None])[..., 0] + f_theta @ dtheta                     # (1.2)

    def vjp(self, t, y, theta, a):
        """The vector-Jacobian product (1.3): a is (..., d), the answers (..., d) and (p,)."""
        y, theta, a = as_cotangent_point(self, y, theta, a)
        f_y, f_theta = self.jacobian(t, y, theta), self.param_jacobian(t, y, theta)
        a_f_y = (a[..., None, :] @ f_y)[..., 0, :]                                 # (1.3)
        a_f_theta = rows(a[..., None, :] @ f_theta).sum(axis=0)                    # (1.3)
        return a_f_y, a_f_theta

    def value_and_vjp(self, t, y, theta):
        """The velocity at this point, and the function a -> (a f_y, Σ a f_θ) that does what `vjp` does there.

        A field that can save work by computing both together overrides it (chapter 4). Do not write to
        y, theta or the velocity as long as the function is in use.
        """
        dy_dt = self(t, y, theta)                                                  # (1.1)
        return dy_dt, lambda a: self.vjp(t, y, theta, a)

    def vjp_derivative(self, t, y, theta, a, w, dtheta):
        """How the product (1.3) changes as y moves along w and θ along Δθ, with a held fixed.

        Shapes as in `vjp`. Second derivatives of the loss need it (chapter 21), and so does the
        derivative of the trace of f_y (chapter 26).
        """
        raise NotImplementedError(f"{type(self).__name__} must define "
                                  "vjp_derivative(t, y, theta, a, w, dtheta) for second derivatives")

    def __init_subclass__(cls, **keywords):
        """A class that overrides f or vjp alone gets the value_and_vjp above, which calls the new ones."""
        super().__init_subclass__(**keywords)
        fast = generation(cls, "value_and_vjp")
        if generation(cls, "__call__") < fast or generation(cls, "vjp") < fast:
            cls.value_and_vjp = VectorField.value_and_vjp


def generation(cls, name):
    """How many classes above cls this method is defined, 0 if in cls itself: the smaller, the newer."""
    return next((i for i, base in enumerate(cls.__mro__) if name in vars(base)), len(cls.__mro__))


def has_newest_jacobian(f):
    """Whether f has a `jacobian`, and no subclass overrode `vjp` later. If f wraps a field, that field counts."""
    field = getattr(getattr(f, "jacobian", None), "__self__", f)      # whose method f.jacobian is
    kind, own = type(field), VectorField.jacobian
    is_newest = generation(kind, "jacobian") <= generation(kind, "vjp")
    return isinstance(field, VectorField) and kind.jacobian is not own and is_newest


def state_jacobian(f, t, y, theta):
    """f_y (..., d, d) by the newest `jacobian`, or else row by row from `vjp`: row i is e_i f_y of (1.3)."""
    if has_newest_jacobian(f):
        return f.jacobian(t, y, theta)
    return np.stack([f.vjp(t, y, theta, e + np.zeros_like(y))[0] for e in np.eye(f.dim, dtype=y.dtype)], axis=-2)


def are_alike(x, z):
    """Whether both are plain arrays of floating-point numbers and of one shape, as in every solve."""
    return type(x) is type(z) is np.ndarray and x.shape == z.shape and x.dtype.kind in "fc" and z.dtype.kind in "fc"


def as_tangent_point(f, y, theta, w, dtheta):
    """The arguments of `jvp` as arrays that fit each other; ValueError or TypeError if they do not."""
    if not (are_alike(y, w) and are_alike(theta, dtheta)):
        y, theta = array_like("y", y, (*np.shape(y)[:-1], f.dim)), array_like("theta", theta, (f.n_params,))
        w, dtheta = array_like("w", w, y.shape), array_like("dtheta", dtheta, theta.shape)
    return y, theta, w, dtheta


def as_cotangent_point(f, y, theta, a):
    """Those of `vjp` in the same way. `f.dim_out` says how long f(t, y) is if it is not as long as y (chapter 25)."""
    if not (are_alike(y, a) and are_alike(theta, theta) and theta.shape == (f.n_params,)):
        y, theta = array_like("y", y, (*np.shape(y)[:-1], f.dim)), array_like("theta", theta, (f.n_params,))
        a = array_like("a", a, (*y.shape[:-1], getattr(f, "dim_out", y.shape[-1])))
    return y, theta, a


def array_like(name, x, shape):
    """x as an array of numbers of this shape; ValueError or TypeError if it is not one."""
    given, x = x, np.asarray(x)
    if x.dtype.kind not in "biufc" or isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise TypeError(f"{name} must be an array of numbers, not {given!r}")
    if x.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {x.shape}")
    return x


def rows(x):
    """x (..., n) as a matrix (N, n) of all its rows: a sum over the batch is a sum over its axis 0."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])       # not −1: there may be no parameters
