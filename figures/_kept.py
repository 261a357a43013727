"""What a figure's compute() gave, kept on disk, so that moving a label does not train a network again

A file is found by a key: the hash of all that its numbers depend on. That is the code of minode, of the figure
and of the figures that it imports, the data, the versions of Python, NumPy and SciPy, and what NumPy says of the
processor and of the library that multiplies its matrices. Comments, docstrings and what only draws do not count: the
functions `draw` and `draw_...`, the size of a picture, colours, and all of style.py except `slope`. Change anything
else and the key is another one, so a kept file is never stale. Delete the folder, or draw with --fresh,
and all is computed anew. Only where the environment says FIGURES_OF_ANY_VERSION=1 may the numbers be those of other
versions: `.ci/run` draws and checks with the lowest versions what the newest have computed.
"""

import ast
import hashlib
import os
import pickle
import platform
import sys
from functools import cache, wraps
from importlib import import_module
from pathlib import Path

import numpy as np

import minode
from minode.learning.files import write_whole

HERE = Path(__file__).parent
KEPT = HERE / "kept"
MOST = 4                                 # files of one name: as many versions or machines may share a checkout
FRESH = False                            # true while all is computed anew
IS_AS_WRITTEN = True                     # false while a mistake is planted in the live book, which no key can see
SETTINGS = "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"
NO_NUMBERS = {"SIZE", "SECONDS", "FRAMES", "PER_SECOND"}         # of a figure's names, those that only drawing needs


def computed(name):
    """compute() of the figure of this name, or what was kept of it. One on request is always computed."""
    module = import_module(f"{__package__}.{name}")
    if getattr(module, "ON_REQUEST", False):
        return module.compute()
    return kept_or(module.compute, name, name)


def kept(function):
    """A decorator: what two figures need and one of them has computed is kept, for each of its arguments."""
    module = function.__module__.rpartition(".")[2]

    @cache
    @wraps(function)
    def or_computed(*arguments):
        of = hashlib.sha256(repr(arguments).encode()).hexdigest()[:8]
        return kept_or(lambda: function(*arguments), f"{module}.{function.__name__}.{of}", module)
    return or_computed


def kept_or(compute, name, module):
    """What is kept under this name for the code of this module as it is now; or compute(), which then is kept."""
    if not IS_AS_WRITTEN:
        return compute()
    path = file_of(name, module)
    content = b"" if FRESH or not path.exists() else path.read_bytes()
    digest, pickled = content[:32], content[32:]
    if digest and digest == hashlib.sha256(pickled).digest():              # a file cut short or changed is not used
        return pickle.loads(pickled)
    data = compute()
    if os.access(HERE, os.W_OK):
        keep(name, path, pickle.dumps(data))
    return data


def file_of(name, module):
    """The file in which the numbers of this name are kept, or will be, for the code of this module as it is now."""
    path = KEPT / f"{name}-{key(module)}-{machine()}.pickle"
    if os.environ.get("FIGURES_OF_ANY_VERSION") == "1":
        path = next(KEPT.glob(f"{name}-{key(module)}-*.pickle"), path)
    return path


def keep(name, path, pickled):
    """Write a file, with its own hash in front, and remove the oldest of this name."""
    KEPT.mkdir(exist_ok=True)
    write_whole(path, lambda file: file.write(hashlib.sha256(pickled).digest() + pickled))
    for old in sorted(KEPT.glob(f"{name}-*.pickle"), key=os.path.getmtime)[:-MOST]:
        old.unlink(missing_ok=True)


def key(name):
    """The hash, as text, of all code and data that the numbers of this figure depend on."""
    parts = [code_of_minode(), *(code(HERE / f"{module}.py") for module in sorted(needs(name)))]
    parts += [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(HERE.glob("data/*")) if path.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


@cache
def machine():
    """The hash, as text, of the versions, the processor and NumPy's libraries."""
    import scipy                         # here, so that `main` can say how to install it
    found = (sys.version, np.__version__, scipy.__version__, platform.machine(), np.show_config(mode="dicts"),
             [os.environ.get(setting) for setting in SETTINGS])
    return hashlib.sha256(repr(found).encode()).hexdigest()[:8]


@cache
def code_of_minode():
    return "\n".join(code(path) for path in sorted(Path(minode.__file__).parent.rglob("*.py")))


def needs(name, found=()):
    """The names of this module and of all in this folder that it imports, and these in turn."""
    found = {name, *found}
    for node in ast.walk(ast.parse((HERE / f"{name}.py").read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            for other in [node.module] if node.module else [alias.name for alias in node.names]:
                if other not in found and (HERE / f"{other}.py").exists():
                    found |= needs(other, found)
    return found


@cache
def code(path):
    """The code of a file as text that does not change with comments, docstrings or what only draws."""
    tree = ast.parse(path.read_bytes())
    tree.body = [node for node in tree.body if gives_numbers(node, path.stem)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(Colourless().visit(tree))


def gives_numbers(node, module):
    """Whether a statement of a module can change what compute() gives."""
    name = getattr(node, "name", "")
    if module == "style":
        return name == "slope"
    targets = node.targets if isinstance(node, ast.Assign) else []
    names = {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return not (name == "draw" or name.startswith("draw_") or names and names <= NO_NUMBERS)


class Colourless(ast.NodeTransformer):
    """Puts the same word in the place of style.BLUE, of style.METHOD["rk4"], and of all others in capital letters."""

    def visit_Attribute(self, node):
        of_style = isinstance(node.value, ast.Name) and node.value.id == "style" and node.attr.isupper()
        return ast.Constant("a colour") if of_style else self.generic_visit(node)

    def visit_Subscript(self, node):
        node = self.generic_visit(node)
        return node.value if isinstance(node.value, ast.Constant) and node.value.value == "a colour" else node
