"""The house of the figures: colours that all can tell apart, inks that can be read, and the helpers."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures import style

READABLE = 4.4                 # contrast of text on white; WCAG 2 asks for 3 in large text and 4.5 in small
APART = 15.0                   # distance in CIELAB of two colours that one figure shows; 2.3 is just noticed
SIMULATED = {                  # Machado, Oliveira and Fernandes (2009), severity 1, of linear RGB
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
HUES = {name: getattr(style, name) for name in ("BLACK", "ORANGE", "SKY", "GREEN", "BLUE", "VERMILION", "PURPLE")}
MEET = (("euler", "heun", "bosh3", "rk4", "dopri5", "tsit5", "dop853"), ("euler", "midpoint", "heun", "rk4", "rk38"),
        ("kvaerno5", "trbdf2", "dopri5"), ("kvaerno5", "trbdf2", "radau5"), ("rk4", "dopri5", "tsit5", "dop853"),
        ("implicit_midpoint", "trapezoid", "gauss4", "gauss6"),
        ("reversible(rk4)", "reversible_heun", "asynchronous_leapfrog"))


def linear(colour):
    """The linear RGB of "#rrggbb"."""
    rgb = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(colour):
    """The contrast on white as WCAG 2 defines it, from 1 to 21."""
    return 1.05 / (TO_XYZ[1] @ linear(colour) + 0.05)


def lab(colour, seen_as):
    """CIELAB of a colour as someone sees it."""
    xyz = TO_XYZ @ np.clip(SIMULATED[seen_as] @ linear(colour), 0, 1) / TO_XYZ.sum(axis=1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours):
    """The smallest distance between two of these, for anyone."""
    return min(np.linalg.norm(lab(one, seen) - lab(other, seen))
               for seen in SIMULATED for one, other in itertools.combinations(colours, 2))


def test_the_contrast_of_black_and_the_distance_of_white_are_what_their_definitions_say():
    assert contrast("#000000") == pytest.approx(21.0) and contrast("#ffffff") == pytest.approx(1.0)
    assert lab("#ffffff", "normal") == pytest.approx([100, 0, 0], abs=0.05)


@pytest.mark.parametrize("colour", {*HUES.values(), style.GREY})
def test_an_ink_can_be_read_and_has_the_hue_of_its_colour(colour):
    ink = style.ink(colour)
    assert contrast(ink) > READABLE
    if ink != colour:
        angle = [np.arctan2(*lab(c, "normal")[:0:-1]) for c in (colour, ink)]
        assert abs(np.degrees(angle[0] - angle[1])) < 20 and contrast(colour) < READABLE


def test_any_two_hues_are_told_apart_by_all():
    assert nearest(HUES.values()) > APART
    assert nearest([style.BLUE, "#AA4499"]) < 9            # the purple that was here before: the check can fail


@pytest.mark.parametrize("methods", MEET, ids=" ".join)
def test_methods_that_meet_in_a_figure_have_colours_of_their_own(methods):
    assert nearest([style.METHOD[name] for name in methods]) > APART


def test_routes_have_colours_of_their_own():
    assert nearest(style.ROUTE.values()) > APART


@pytest.fixture
def ax():
    return Figure().subplots()


def test_labels_that_were_moved_have_leaders_to_their_ends_and_the_others_none(ax):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    style.end_labels(ax, 1.0, [(0.5, "a", style.BLUE), (0.505, "b", style.ORANGE), (0.9, "c", style.GREEN)], gap=0.1)
    heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert heights["b"] - heights["a"] >= 0.1 - 1e-8 and heights["c"] == pytest.approx(0.9)
    assert [line.get_ydata()[0] for line in ax.lines] == pytest.approx([0.5, 0.505])
    assert [line.get_ydata()[1] for line in ax.lines] == pytest.approx([heights["a"], heights["b"]])
    assert ax.texts[1].get_color() == style.INK[style.ORANGE]


def test_the_key_names_each_colour_in_its_ink(ax):
    style.key(ax, {"tsit5": style.ORANGE, "rk4": style.BLUE}, "lower right")
    words = [area.get_children()[0] for area in ax.artists[0].get_child().get_children()]
    assert [(word.get_text(), word.get_color()) for word in words] == [
        ("tsit5", style.INK[style.ORANGE]), ("rk4", style.BLUE)]


def test_the_arrows_of_a_field_have_its_directions_and_the_power_of_its_size(ax):
    grid = np.linspace(-1.0, 1.0, 5)
    quiver = style.field(ax, lambda y: np.array([-y[1], 4 * y[0]]), grid, power=0.5, longest=2.0)
    x, y = np.meshgrid(grid, grid)
    u, v = (np.reshape(part, x.shape) for part in (quiver.U, quiver.V))
    speed = np.hypot(y, 4 * x)
    assert np.abs(u * 4 * x + v * y).max() < 1e-14                                  # along (−y, 4x)
    assert np.hypot(u, v) == pytest.approx(2 * 0.5 * np.sqrt(speed / speed.max()))
    again = style.field(ax, np.stack([-y, 4 * x], axis=-1), np.stack([x, y], axis=-1), longest=2.0)
    assert np.array_equal(again.U, quiver.U) and np.array_equal(again.V, quiver.V)
    assert style.field(ax, np.zeros((5, 5, 2)), grid).U.max() == 0


def test_exact_zeros_are_open_marks_on_a_line_that_says_so_and_what_is_small_stays(ax):
    ax.semilogy([0, 1, 2, 3], [1.0, 0.0, 1e-300, 0.0], "s-", color=style.GREEN, ms=7)
    ax.semilogy([0, 1], [1.0, 2.0])
    ax.set(ylim=(1e-17, 10))
    ax.axvline(1.5)                                                            # goes from 0 to 1, but of the axes
    style.floor(ax, 1e-17)
    line, other, _, marks, floor = ax.lines
    assert np.array_equal(line.get_ydata(), [1.0, np.nan, 1e-300, np.nan], equal_nan=True)
    assert np.array_equal(other.get_ydata(), [1.0, 2.0])
    assert [*marks.get_xdata()] == [1, 3] and [*marks.get_ydata()] == [1e-17, 1e-17]
    assert (marks.get_marker(), marks.get_color(), marks.get_markerfacecolor()) == ("s", style.GREEN, "white")
    assert [*floor.get_ydata()] == [1e-17, 1e-17] and ax.texts[0].get_text() == "exactly 0"
    assert ax.get_ylim()[0] < 1e-17 < min(ax.get_yticks()) and ax.get_ylim()[1] == 10


def test_without_an_exact_zero_there_is_no_line_that_speaks_of_one(ax):
    ax.semilogy([0, 1], [1e-17, 2.0])
    before = ax.get_ylim()
    style.floor(ax, 1e-17)
    assert len(ax.lines) == 1 and not ax.texts and ax.get_ylim() == before


def test_the_arrow_of_what_is_solved_backwards_points_to_the_left(ax):
    style.solved_backwards(ax)
    arrow, word = ax.texts
    assert arrow.xy[0] < arrow.xyann[0] and word.get_text() == "solved this way"
