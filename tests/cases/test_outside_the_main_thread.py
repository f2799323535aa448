"""The command line works in a thread that is not the main one, where no signal handler can be set."""

from concurrent.futures import ThreadPoolExecutor

from firstlight.cli import main


def test_a_command_runs_in_another_thread(capsys):
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(main, ["check", "digits"]).result() == 0
        assert threads.submit(main, ["chek", "digits"]).result() == 2
    shown = capsys.readouterr()
    assert "1,797 pictures" in shown.out
    assert shown.err == "firstlight: there is no command chek; did you mean check?\n"
