"""Bad input is one line that names the fix."""

from pathlib import Path

import pytest

from deployer.config import Config, ConfigFault


def test_defaults() -> None:
    config = Config.load(["--store", "s.sqlite3"])
    assert config == Config("127.0.0.1", 8070, Path("s.sqlite3"))
    assert (config.soak_s, config.stuck_after_s, config.expect) == (600.0, 5.0, None)


def test_everything_given() -> None:
    asked = "--listen 0.0.0.0:0 --store s --expect a,b,,a --rules r.yaml --ready-fd 3"
    config = Config.load([*asked.split(), "--soak-s", "5", "--stuck-after-s", "1"])
    assert config == Config("0.0.0.0", 0, Path("s"), ("a", "b"), Path("r.yaml"), 3, 5.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--store"),
        ("--store s --listen 8070", "HOST:PORT"),
        ("--store s --listen a:99999", "HOST:PORT"),
        ("--store s --expect ,", "--expect ams-1,iad-2"),
        ("--store s --soak-s 0", "--soak-s 0"),
        ("--store s --soak-s nan", "--soak-s nan"),
        ("--store s --ready-fd x", "--ready-fd"),
        ("--store s --nonsense", "--nonsense"),
    ],
)
def test_faults(arguments: str, message: str) -> None:
    with pytest.raises(ConfigFault, match=message) as fault:
        Config.load(arguments.split())
    assert "\n" not in str(fault.value)
