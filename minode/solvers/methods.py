"""8. The methods

Each is its table, as its author printed it.

Next: the step that reads these tables (chapter 9).
"""

from .tableaus import Tableau

EULER = Tableau("euler", order=1, A=[""], b="1")

MIDPOINT = Tableau("midpoint", order=2, A=["", "1/2"], b="0 1")               # Runge 1895

HEUN = Tableau("heun", order=2, A=["", "1"], b="1/2 1/2")                     # Heun 1900

RK4 = Tableau("rk4", order=4,                                                 # Kutta 1901
              A=["",
                 "1/2",
                 "0 1/2",
                 "0 0 1"],
              b="1/6 1/3 1/3 1/6")

RK38 = Tableau("rk38", order=4,                                               # Kutta 1901
               A=["",
                  "1/3",
                  "-1/3 1",
                  "1 -1 1"],
               b="1/8 3/8 3/8 1/8")

methods = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4, RK38)}
