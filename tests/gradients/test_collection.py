"""The checks on fields of real subjects: mistakes are caught and named, and what is right is not accused."""

from minode.gradients import checks
from tests.ahead import SCORE, result
from tests.gradients.collection.planted import plant
from tests.gradients.collection.score import EVERY
from tests.gradients.collection.subjects import CASES

NAMED = 0.95


def test_the_collection_is_as_large_as_chapter_22_says():
    assert f"plants {len(plant())} mistakes" in checks.__doc__ and f"none of {len(CASES)} right ones" in checks.__doc__


def test_every_mistake_that_shows_is_caught_and_named_and_no_right_field_is_accused():
    found = result(SCORE)
    print(found)
    assert found.n_wrong == len(plant()[::EVERY]) and found.n_right == len(CASES[::EVERY])
    assert not found.missed and not found.alarms and not found.alarms_of_gradients, found
    assert len(found.misnamed) <= (1 - NAMED) * found.n_wrong, found.misnamed
