"""Lists from Excel, pandas, Kaggle, and the Hugging Face hub, each as its program writes it."""

import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from firstlight.cli import main
from firstlight.data.sources import load_data

HEADING = "image;label\r\n"


@pytest.fixture
def rows(tmp_path, some_digits, monkeypatch) -> list[tuple[str, str]]:
    """Twelve pictures of three classes below the working folder, as (path, label)."""
    monkeypatch.chdir(tmp_path)
    Path("img").mkdir()
    for number, pixels in enumerate(some_digits[0][:12]):
        Image.fromarray(pixels).save(f"img/{number}.png")
    for name in (unicodedata.normalize("NFD", "ñandú"), "été"):
        Image.fromarray(some_digits[0][20 + len(name)]).save(f"img/{name}.png")
    return [(f"img/{number}.png", ("cat", "dog", "fox")[number % 3]) for number in range(12)]


def body(rows: list[tuple[str, str]]) -> str:
    return "".join(f"{image};{label}\r\n" for image, label in rows)


def checked(name: str, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    """Return the exit code of `firstlight check`, and what it said."""
    code = main(["check", name, *options])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_excels_first_line_is_skipped(rows, capsys):
    Path("list.csv").write_text("sep=;\r\n" + HEADING + body(rows), newline="")
    code, said = checked("list.csv", capsys)
    assert code == 0 and "12 pictures in 3 classes" in said


@pytest.mark.parametrize("row", ["img/0.png;chien été\r\n", "img/été.png;dog\r\n"])
def test_text_of_windows_is_called_by_its_name(rows, capsys, row):
    Path("list.csv").write_bytes((HEADING + row + body(rows[1:])).encode("cp1252"))
    code, said = checked("list.csv", capsys)
    assert code == 2 and "list.csv line 2" in said and "is not UTF-8; save the list as CSV UTF-8" in said


def test_a_name_as_macos_spells_it_is_found(rows, capsys):
    Path("list.csv").write_text(HEADING + "img/ñandú.png;cat\n" + body(rows), "utf-8")
    code, said = checked("list.csv", capsys)
    assert code == 0 and "13 pictures" in said


def test_pixels_in_columns_give_a_short_line(rows, capsys):
    headings = ["label", *(f"pixel{number}" for number in range(784))]
    Path("digits.csv").write_text(",".join(headings) + "\n" + ",".join("0" * 785))
    code, said = checked("digits.csv", capsys)
    assert code == 2 and len(said) < 300 and "777 more" in said and "in Python" in said


def test_a_missing_number_is_a_missing_label(rows, capsys):
    labels = [float("nan") if number == 3 else float(number % 3) for number in range(12)]
    table = pa.table({"image": [image for image, _ in rows], "label": labels})
    parquet.write_table(table, "nan.parquet")
    code, said = checked("nan.parquet", capsys)
    assert code == 2 and "nan.parquet row 4: img/3.png has no label" in said
    parquet.write_table(table.filter([number != 3 for number in range(12)]), "nan.parquet")
    assert load_data("nan.parquet").classes == ("0", "1", "2")


def test_headings_of_parquet_may_be_in_capitals(rows, capsys):
    parquet.write_table(
        pa.table({"Image": [image for image, _ in rows], "Label": [word for _, word in rows]}), "a.parquet"
    )
    assert checked("a.parquet", capsys)[0] == 0


def test_what_the_hub_gives_is_read(rows, capsys):
    cells = [{"bytes": Path(image).read_bytes(), "path": image} for image, _ in rows]
    parquet.write_table(pa.table({"image": cells, "label": [number // 4 for number in range(12)]}), "hub.parquet")
    code, said = checked("hub.parquet", capsys)
    assert code == 0 and "12 pictures in 3 classes" in said and "8x8 12" in said


def test_ids_and_a_column_by_another_name(rows, capsys):
    text = "image_id,breed\n" + "".join(f"{Path(image).stem},{label}\n" for image, label in rows)
    Path("train.csv").write_text(text)
    code, said = checked("train.csv", capsys)
    assert code == 2 and "no column of labels (found: image_id, breed)" in said and "--label-column" in said
    code, said = checked("train.csv", capsys, "--label-column", "breed")
    assert code == 0 and "12 pictures in 3 classes" in said and "found below the list by name" in said
