"""Write deploy/grafana/qiao.json: the dashboard, from a list of its panels."""

import json
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "deploy" / "grafana" / "qiao.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
PANELS: list[tuple[str, str, list[tuple[str, str]]]] = [
    ("Payments a minute", "short", [
        ("sum by (event) (rate(qiao_payments_total[$__rate_interval])) * 60", "{{event}}"),
    ]),
    ("Attempts that succeed, of those that ended", "percentunit", [
        ('sum by (channel) (rate(qiao_attempts_total{outcome="succeeded"}[$__rate_interval])) / '
         "sum by (channel) (rate(qiao_attempts_total"
         '{outcome=~"succeeded|declined|not_sent|unknown"}[$__rate_interval]))', "{{channel}}"),
    ]),
    ("Unknown attempts", "short", [
        ("max by (channel) (qiao_unknown_attempts)", "{{channel}}"),
    ]),
    ("Age of the oldest unknown attempt", "s", [
        ("max by (channel) (qiao_unknown_attempt_oldest_seconds)", "{{channel}}"),
    ]),
    ("Channel calls without an answer", "percentunit", [
        ('sum by (channel) (rate(qiao_channel_calls_total{outcome=~"not_sent|unknown"}'
         "[$__rate_interval])) / sum by (channel) (rate(qiao_channel_calls_total"
         "[$__rate_interval]))", "{{channel}}"),
    ]),
    ("Channel calls, 95th percentile", "s", [
        ("histogram_quantile(0.95, sum by (channel, operation, le) "
         "(rate(qiao_channel_call_seconds_bucket[$__rate_interval])))",
         "{{channel}} {{operation}}"),
    ]),
    ("Attempts a minute by outcome", "short", [
        ("sum by (channel, outcome) (rate(qiao_attempts_total[$__rate_interval])) * 60",
         "{{channel}} {{outcome}}"),
    ]),
    ("Refunds a minute", "short", [
        ("sum by (channel, outcome) (rate(qiao_refunds_total[$__rate_interval])) * 60",
         "{{channel}} {{outcome}}"),
    ]),
    ("Notifications a minute", "short", [
        ("sum by (channel, result) (rate(qiao_notifications_total[$__rate_interval])) * 60",
         "{{channel}} {{result}}"),
    ]),
    ("Anomalies open, jobs given up", "short", [
        ("max by (kind) (qiao_anomalies_open)", "anomaly {{kind}}"),
        ("max by (kind) (qiao_jobs_abandoned)", "job {{kind}}"),
    ]),
    ("Jobs due", "short", [("max by (kind) (qiao_jobs_due)", "{{kind}}")]),
    ("How long the oldest job has been due", "s", [
        ("max by (kind) (qiao_job_due_oldest_seconds)", "{{kind}}"),
    ]),
    ("Runs of jobs a minute", "short", [
        ("sum by (kind, verdict) (rate(qiao_jobs_total[$__rate_interval])) * 60",
         "{{kind}} {{verdict}}"),
    ]),
    ("Jobs, 95th percentile", "s", [
        ("histogram_quantile(0.95, sum by (kind, le) "
         "(rate(qiao_job_seconds_bucket[$__rate_interval])))", "{{kind}}"),
    ]),
    ("Webhooks a minute, and pending", "short", [
        ("sum by (result) (rate(qiao_webhook_deliveries_total[$__rate_interval])) * 60",
         "{{result}}"),
        ("max(qiao_webhooks_pending)", "pending"),
    ]),
    ("Webhooks: age at delivery (95th), oldest pending", "s", [
        ("histogram_quantile(0.95, sum by (le) "
         "(rate(qiao_webhook_age_seconds_bucket[$__rate_interval])))", "delivered"),
        ("max(qiao_webhook_pending_oldest_seconds)", "oldest pending"),
    ]),
    ("Requests a second by status", "reqps", [
        ("sum by (status) (rate(qiao_http_requests_total[$__rate_interval]))", "{{status}}"),
    ]),
    ("Requests, 95th percentile by route", "s", [
        ("histogram_quantile(0.95, sum by (route, method, le) "
         "(rate(qiao_http_request_seconds_bucket[$__rate_interval])))", "{{method}} {{route}}"),
    ]),
    ("Cashier's pages that are open", "short", [
        ("qiao_http_streams_open", "{{instance}}"),
    ]),
    ("Database connections", "short", [
        ("sum by (instance, state) (qiao_database_connections)", "{{instance}} {{state}}"),
        ("sum by (instance) (qiao_database_connections_limit)", "{{instance}} limit"),
    ]),
    ("Wait for a database connection, 99th percentile", "s", [
        ("histogram_quantile(0.99, sum by (instance, le) "
         "(rate(qiao_database_wait_seconds_bucket[$__rate_interval])))", "{{instance}}"),
    ]),
    ("Age of the gauges", "s", [("time() - max(qiao_snapshot_timestamp_seconds)", "gauges")]),
    ("Memory of each process", "bytes", [
        ("process_resident_memory_bytes", "{{instance}}"),
    ]),
]  # fmt: skip


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it: two panels a row."""
    return {
        "title": "Qiao",
        "uid": "qiao",
        "tags": ["qiao", "payments"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "source",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": [
            {
                "id": number + 1,
                "type": "timeseries",
                "title": title,
                "datasource": SOURCE,
                "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
                "targets": [
                    {
                        "refId": "ABCD"[place],
                        "datasource": SOURCE,
                        "expr": expr,
                        "legendFormat": key,
                    }
                    for place, (expr, key) in enumerate(targets)
                ],
            }
            for number, (title, unit, targets) in enumerate(PANELS)
        ],
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
