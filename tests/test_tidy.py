"""House rules as tests: the arrows between packages, docstrings of modules, words that must not come in."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Package → what it may import of ours. `deployer.client` alone is the deployer's door.
ARROWS: dict[str, set[str]] = {
    "contract": set(),
    "rules": {"contract"},
    "analysis": {"contract"},
    "proxy": {"rules", "contract"},
    "origins": {"contract"},
    "deployer": {"rules", "analysis", "contract"},
    "loadtest": {"contract"},
    "console": {"contract"},
    "drills": {"contract", "analysis", "deployer.client"},
    "cli": {"drills", "analysis", "contract", "deployer.client"},
}
MODULES = sorted(path for package in ARROWS for path in (ROOT / package).rglob("*.py"))
UNSPECIFIC = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def ours(module: str) -> bool:
    return module.partition(".")[0] in ARROWS


def allowed(package: str, module: str) -> bool:
    may = ARROWS[package] | {package}
    return any(module == door or module.startswith(f"{door}.") for door in may)


def test_every_package_was_looked_at() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(declared) == set(ARROWS)
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(ARROWS)
    assert len(MODULES) > 80


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_keeps_to_the_arrows_and_says_what_it_is(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    wrong = sorted(module for module in imports_of(path) if ours(module) and not allowed(package, module))
    # `from deployer import client` would pass the door unseen: only `deployer.client` itself opens it.
    assert not wrong
    assert ast.get_docstring(ast.parse(path.read_text())), "a module says in a docstring what it is"
    assert path.stem not in UNSPECIFIC


def test_an_arrow_that_is_missing_would_be_seen() -> None:
    assert not allowed("deployer", "proxy.node")
    assert not allowed("drills", "deployer.store")
    assert not allowed("drills", "deployer")
    assert allowed("drills", "deployer.client")


def test_locust_is_imported_in_one_package_only() -> None:
    users = {
        path.relative_to(ROOT).parts[0]
        for path in MODULES
        if any(name.partition(".")[0] == "locust" for name in imports_of(path))
    }
    assert users == {"loadtest"}


def test_no_loose_ends() -> None:
    marks = re.compile(r"\b(FIX" + r"ME|XX" + r"X|TO" + r"DO)\b")
    texts = [*MODULES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.py")]
    assert not [str(path) for path in texts if marks.search(path.read_text())]


def test_the_architecture_page_stays_under_two_screens() -> None:
    assert len((ROOT / "ARCHITECTURE.md").read_text().splitlines()) < 100
