"""The checks on fields of real subjects: mistakes are caught and named, and what is right is not accused."""

import os

from minode.gradients import checks
from tests.gradients.collection.planted import plant
from tests.gradients.collection.score import score
from tests.gradients.collection.subjects import CASES

EVERY = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 8         # of which one is checked
NAMED = 0.95


def test_the_collection_is_as_large_as_chapter_22_says():
    assert f"plants {len(plant())} mistakes" in checks.__doc__ and f"none of {len(CASES)} right ones" in checks.__doc__


def test_every_mistake_that_shows_is_caught_and_named_and_no_right_field_is_accused():
    found = score(EVERY)
    print(found)
    assert not found.missed and not found.alarms and not found.alarms_of_gradients, found
    assert len(found.misnamed) <= (1 - NAMED) * found.n_wrong, found.misnamed
