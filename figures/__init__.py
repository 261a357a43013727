"""The figures: one file each, drawn by `python -m figures`

A module here that has a function `draw` is a figure. Its docstring begins with
"Figure N. Title", says what it shows and by which equations, and ends with its
caption, and perhaps a paragraph "Numbers." of what else is tested. `compute()` returns a
dict of numbers and arrays, the same ones each time; `draw(fig, data)` puts them on a Matplotlib figure of SIZE inches, by default
`style.SIZE`, at DPI dots per inch. Every number of a caption is checked by the tests through `compute()`.
SECONDS says about how long it takes; ON_REQUEST = True keeps a long one out of the
default run.
"""

import importlib
import io
import pkgutil
import re
import time
import warnings

from . import _kept, style


def discover():
    """The figures as a dict of name -> module, in the order of their numbers."""
    names = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(((name, module) for name, module in modules.items() if hasattr(module, "draw")),
                       key=lambda item: number_and_title(item[1])[0]))


def number_and_title(module):
    """(N, title) from the first line of a figure's docstring."""
    first_line = (module.__doc__ or "").split("\n")[0]
    found = re.fullmatch(r"Figure (\d+)\. (.+)", first_line)
    if found is None:
        raise ValueError(f"{module.__name__} must begin its docstring with 'Figure N. Title', "
                         f"not {first_line!r}")
    return int(found[1]), found[2]


def caption(module):
    """The caption of a figure, and its "Numbers." if it has some: the end of its docstring, on one line."""
    return " ".join(module.__doc__[module.__doc__.index("\n\nCaption. "):].split())


def picture(name, fresh=False):
    """Compute and draw one figure: its PNG as bytes, and the seconds that took. Kept numbers are used, unless `fresh`.

    The bytes carry no date and no version, so that drawing twice gives them twice.
    A warning is an error, save those about the future of other packages' names.
    """
    module, _kept.FRESH = importlib.import_module(f"{__name__}.{name}"), fresh
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for future in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", future)
        png = render(module, _kept.computed(name))
    return png, time.perf_counter() - started


def render(module, data):
    """The PNG, as bytes, of a figure drawn from what its compute() returned."""
    import matplotlib                        # here, so that `main` can say how to install it
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style.RC)
        fig = Figure(figsize=getattr(module, "SIZE", style.SIZE))
        module.draw(fig, data)
        fig.savefig(file, format="png", dpi=getattr(module, "DPI", "figure"), metadata={"Software": None})
    return file.getvalue()
