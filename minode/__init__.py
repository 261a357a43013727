"""minode: how neural ODEs work, as a NumPy package whose source is the book

Begin with the whole idea on one page, then read the modules in this order. Each is a
chapter. Its docstring derives the equations and numbers them, and the lines of code
that carry the same numbers are those equations.

         0   The whole idea on one page                 one_page
    I.   What is integrated                         fields/
         1   Vector fields and their derivatives        base
         2   Four fields to differentiate by hand       physics
         3   Activations                                activations
         4   The multilayer perceptron                  mlp, workspace
    II.  How it is integrated                       solvers/
         5   How a tuple becomes a vector               states
         6   Euler and the classical Runge–Kutta        textbook
         7   A Runge–Kutta method is a table            tableaus
         8   The methods                                methods, dop853
         9   One step for every explicit method         explicit
         10  A method that chooses its own steps        adaptive
         11  Between the steps                          dense, steps
         12  A step size for each trajectory            batch
         13  Implicit methods                           implicit, implicit_tables, newton
         14  Reversible methods                         reversible
         15  One function for every solve               solve, legs
    III. Its derivatives                            gradients/
         16  The tangent system                         tangent
         17  The adjoint system                         adjoint
         18  The exact derivative of the steps          discrete, step_times, tape
         19  The same gradient in less memory           memory
         20  From a loss to its gradients               pullback
         21  Second derivatives                         second
         22  Is it right?                               checks, contract, differences, faults,
                                                    ladders, solves
    IV.  What it is for                             learning/
         23  Steps downhill                             optimisers
         24  A loop that learns                         fit, records, files, progress
         25  Telling digits apart                       classify, layers
         26  The continuous normalizing flow            flows, probes
         27  From a stochastic to an ordinary equation  diffusion, mixture
    V.   Further on                                 further/
         28  Where to stop                              events, event_times, event_checks
         29  Implicit steps taken back                  implicit_adjoint
         30  Learning a flow without solving it         matching
         31  Learning from measurements                 measurements
         32  What a flow cannot do                      limits

inputs.py checks what is passed in, and explains what is wrong with it. A chapter calls
it in one line each time, and nobody has to read it. GLOSSARY.md lists the terms and
what others call them, BIBLIOGRAPHY.md the works cited, and ERRATA.md the errors of the
text that the book follows.

The notation is the same throughout. States, tangents and cotangents are rows.

    t, h                time, and a step of it (h < 0 goes backwards)
    y, d                the state, (..., d); leading axes are a batch
    theta, p            θ, all parameters in one vector (p,)
    f(t, y, theta)      the vector field, dy/dt
    f_y, f_theta, f_t   its partial derivatives, (..., d, d), (..., d, p), (..., d)
    k_i, Y_i, hK        the velocities of a step, the states at which they are taken, the increments h k_i
    sigma               σ, a fraction of a step: t + σh is inside it (σ_l is an activation)
    A, b, b_hat, c      the coefficients of a Runge–Kutta method: tableau.A, tableau.b, ...
    w, dtheta           tangents: how y moves, how θ moves (w, Δθ)
    a, b                cotangents: ∂L/∂y, ∂L/∂θ (this b is not that of a tableau)
    k_bar, Y_bar        cotangents of the k_i and Y_i of a step (k̄, Ȳ)
    L                   a loss: a number computed from the states ys at the times t

>>> import numpy as np
>>> from minode import MLP, value_and_gradients
>>> f = MLP([4, 5, 3], ["tanh", "tanh"])
>>> theta, t = f.init(np.random.default_rng(0)), np.linspace(0.0, 1.0, 11)
>>> def loss(ys): return 0.5 * np.sum(ys[-1] ** 2), np.concatenate([0 * ys[:-1], ys[-1:]])
>>> value, gradients = value_and_gradients(loss, f, [1.0, 0.0, -1.0], t, theta)
>>> gradients.y0.shape, gradients.theta.shape, gradients.t.shape
((3,), (43,), (11,))
"""

from .fields.base import VectorField
from .fields.mlp import MLP
from .fields.physics import CubicSpiral, Linear, LotkaVolterra, VanDerPol
from .further import implicit_adjoint
from .further.event_checks import check_gradients
from .further.events import Event, odeint, solve, value_and_gradients
from .further.limits import WithEnergy, augmented
from .further.matching import ScoreFlow, flow_matching, marginal_velocity, pairs, score_matching, straightness
from .further.measurements import Measurements, growing_horizon, misfit, shooting_loss, tabulate
from .gradients.adjoint import adjoint_rhs
from .gradients.checks import check_field
from .gradients.pullback import IMPLICIT_ROUTES, Gradients, pullback
from .gradients.second import hessian_vector_product
from .gradients.tangent import pushforward, tangent_rhs
from .learning.classify import Classifier
from .learning.diffusion import DiffusedMixture, euler_maruyama
from .learning.files import load, save
from .learning.fit import fit
from .learning.flows import Flow, log_prob, negative_log_likelihood, sample
from .learning.layers import Layered
from .learning.optimisers import adam, sgd
from .learning.probes import rademacher
from .learning.records import Fit, FitError
from .solvers.solve import methods, reversible
from .solvers.states import Solution, SolverError
from .solvers.tableaus import Tableau
from .solvers.textbook import odeint_euler, odeint_rk4

IMPLICIT_ROUTES.update(implicit_adjoint.ROUTES)              # chapter 20 cannot import what comes after it

__all__ = [
    "VectorField", "MLP", "Linear", "LotkaVolterra", "VanDerPol", "CubicSpiral",
    "odeint_euler", "odeint_rk4", "odeint", "solve", "methods", "reversible",
    "Tableau", "Solution", "SolverError", "Event",
    "tangent_rhs", "adjoint_rhs", "pushforward", "pullback", "value_and_gradients", "Gradients",
    "hessian_vector_product", "check_field", "check_gradients",
    "adam", "sgd", "fit", "Fit", "FitError", "save", "load", "Classifier", "Layered",
    "Flow", "log_prob", "sample", "negative_log_likelihood", "rademacher", "DiffusedMixture", "euler_maruyama",
    "pairs", "flow_matching", "marginal_velocity", "score_matching", "ScoreFlow", "straightness",
    "Measurements", "tabulate", "misfit", "growing_horizon", "shooting_loss",
    "augmented", "WithEnergy",
]
