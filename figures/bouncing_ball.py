"""Figure 40. A gradient through an event must let its time move

A ball is dropped from 1 m at t = 0 and hits the ground five times. Between two impacts its
height h and velocity v obey h' = v, v' = −g, and an impact turns v into −e v. Each flight is a
solve that ends at the event h = 0, falling, and the next begins there. Sought are θ = (g, e),
in their logarithms, from the five times of impact, given to the millisecond; L = ½ Σ (t_k −
seen_k)², minimised by Adam from g = 5, e = 0.6. The gradient goes back flight by flight: (28.4)
and (28.5) at an impact, and on to the one before by (20.1) and, since its time is the first
time of the flight, by (17.6). Right: a loss that sees the height at 1.6 s, as a function of g.
The gradient that forgets takes the times of impact as given, κ = 0. For the loss on the left it
would be 0 throughout. The figure shows (28.4).

Caption. More gravity, and a ball hits the ground earlier: a gradient that forgets this is wrong. Left: g =
9.81 m/s², restitution 0.800 are learnt from five times of impact alone. Right: the height after two
impacts against g. If they move, the slope is that of the curve, −0.110; with impacts held fixed it is
0.032.
"""

import numpy as np

from minode import Event, VectorField, fit, solve, value_and_gradients

from . import style

SECONDS = 3
DROP, IMPACTS, LONGEST = 1.0, 5, 3.0                        # m, a number, s: no flight lasts longer
TRUE, GUESS = np.array([9.81, 0.8]), np.array([5.0, 0.6])   # g, e
STEPS, RATE = 160, 0.1
WATCHED = 1.6                                               # s, when the height is looked at
EXACT = {"method": "midpoint"}                              # on a parabola, in one step
GRAVITIES = np.linspace(7.5, 12.5, 101)


class Flight(VectorField):
    """y = (height, velocity), θ = (g, e): e waits for the impact."""

    dim, n_params = 2, 2

    def __call__(self, t, y, theta):
        return np.stack([y[..., 1], 0 * y[..., 1] - theta[0]], axis=-1)

    def jacobian(self, t, y, theta):
        return np.array([[0.0, 1.0], [0.0, 0.0]]) + 0 * y[..., None]

    def param_jacobian(self, t, y, theta):
        return np.array([[0.0, 0.0], [-1.0, 0.0]]) + 0 * y[..., None]

    def time_derivative(self, t, y, theta):
        return 0 * y


class Impact(Event):
    """The ground is reached from above."""

    direction = -1

    def __call__(self, t, y, theta):
        return y[0]

    def gradient(self, t, y, theta):
        return 0.0, np.array([1.0, 0.0]), np.zeros(2)


def flights(theta, n=IMPACTS, end=np.inf):
    """(t, y0, solution) of each flight from the drop: n of them, or fewer if `end` comes first."""
    t, y, found = 0.0, np.array([DROP, 0.0]), []
    while len(found) < n:
        solution = solve(Flight(), y, [t, min(t + LONGEST, end)], theta, event=Impact(), **EXACT)
        found.append((t, y, solution))
        if solution.t_event is None:
            break
        t, y = solution.t_event, np.array([0.0, -theta[1] * solution.ys[-1, 1]])
    return found


def gradient(theta, flown, dL_dt, dL_dy=(0.0, 0.0), times_move=True):
    """dL/dθ of a loss on the times of the impacts, and on the state at the end if the last flight has no impact."""
    dL_dtheta, a, a_t = np.zeros(2), np.array(dL_dy), 0.0    # a, a_t: of the state and the time where a flight ends
    for k in reversed(range(len(flown))):
        t, y0, solution = flown[k]
        end, event = (solution.t_event or solution.t[-1]), Impact() if times_move else None
        a_t = a_t + dL_dt[k]

        def loss(ys, *t_event, a=a, a_t=a_t):
            return (ys[-1] @ a, np.array([0 * a, a]), *[0.0 if t is None else a_t for t in t_event])
        _, back = value_and_gradients(loss, Flight(), y0, [t, t + LONGEST if event and solution.t_event else end],
                                      theta, event=event, **EXACT)
        dL_dtheta += back.theta
        if k:                                                # the impact before: y0 = (0, −e v)
            dL_dtheta[1] -= back.y0[1] * flown[k - 1][2].ys[-1, 1]
            a, a_t = np.array([0.0, -theta[1] * back.y0[1]]), back.t[0] if times_move else 0.0
    return dL_dtheta


def impacts(theta):
    """The times of impact in closed form: √(2 h/g) (1 + 2 e + … + 2 e^k)."""
    g, e = theta
    return np.sqrt(2 * DROP / g) * (1 + 2 * np.cumsum(np.append(0.0, e ** np.arange(1, IMPACTS))))


def height(g, e, t):
    """The height at t in closed form."""
    at = impacts((g, e))
    k = int(np.searchsorted(at, t))                          # impacts before t
    since, speed = (t, 0.0) if k == 0 else (t - at[k - 1], e**k * np.sqrt(2 * g * DROP))
    return (DROP if k == 0 else 0.0) + speed * since - g / 2 * since**2


def objective(u, batch):
    theta = np.exp(u)
    flown = flights(theta)
    missed = np.array([solution.t_event for *_, solution in flown]) - np.round(impacts(TRUE), 3)
    return 0.5 * missed @ missed, theta * gradient(theta, flown, missed)


def path(theta):
    """Times and heights, flight after flight."""
    t = np.concatenate([np.linspace(start, solution.t_event, 60) for start, _, solution in flights(theta)])
    return t, np.concatenate([solution.interpolate(np.linspace(start, solution.t_event, 60))[:, 0]
                              for start, _, solution in flights(theta)])


def compute():
    found = fit(objective, np.log(GUESS), n_steps=STEPS, progress=False,
                learning_rate=lambda k: RATE * np.cos(np.pi / 2 * k / STEPS) ** 2)
    learnt = np.exp(found.theta)
    watched = flights(TRUE, end=WATCHED)
    none = np.zeros(len(watched))
    return {"seen": np.round(impacts(TRUE), 3), "learnt": learnt, "found": impacts(learnt),
            "guessed": path(GUESS), "path": path(learnt), "loss": found.history.loss,
            "height": np.array([flights([g, TRUE[1]], IMPACTS + 1, WATCHED)[-1][2].ys[-1, 0] for g in GRAVITIES]),
            "at": watched[-1][2].ys[-1, 0],
            **{name: gradient(TRUE, watched, none, (1.0, 0.0), moves)[0] for name, moves in
               (("moving", True), ("held", False))}}


def draw(fig, data):
    ball, ax = fig.subplots(1, 2)
    ball.plot(*data["guessed"], ":", color=style.GREY)
    ball.plot(*data["path"], color=style.Y)
    ball.plot(data["seen"], 0 * data["seen"], "o", color=style.BLACK, ms=7, clip_on=False, zorder=3)
    ball.text(0.92, 0.11, "guess", color=style.ink(style.GREY), ha="center")
    ball.text(0.88, 0.66, "learnt", color=style.ink(style.Y))
    ball.text(1.2, 0.82, "dots: the impacts,\ngiven by their times")
    ball.set(xlabel="time $t$ / s", ylabel="height $h$ / m", ylim=(0, 1.02), xlim=(0, 2.7),
             title="learnt from five times of impact")
    ax.plot(GRAVITIES, data["height"], color=style.Y)
    ax.text(7.5, 0.365, "as solved", color=style.ink(style.Y))
    dg = np.array([-1.3, 1.3])
    for name, color, text in (("moving", style.GREEN, "impacts\nmove"), ("held", style.VERMILION, "impacts\nheld")):
        ax.plot(TRUE[0] + dg, data["at"] + data[name] * dg, color=color, lw=2.5)
        ax.text(TRUE[0] + 1.4, data["at"] + 1.4 * data[name], text, color=style.ink(color), va="center")
    ax.plot(TRUE[0], data["at"], "o", color=style.BLACK, ms=7)
    ax.set(xlabel="gravity $g$ / m s$^{-2}$", ylabel=f"height at {WATCHED} s / m",
           title="the slope needs impacts that move")
