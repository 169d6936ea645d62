"""What the reports say about the fleet, asked once a batch: pages, verdicts, and who burns. Pure.

The alarm is always on: it pages without a rollout, and for one whose guard is off. It decides only for a
rollout that asked for it and that nobody has decided about: a rollback, once begun, disarms it.
"""

from typing import Any

from analysis.guard import AbsoluteGuard, Edge, Observation, describe, describe_hot, describe_window
from analysis.hot_rules import HotRules
from analysis.promotion import SoakEvidence, judge_soak
from contract.messages import Guard, Report
from contract.vocabulary import EventKind, RolloutState, Verdict
from deployer.batches import Batch, Batcher
from deployer.events import Journal, Judged
from deployer.rollout import ARMED, Rollout

#: The name under which the guard decides.
ABSOLUTE_GUARD = "absolute_guard"
#: After a rollback, requests that waited and windows that still hold the wall are no new alarm.
REARM_AFTER_S = 10.0


class Watch:
    """Feed `report`s; `tick` once a batch; `evidence` for whoever decides."""

    def __init__(self) -> None:
        self._batcher = Batcher()
        self._hot = HotRules()
        self._alarm: AbsoluteGuard | None = None
        self._alarm_for: tuple[int, bool] | None = None
        self._soak = SoakEvidence()
        self._soak_since: float | None = None

    def report(self, t: float, report: Report) -> None:
        self._batcher.observe(t, report)
        self._hot.observe(t, report.node, report.hottest)

    def evidence(self, t: float) -> dict[str, Any]:
        """The direct evidence, for a decision's data: culprit_rule, held_s."""
        hot = self._hot.hottest(t)
        if hot is None:
            return {"culprit_rule": None, "held_s": None}
        return {"culprit_rule": hot.rule, "held_s": hot.held_s, "held_on_nodes": hot.nodes}

    def tick(self, t: float, rollout: Rollout | None) -> list[Journal | Judged]:
        """Close the batch at `t`; what is to be journalled and judged, in order."""
        batch = self._batcher.close(t)
        self._count_soak(batch, rollout)
        self._arm(t, rollout)
        if self._alarm is None:
            return []
        seen = self._alarm.observe(t, batch.due, batch.bad)
        found: list[Journal | Judged] = []
        if seen.edge is not None:
            found.append(self._edge(t, seen, self._alarm.guard, rollout, batch))
        if rollout is not None and rollout.state in ARMED and rollout.guard is not None:
            verdict = self._verdict(t, seen, rollout, rollout.guard)
            if verdict is not None:
                found.append(verdict)
        return found

    def _arm(self, t: float, rollout: Rollout | None) -> None:
        """A new alarm for a new rollout, and none while one is being reverted or has just been."""
        state = None if rollout is None else rollout.state
        just_reverted = (
            rollout is not None
            and state is RolloutState.REVERTED
            and 0 <= t - rollout.since < REARM_AFTER_S
        )  # fmt: skip
        if state in (RolloutState.REVERTING, RolloutState.STUCK) or just_reverted:
            self._alarm = self._alarm_for = None
            return
        armed_for = (0 if rollout is None else rollout.id, state in ARMED)
        if self._alarm is None or self._alarm_for != armed_for:
            guard = rollout.guard if rollout is not None and state in ARMED else None
            self._alarm, self._alarm_for = AbsoluteGuard(guard or Guard()), armed_for

    def _count_soak(self, batch: Batch, rollout: Rollout | None) -> None:
        if rollout is None or rollout.state is not RolloutState.BAKING:
            return
        if self._soak_since != rollout.since:
            self._soak, self._soak_since = SoakEvidence(), rollout.since
        self._soak = self._soak.add(batch.due, batch.bad)

    def _verdict(self, t: float, seen: Observation, rollout: Rollout, guard: Guard) -> Judged | None:
        # The sequential test between canary and control gives its verdict here, where a stage has a control.
        if seen.verdict is Verdict.FAIL:
            why = describe(seen, guard, self._hot.hottest(t))
            return Judged(t, Verdict.FAIL, why, ABSOLUTE_GUARD, self.evidence(t))
        if rollout.state is RolloutState.ANALYSING and seen.breached_for_s == 0 and seen.edge is None:
            verdict, why = judge_soak(self._soak)
            return Judged(t, verdict, why, "soak")
        return None

    def _edge(self, t: float, seen: Observation, guard: Guard, rollout: Rollout | None, batch: Batch) -> Journal:
        data = {
            "bad": seen.bad,
            "due": seen.due,
            "above": guard.above,
            "for_s": guard.for_s,
            "rollout": None if rollout is None or rollout.state not in ARMED else rollout.id,
            "silent": list(batch.silent),
            **self.evidence(t),
        }
        if seen.edge is Edge.CLEARED:
            text = f"no longer above {guard.above * 100:g} %: {describe_window(seen)}"
            return Journal(EventKind.CLEARED, text, data)
        text = f"{describe_window(seen)}, above {guard.above * 100:g} %; {describe_hot(self._hot.hottest(t))}"
        if rollout is not None and rollout.state is RolloutState.REVERTED:
            text += f"; every node runs {rollout.previous.label} again and the service is still bad"
        elif rollout is not None and rollout.state in ARMED and rollout.guard is None:
            text += "; the guard is off, so nothing is rolled back without a person"
        return Journal(EventKind.PAGE, text, data)
