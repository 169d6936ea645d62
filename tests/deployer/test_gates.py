"""Every gate refuses in one line that names gate and place."""

import pytest

from deployer.gates import GATES, MAX_SET_BYTES, pass_gates
from rules.model import RuleSetError

_RULE = "name: x\nrules:\n  - {id: r-1, pattern: '%s', targets: [uri]}\n"


def test_a_sound_set_passes() -> None:
    assert [rule.id for rule in pass_gates((_RULE % "a+").encode()).rules] == ["r-1"]


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (b"name: x\nrules: []\n", r"^schema gate: .*\$\.rules"),
        (b"name: [", r"^schema gate: not valid YAML"),
        ((_RULE % "(").encode(), r"^compile gate: rule r-1: pattern does not compile at position 0"),
        (b"#" * (MAX_SET_BYTES + 1), r"^size gate: .* fit twice into an assignment"),
    ],
)
def test_faults_name_gate_and_place(yaml: bytes, message: str) -> None:
    with pytest.raises(RuleSetError, match=message) as fault:
        pass_gates(yaml)
    assert "\n" not in str(fault.value)


def test_the_gates_are_a_visible_list() -> None:
    assert [gate.name for gate in GATES] == ["size", "schema", "compile"]
