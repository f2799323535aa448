"""Files are whole or absent: after exceptions, after kill -9, and when two processes race."""

import csv
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import firstlight as fl
from firstlight.files import (
    atomic_folder,
    atomic_path,
    from_cell,
    open_csv,
    open_regular,
    read_regular,
    read_regular_text,
    to_cell,
    write_csv,
    write_json,
    write_text,
)

KILLS = 30
ODD_NAMES = [
    "plain",
    "a,b",
    'say "hi"',
    "two\nlines",
    "old\rmac",
    "dos\r\nend",
    "  blanks ",
    "日本",
    os.fsdecode(b"\xff\xfe.jpg"),
]
FOREVER = """
import sys
from pathlib import Path
from firstlight.files import write_text
whole = sys.argv[2] * 200_000
print("ready", flush=True)
write_text(Path(sys.argv[1]), whole)
print("written", flush=True)
while True:
    write_text(Path(sys.argv[1]), whole)
"""


def test_a_failure_inside_leaves_the_old_content_and_nothing_else(tmp_path):
    target = tmp_path / "kept.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError, match="stop"), atomic_path(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        raise RuntimeError("stop")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("rights", [0o600, 0o644, 0o664])
def test_a_file_has_the_rights_that_the_umask_leaves_whatever_its_writer_wanted(rights, tmp_path):
    before = os.umask(0o666 & ~rights)
    try:
        with atomic_path(tmp_path / "model") as temporary:
            temporary.write_text("weights")
            temporary.chmod(0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == rights


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="missing does not exist"):
        write_text(tmp_path / "missing" / "file.txt", "text")


def test_kill_9_at_any_moment_leaves_a_whole_file(tmp_path):
    target = tmp_path / "table.txt"
    write_text(target, "0" * 200_000)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for kill in range(KILLS):
        letter = chr(ord("a") + kill % 26)
        command = [sys.executable, "-S", "-c", FOREVER, str(target), letter]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        with writer:
            assert writer.stdout.readline() == b"ready\n"
            if kill % 3:  # the others are killed around their first file, whether or not it was written
                assert writer.stdout.readline() == b"written\n"
            time.sleep(0.0007 * kill)
            writer.kill()
        text = target.read_text()
        assert len(text) == 200_000
        assert len(set(text)) == 1
        assert text[0] == letter or kill % 3 == 0, "a file that was complete is gone"


def test_two_makers_of_one_folder_agree_and_leave_nothing_behind(tmp_path):
    target = tmp_path / "packed"

    def make(word):
        with atomic_folder(target) as unfinished:
            (unfinished / "word").write_text(word)
            assert not target.is_dir() or (target / "word").is_file()
            time.sleep(0.02)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, "abcdefgh"))
    assert list(tmp_path.iterdir()) == [target]
    assert [file.name for file in target.iterdir()] == ["word"]
    assert (target / "word").read_text() in "abcdefgh"


def test_a_folder_that_fails_half_way_is_not_there(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "deep" / "packed") as unfinished:
        (unfinished / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert not list((tmp_path / "deep").iterdir())


def test_a_folder_that_a_file_stands_in_the_way_of_is_an_error(tmp_path):
    (tmp_path / "packed").write_text("a file")
    with pytest.raises(OSError, match="packed"), atomic_folder(tmp_path / "packed"):
        pass
    assert (tmp_path / "packed").read_text() == "a file"


def test_json_is_what_json_reads_and_never_holds_nan(tmp_path):
    value = {"name": "é \udcff", "numbers": [1, 2.5, None]}
    write_json(tmp_path / "value.json", value)
    assert json.loads((tmp_path / "value.json").read_text("utf-8")) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", float("nan"))
    assert json.loads((tmp_path / "value.json").read_text("utf-8")) == value


def read_rows(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_odd_names_survive_a_csv_and_keep_their_bytes_on_disk(tmp_path):
    write_csv(tmp_path / "odd.csv", [(name, "1") for name in ODD_NAMES])
    assert read_rows(tmp_path / "odd.csv") == [[name, "1"] for name in ODD_NAMES]
    assert b"\xff\xfe.jpg,1\n" in (tmp_path / "odd.csv").read_bytes()


ANY_NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


def test_the_pages_make_the_same_cells(tmp_path):
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run the pages' code")
    texts = ["=1", "plain", "\x1b[2J", "$'x'", "a\\b", "a\\b\x9b", "\u202ex", "-\x00", "'=q"]
    for page in ("serve/page/csv.js", "report/page.js"):
        code = (Path(fl.__file__).parent / "delivery" / page).read_text("utf-8")
        start, stop = code.index("const STEERS"), code.index("\n};", code.index("const cell")) + 3
        script = f"{code[start:stop]}\nconsole.log(JSON.stringify({json.dumps(texts)}.map(cell)))"
        told = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout
        assert json.loads(told) == [to_cell(text) for text in texts], page


@given(rows=st.lists(st.tuples(ANY_NAME, ANY_NAME), max_size=5))
def test_any_text_survives_a_csv(rows, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_csv(path, rows)
    assert [[from_cell(cell) for cell in row] for row in read_rows(path)] == [list(row) for row in rows]


def test_what_a_killed_process_left_is_swept_once_it_is_old(tmp_path):
    old, young = tmp_path / ".store.1-a.part", tmp_path / ".store.2-b.part"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    with atomic_folder(tmp_path / "store"):
        pass
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1.png",
        "@sum",
        "\tx",
        "'=quoted",
        "''-",
        "plain",
        "'s",
        "a=b",
        "",
        "5",
        "=\x1b",
        "$'x'",
        "a\x9b\\n",
    ],
)
def test_no_cell_is_a_formula_and_every_text_comes_back(text, tmp_path):
    with open_csv(tmp_path / "t.csv") as write_row:
        write_row((text, -1.5))
    with (tmp_path / "t.csv").open(newline="") as file:
        ((cell, number),) = csv.reader(file)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not {"\x1b", "\x9b", "\u202e"} & set(cell)
    assert from_cell(cell) == text
    assert number == "-1.5"
    assert (cell == text) == (text in ("plain", "'s", "a=b", "", "5"))


def test_only_regular_files_are_opened_and_the_reason_says_what_the_others_are(tmp_path):
    (tmp_path / "plain").write_bytes(b"a\r\nb")
    (tmp_path / "link").symlink_to("plain")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    assert read_regular(tmp_path / "plain") == read_regular(str(tmp_path / "link")) == b"a\r\nb"
    assert read_regular_text(tmp_path / "plain") == "a\nb"
    reasons = {
        tmp_path: "it is a folder, not a file",
        tmp_path / "pipe": "it is a named pipe, not a file",
        tmp_path / "socket": "it is a socket, not a file",
        "/dev/zero": "it is a device, not a file",
        "nul\0": "this is not a possible file name",
        tmp_path / "absent": "No such file or directory",
        tmp_path / "dangling": "it is a link to nowhere, which does not exist",
    }
    for path, reason in reasons.items():
        with pytest.raises(OSError, match=reason) as caught:
            read_regular(path)
        assert caught.value.strerror == reason
        assert caught.value.filename == os.fspath(path)


def test_a_file_that_is_exchanged_for_a_pipe_in_the_last_moment_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    regular = Path(__file__).stat()
    with monkeypatch.context() as lying:
        lying.setattr(os, "stat", lambda path: regular)
        with pytest.raises(OSError, match="named pipe"):
            open_regular(tmp_path / "pipe")
