"""`python -m rules FILE…`: parses and compiles rule sets, as every node does before it runs one.

Says nothing and ends with 0 when all are good; otherwise one line for each bad one on stderr, and 2. `-` is
standard input.
"""

import sys
from pathlib import Path

from rules.compile import compile_rule_set
from rules.model import RuleSetError
from rules.parse import parse


def main(names: list[str]) -> int:
    if not names or names[0] in ("-h", "--help"):
        print("usage: python -m rules FILE…\nexample: python -m rules drills/rulesets/managed.yaml")
        return 0 if names else 2
    faults = [fault for name in names if (fault := _fault(name)) is not None]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 2 if faults else 0


def _fault(name: str) -> str | None:
    try:
        yaml = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        compile_rule_set(parse(yaml))
    except OSError as fault:
        return f"{name}: {fault.strerror}"
    except RuleSetError as fault:
        return str(fault) if name == "-" else f"{name}: {fault}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
