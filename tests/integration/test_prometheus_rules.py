"""The files of deploy/prometheus and deploy/grafana: rules, dashboards, and the runbook that alerts lead to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from outbound_guard.metrics.table import METRICS, PREFIX
from tests.monitoring import DASHBOARDS, ROOT, RULES, expressions, queries, rules

NEEDS_PROMTOOL = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (prometheus)")
RECORDS = set(re.findall(r"record: (\S+)", (RULES / "outbound_guard.records.yml").read_text()))
ALERTS = re.findall(r"alert: (\w+)", (RULES / "outbound_guard.alerts.yml").read_text())
_SERIES = re.compile(r"(?<![\w:])(outbound_guard[\w:]+)(?:\{([^{}]*)\})?")
_LABEL = re.compile(r"(\w+)\s*[=!]~?")
_BUCKETS = ("_bucket", "_count", "_sum")


def promtool(*words: object, cwd: Path = RULES) -> str:
    done = subprocess.run(["promtool", *map(str, words)], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unknown(expression: str) -> list[str]:
    """What an expression names that there is not: metrics, recorded series, labels of a metric."""
    found = []
    for name, matchers in _SERIES.findall(expression):
        if ":" in name:
            found += [name] if name not in RECORDS else []
            continue
        base = name.removeprefix(PREFIX)
        metric = METRICS.get(base) or next(
            (
                METRICS[base.removesuffix(end)]
                for end in _BUCKETS
                if base.endswith(end) and base.removesuffix(end) in METRICS
            ),
            None,
        )
        if metric is None or (metric.kind == "histogram") != (metric.name != base):
            found.append(name)
            continue
        labels = {*metric.labels, "instance", "job", *(["le"] if metric.kind == "histogram" else [])}
        found += [f"{name}: {label}" for label in _LABEL.findall(matchers) if label not in labels]
    return found


@pytest.mark.parametrize("name", ["records", "alerts"])
def test_every_metric_and_label_that_a_rule_names_exists(name: str) -> None:
    file = RULES / f"outbound_guard.{name}.yml"
    asked = rules(file)
    assert len(asked) == len(re.findall(r"- (?:record|alert): ", file.read_text())) > 0
    # Of the product, or of Prometheus itself.
    assert [one for one in asked if not re.search(r"\b(outbound_guard|up)", one)] == []
    assert [wrong for one in asked for wrong in unknown(one)] == []


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_every_metric_and_label_that_a_dashboard_names_exists(file: Path) -> None:
    assert [wrong for one in queries(file) for wrong in unknown(one)] == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("rate(outbound_guard_mesages_total[5m])", ["outbound_guard_mesages_total"]),
        ("outbound_guard_message_seconds", ["outbound_guard_message_seconds"]),
        ("outbound_guard_state_up_bucket", ["outbound_guard_state_up_bucket"]),
        ('outbound_guard_restarts_total{account="a"}', ["outbound_guard_restarts_total: account"]),
        ("outbound_guard:messages:rate1m", ["outbound_guard:messages:rate1m"]),
        ('sum(outbound_guard_restarts_total{role="relay", instance=~"a"})', []),
    ],
)
def test_what_does_not_exist_is_found(expression: str, wrong: list[str]) -> None:
    assert unknown(expression) == wrong


def test_every_alert_has_its_section_in_the_runbook_and_no_other_has() -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    runbook = operations.partition("\n## Runbook\n")[2].partition("\n## ")[0]
    sections = re.findall(r"^### (\w+)\n\n(.+?)(?=\n### |\Z)", runbook, re.M | re.S)
    assert [name for name, _ in sections] == ALERTS
    for name, text in sections:
        assert [re.search(rf"^\*\*{word}\.\*\* \S", text, re.M) is None for word in ("Means", "Look", "Do")] == [
            False
        ] * 3, name


def test_every_alert_leads_to_its_section() -> None:
    text = (RULES / "outbound_guard.alerts.yml").read_text()
    links = re.findall(r"runbook_url: docs/operations\.md#(\w+)$", text, re.M)
    assert links == [alert.lower() for alert in ALERTS]
    assert len(re.findall(r"labels: \{severity: (?:page|ticket)\}", text)) == len(ALERTS)
    # Each is made to fire in the unit tests of the rules.
    tested = (RULES / "outbound_guard.tests.yml").read_text()
    assert [alert for alert in ALERTS if f'alertname="{alert}"' not in tested] == []


@NEEDS_PROMTOOL
def test_rules_and_configuration_are_valid() -> None:
    # The configuration names the files of rules, which are checked with it.
    said = promtool("check", "config", "prometheus.yml")
    assert said.count("rules found") == 2


@NEEDS_PROMTOOL
@pytest.mark.slow
def test_the_unit_tests_of_the_rules_pass() -> None:
    assert "SUCCESS" in promtool("test", "rules", "outbound_guard.tests.yml")


@NEEDS_PROMTOOL
def test_every_query_of_the_dashboards_parses(tmp_path: Path) -> None:
    asked = [expression for file in DASHBOARDS for expression in expressions(file)]
    assert len(asked) > 80
    group = [{"record": f"q:{number}", "expr": expression} for number, expression in enumerate(asked)]
    # YAML is a superset of JSON.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "queries", "rules": group}]}))
    assert f"SUCCESS: {len(asked)} rules found" in promtool("check", "rules", tmp_path / "rules.yml", cwd=tmp_path)


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_dashboards_are_in_order(file: Path) -> None:
    dashboard: dict[str, Any] = json.loads(file.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"] == f"outbound-guard-{file.stem}"
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel.get("targets", ()))
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
