"""What the documentation has to name is named there: drill keys, Make targets, commands."""

import re
from pathlib import Path

import msgspec
import pytest
from typer.main import get_command

from cli.main import app
from drills.drill import Drill, setting_keys

ROOT = Path(__file__).parent.parent
DRILLS = (ROOT / "docs" / "drills.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    "key", sorted({*setting_keys(), *(field.name for field in msgspec.structs.fields(Drill))})
)
def test_every_drill_key_is_documented(key: str) -> None:
    sections = {"traffic", "edge", "rules", "rollout", "timeline"}
    assert key in sections or re.search(rf"^\|.*`{re.escape(key)}`.*\|.*\|.*\|$", DRILLS, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(get_command(app).commands))  # type: ignore[attr-defined]
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"badgateway {command}" in README


def test_the_readme_points_at_what_exists() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README)
    local = [first or second for first, second in targets if not (first or second).startswith("http")]
    assert len(local) > 3
    assert not [target for target in local if not (ROOT / target).exists()]


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test"} <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]
