"""Bad input ends the process with one line that names the fix, before anything is started."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from console.app import main
from console.options import BadInput, parse
from tests.fakes.outage import outage, write

ENDPOINTS = {"origins": "http://127.0.0.1:1", "deployer": "http://127.0.0.1:1", "console": "", "nodes": []}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--listen", "8090"], "--listen 8090: expected HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--ready-fd", "999"], "no such open descriptor"),
        (["--endpoints", "x.json"], "--endpoints and --record go together"),
        (["--endpoints", "missing.json", "--record", "y"], "missing.json: No such file"),
        (["--speed", "0"], "--speed 0: expected"),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_broken_endpoints_file_names_the_key(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.json"
    file.write_text(json.dumps({**ENDPOINTS, "nodes": [{"name": "ams-1"}]}))
    with pytest.raises(BadInput, match=r"missing required field `edge`.*nodes"):
        parse(["--endpoints", str(file), "--record", str(tmp_path)])
    file.write_text(json.dumps(ENDPOINTS))
    with pytest.raises(BadInput, match="watches nothing"):
        parse(["--endpoints", str(file), "--record", str(tmp_path), "--replay", str(tmp_path)])


def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--listen", "127.0.0.1:0", "--replay", str(tmp_path)]) == 2
    assert "is not a recorded run: it has no run.json" in capsys.readouterr().err


def test_a_busy_port_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--listen", f"127.0.0.1:{port}"]) == 2
    assert capsys.readouterr().err == (
        f"error: 127.0.0.1:{port} is in use; end what listens there or choose another port with --listen\n"
    )


@contextmanager
def process(*argv: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`python -m console` and the address it said it answers at."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "console", "--listen", "127.0.0.1:0", "--ready-fd", str(writing), *argv]
    child = subprocess.Popen(command, pass_fds=(writing,), cwd=Path(__file__).parents[2])
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as ready:
            yield child, json.loads(ready.read())["urls"]["console"]
    finally:
        child.kill()
        child.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_clean_also_with_an_open_page(tmp_path: Path, number: int) -> None:
    with process("--replay", str(write(tmp_path, outage()))) as (child, url):
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=5) as page:
            page.sendall(b"GET /feed HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in page.recv(65536)
            child.send_signal(number)
            assert child.wait(timeout=5) == 0
