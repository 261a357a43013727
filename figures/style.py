"""What the figures share: colours, sizes, labels on the lines, fields, zeros, and the slope of an error

A picture is 8 inches wide, drawn at 160 dots per inch and shown in the README at about
100, so 11 points are about 15 pixels there. Every picture is reduced to 256 colours.

Five hues are those of Okabe and Ito (2008), chosen to be told apart with any of the
common colour deficiencies. Their purple is too pale for text, so PURPLE is the wine of
Paul Tol's muted scheme, which is darker than all the others. `test_style.py` simulates the
deficiencies. GREY is close to GREEN for a deuteranope: never make the two categories of
one panel. To write in a colour, use `ink(colour)`, a darker tone of the same hue.

A quantity keeps its colour from figure to figure: states y blue, tangents w green,
cotangents a vermilion, cotangents b of θ purple, exact solutions grey. So does a method
(METHOD) and a route of differentiation (ROUTE).

Time runs to the right, also for what is solved backwards; `solved_backwards` draws an
arrow that says so. In a plot of errors, cost or refinement increases to the right and the
error falls to the right: over calls or steps as they are, over a step size h, a tolerance
or an ε on an inverted axis (`ax.invert_xaxis()`). Exact zeros are open marks on the line
that `floor` draws. A title is the sentence to be remembered, not the name of the panel.
"""

import numpy as np

BLACK, GREY, PALE = "#000000", "#767676", "#c8c8c8"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#882255")
Y, W, A, B, EXACT = BLUE, GREEN, VERMILION, PURPLE, GREY
INK = {ORANGE: "#9a6a00", SKY: "#1f7fb5", GREEN: "#00825e", VERMILION: "#c05500"}      # the others are dark enough

METHOD = {
    "euler": PURPLE, "midpoint": SKY, "heun": GREEN, "bosh3": SKY, "rk4": BLUE, "rk38": ORANGE,
    "dopri5": VERMILION, "tsit5": ORANGE, "dop853": BLACK,
    "implicit_euler": PURPLE, "trbdf2": GREEN, "kvaerno5": BLUE, "radau5": BLACK,              # the stiff ones
    "implicit_midpoint": SKY, "trapezoid": GREEN, "gauss4": ORANGE, "gauss6": BLACK,           # the symmetric ones
    "reversible(rk4)": BLUE, "reversible_heun": GREEN, "asynchronous_leapfrog": ORANGE}
ROUTE = {"discrete": BLUE, "checkpoint": GREEN, "reversible": BLACK, "backsolve": VERMILION, "interpolate": PURPLE}

SIZE = (8.0, 3.9)

RC = {
    "figure.dpi": 160,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "svg.hashsalt": "figures",           # so that an SVG drawn twice is the same
}


def ink(colour):
    """The colour to write in: the same hue, dark enough to be read on white."""
    return INK.get(colour, colour)


def end_labels(ax, x, labels, gap=0.075, space=0.02, ha="left", size=11):
    """Write (y, text, colour) labels beside the points (x, y), moved apart to at least `gap`.

    A thin line leads from the point to a label that was moved by more than a third of `gap`.
    gap and space are fractions of the axes, whose limits stay as they are at this call.
    """
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())
    to_axes = ax.transScale + ax.transLimits
    ends = sorted((to_axes.transform((x, y))[1], text, colour) for y, text, colour in labels)
    end = to_axes.transform((x, labels[0][0]))[0]
    heights = np.array([height for height, _, _ in ends])
    for _ in range(100):
        short = gap - np.diff(heights)
        if (short <= 1e-9).all():
            break
        push = np.where(short > 0, short / 2, 0.0)
        heights[1:] += push
        heights[:-1] -= push
    moved = np.abs(heights - [height for height, _, _ in ends]) > gap / 3
    space = max(space, 0.045) if moved.any() else space
    beside, side = (end + space, 1) if ha == "left" else (end - space, -1)
    for height, shifted, (at, text, colour) in zip(heights, moved, ends):
        ax.text(beside, height, text, color=ink(colour), transform=ax.transAxes, ha=ha, va="center", size=size)
        if shifted:
            ax.plot([end + 0.008 * side, beside - 0.008 * side], [at, height], color=ink(colour), lw=0.7,
                    transform=ax.transAxes, clip_on=False)


def key(ax, names, loc="upper left", size=11):
    """Write the names of {name: colour} one below the other, each in its colour, into a corner of the axes.

    loc is a corner as for a legend, "lower left", or the place of the upper left corner of the names, in fractions
    of the axes.
    """
    from matplotlib.offsetbox import AnchoredOffsetbox, TextArea, VPacker

    words = [TextArea(name, textprops={"color": ink(colour), "size": size}) for name, colour in names.items()]
    corner, at = (loc, None) if isinstance(loc, str) else ("upper left", loc)
    box = VPacker(children=words, pad=0, sep=3, align="right" if "right" in corner else "left")
    ax.add_artist(AnchoredOffsetbox(corner, child=box, frameon=False, pad=0.2, borderpad=0.4, bbox_to_anchor=at,
                                    bbox_transform=ax.transAxes))


def field(ax, f, grid, power=0.5, color=GREY, longest=1.0, fastest=None, width=0.005, **look):
    """Draw a field in the plane as arrows, as long as its size to this power.

    f    : a function of one state (2,), or the velocities themselves, (..., 2) at each of the points
    grid : the points: one axis (n,) for both directions, or all of them, (..., 2)

    An arrow of the speed `fastest`, by default the largest there is, has the length `longest`, in distances
    between neighbouring points. Give two fields the same `fastest` to compare them.
    """
    points = np.stack(np.meshgrid(grid, grid), axis=-1) if np.ndim(grid) == 1 else np.asarray(grid)
    velocity = np.apply_along_axis(f, -1, points) if callable(f) else np.asarray(f)
    speed = np.linalg.norm(velocity, axis=-1, keepdims=True)
    arrows = velocity * np.where(speed > 0, speed, 1.0) ** (power - 1)
    arrows *= longest * np.linalg.norm(points[0, 1] - points[0, 0]) / ((fastest or speed.max() or 1.0) ** power)
    return ax.quiver(*np.moveaxis(points, -1, 0), *np.moveaxis(arrows, -1, 0), color=color, width=width,
                     angles="xy", scale_units="xy", scale=1, **look)


def floor(ax, at, text="exactly 0", ha="left"):
    """Draw the exact zeros of a logarithmic axis as open marks on a line at this height that says so.

    Call it when the lines are drawn, zeros and all, and the limits are set; they are extended below the line for
    its name. If nothing is exactly 0, nothing is drawn.
    """
    from matplotlib.transforms import ScaledTranslation

    lines = [line for line in ax.lines if line.get_transform() == ax.transData
             and (np.asarray(line.get_ydata(), dtype=float) == 0).any()]             # axvline is drawn from 0 to 1
    if lines:
        top = ax.get_ylim()[1]
        ax.set_yticks([tick for tick in ax.get_yticks() if 1.5 * at < tick <= top])
        ax.set_ylim(at * (top / at) ** -0.08, top)
        for line in lines:
            x, y = line.get_xdata(), np.asarray(line.get_ydata(), dtype=float)
            line.set_ydata(np.where(y == 0, np.nan, y))
            marker = line.get_marker() if line.get_marker() in ("o", "s", "D", "^", "v") else "o"
            ax.plot(np.asarray(x)[y == 0], np.full((y == 0).sum(), at), marker, color=line.get_color(), mfc="white",
                    ms=line.get_markersize(), clip_on=False, zorder=3)
        ax.axhline(at, color=GREY, lw=0.8)
        offset = ScaledTranslation(0, -4 / 72, ax.figure.dpi_scale_trans)            # points, below the marks
        ax.text({"left": 0.01, "right": 0.99}[ha], at, text, color=ink(GREY), size=9, ha=ha, va="top",
                transform=ax.get_yaxis_transform() + offset)


def solved_backwards(ax, x=0.5, y=0.95, text="solved this way"):
    """An arrow to the left at (x, y), in fractions of the axes: time runs to the right, and this begins at the end.

    The vertical axis moves to the right, where the solution begins; names go to the left, where it ends.
    """
    ax.yaxis.tick_right()
    ax.yaxis.set_label_position("right")
    ax.spines[["left", "right"]].set(visible=False)
    ax.spines["right"].set(visible=True)
    ax.annotate("", (x - 0.17, y - 0.05), (x + 0.17, y - 0.05), "axes fraction", "axes fraction",
                {"arrowstyle": "->", "color": ink(GREY)})
    ax.text(x, y, text, color=ink(GREY), size=10, ha="center", va="bottom", transform=ax.transAxes)


def slope(x, error):
    """The slope of log error over log x, by least squares: the order that was observed."""
    return float(np.polyfit(np.log(x), np.log(error), 1)[0])
