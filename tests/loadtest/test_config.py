import json
from pathlib import Path

import pytest

from loadtest.config import VARIABLES, Config, ConfigError, load
from loadtest.schedule import DEFAULT_RATE_PER_S


def endpoints(**changes: object) -> dict[str, object]:
    node = {"name": "ams-1", "edge": "http://127.0.0.1:1", "admin": "http://127.0.0.1:2"}
    base: dict[str, object] = {"origins": "", "deployer": "", "console": "http://127.0.0.1:3", "nodes": [node]}
    return base | changes


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "endpoints.json"
    path.write_text(json.dumps(endpoints()))
    return {"BADGATEWAY_ENDPOINTS": str(path)}


def test_defaults(env: dict[str, str]) -> None:
    config = load(env)
    assert (config.seed, config.rate_per_s, config.duration_s) == (1, DEFAULT_RATE_PER_S, None)
    assert (config.log_dir, config.ready_fd, config.console) == (None, None, "http://127.0.0.1:3")
    assert config.nodes[0].name == "ams-1"


def test_every_variable_is_read(env: dict[str, str], tmp_path: Path) -> None:
    env |= {
        "BADGATEWAY_SEED": "0",
        "BADGATEWAY_RATE": "12.5",
        "BADGATEWAY_DURATION_S": "3",
        "BADGATEWAY_LOG_DIR": str(tmp_path),
        "BADGATEWAY_CONSOLE": "http://127.0.0.1:9/",
        "BADGATEWAY_READY_FD": "5",
    }
    assert set(env) == set(VARIABLES)
    config = load(env)
    assert config == Config(config.nodes, 0, 12.5, 3.0, tmp_path, "http://127.0.0.1:9", 5)


def test_an_empty_console_is_none(env: dict[str, str]) -> None:
    assert load(env | {"BADGATEWAY_CONSOLE": ""}).console is None


def test_a_missing_file_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"runs/up/endpoints\.json is missing: start the stack with `badgateway up`"
    ):
        load({})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"nodes": []}, "lists no nodes"),
        ({"nodes": [{"name": "lhr-1", "edge": "http://a", "admin": "http://a"}]}, "lhr-1"),
        ({"nodes": [{"name": "ams-1", "edge": "ftp://a", "admin": "http://a"}]}, "ams-1 needs http"),
        ({"nodes": 3}, "not an endpoints file"),
    ],
)
def test_faults_of_the_file_are_named(
    env: dict[str, str], tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints(**changes)))
    with pytest.raises(ConfigError, match=word):
        load(env)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BADGATEWAY_SEED", "x"),
        ("BADGATEWAY_RATE", "fast"),
        ("BADGATEWAY_RATE", "0"),
        ("BADGATEWAY_RATE", "nan"),
        ("BADGATEWAY_DURATION_S", "-1"),
        ("BADGATEWAY_DURATION_S", "inf"),
        ("BADGATEWAY_LOG_DIR", "/no/such/folder"),
        ("BADGATEWAY_CONSOLE", "127.0.0.1:9"),
        ("BADGATEWAY_READY_FD", "five"),
    ],
)
def test_faults_of_a_variable_name_it_in_one_line(env: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as fault:
        load(env | {name: value})
    assert "\n" not in str(fault.value)
