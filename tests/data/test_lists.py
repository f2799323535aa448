"""Lists of pictures, CSV and Parquet: what they give, and the one line they say where they cannot."""

import json
import os
import threading
import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from firstlight.data.images import decode
from firstlight.data.sources import listed_files, load_data, parquet_rows
from firstlight.errors import DataError, ImageError


@pytest.fixture(scope="module")
def files(files) -> list[bytes]:
    """Twelve of the digits."""
    return files[:12]


def a_list(root: Path, files: list[bytes], text: str | bytes, name: str = "list.csv") -> Path:
    for number, data in enumerate(files[:4]):
        write(root / f"img/{number}.png", data)
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return root / name


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refuses(source: object, *words: str, **options: object) -> str:
    """Check that loading fails with one line that contains all `words`."""
    with pytest.raises(DataError) as caught:
        load_data(source, **options)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message, message
    return message


@pytest.mark.parametrize(
    ("bom", "separator", "newline"), [("", ",", "\n"), ("\ufeff", ";", "\r\n"), ("", "\t", "\n"), ("", "|", "\n")]
)
def test_a_csv_list_keeps_its_order_splits_and_groups(tmp_path, files, bom, separator, newline):
    rows = ["image,label,split,group", "img/2.png,dog,train,rex", "img/0.png, cat,test,", "", "img/1.png,cat,Valid,tom"]
    path = a_list(tmp_path, files, bom + newline.join(row.replace(",", separator) for row in rows))
    data = load_data(path)
    assert data.names == ("img/2.png", "img/0.png", "img/1.png")
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [1, 0, 0]
    assert data.splits.tolist() == [0, 2, 1]
    assert data.groups == ("rex", "img/0.png", "tom"), "a picture without a group is alone in its own"
    assert data.images.read(1) == files[0]
    assert data.name == "list" and data.images.content_key()


def test_a_list_needs_two_columns_only_and_quotes_hold_separators(tmp_path, files):
    path = a_list(tmp_path / "a", files, 'Label,Image\n"big, black",img/0.png\nwhite,img\\1.png\n')
    data = load_data(path)
    assert data.classes == ("big, black", "white") and data.splits is None and data.groups is None
    assert data.names == ("img/0.png", "img/1.png"), "backslashes of another system are understood"


def test_a_list_may_point_anywhere_its_user_wants(tmp_path, files):
    write(tmp_path / "beside/x.png", files[5])
    text = f"image,label\n../beside/x.png,a\n{tmp_path / 'beside' / '..' / 'beside' / 'x.png'},b\n"
    data = load_data(a_list(tmp_path / "list", files, text))
    assert data.images.read(0) == data.images.read(1) == files[5]


def test_a_row_without_its_image_is_named_by_file_and_line(tmp_path, files):
    text = "image,label\nimg/0.png,a\nimg/0031.jpg,b\n"
    message = refuses(a_list(tmp_path, files, text))
    assert message == "list.csv line 3: no picture at img/0031.jpg; fix the path or remove the row"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty; write one line for each picture"]),
        ("photos,label\nimg/0.png,a\n", ["no column of picture files", "photos, label"]),
        ("image,breed\nimg/0.png,a\n", ["no column of labels", "`label_column`"]),
        ("image,label,label\nimg/0.png,a,a\n", ["label 2 times"]),
        ("image,label\n", ["lists no pictures"]),
        ("image,label\nimg/0.png,a\nimg/1.png, \n", ["line 3", "no label"]),
        ("image,label\nimg/0.png,a\nimg/1.png,NaN\n", ["line 3", "no label"]),
        ("img/0.png,a\nimg/1.png,b\n", ["has no column names: it begins with img/0.png, a;"]),
        ("image,label\nimg/0.png,a\n,b\n", ["line 3", "the picture is missing"]),
        ("image,label\nimg/0.png,a\nimg,b\n", ["line 3", "no picture at img"]),
        ("image,label\nimg/0.png,a\nhttps://a.org/b.jpg,b\n", ["line 3", "is a web address"]),
        ("image,label\nimg/0.png,a\nimg/0.png,b\n", ["line 3", "already on line 2"]),
        ("image,label\nimg/0.png,a,b\n", ["line 2", "3 cells"]),
        ('image,label\n"img/0.png,a\n', ["line", "not valid CSV"]),
        (
            "image,label,split\nimg/0.png,a,train\nimg/1.png,b,middle\n",
            ["line 3", 'no split "middle"', "train, valid or test"],
        ),
        ("image,label,split\nimg/0.png,a,\n", ["line 2", 'no split ""']),
        ("image,label\nimg/0.png,a\n".encode("utf-16"), ["is UTF-16, not UTF-8; save it as CSV UTF-8"]),
        ("image,label\nimg/0.png,a\n".encode("utf-16-le"), ["zero bytes", "CSV UTF-8"]),
        (b"PK\x03\x04workbook", ["a workbook or an archive"]),
        (b"image,label\nimg/0.png,caf\xe9\nimg/1.png,b\n", ["line 2", "is not UTF-8; save the list as CSV UTF-8"]),
        (b"image,label\nimg/\xe9t\xe9.png,a\nimg/1.png,b\n", ["line 2", "is not UTF-8; save the list as CSV UTF-8"]),
        (f"image,label\n{'x' * 5000}.png,a\n", ["line 2", "no picture at xxx"]),
    ],
)
def test_what_is_wrong_in_a_list_is_named(tmp_path, files, text, words):
    refuses(a_list(tmp_path, files, text), "list.csv", *words)


def test_a_workbook_is_named_as_one(tmp_path, files):
    refuses(a_list(tmp_path, files, b"PK", "list.xlsx"), "is a workbook; save the sheet as CSV UTF-8")


@pytest.mark.parametrize("first", ["sep=|\n", '"sep=|"\r\n', "SEP=|\r\n"])
def test_excels_own_first_line_names_the_separator(tmp_path, files, first):
    data = load_data(a_list(tmp_path, files, first + "image|label\nimg/0.png|a,b;c\nimg/1.png|d\n"))
    assert data.classes == ("a,b;c", "d")
    refuses(a_list(tmp_path, files, first + "image|label\nimg/0.png|a\nimg/9.png|d\n"), "list.csv line 4: no picture")


def test_whole_floats_are_whole_numbers_but_mixed_labels_stay_as_they_are(tmp_path, files):
    data = load_data(a_list(tmp_path, files, "image,label\nimg/0.png,0.0\nimg/1.png,1.0\nimg/2.png,-1.00\n"))
    assert data.classes == ("-1", "0", "1")
    data = load_data(a_list(tmp_path, files, "image,label\nimg/0.png,1.0\nimg/1.png,1.5\n"))
    assert data.classes == ("1.0", "1.5")


def test_names_that_are_not_unicode_are_found_by_their_bytes(tmp_path, files):
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/img/\xe9t\xe9.png")), files[5])
    data = load_data(a_list(tmp_path, files, b"image,label\nimg/\xe9t\xe9.png,a\nimg/1.png,b\n"))
    assert data.images.read(0) == files[5]


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_either_unicode_form_of_a_name_is_found(tmp_path, files, on_disk):
    other = {"NFC": "NFD", "NFD": "NFC"}[on_disk]
    name = unicodedata.normalize(on_disk, "img/ñandú.png")
    write(tmp_path / name, files[5])
    text = f"image,label\n{unicodedata.normalize(other, name)},a\nimg/1.png,b\n"
    assert load_data(a_list(tmp_path, files, text)).names == (name, "img/1.png")


def test_an_id_means_the_only_picture_of_that_name_below_the_list(tmp_path, files):
    write(tmp_path / "train/deep/0a1b.JPG", files[5])
    write(tmp_path / "train/x.y.png", files[6])
    write(tmp_path / ".thumbnails/0a1b.png", files[7])
    write(tmp_path / "train/0a1b.txt", b"words")
    data = load_data(a_list(tmp_path, files, "id,label\n0A1B,a\nx.y,b\nimg/1,b\n"))
    assert data.names == ("train/deep/0a1b.JPG", "train/x.y.png", "img/1.png")
    assert data.notes == ("3 pictures were found below the list by name, such as 0A1B at train/deep/0a1b.JPG",)


def test_an_id_that_several_pictures_have_is_refused(tmp_path, files):
    write(tmp_path / "other/1.jpg", files[5])
    refuses(
        a_list(tmp_path, files, "id,label\n0,a\n1,b\n"), "line 3: 1 could be img/1.png or other/1.jpg; use the path"
    )
    assert load_data(a_list(tmp_path, files, "id,label\n0,a\nother/1,b\n")).names == ("img/0.png", "other/1.jpg")


def test_paths_of_another_computer_are_found_by_their_ends(tmp_path, files):
    text = "image,label\n/content/drive/set/img/0.png,a\nC:\\Users\\me\\img\\1.png,b\nD:/nowhere/9.png,b\n"
    refuses(a_list(tmp_path, files, text), "line 4: no picture at D:/nowhere/9.png")
    data = load_data(a_list(tmp_path, files, text.rpartition("D:")[0]))
    assert data.names == ("img/0.png", "img/1.png")


def test_a_list_in_a_huge_folder_must_say_paths(tmp_path, files, monkeypatch):
    write(tmp_path / "z/5.png", files[5])
    monkeypatch.setattr(listed_files, "MAX_FILES_BELOW", 2)
    refuses(a_list(tmp_path, files, "image,label\nimg/0.png,a\n5,b\n"), "line 3: no picture at 5")


def test_columns_can_be_named(tmp_path, files):
    path = a_list(tmp_path, files, "image,label,view,breed\nimg/0.png,a,img/1.png,x\nimg/2.png,b,img/3.png,y\n")
    data = load_data(path, image_column="view", label_column="breed")
    assert data.names == ("img/1.png", "img/3.png") and data.classes == ("x", "y")


# ---- Parquet


def a_table(root: Path, files: list[bytes], columns: dict[str, object], **how: object) -> Path:
    path = a_list(root, files, b"", "list.parquet")
    parquet.write_table(pa.table(columns), path, **how)
    return path


def test_a_parquet_list_is_read_like_csv(tmp_path, files):
    columns = {"Image": ["img/1.png", "img/0.png"], "LABEL": [10, 9], "split": ["train", "test"], "extra": [0.5, None]}
    data = load_data(a_table(tmp_path, files, columns))
    assert data.classes == ("10", "9") and data.labels.tolist() == [0, 1] and data.splits.tolist() == [0, 2]
    refuses(a_table(tmp_path, files, {**columns, "LABEL": [10, None]}), "list.parquet row 2", "no label")
    refuses(a_table(tmp_path, files, {**columns, "LABEL": [10.0, float("nan")]}), "list.parquet row 2", "no label")
    refuses(
        a_table(tmp_path, files, {**columns, "Image": ["img/1.png", "img/9.png"]}), "row 2: no picture at img/9.png"
    )
    refuses(a_table(tmp_path, files, {"image": [{"width": 1}], "label": [1]}), "column image holds struct<width")
    refuses(a_table(tmp_path, files, {"image": ["img/1.png"], "label": [[1]]}), "column label holds list")
    refuses(a_table(tmp_path, files, {"label": [1]}), "no column of picture files")
    (tmp_path / "list.parquet").write_bytes(b"PAR1 nothing")
    refuses(tmp_path / "list.parquet", "cannot be read as Parquet")


@pytest.mark.parametrize("old", [b"class-a", b"label"])
def test_a_parquet_file_whose_text_is_damaged_is_one_line(old, tmp_path, files):
    columns = {"image": ["img/0.png", "img/1.png"], "label": ["class-a", "class-b"]}
    path = a_table(tmp_path, files, columns, compression="none", use_dictionary=False, write_statistics=False)
    path.write_bytes(path.read_bytes().replace(old, b"\xff" * len(old)))
    refuses(path, "list.parquet", "")


def test_names_of_classes_that_are_no_list_are_left_alone(tmp_path, files):
    about = {"info": {"features": {"label": {"_type": "ClassLabel", "names": 7}}}}
    columns = pa.table({"image": ["img/0.png", "img/1.png"], "label": [0, 1]})
    path = a_list(tmp_path, files, b"", "list.parquet")
    parquet.write_table(columns.replace_schema_metadata({b"huggingface": json.dumps(about)}), path)
    assert load_data(path).classes == ("0", "1")


def test_whole_floats_and_categories_in_parquet_are_classes(tmp_path, files):
    images = ["img/0.png", "img/1.png", "img/2.png"]
    assert load_data(a_table(tmp_path, files, {"path": images, "label": [0.0, 1.0, 2.0]})).classes == ("0", "1", "2")
    words = pa.array(["cat", "dog", "cat"]).dictionary_encode()
    data = load_data(a_table(tmp_path, files, {"path": images, "label": words}))
    assert data.classes == ("cat", "dog") and data.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("kind", ["hub", "plain", "large"])
def test_a_parquet_file_may_hold_the_pictures(tmp_path, files, kind):
    cells = [{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(files)] if kind == "hub" else files
    images = pa.array(cells, pa.large_binary() if kind == "large" else None)
    path = a_table(tmp_path, files, {"image": images, "label": [n % 3 for n in range(12)]}, row_group_size=5)
    data = load_data(path)
    assert data.names == tuple(f"{n}.png" if kind == "hub" else f"{n:05d}" for n in range(12))
    assert [data.images.read(row) for row in (11, 0, 5, 4, 7)] == [files[row] for row in (11, 0, 5, 4, 7)]
    assert data.images.content_key() == load_data(path).images.content_key() and len(data.images) == 12
    assert decode(data.images.read(0)).pixels.shape == (8, 8, 1)


def test_names_inside_parquet_that_repeat_are_replaced_by_numbers(tmp_path, files):
    cells = [{"bytes": data, "path": "image.png"} for data in files]
    data = load_data(a_table(tmp_path, files, {"image": cells, "label": ["a", "b"] * 6}))
    assert data.names[:2] == ("00000", "00001")


def test_a_row_of_a_parquet_file_may_name_a_file_or_hold_nothing(tmp_path, files):
    cells = [
        {"bytes": None, "path": "img/3.png"},
        {"bytes": None, "path": "img/none.png"},
        None,
        {"bytes": files[0], "path": None},
    ]
    images = load_data(a_table(tmp_path, files, {"image": cells, "label": ["a", "b"] * 2})).images
    assert (images.read(0), images.read(3)) == (files[3], files[0])
    for row, reason in ((1, "img/none.png cannot be read: No such file"), (2, "the row holds no picture")):
        with pytest.raises(ImageError, match=reason):
            images.read(row)


def test_class_names_of_the_hub_are_used(tmp_path, files):
    features = {
        "photo_bytes": {"_type": "Image"},
        "species": {"names": ["wolf", "ant", "bee"], "_type": "ClassLabel"},
        "caption": {"dtype": "string", "_type": "Value"},
    }
    table = pa.table({"photo_bytes": files[:3], "species": [0, 2, 0], "caption": ["", "", ""]})
    path = a_list(tmp_path, files, b"", "list.parquet")
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    parquet.write_table(table.replace_schema_metadata(about), path)
    data = load_data(path)
    assert data.classes == ("bee", "wolf") and data.labels.tolist() == [1, 0, 1]
    table = table.set_column(1, "species", pa.array([0, -1, 3]))
    parquet.write_table(table.replace_schema_metadata(about), path)
    refuses(path, "row 2: the picture has no label")


def test_threads_read_one_parquet_file_and_few_groups_of_rows_stay_in_memory(tmp_path, files):
    images = load_data(a_table(tmp_path, files, {"image": files, "label": ["a", "b"] * 6}, row_group_size=1)).images
    wrong: list[int] = []

    def read_all() -> None:
        wrong.extend(row for row in (*range(12), *range(12)) if images.read(row) != files[row])

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(images._groups) == parquet_rows.KEPT_ROW_GROUPS


@pytest.mark.parametrize(("word", "split"), [("Training", 0), ("dev", 1), (" VAL ", 1), ("testing", 2), ("eval", 2)])
def test_the_splits_of_a_list_go_by_the_names_that_folders_have(tmp_path, files, word, split):
    path = a_list(tmp_path, files, f"image,label,split\nimg/0.png,a,{word}\nimg/1.png,b,train\n")
    assert load_data(path).splits.tolist() == [split, 0]
