"""Suspects come back from their table with any name that a file can have; damage is an error of one line."""

import pytest

from firstlight.errors import RunError
from firstlight.runs.suspects import Suspect, read_suspects, write_suspects

SUSPECTS = (
    Suspect("cat/é.png", "cat", "dog", 0.9912, flagged=True),
    Suspect('=1+1,"x"\n.png', "-dog", "@cat", 0.51, flagged=False),
    Suspect("dog/\udcff.png", "dog", "cat", 0.5, flagged=False),
)


def test_they_come_back_as_they_were_written(tmp_path):
    write_suspects(tmp_path, SUSPECTS)
    assert read_suspects(tmp_path) == SUSPECTS
    head, first = (tmp_path / "suspects.csv").read_bytes().splitlines()[:2]
    assert head == b"image,label,suggested,score,flagged"
    assert first == "cat/é.png,cat,dog,0.9912,true".encode()


def test_none_are_a_heading_and_no_file_is_none(tmp_path):
    assert read_suspects(tmp_path) == ()
    write_suspects(tmp_path, ())
    assert read_suspects(tmp_path) == ()


@pytest.mark.parametrize(
    "row", ["a.png,cat,dog,high,true", "a.png,cat,dog,0.9,perhaps", "a.png,cat", '"a.png,cat,dog,0.9,true']
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path, row):
    (tmp_path / "suspects.csv").write_text(f"image,label,suggested,score,flagged\n{row}\n")
    with pytest.raises(RunError, match=r"suspects\.csv: .* it is damaged") as refused:
        read_suspects(tmp_path)
    assert "\n" not in str(refused.value)
