"""Whole nodes as processes: real inspectors, real rules, real signals."""

import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import psutil
import pytest

from contract.vocabulary import Pool
from proxy.config import ConfigError, parse_args
from tests.proxy.nodes import BAD, CULPRIT, DANGEROUS, MANAGED, NodeProcess, ThreadedOrigin, run, until

pytestmark = pytest.mark.slow
TOKEN = {"Authorization": "Bearer break-it"}


@pytest.fixture(scope="module")
def origin():
    threaded = ThreadedOrigin()
    yield threaded
    threaded.stop()


@pytest.fixture(scope="module")
def managed(origin, tmp_path_factory):
    """One healthy node for the tests that leave it healthy."""
    node = NodeProcess(
        "--origin", origin.url, "--rules", MANAGED, "--log-dir", str(tmp_path_factory.mktemp("logs")),
        env={"BADGATEWAY_BREAK_GLASS_TOKEN": "break-it"},
    )  # fmt: skip
    yield node
    node.stop()


@pytest.fixture
def start(origin):
    """Starts nodes that the test may ruin."""
    nodes = []

    def start(*flags, **options):
        nodes.append(NodeProcess("--origin", origin.url, *flags, **options))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()
        until(lambda node=node: not node.descendants, "no process is left")


def burn(node, requests=24):
    """Dangerous posts, all at once. Returns their statuses, as they come in (0: reset), and the threads."""
    statuses = []

    def post():
        try:
            statuses.append(node.ask("/", DANGEROUS)[0])
        except OSError:
            statuses.append(0)

    threads = [threading.Thread(target=post) for _ in range(requests)]
    for thread in threads:
        thread.start()
    return statuses, threads


# ---- a healthy node ----


def test_a_script_argument_is_blocked_and_an_ordinary_one_is_not(managed, origin):
    before = managed.status().counters
    assert managed.ask("/search?q=shoes")[0] == 200
    status, headers, page = managed.ask("/search?q=%3Cscript%3E")
    assert (status, headers["X-Edge-Node"]) == (403, "ams-1")
    assert headers["X-Request-Id"].encode() in page
    assert managed.ask("/", b"<script src=x>")[0] == 403
    assert "/search?q=%3Cscript%3E" not in origin.paths
    after = managed.status().counters
    assert after.by_outcome["blocked"] - before.by_outcome.get("blocked", 0) == 2
    assert after.by_reason["rule_matched"] - before.by_reason.get("rule_matched", 0) == 2
    assert after.hits_by_rule["waf-xss-0010"] - before.hits_by_rule.get("waf-xss-0010", 0) == 2
    assert after.due - before.due == 3


def test_a_healthy_node_judges_even_the_dangerous_body(managed):
    assert managed.ask("/", DANGEROUS)[0] == 200


def test_status_and_metrics_say_the_same(managed):
    managed.ask("/")
    report = managed.status()
    text = managed.admin_ask("/metrics")[1].decode()
    assert managed.admin_ask("/ready") == (200, b"ready\n")
    assert f'outcome="ok",reason="proxied"}} {float(report.counters.by_outcome["ok"])}' in text
    assert f'badgateway_edge_rule_set_info{{digest="{report.active.digest}",version="v0"}} 1.0' in text
    assert {inspector.pool for inspector in report.inspectors} == set(Pool)
    assert all(inspector.alive for inspector in report.inspectors)
    assert report.draining is False


def test_the_break_glass_switch_needs_its_token_and_holds_until_released(managed):
    def order(on, headers=TOKEN):
        return managed.admin_ask("/kill-switch", json.dumps({"on": on, "by": "test"}), headers)[0]

    assert order(True, {}) == 401
    assert order(True, {"Authorization": "Bearer guess"}) == 401
    assert managed.admin_ask("/kill-switch", b"{", TOKEN)[0] == 400
    assert not managed.status().kill_switch
    assert order(True) == 200
    report = managed.status()
    assert (report.kill_switch, report.kill_switch_local) == (True, True)
    assert managed.ask("/?q=<script>")[0] == 200
    assert order(False) == 200
    assert managed.ask("/?q=<script>")[0] == 403


@pytest.mark.parametrize("pool", list(Pool))
def test_a_killed_inspector_is_replaced_and_requests_go_on(managed, pool):
    (victim,) = [inspector for inspector in managed.status().inspectors if inspector.pool is pool]
    cpu_s = managed.status().inspector_cpu_s
    os.kill(victim.pid, signal.SIGKILL)
    assert managed.ask("/")[0] == 200

    def replaced():
        pids = {inspector.pid for inspector in managed.status().inspectors if inspector.pool is pool}
        return pids and victim.pid not in pids

    until(replaced, f"another {pool} inspector")
    assert managed.ask("/?q=<script>")[0] == 403
    assert managed.status().inspector_cpu_s >= cpu_s


# ---- the outage ----


@pytest.fixture
def burning(start):
    """A node of the outage, both of its pools inside the 2019 rule."""
    node = start("--rules", BAD, "--cpu-quota", "0.12", "--inspection-deadline", "0.4")
    statuses, threads = burn(node)
    yield node, statuses, threads
    for thread in threads:
        thread.join()


def test_the_2019_rule_takes_both_pools_down_and_the_front_names_it(burning):
    node, statuses, threads = burning
    hot_pools, answers_s = set(), []
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        report = node.status()
        answers_s.append(time.monotonic() - started)
        if report.hottest is not None:
            assert report.hottest.rule == CULPRIT
            hot_pools.add(report.hottest.pool)
    assert statuses.count(502) >= 20
    assert set(statuses) <= {502, 200}
    report = node.status()
    assert report.counters.bad == report.counters.by_outcome["bad_gateway"] == statuses.count(502)
    assert set(report.counters.by_reason) <= {"inspection_timeout", "inspection_queue_full", "proxied"}
    assert sorted(answers_s)[len(answers_s) // 2] < 0.25, "the front answers while its inspectors burn"
    assert all(inspector.in_flight for inspector in report.inspectors), (
        "both pools hold what they could not judge"
    )
    assert hot_pools
    assert report.hottest.held_s > 0.4
    assert node.ask("/")[0] == 502, "and so nobody is served"


def test_inspectors_stay_within_their_quota_while_they_burn(burning):
    node, _, _ = burning
    until(
        lambda: node.status().inspector_cpu_s > 0.15, "what was saved up and the first look's overshoot are spent"
    )
    first = node.status()
    until(lambda: node.status().uptime_s - first.uptime_s > 1.5, "a second and a half")
    last = node.status()
    share = (last.inspector_cpu_s - first.inspector_cpu_s) / (last.uptime_s - first.uptime_s)
    assert 0.06 < share < 0.18


def test_an_answer_of_the_linear_engine_takes_no_notice_of_the_text(start, tmp_path):
    """The same pattern, matched in linear time."""
    text = Path(BAD).read_text().replace("    # The exact", "    engine: linear\n    # The exact")
    (tmp_path / "linear.yaml").write_text(text)
    node = start("--rules", str(tmp_path / "linear.yaml"), "--cpu-quota", "0.5")
    statuses, threads = burn(node, 12)
    for thread in threads:
        thread.join()
    assert statuses == [200] * 12


def test_a_standby_with_no_rules_of_its_own_can_be_left_out(start):
    node = start("--rules", MANAGED, "--standby", "none", "--inspectors", "2")
    assert [inspector.pool for inspector in node.status().inspectors] == [Pool.PRIMARY] * 2
    assert node.ask("/?q=<script>")[0] == 403


# ---- ends ----


def test_a_front_that_is_killed_takes_its_processes_with_it(start):
    node = start("--rules", MANAGED)
    family = node.descendants
    assert len(family) == 3
    node.kill()
    until(lambda: not node.descendants, "no forkserver and no inspector is left")


def test_also_while_its_inspectors_are_stopped(burning):
    node, _, threads = burning
    for thread in threads:
        thread.join()
    inspectors = [psutil.Process(inspector.pid) for inspector in node.status().inspectors]

    def stopped():
        return all(inspector.status() == psutil.STATUS_STOPPED for inspector in inspectors)

    until(stopped, "the quota stops them")
    os.kill(node.pid, signal.SIGSTOP)  # or it would let them go on before it dies
    assert stopped()
    node.kill()
    until(lambda: not node.descendants, "no forkserver and no inspector is left")


def test_sigterm_ends_a_node_at_once_also_while_it_burns(burning):
    node, _, _ = burning
    idle = socket.create_connection((node.edge.hostname, node.edge.port))
    slow_admin = socket.create_connection((node.admin.hostname, node.admin.port))
    slow_admin.sendall(b"GET /status HTTP/1.1\r\nHost: a\r\n")
    took_s, errors = node.stop()
    assert took_s < 2.0
    assert errors == ""
    idle.close()
    slow_admin.close()


def test_sigint_ends_it_too(start):
    node = start("--rules", MANAGED)
    os.kill(node.pid, signal.SIGINT)
    assert node._process.wait(timeout=5) == 0


def test_a_node_whose_forkserver_died_says_so_and_goes_on_without_judging(start):
    node = start("--rules", MANAGED, "--on-inspection-failure", "allow")
    (forkserver,) = psutil.Process(node.pid).children()
    forkserver.kill()
    until(lambda: not node.status().inspectors, "its inspectors went with it")
    assert node.ask("/?q=<script>")[0] == 200
    node._process.terminate()
    _, errors = node._process.communicate(timeout=5)
    assert b"the forkserver has ended: restart this node" in errors


# ---- starts that fail: one line, exit code 2, nothing left ----

RULES = "name: x\nrules:\n  - {id: broken, pattern: '%s', targets: [uri]}\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (RULES % "(a", ["rule broken", "position 0"]),
        (RULES % "a(?<b)", ["rule broken", "position"]),
        ("name: [", ["not valid YAML"]),
        ("name: x\nrules: []\n", ["at least one rule"]),
    ],
)
def test_rules_that_do_not_work(tmp_path, content, words):
    (tmp_path / "rules.yaml").write_text(content)
    code, errors = run(
        "--origin", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0",
        "--rules", str(tmp_path / "rules.yaml"),
    )  # fmt: skip
    assert code == 2
    assert errors.count("\n") == 1
    for word in ("error: ", "rules.yaml", *words):
        assert word in errors


@pytest.mark.parametrize("flag", ["--listen", "--admin"])
def test_a_port_in_use(flag):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = {"--listen": "127.0.0.1:0", "--admin": "127.0.0.1:0", flag: address}
        code, errors = run("--origin", "http://127.0.0.1:1", *(word for pair in flags.items() for word in pair))
    assert (code, errors) == (2, f"error: {address} is in use; end what listens there or choose another port\n")


def test_a_log_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    code, errors = run("--origin", "http://127.0.0.1:1", "--log-dir", str(tmp_path / "file"))
    assert (code, errors) == (2, f"error: --log-dir {tmp_path / 'file'}: File exists\n")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--listen", "8080"], "'8080' is not HOST:PORT, for example 127.0.0.1:8080"),
        (["--listen", ":8080"], "is not HOST:PORT"),
        (["--admin", "127.0.0.1:"], "is not HOST:PORT"),
        (["--admin", "127.0.0.1:65536"], "is not HOST:PORT"),
        (["--admin", "127.0.0.1:²"], "is not HOST:PORT"),
        (["--rules", "no/such.yaml"], "--rules no/such.yaml: no such file"),
        (["--rules", "."], "no such file"),
        (["--origin", "https://a"], "--origin https://a: an http://HOST[:PORT] is needed"),
        (["--origin", "http://a:99999"], "--origin"),
        (["--origin", "http://[a"], "--origin"),
        (["--deployer", "ftp://a"], "--deployer ftp://a"),
        (["--inspectors", "0"], "--inspectors 0"),
        (["--cpu-quota", "-1"], "--cpu-quota"),
        (["--cpu-quota", "nan"], "--cpu-quota"),
        (["--inspection-deadline", "0"], "--inspection-deadline"),
        (["--inspect-body-bytes", "200000"], "--inspect-body-bytes"),
        (["--ready-fd", "987"], "--ready-fd 987: no such descriptor"),
    ],
)
def test_flags_that_cannot_be_used(flags, words):
    with pytest.raises(ConfigError) as fault:
        parse_args(["--origin", "http://127.0.0.1:1", *flags])
    assert words in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_bad_flag_ends_the_process_with_one_line():
    code, errors = run("--origin", "http://127.0.0.1:1", "--listen", "8080")
    assert (code, errors) == (2, "error: '8080' is not HOST:PORT, for example 127.0.0.1:8080\n")
