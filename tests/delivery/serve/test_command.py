"""The command with a token, as a process: what it tells, what it keeps to itself, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from firstlight.cli import main

TOKEN = "a-secret-of-the-tests-0123456789"


@pytest.mark.slow
def test_the_token_is_told_to_nobody_and_slow_clients_do_not_keep_it_from_ending(digit_run, digit_folder):
    command = [sys.executable, "-m", "firstlight", "serve", str(digit_run.folder), "--port", "0", "--engine", "torch"]
    environment = {**os.environ, "FIRSTLIGHT_TOKEN": TOKEN}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=digit_folder
    )
    try:
        while "http://127.0.0.1:" not in (line := process.stderr.readline()):
            assert line, "it has ended"
        port = int(line.partition("127.0.0.1:")[2].split()[0])
        told = line
        picture = sorted(digit_folder.glob("*/*.png"))[0].read_bytes()
        statuses = []
        for token in (TOKEN, TOKEN[:-1], ""):
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/predict", picture, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            statuses.append(response.status)
            told += response.read().decode()
            connection.close()
        assert statuses == [200, 401, 401]
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for number, one in enumerate(slow):
            one.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX: " if number % 2 else b"G")
        assert TOKEN.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert TOKEN[:-1] not in out + err + told
        assert "Traceback" not in err
        for one in slow:
            one.close()
    finally:
        process.kill()


def test_a_host_that_others_can_reach_needs_a_token_that_is_long(digit_run, monkeypatch, capsys):
    monkeypatch.delenv("FIRSTLIGHT_TOKEN", raising=False)
    serve = ["serve", str(digit_run.folder), "--port", "0"]
    assert main([*serve, "--host", "0.0.0.0"]) == 2
    assert "firstlight: --host 0.0.0.0: other machines can reach this address" in capsys.readouterr().err
    monkeypatch.setenv("FIRSTLIGHT_TOKEN", "short")
    assert main(serve) == 2
    assert "too short to be safe" in (told := capsys.readouterr().err)
    assert "short:" not in told
    monkeypatch.setenv("FIRSTLIGHT_TOKEN", TOKEN)
    assert main([*serve, "--allow-host", "http://x"]) == 2
    assert "--allow-host http://x: give the name of a host" in capsys.readouterr().err
