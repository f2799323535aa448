"""The command as a process: what rank 0 does for all that torchrun has started."""

import sys
from types import SimpleNamespace

import pytest

from firstlight import __main__ as command


@pytest.mark.parametrize("rank", ["0", "1"])
def test_other_processes_say_nothing_and_wait_for_rank_0_to_tell_what_is_wrong(rank, monkeypatch, capsys):
    launched = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
    for name, value in (launched | {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    waited, silent, words = [], [], []
    monkeypatch.setattr(sys, "argv", ["firstlight", "train", "--no-such-option", "--json"])
    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setattr(command, "receive_signals", lambda: None)
    monkeypatch.setattr(command, "tell_nothing", lambda: silent.append(True))
    monkeypatch.setattr(command, "last_words", words.append)
    monkeypatch.setattr(command, "leave", sys.exit)
    with pytest.raises(SystemExit, match="2"):
        command.main()
    leads = rank == "0"
    assert waited == ([] if leads else [command.LEADER_SECONDS])
    assert silent == ([] if leads else [True])
    assert words == [b'{"error": "interrupted"}\n' if leads else b""]
    assert ("no option" in capsys.readouterr().err) == leads
