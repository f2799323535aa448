import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from firstlight.errors import DataError
from firstlight.inference.inputs import Item, items_in
from firstlight.integrations.ray_data.listing import (
    CHANGED,
    LARGEST,
    SMALLEST,
    Reader,
    block_size,
    blocks_of,
    write_list,
)


@pytest.fixture
def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(file, "png")
    return file.getvalue()


def pack(archive, names, content):
    with tarfile.open(archive, "w") as packed:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def read_all(listed):
    reader = Reader()
    return [item for block in blocks_of(listed) for item in reader.items(listed.file, block)]


def test_what_is_read_is_what_was_listed_whatever_it_is(tmp_path, png):
    odd = tmp_path / "line\nend \udcff é.png"
    odd.write_bytes(png)
    pack(tmp_path / "some.tar", ["b.png", "a.png"], png)
    (tmp_path / "broken.zip").write_bytes(b"PK")
    listed = write_list(
        items_in([str(odd), str(tmp_path / "some.tar"), str(tmp_path / "broken.zip")]), tmp_path / "list"
    )
    items = read_all(listed)
    assert [item.name for item in items] == [
        str(odd),
        f"{tmp_path}/some.tar/a.png",
        f"{tmp_path}/some.tar/b.png",
        f"{tmp_path}/broken.zip",
    ]
    assert items[0].content == str(odd)
    assert items[1].content.images.read(items[1].content.index) == png
    assert "cannot be read as a .zip archive" in str(items[3].content)
    assert listed.images == 4


def test_every_image_is_in_one_block_in_order_and_blocks_have_their_content_in_their_digest(tmp_path):
    names = [f"{row}.png" for row in range(1000)]
    listed = write_list((Item(name, name) for name in names), tmp_path / "list")
    blocks = list(blocks_of(listed))
    assert [item.name for item in read_all(listed)] == names
    assert {block.images for block in blocks[:-1]} == {block_size(1000)}
    assert [block.number for block in blocks] == list(range(len(blocks)))
    names[500] = "other.png"
    others = list(blocks_of(write_list((Item(name, name) for name in names), tmp_path / "other")))
    assert sum(one.digest != other.digest for one, other in zip(blocks, others, strict=True)) == 1


@pytest.mark.parametrize(("images", "expected"), [(1, SMALLEST), (10_000, 157), (10**7, LARGEST)])
def test_short_lists_have_enough_blocks_for_many_processes_and_long_ones_large_blocks(images, expected):
    assert block_size(images) == expected


def test_an_archive_that_has_changed_is_an_error_of_its_images(tmp_path, png):
    pack(tmp_path / "some.tar", ["a.png", "b.png"], png)
    listed = write_list(items_in([str(tmp_path / "some.tar")]), tmp_path / "list")
    pack(tmp_path / "some.tar", ["a.png"], png)
    first, second = read_all(listed)
    assert not isinstance(first.content, Exception)
    assert str(second.content) == CHANGED


def test_images_that_are_no_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="reads files"):
        write_list([Item(np.zeros((8, 8, 1), np.uint8))], tmp_path / "list")


def test_a_list_that_was_replaced_is_not_read_as_the_former_one(tmp_path):
    former = write_list([Item("a.png", "a.png")], tmp_path / "list")
    (block,) = blocks_of(former)
    write_list([Item("b.png", "b.png")], tmp_path / "list")
    with pytest.raises(DataError, match="has changed meanwhile"):
        Reader().items(former.file, block)
