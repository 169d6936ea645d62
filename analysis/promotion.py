"""Whether a finished soak is evidence enough to call a rule set the last known good.

The absolute guard only sees walls; a set may not become the last known good because it failed less than half
of all requests. This is the plain ratio over the whole soak; the sequential form, with stages, comes with the
test against a control group. UNKNOWN never promotes.
"""

from dataclasses import dataclass

from contract.vocabulary import Verdict

#: A bad ratio that nobody would call good.
BELOW = 0.02
#: About what it takes to tell a clean fleet from one that fails 2 % of its requests.
MIN_DUE = 175


@dataclass(frozen=True, slots=True)
class SoakEvidence:
    """Requests that reached their verdict while every node ran the set, and how many of them failed."""

    due: int = 0
    bad: int = 0

    def add(self, due: int, bad: int) -> "SoakEvidence":
        return SoakEvidence(self.due + due, self.bad + bad)


def judge_soak(evidence: SoakEvidence) -> tuple[Verdict, str]:
    """PASS or UNKNOWN, and why. It never says FAIL: reverting needs more than a lack of proof."""
    seen = f"{evidence.bad:,} of {evidence.due:,} requests failed during the soak"
    if evidence.due < MIN_DUE:
        return Verdict.UNKNOWN, f"too little evidence: {seen}, and {MIN_DUE} requests are needed"
    if evidence.bad / evidence.due >= BELOW:
        return Verdict.UNKNOWN, f"{seen}, not below {BELOW * 100:g} %"
    return Verdict.PASS, f"{seen}, below {BELOW * 100:g} %"
