"""8. The methods

Each method is its table, printed as its author printed it. Whatever is done with a method is
done in other chapters, which see only a table. To add a method, write down its table.

A table without b̂ is a method for steps of given sizes. Euler's is the simplest. The midpoint
rule (Runge 1895) and Heun's method (1900) reach order two with two stages: the midpoint rule
takes its second velocity in the middle of the step, Heun's at the end. Kutta (1901) found both
methods of order four: the classical one, and the 3/8 rule. The 3/8 rule often has a slightly
smaller error, and evaluates f at four different times instead of three. (In torchdiffeq, rk4 is
the 3/8 rule.)

A table with b̂ is called an embedded pair. The difference of its two results estimates the error,
so it can choose its steps (chapter 10):

    heun_euler   2(1)   Euler inside Heun: the smallest pair, to learn from
    bosh3        3(2)   Bogacki and Shampine 1989; SciPy's RK23; loose tolerances
    fehlberg45   4(5)   Fehlberg 1969, an early pair; it keeps the result of lower order
    cash_karp    5(4)   Cash and Karp 1990
    dopri5       5(4)   Dormand and Prince 1980; SciPy's RK45; the default here
    tsit5        5(4)   Tsitouras 2011: most often a little more accurate at the same cost
    dop853       8(5,3) Hairer, Nørsett and Wanner 1993: tight tolerances

The first number is the order of the result that is kept, the one in brackets the order of the
result it is compared with. In dopri5, bosh3 and tsit5 the last row of A is b. So their last
stage is the velocity at the new state. The next step begins with it, and it costs nothing.
`dense` gives the weights of the state inside a step (chapter 11; those of dopri5: Shampine
1986). tsit5 and dop853 were found numerically, so they have decimals where the others have
fractions.

Figure 14 shows what accuracy costs with each adaptive method.
Next: the step that reads these tables (chapter 9). The implicit tables are in chapter 13, with
the equations that their stages have to solve.
"""

from . import dop853
from .tableaus import Tableau


class Methods(dict):
    """The methods by name, a dict: what `method=` of `odeint` and `solve` may be.

    fixed steps       euler midpoint heun rk4 rk38
    adaptive          heun_euler bosh3 fehlberg45 cash_karp dopri5 tsit5 dop853
    implicit          implicit_euler implicit_midpoint trapezoid gauss4 gauss6 radau3
    implicit, stiff   radau5 trbdf2 kvaerno5, adaptive
    reversible        asynchronous_leapfrog reversible_heun; `reversible(method)` makes more

    (What follows needs chapters 10 to 14.)
    kvaerno5 evaluates f up to 0.23 h after the end of a step. If f is not defined there, take trbdf2 or radau5.
    bosh3's error estimate is 0 on y' = −y/τ if h = τ, and (10.6) may choose this h for the first step. If a
    solution starts with a decay and time is in small units, give first_step, or take dopri5.
    A reversible method amplifies, on y' = −y/τ, the difference of its two copies by e^{h/τ} a step (chapter 14).
    If a solution decays by far, take a method of fixed steps, such as rk4, or a smaller coupling.

    A Runge–Kutta method is its `Tableau`: A (s × s), b and c (s). KeyError for another name, a
    ValueError in `odeint`, with the list. Sources in chapters 8, 13 and 14.

    >>> from minode import methods
    >>> methods["rk4"].b, methods["dopri5"].order, methods["kvaerno5"].is_explicit
    ((Fraction(1, 6), Fraction(1, 3), Fraction(1, 3), Fraction(1, 6)), 5, False)
    """


EULER = Tableau("euler", order=1, A=[""], b="1")

MIDPOINT = Tableau("midpoint", order=2, A=["", "1/2"], b="0 1")

HEUN = Tableau("heun", order=2, A=["", "1"], b="1/2 1/2")

RK4 = Tableau("rk4", order=4,
              A=["",
                 "1/2",
                 "0 1/2",
                 "0 0 1"],
              b="1/6 1/3 1/3 1/6")

RK38 = Tableau("rk38", order=4,
               A=["",
                  "1/3",
                  "-1/3 1",
                  "1 -1 1"],
               b="1/8 3/8 3/8 1/8")

HEUN_EULER = Tableau("heun_euler", order=2, embedded_order=1,
                     A=["", "1"],
                     b="1/2 1/2",
                     b_hat="1 0")

BOSH3 = Tableau("bosh3", order=3, embedded_order=2,
                A=["",
                   "1/2",
                   "0 3/4",
                   "2/9 1/3 4/9"],
                b="2/9 1/3 4/9 0",
                b_hat="7/24 1/4 1/3 1/8")

FEHLBERG45 = Tableau("fehlberg45", order=4, embedded_order=5,
                     A=["",
                        "1/4",
                        "3/32 9/32",
                        "1932/2197 -7200/2197 7296/2197",
                        "439/216 -8 3680/513 -845/4104",
                        "-8/27 2 -3544/2565 1859/4104 -11/40"],
                     b="25/216 0 1408/2565 2197/4104 -1/5 0",
                     b_hat="16/135 0 6656/12825 28561/56430 -9/50 2/55")

CASH_KARP = Tableau("cash_karp", order=5, embedded_order=4,
                    A=["",
                       "1/5",
                       "3/40 9/40",
                       "3/10 -9/10 6/5",
                       "-11/54 5/2 -70/27 35/27",
                       "1631/55296 175/512 575/13824 44275/110592 253/4096"],
                    b="37/378 0 250/621 125/594 0 512/1771",
                    b_hat="2825/27648 0 18575/48384 13525/55296 277/14336 1/4")

DOPRI5 = Tableau("dopri5", order=5, embedded_order=4,
                 A=["",
                    "1/5",
                    "3/40 9/40",
                    "44/45 -56/15 32/9",
                    "19372/6561 -25360/2187 64448/6561 -212/729",
                    "9017/3168 -355/33 46732/5247 49/176 -5103/18656",
                    "35/384 0 500/1113 125/192 -2187/6784 11/84"],
                 b="35/384 0 500/1113 125/192 -2187/6784 11/84 0",
                 b_hat="5179/57600 0 7571/16695 393/640 -92097/339200 187/2100 1/40",
                 dense=["1 -8048581381/2820520608 8663915743/2820520608 -12715105075/11282082432",
                        "0 0 0 0",
                        "0 131558114200/32700410799 -68118460800/10900136933 87487479700/32700410799",
                        "0 -1754552775/470086768 14199869525/1410260304 -10690763975/1880347072",
                        "0 127303824393/49829197408 -318862633887/49829197408 701980252875/199316789632",
                        "0 -282668133/205662961 2019193451/616988883 -1453857185/822651844",
                        "0 40617522/29380423 -110615467/29380423 69997945/29380423"])

TSIT5 = Tableau("tsit5", order=5, embedded_order=4,
                c="0 0.161 0.327 0.9 0.9800255409045097 1 1",
                A=["",
                   "0.161",
                   "-0.008480655492356989 0.335480655492357",
                   "2.8971530571054935 -6.359448489975075 4.3622954328695815",
                   "5.325864828439257 -11.748883564062828 7.4955393428898365 -0.09249506636175525",
                   "5.86145544294642 -12.92096931784711 8.159367898576159 -0.071584973281401 "
                   "-0.028269050394068383",
                   "0.09646076681806523 0.01 0.4798896504144996 1.379008574103742 "
                   "-3.290069515436081 2.324710524099774"],
                b="0.09646076681806523 0.01 0.4798896504144996 1.379008574103742 "
                  "-3.290069515436081 2.324710524099774 0",
                b_hat="0.09468075576583945286 0.0091835655403432531 0.487770528424761595 1.2342975669304791 "
                      "-2.7077123499835258 1.86662841817058703 0.015151515151515152",
                dense=["1 -2.763706197274826 2.9132554618219126 -1.0530884977290216",
                       "0 0.1317 -0.2234 0.1017",
                       "0 3.9302962368947516 -5.941033872131505 2.490627285651253",
                       "0 -12.411077166933676 30.33818863028232 -16.548102889244902",
                       "0 37.50931341651104 -88.1789048947664 47.37952196281928",
                       "0 -27.896526289197286 65.09189467479366 -34.87065786149661",
                       "0 1.5 -4 2.5"])

DOP853 = Tableau("dop853", order=8, embedded_order=5, A=dop853.A, b=dop853.b,
                 b_hat=dop853.B_HAT_5, b_hat_3=dop853.B_HAT_3,
                 dense_A=dop853.DENSE_A, dense=dop853.DENSE)

EXPLICIT = (EULER, MIDPOINT, HEUN, RK4, RK38,
            HEUN_EULER, BOSH3, FEHLBERG45, CASH_KARP, DOPRI5, TSIT5, DOP853)
