"""A real Prometheus scrapes the running product and is asked every query of the dashboards and every rule."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.monitoring import DASHBOARDS, RULES, expressions, rules
from tests.postfix import free_port
from tests.product import Hops, Product, message, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed"),
]
NAMES = re.compile(r"\b(outbound_guard_\w+)")


class Prometheus:
    """A running one; `ask` wants an instant query's result."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def get(self, path: str, **words: str) -> Any:
        with urllib.request.urlopen(
            f"http://{self.address}{path}?{urllib.parse.urlencode(words)}", timeout=30
        ) as answer:
            return json.loads(answer.read())["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=query)["result"]
        return found


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """One with our configuration and rules, which asks `target` each second."""
    for file in RULES.glob("outbound_guard.*.yml"):
        shutil.copy(file, folder)
    text = (RULES / "prometheus.yml").read_text().replace("127.0.0.1:9109", target).replace("15s", "1s")
    (folder / "prometheus.yml").write_text(text)
    port = free_port()
    options = [
        "--config.file",
        "prometheus.yml",
        "--web.listen-address",
        f"127.0.0.1:{port}",
        "--storage.tsdb.path",
        "data",
    ]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(["prometheus", *options], cwd=folder, stdout=said, stderr=said)
    one = Prometheus(port)

    def ready() -> bool:
        assert process.poll() is None, (folder / "said").read_text()
        try:
            return bool(one.ask('up{job="outbound-guard"} == 1'))
        except OSError:
            return False

    try:
        until(ready, lambda: (folder / "said").read_text()[-3000:], 60)
        yield one
    finally:
        process.terminate()
        process.wait()


def test_every_query_and_rule_is_answered(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with (
            Product.made(tmp_path / "product", smarthosts=[hop.address], relays=1) as product,
            prometheus(tmp_path, product.addresses["metrics"]) as server,
            product.client() as client,
        ):
            total = "sum(outbound_guard_messages_total)"

            def counted() -> bool:
                # So long that the counters have grown between two scrapes.
                client.submit("anna@customer.test", ["bob@there.test"], message("hello"))
                return bool(server.ask("sum(rate(outbound_guard_messages_total[1m])) > 0"))

            until(counted, lambda: server.ask(total), 60)
            there = set(server.get("/api/v1/label/__name__/values"))
            checked = 0
            for query in [expression for file in DASHBOARDS for expression in expressions(file, "1m")]:
                found = server.ask(query)
                # What Prometheus knows, and nothing narrows, must be found; of one that divides 0 by 0, too.
                plain = not re.search(r'[=!]~?"(?!\.\*")|> 0', query)
                if plain and set(NAMES.findall(query)) <= there:
                    assert found, query
                    checked += 1
            assert checked > 30
            for name in ("records", "alerts"):
                for expression in rules(RULES / f"outbound_guard.{name}.yml"):
                    server.ask(expression)
            until(lambda: "unknown" not in json.dumps(server.get("/api/v1/rules")), "every rule has been evaluated")
            groups = server.get("/api/v1/rules")["groups"]
            assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
            # Nothing is wrong on a machine that has just been set up.
            firing = [rule["name"] for group in groups for rule in group["rules"] if rule.get("state") == "firing"]
            assert firing == []
