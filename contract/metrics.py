"""Names of the Prometheus metrics, by process. One list, so that dashboards and alert rules can be checked."""

EDGE_REQUESTS = "badgateway_edge_requests_total"  # labels: outcome, reason
EDGE_REQUEST_SECONDS = "badgateway_edge_request_seconds"  # histogram
EDGE_IN_FLIGHT = "badgateway_edge_in_flight_requests"
EDGE_CONNECTIONS = "badgateway_edge_client_connections"
EDGE_LOOP_LAG_SECONDS = "badgateway_edge_loop_lag_seconds"
EDGE_KILL_SWITCH = "badgateway_edge_kill_switch"
EDGE_RULE_HITS = "badgateway_edge_rule_hits_total"  # label: rule
EDGE_RULE_SET = "badgateway_edge_rule_set_info"  # labels: digest, version
INSPECTOR_CPU_SECONDS = "badgateway_inspector_cpu_seconds_total"
INSPECTOR_CPU_QUOTA = "badgateway_inspector_cpu_quota_cores"
INSPECTOR_QUEUE = "badgateway_inspector_queue_requests"  # label: pool

DEPLOYER_NODES = "badgateway_deployer_connected_nodes"
DEPLOYER_ROLLOUTS = "badgateway_deployer_rollouts_total"  # label: state
DEPLOYER_EPOCH = "badgateway_deployer_epoch"

ORIGIN_REQUESTS = "badgateway_origin_requests_total"  # labels: kind, status
