"""What an edge node's admin port says, made to order."""

from contract.messages import Counters, HotRule, InspectorStatus, Report, RuleSetRef

V1 = RuleSetRef("1" * 64, 1)
V2 = RuleSetRef("2" * 64, 2)


def report(
    node: str = "ams-1",
    *,
    seq: int = 1,
    due: int = 0,
    uptime_s: float = 10.0,
    active: RuleSetRef = V1,
    kill_switch: bool = False,
    inspectors: tuple[InspectorStatus, ...] = (),
    inspector_cpu_s: float = 0.0,
    cpu_quota: float = 0.12,
    hottest: HotRule | None = None,
    pid: int = 1,
    **by_outcome: int,
) -> Report:
    return Report(
        node=node,
        seq=seq,
        uptime_s=uptime_s,
        epoch=1,
        active=active,
        kill_switch=kill_switch,
        kill_switch_local=False,
        draining=False,
        counters=Counters(due, 0, (0, 0), by_outcome, {}, {}),
        in_flight=0,
        oldest_in_flight_s=0.0,
        inspector_cpu_s=inspector_cpu_s,
        cpu_quota=cpu_quota,
        loop_lag_s=0.001,
        hottest=hottest,
        inspectors=inspectors,
        pid=pid,
    )
