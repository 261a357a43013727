from .fields.base import VectorField
from .fields.mlp import MLP
from .fields.physics import CubicSpiral, Linear, LotkaVolterra, VanDerPol
from .solvers.states import Solution, SolverError
from .solvers.textbook import odeint_euler, odeint_rk4
from .solvers.tableaus import Tableau
from .solvers.solve import methods, odeint, reversible, solve
from .gradients.tangent import pushforward, tangent_rhs
from .gradients.adjoint import adjoint_rhs
from .gradients.pullback import Gradients, pullback, value_and_gradients
from .gradients.checks import check_field, check_gradients
