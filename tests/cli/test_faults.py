"""What the user or the machine caused is one line; what we caused is raised."""

import errno
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from firstlight.cli import main
from firstlight.cli.entry import interrupted
from firstlight.cli.faults import reason_of
from firstlight.errors import RecipeError, RunError


class OutOfMemoryError(RuntimeError):
    """As torch has it."""


def chained(cause):
    try:
        try:
            raise cause
        except type(cause) as error:
            raise ValueError("somewhere above") from error
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "not enough memory"),
        (chained(MemoryError()), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "enough memory"),
        (RuntimeError("can't start new thread"), "no other thread can be started here; .*ulimit -u"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OutOfMemoryError("CUDA out of memory"), "the GPU does not have enough memory"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "not enough memory"),
        (ModuleNotFoundError("No module", name="onnxruntime.quantization"), r"pip install 'firstlight\[export\]'"),
        (ModuleNotFoundError("No module", name="tensorboard"), "tensorboard is not installed; pip install tensorboard"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "runs/a"), "runs/a: No such file or directory"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (RecipeError("it is wrong", field="img_size", value=3), "--img-size 3: it is wrong"),
    ],
)
def test_what_the_machine_caused_is_one_line_with_a_remedy(error, expected):
    assert re.search(expected, reason_of(error))


@pytest.mark.parametrize(
    "ours",
    [
        RuntimeError("shapes differ"),
        ValueError("no"),
        RecursionError(),
        OSError(errno.EBADF, "Bad file descriptor"),
        KeyError("x"),
        ModuleNotFoundError("", name="firstlight.gone"),
    ],
)
def test_what_we_caused_is_not_explained_away(ours, monkeypatch):
    assert reason_of(ours) is None

    def fail(_):
        raise ours

    monkeypatch.setattr("firstlight.cli.entry.run", fail)
    with pytest.raises(type(ours)):
        main(["check"])


def test_a_package_that_cannot_be_imported_is_named(monkeypatch, capsys, here_is_a_set):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["check", str(here_is_a_set)]) == 2
    assert "pyarrow is not installed; pip install pyarrow" in capsys.readouterr().err


@pytest.fixture
def here_is_a_set(tmp_path):
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    return tmp_path / "list.parquet"


def test_a_folder_that_was_removed_is_said_to_be_gone(tmp_path, monkeypatch, capsys):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["check", "digits"]) == 2
    assert "the current folder no longer exists" in capsys.readouterr().err
    assert main(["--version"]) == 0


def test_an_answer_that_cannot_be_written_is_an_error(monkeypatch, capsys):
    full = Path("/dev/full").open("w")  # noqa: SIM115 - closing it fails as well
    monkeypatch.setattr(sys, "stdout", full)
    assert main(["--version"]) == 2
    assert "cannot be written to standard output: No space left" in capsys.readouterr().err
    with suppress(OSError):
        full.close()


@pytest.mark.parametrize("words", [["check", "x" * 100_000], ["train", "digits", "--model", "m" * 100_000]])
def test_a_message_stays_short_enough_to_read(words, capsys):
    assert main(words) == 2
    assert len(capsys.readouterr().err) < 1600


def test_deep_nesting_is_one_line_that_names_the_file(tmp_path, capsys):
    (tmp_path / "deep.toml").write_text("a=" + "[" * 100_000)
    assert main(["train", "--recipe", str(tmp_path / "deep.toml")]) == 2
    assert "deep.toml: it is nested too deeply" in capsys.readouterr().err


def test_what_failed_because_of_an_interrupt_is_told_with_it(capsys):
    assert interrupted(RunError("the disk is full; free some room")) == 130
    assert capsys.readouterr().err == "firstlight: interrupted; the disk is full; free some room\n"
