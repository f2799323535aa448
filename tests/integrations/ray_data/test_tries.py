import pytest

from firstlight.errors import DataError
from firstlight.inference.prediction import Prediction
from firstlight.integrations.ray_data.tries import BATCH, CRASHED, MOST_LIVES, Tries


class Killed(BaseException):
    """Stands for the end of the process: nothing is written after it."""


def run_until_finished(file, count, culprits=(), deaths_elsewhere=()):
    """Begin processes until one finishes; return its predictions, and how many were begun."""
    for life in range(100):

        def work(start, stop, life=life):
            if life in deaths_elsewhere or any(start <= culprit < stop for culprit in culprits):
                raise Killed
            return [Prediction(str(row), label="cat") for row in range(start, stop)]

        tries = Tries(file)
        try:
            predictions = tries.predict(count, work, str)
        except Killed:
            continue
        tries.forget()
        return predictions, life + 1
    raise AssertionError("it never finished")


@pytest.mark.parametrize("count", [1, BATCH, 300])
@pytest.mark.parametrize("culprits", [(0,), (), "last"])
def test_only_the_images_that_end_the_process_are_errors_and_every_image_has_one_row(tmp_path, count, culprits):
    culprits = (count - 1,) if culprits == "last" else culprits
    predictions, _ = run_until_finished(tmp_path / "tries", count, culprits)
    assert [one.image for one in predictions] == [str(row) for row in range(count)]
    assert [row for row, one in enumerate(predictions) if one.error == CRASHED] == list(culprits)
    assert not (tmp_path / "tries").exists()


def test_a_process_that_was_killed_from_outside_blames_no_image(tmp_path):
    predictions, lives = run_until_finished(tmp_path / "tries", 200, deaths_elsewhere=(0, 1, 2, 3))
    assert lives == 5
    assert not any(one.error for one in predictions)


def test_several_culprits_in_one_block_are_all_found(tmp_path):
    predictions, lives = run_until_finished(tmp_path / "tries", 300, (5, 6, 299))
    assert [row for row, one in enumerate(predictions) if one.error] == [5, 6, 299]
    assert lives <= MOST_LIVES


def test_a_block_that_always_ends_the_process_is_given_up_in_words(tmp_path):
    with pytest.raises(DataError, match=f"{MOST_LIVES} processes ended.*`workers`"):
        run_until_finished(tmp_path / "tries", 200, range(200))
