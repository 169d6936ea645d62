"""What a process of a run is, by its command line and its parent."""

import pytest

from console.processes import role_of, started


@pytest.mark.parametrize(
    ("cmdline", "name"),
    [
        (["python3", "-m", "proxy", "--name", "ams-1"], "proxy"),
        (["python3", "-X", "dev", "-m", "console.app"], "console"),
        (["python3", "/venv/bin/locust", "-f", "loadtest/locustfile.py"], "locust"),
        (["/usr/bin/chromium"], "chromium"),
        ([], ""),
    ],
)
def test_what_was_started(cmdline: list[str], name: str) -> None:
    assert started(cmdline) == name


def test_roles() -> None:
    proxy = ["python3", "-m", "proxy"]
    assert role_of(proxy, "runner", False, False) == "front"
    assert role_of(proxy, "front", False, False) == "forkserver"
    assert role_of(proxy, "forkserver", True, False) == "inspector"
    assert role_of(["python3", "/venv/bin/badgateway", "demo"], "", False, True) == "runner"
    assert role_of(["python3", "anything.py", "tests/console"], "", False, True) == "runner"
    assert role_of(["/usr/bin/chromium"], "runner", False, False) == "other"
