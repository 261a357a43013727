"""The score of the checks on the collection: mistakes caught, right fields called wrong, terms named."""

import os
import time
from typing import NamedTuple

from minode import check_field, check_gradients
from tests.gradients.collection.planted import plant
from tests.gradients.collection.subjects import CASES

EVERY = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 4         # of which the tests check one


class Score(NamedTuple):
    """What was found: (name, words) of misses, false alarms of both checks, and wrong names, and how many there were."""

    n_wrong: int
    n_right: int
    missed: list
    alarms: list
    alarms_of_gradients: list
    misnamed: list

    def __str__(self):
        n = self.n_wrong - len(self.missed)
        return (f"check_field: {n} of {self.n_wrong} mistakes caught, {n - len(self.misnamed)} of {n} named, "
                f"{len(self.alarms)} of {self.n_right} right fields called wrong\n"
                f"check_gradients: {len(self.alarms_of_gradients)} of {self.n_right} right fields called wrong")


def complaint(check, *args, **options):
    """What a check says against a field, or None."""
    try:
        check(*args, **options)
    except AssertionError as error:
        return str(error)
    return None


def names(words, method):
    """Whether the first sentence of a complaint names the method."""
    sentences = [line for line in words.splitlines() if not line.endswith(("yes", "NO"))]
    sentences = [line for line in sentences if not line.startswith(("what ", "a derivative is wrong"))]
    return bool(sentences) and sentences[0].startswith(method)


def score(every=1, verbose=False):
    """The `Score` of both checks on one of so many cases."""
    wrong, right, missed, misnamed = plant()[::every], CASES[::every], [], []
    for planted in wrong:
        case = planted.case
        words = complaint(check_field, case.f, case.t, case.y, case.theta)
        if words is None:
            missed.append((case.name, planted.method))
        elif not names(words, planted.method):
            misnamed.append((case.name, words))
    alarms, of_gradients = [], []
    for case in right:
        start = time.perf_counter()
        alarms += [(case.name, words) for words in [complaint(check_field, case.f, case.t, case.y, case.theta)] if words]
        middle = time.perf_counter()
        words = complaint(check_gradients, case.f, case.y, case.times, case.theta, **case.options)
        of_gradients += [(case.name, words)] if words else []
        if verbose:
            print(f"{case.name:40s} {middle - start:6.2f} s {time.perf_counter() - middle:6.2f} s")
    return Score(len(wrong), len(right), missed, alarms, of_gradients, misnamed)


def of_some():
    """The `Score` on one of EVERY cases."""
    return score(EVERY)
