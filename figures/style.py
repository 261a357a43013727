"""What the figures share: colours, sizes, labels on the lines, and the slope of an error

A picture is 8 inches wide, drawn at 120 dots per inch and shown in the README at
about 100, so 11 points are about 15 pixels there. The colours are those of Okabe
and Ito, which people with any of the common colour deficiencies can tell apart. A
quantity keeps its colour from figure to figure: states y blue, tangents w green,
cotangents a vermilion, cotangents b of θ purple, exact solutions grey.
"""

import numpy as np

BLACK, GREY, PALE = "#000000", "#767676", "#c8c8c8"
ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#AA4499")
Y, W, A, B, EXACT = BLUE, GREEN, VERMILION, PURPLE, GREY

SIZE = (8.0, 3.9)

RC = {
    "figure.dpi": 120,
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
}


def end_labels(ax, x, labels, gap=0.075, space=0.02, ha="left", size=11):
    """Write (y, text, colour) labels beside the points (x, y), moved apart to at least `gap`.

    gap and space are fractions of the axes, whose limits stay as they are at this call.
    """
    ax.set(xlim=ax.get_xlim(), ylim=ax.get_ylim())
    to_axes = ax.transScale + ax.transLimits
    ends = sorted((to_axes.transform((x, y))[1], text, colour) for y, text, colour in labels)
    left = to_axes.transform((x, labels[0][0]))[0] + (space if ha == "left" else -space)
    heights = np.array([height for height, _, _ in ends])
    for _ in range(100):
        short = gap - np.diff(heights)
        if (short <= 1e-9).all():
            break
        push = np.where(short > 0, short / 2, 0.0)
        heights[1:] += push
        heights[:-1] -= push
    for height, (_, text, colour) in zip(heights, ends):
        ax.text(left, height, text, color=colour, transform=ax.transAxes, ha=ha, va="center", size=size)


def slope(x, error):
    """The slope of log error over log x, by least squares: the order that was observed."""
    return float(np.polyfit(np.log(x), np.log(error), 1)[0])
