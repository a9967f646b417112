"""What the files of deploy/prometheus and deploy/grafana ask for."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy/prometheus"
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def rules(file: Path) -> list[str]:
    """The expressions of a file of rules."""
    found = re.findall(r"^ +expr: (?:>-\n((?: {10}.*\n)+)|(\S.*)\n)", file.read_text(), re.M)
    return [" ".join((folded or plain).split()) for folded, plain in found]


def queries(dashboard: Path) -> list[str]:
    """The queries of a dashboard as they stand there: of its panels, its annotations and its variables."""
    found = json.loads(dashboard.read_text())
    asked = [target["expr"] for panel in found["panels"] for target in panel.get("targets", ())]
    asked += [one["expr"] for one in found["annotations"]["list"]]
    asked += [one["definition"] for one in found["templating"]["list"] if one["type"] == "query"]
    return asked


def expressions(dashboard: Path, interval: str = "5m") -> list[str]:
    """The same as Grafana sends them, for all hosts."""
    found = []
    for query in queries(dashboard):
        if query.startswith("label_values("):
            # Grafana asks for the labels of this series.
            query = query.removeprefix("label_values(").partition(",")[0]
        found.append(query.replace("$instance", ".*").replace("$__rate_interval", interval))
    return found
