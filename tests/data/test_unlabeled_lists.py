import pyarrow as pa
import pytest
from pyarrow import parquet

from firstlight.data.sources.unlabeled_lists import paths_in_list
from firstlight.errors import DataError


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", b"image,label\na.png,x\n/tmp/b.png,y\n\n"),
        ("list.csv", b"\xef\xbb\xbflabel;Path\r\nx;a.png\r\ny;/tmp/b.png\r\n"),
        ("list.tsv", b"file_name\tlabel\na.png\tx\n/tmp/b.png\ty\n"),
    ],
)
def test_paths_of_a_csv_are_read_by_the_usual_names_of_the_column(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert list(paths_in_list(tmp_path / name, "it")) == [str(tmp_path / "a.png"), "/tmp/b.png"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_paths_of_a_parquet_list_are_read(tmp_path, kind):
    column = pa.array(["a.png", None]).cast(kind)
    parquet.write_table(pa.table({"path": column, "n": [1, 2]}), tmp_path / "list.parquet")
    assert list(paths_in_list(tmp_path / "list.parquet", "it")) == [str(tmp_path / "a.png"), ""]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("list.csv", b"", "it is empty"),
        ("list.csv", b"a,b\n1,2\n", "no column of picture files"),
        ("list.csv", b"PK\x03\x04\0\0", "not text"),
        ("list.csv", b'image\n"a', "not valid CSV"),
        ("list.parquet", b"nothing", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_list_is_refused_in_one_line(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=reason):
        list(paths_in_list(tmp_path / name, "it"))


def test_a_parquet_file_with_numbers_in_place_of_paths_is_refused(tmp_path):
    parquet.write_table(pa.table({"image": [1, 2]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match="holds int64; give paths"):
        list(paths_in_list(tmp_path / "list.parquet", "it"))
