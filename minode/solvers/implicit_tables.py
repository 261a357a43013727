"""Appendix to chapter 13. The implicit tables

These are the coefficients of the methods listed in chapter 13, laid out as in chapter 8. An
irrational one is written as it is derived, with its square root. The stages of gauss4 and gauss6
lie at the roots of the Legendre polynomials P_s. Those of radau3 and radau5 lie at the roots of
P_s − P_{s−1}, the last of which is the end of the step. `dense` holds the weights of chapter 11.
For radau3 and radau5 they are those of the collocation polynomial, which has the slopes k_i at
the nodes. Those of trbdf2 and kvaerno5 solve the conditions of chapter 11 and keep the bound
that it gives.
"""

from fractions import Fraction

from .tableaus import Tableau

S2, S3, S6, S15 = (x ** 0.5 for x in (2, 3, 6, 15))

IMPLICIT_EULER = Tableau("implicit_euler", order=1, A=["1"], b="1", dense=["1"])

IMPLICIT_MIDPOINT = Tableau("implicit_midpoint", order=2, A=["1/2"], b="1")

TRAPEZOID = Tableau("trapezoid", order=2, A=["0 0", "1/2 1/2"], b="1/2 1/2")

GAUSS4 = Tableau("gauss4", order=4,
                 A=[[1/4, 1/4 - S3/6],
                    [1/4 + S3/6, 1/4]],
                 b="1/2 1/2")

GAUSS6 = Tableau("gauss6", order=6,
                 A=[[5/36, 2/9 - S15/15, 5/36 - S15/30],
                    [5/36 + S15/24, 2/9, 5/36 - S15/24],
                    [5/36 + S15/30, 2/9 + S15/15, 5/36]],
                 b="5/18 4/9 5/18")

RADAU3 = Tableau("radau3", order=3, A=["5/12 -1/12", "3/4 1/4"], b="3/4 1/4",
                 dense=["3/2 -3/4",
                        "-1/2 3/4"])

RADAU5_DENSE = [[(2 + 3*S6)/6, (8 - 13*S6)/12, (-5 + 5*S6)/9],
                [(2 - 3*S6)/6, (8 + 13*S6)/12, (-5 - 5*S6)/9],
                [Fraction(1, 3), Fraction(-4, 3), Fraction(10, 9)]]
RADAU5_B = [(16 - S6)/36, (16 + S6)/36, Fraction(1, 9)]
GAMMA = 1 / (3 + 3**(2/3) - 3**(1/3))                # the real eigenvalue of radau5's A

RADAU5 = Tableau("radau5", order=5, embedded_order=3,
                 A=[[(88 - 7*S6)/360, (296 - 169*S6)/1800, (-2 + 3*S6)/225],
                    [(296 + 169*S6)/1800, (88 + 7*S6)/360, (-2 - 3*S6)/225],
                    [(16 - S6)/36, (16 + S6)/36, Fraction(1, 9)]],
                 b=RADAU5_B,
                 b_hat=[b - GAMMA * row[0] for b, row in zip(RADAU5_B, RADAU5_DENSE)],     # (13.7)
                 b_hat_0=GAMMA,
                 dense=RADAU5_DENSE)

TRBDF2 = Tableau("trbdf2", order=2, embedded_order=3,            # Bank et al. 1985; Hosea and Shampine 1996
                 A=[[0, 0, 0],
                    [1 - S2/2, 1 - S2/2, 0],
                    [S2/4, S2/4, 1 - S2/2]],
                 b=[S2/4, S2/4, 1 - S2/2],
                 b_hat=[1/3 - S2/12, 1/3 + S2/4, 1/3 - S2/6],
                 dense=[[S2/2, -S2/4],
                        [S2/2, -S2/4],
                        [1 - S2, S2/2]])

KVAERNO5 = Tableau("kvaerno5", order=5, embedded_order=4,        # Kværnø 2004
                   A=["0",
                      "0.26 0.26",
                      "0.13 0.84033320996790809 0.26",
                      "0.22371961478320505 0.47675532319799699 -0.06470895363112615 0.26",
                      "0.16648564323248321 0.10450018841591720 0.03631482272098715 -0.13090704451073998 0.26",
                      "0.13855640231268224 0 -0.04245337201752043 0.02446657898003141 "
                      "0.61943039072480676 0.26",
                      "0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046 0.62993304899016403 "
                      "0.06962479448202728 0.26"],
                   b="0.13659751177640291 0 -0.05496908796538376 -0.04118626728321046 0.62993304899016403 "
                     "0.06962479448202728 0.26",
                   b_hat="0.13855640231268224 0 -0.04245337201752043 0.02446657898003141 "
                         "0.61943039072480676 0.26 0",
                   dense=["0.98909070836224659 -2.07518184436140517 1.72948161074168221 -0.50679296296612072",
                          "0 0 0 0",
                          "-0.06970149316758578 0.82263508548823772 -1.65604204333525321 0.84813936304921750",
                          "-0.36562841744831543 -0.77196645005683822 2.47607308332578080 -1.37966448310383763",
                          "0.05849053832587676 3.27378684760444030 -4.20331311422585451 1.50096877728570158",
                          "0.27614386221746419 -0.54615950626150266 0.54238660379872201 -0.20274616527265622",
                          "0.11160480171031361 -0.70311413241293167 1.11141385969492259 -0.25990452899230450"])

IMPLICIT = (IMPLICIT_EULER, IMPLICIT_MIDPOINT, TRAPEZOID, GAUSS4, GAUSS6, RADAU3, RADAU5, TRBDF2, KVAERNO5)
