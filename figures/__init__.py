"""The figures: one file each, drawn by `python -m figures`

A module here that has a function `draw` is a figure. Its docstring begins with
"Figure N. Title", the sentence to remember. It says what it shows and by which equations
("shows (6.1)"), and ends with the paragraph "Caption. ..." (at most 60 words and 4
numbers, its message first) and perhaps a paragraph "Numbers. ..." of what else is tested.
`compute()` returns a dict of numbers and arrays, the same ones each time; `draw(fig, data)` puts
them on a Matplotlib figure of SIZE inches, by default `style.SIZE`. Every number of a caption is
checked by the tests through `compute()`. SECONDS says about how long it takes;
ON_REQUEST = True keeps a long one out of the default run.

To make one: `python -m figures --new NAME` writes the file figures/NAME.py, which draws at
once by `python -m figures NAME`. Change compute(), draw(), title and captions; test each number
in tests/figures; run `python -m tests.book`, which puts it into the gallery; commit its picture too.

An animation has FRAMES = n and `draw(fig, data, frame)`, which is called for the frames 0 to n - 1,
each on an empty figure. Its picture is an animated PNG of PER_SECOND frames a second. The first
frame must stand alone: it is what is printed, and what a program without animations shows.

In a notebook:

    from IPython.display import Image
    import figures
    Image(figures.picture("kink")[0])
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import re
import time
import warnings

from . import _kept, style

FORMATS = {                              # and what each must leave out, so that the same figure is the same bytes
    "png": {"Software": None}, "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
COLOURS = 256                            # of a PNG, which has a third of the bytes that way
MOVING_DPI, MOVING_COLOURS, PER_SECOND, HOLD = 80, 64, 12, 2.0     # an animation; and how long its last frame stays


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
    """The caption of a figure on one line: the paragraph "Caption. ..." of its docstring."""
    return paragraph(module.__doc__, "Caption")


def numbers(module):
    """What else is tested, on one line: the paragraph "Numbers. ..." of its docstring, or nothing."""
    return paragraph(module.__doc__, "Numbers")


def paragraph(docstring, word):
    """From the paragraph that begins with this word and a full stop, on one line; without one, nothing."""
    found = re.search(rf"^{word}\. .*?(?=\n\s*\n|\s*\Z)", inspect.cleandoc(docstring), re.M | re.S)
    return " ".join(found[0].split()) if found else ""


def picture(name, fresh=False, format=None, dpi=None):
    """Compute and draw one figure: the picture as bytes, and the seconds that took. Numbers are kept, unless `fresh`.

    A PNG, of an animation an animated one; or what `format` says, "png", "svg" or "pdf", which of an animation
    is its first frame. The bytes carry no date and no version, so that drawing twice gives them twice.
    A warning is an error, save those about the future of other packages' names.
    """
    module, _kept.FRESH = importlib.import_module(f"{__name__}.{name}"), fresh
    started = time.perf_counter()
    with warnings_as_errors():
        content = render(module, _kept.computed(name), format, dpi)
    return content, time.perf_counter() - started


@contextlib.contextmanager
def warnings_as_errors():
    """For what is drawn within, save warnings about the future of other packages' names."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for future in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
            warnings.simplefilter("ignore", future)
        yield


def render(module, data, format=None, dpi=None):
    """The picture, as bytes, of a figure drawn from what its compute() returned."""
    frames = getattr(module, "FRAMES", None)
    if format is None and frames is not None:
        images = [image(saved(module, data, "png", dpi or MOVING_DPI, frame)) for frame in range(frames)]
        return animated(images, getattr(module, "PER_SECOND", PER_SECOND))
    content = saved(module, data, format or "png", dpi or "figure", None if frames is None else 0)
    return content if format in ("svg", "pdf") else as_png(image(content).quantize(COLOURS, dither=0))


def saved(module, data, format, dpi, frame=None):
    """What Matplotlib saves of a figure, or of one frame of it."""
    import matplotlib                        # here, so that `main` can say how to install it

    file = io.BytesIO()
    with matplotlib.rc_context():
        drawn(module, data, frame).savefig(file, format=format, dpi=dpi, metadata=FORMATS[format])
    return file.getvalue()


def drawn(module, data, frame=None):
    """The figure, or one frame of it, as Matplotlib has it. Matplotlib's settings are those of the house afterwards."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcdefaults()
    matplotlib.rcParams.update(style.RC)
    fig = Figure(figsize=getattr(module, "SIZE", style.SIZE))
    module.draw(fig, data, *([] if frame is None else [frame]))
    return fig


def image(png):
    """A picture of Pillow, which comes with Matplotlib, without the transparency that no figure has."""
    from PIL import Image

    return Image.open(io.BytesIO(png)).convert("RGB")


def as_png(picture, **more):
    """The bytes of a picture of Pillow as a PNG."""
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True, **more)
    return file.getvalue()


def animated(frames, per_second):
    """One animated PNG of these frames, in the colours that they share; it repeats, and waits on its last frame."""
    from PIL import Image

    width, height = frames[0].size
    strip = Image.new("RGB", (width, height * len(frames)))
    for i, frame in enumerate(frames):
        strip.paste(frame, (0, i * height))
    colours = strip.quantize(MOVING_COLOURS, dither=0)
    first, *others = [colours.crop((0, i * height, width, (i + 1) * height)) for i in range(len(frames))]
    each = round(1000 / per_second)
    return as_png(first, save_all=True, append_images=others, loop=0,
                  duration=[each] * len(others) + [max(each, round(1000 * HOLD))])
