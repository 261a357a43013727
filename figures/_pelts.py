"""Pelts of hares and lynx, in thousands, 1900 to 1920, as figures 30 and 31 use them."""

from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "data" / "hudson_bay_pelts.csv"       # its source is in data/README.md


def pelts():
    """(years (21,), counts (21, 2)), prey first: hares, then lynx."""
    table = np.genfromtxt(FILE, delimiter=",", names=True)
    return table["year"], np.stack([table["hare_thousands"], table["lynx_thousands"]], axis=-1)
