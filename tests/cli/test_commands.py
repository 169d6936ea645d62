"""The command's words: bad input is one line on stderr and exit code 2, and starts nothing."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli import main
from drills.observer import Observer
from tests.fakes.processes import left_over, new_marker, with_marker

BADGATEWAY = str(Path(sys.executable).parent / "badgateway")

REFUSED: dict[tuple[str, ...], str] = {
    ("drill", "cloudfare-2019"): "no drill 'cloudfare-2019'; nearest: cloudflare-2019",
    ("drill", "cloudflare-2019", "--set", "engin=linear"): "nearest: engine",
    ("drill", "cloudflare-2019", "--set", "engine=quick"): "$.engine",
    ("drill", "cloudflare-2019", "--set", "rules.push=missing.yaml"): "missing.yaml: No such file",
    ("drill", "cloudflare-2019", "--attach", "missing.json"): "badgateway up",
    ("replay", "nothing"): "no run 'nothing'",
    ("report", "../../etc"): "no run folder",
    ("fleet", "--api", "http://127.0.0.1:9"): "http://127.0.0.1:9",
}


def run(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    marker = new_marker()
    done = subprocess.run(
        [BADGATEWAY, *words], cwd=tmp_path, env=with_marker(marker), capture_output=True, text=True, timeout=60
    )
    assert not left_over(marker, within_s=5)
    return done


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_bad_input_is_one_line_and_starts_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2
    assert REFUSED[words] in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("role", ["healthy", "push"])
def test_a_rule_that_does_not_compile_is_refused_before_anything_starts(tmp_path: Path, role: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\nrules: [{id: waf-1, pattern: 'a(b', targets: [uri]}]\n")
    done = run(tmp_path, "drill", "cloudflare-2019", "--set", f"rules.{role}=bad.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("error: rule set bad.yaml: rule waf-1: pattern does not compile at position 1")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(tmp_path, "drill", "cloudflare-2019", "--page-port", str(port))
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert not list(tmp_path.rglob("*.log"))


def test_the_list_and_the_doctor_speak(tmp_path: Path) -> None:
    assert "cloudflare-2019" in run(tmp_path, "drills").stdout
    doctor = run(tmp_path, "doctor")
    assert "cores" in doctor.stdout
    assert doctor.returncode in (0, 2)


@pytest.mark.parametrize("command", ["drill", "replay", "deploy", "rollback", "up"])
def test_help_has_an_example(tmp_path: Path, command: str) -> None:
    assert f"example: badgateway {command}" in " ".join(run(tmp_path, command, "--help").stdout.split())


def test_a_console_that_goes_away_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever ends the console while a run is replayed reads why, not a traceback."""

    async def lost() -> None:
        async with Observer("http://127.0.0.1:9") as observer:
            await observer.view()

    with pytest.raises(typer.Exit) as ended:
        main._run(lost())
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the console at http://127.0.0.1:9 does not answer")
    assert len(said.strip().splitlines()) == 1
