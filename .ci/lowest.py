"""The lowest versions that setup.cfg declares, as pip reads constraints: python .ci/lowest.py

With --installed, an error unless these are the versions that this environment has.
"""

import configparser
import importlib.metadata
import re
import sys
from pathlib import Path


def lowest():
    """{package: its lowest version} of all that minode, its figures and its tests need."""
    config = configparser.ConfigParser()
    config.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
    lines = "\n".join([config["options"]["install_requires"], *config["options.extras_require"].values()]).split()
    versions = {}
    for line in lines:
        declared = re.fullmatch(r"([\w-]+)>=([\d.]+)", line)
        if declared is None or versions.setdefault(declared[1], declared[2]) != declared[2]:
            sys.exit(f"setup.cfg: every requirement is name>=version, one version for each name, not {line!r}")
    return versions


def installed(name, version):
    """Whether exactly this version is installed: 2.0 is 2.0.0."""
    return re.sub(r"(\.0)+$", "", importlib.metadata.version(name)) == re.sub(r"(\.0)+$", "", version)


if __name__ == "__main__":
    for name, version in lowest().items():
        if sys.argv[1:] == ["--installed"] and not installed(name, version):
            sys.exit(f"{name} {importlib.metadata.version(name)} is installed, not the lowest that is declared, {version}")
        print(f"{name}=={version}")
