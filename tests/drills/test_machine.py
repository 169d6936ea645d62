"""The machine's examination: what is needed stops a drill, what is merely useful does not."""

import pytest

from drills import machine
from drills.machine import Finding, MachineUnfit, examine, require_fit


def test_this_machine_is_examined_in_full() -> None:
    names = [finding.name for finding in examine()]
    assert {"Linux", "kernel", "Python", "cores", "memory", "aiohttp", "locust", "docker"} <= set(names)


def test_what_is_needed_and_missing_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def few_cores():  # type: ignore[no-untyped-def]
        yield Finding("browser", "none", False, False, "get one")
        yield Finding("cores", "1", False, True, "at least 2 are needed")

    monkeypatch.setattr(machine, "CHECKS", (few_cores,))
    with pytest.raises(MachineUnfit, match="cores: 1; at least 2 are needed"):
        require_fit()


@pytest.mark.parametrize(
    ("check", "patch", "good"),
    [
        ("_cores", ("os.sched_getaffinity", lambda _: {0}), False),
        ("_cores", ("os.sched_getaffinity", lambda _: {0, 1}), True),
        ("_system", ("sys.platform", "darwin"), False),
        ("_memory", ("psutil.virtual_memory", lambda: type("M", (), {"available": 2**30})), False),
        ("_memory", ("psutil.virtual_memory", lambda: type("M", (), {"available": 2**33})), True),
    ],
)
def test_each_limit(monkeypatch: pytest.MonkeyPatch, check: str, patch: tuple[str, object], good: bool) -> None:
    monkeypatch.setattr(patch[0], patch[1])
    assert [finding.good for finding in getattr(machine, check)()][:1] == [good]
