"""Counting, the files behind it, and what Prometheus reads."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from outbound_guard.metrics import PREFIX, TABLE, Metrics, MetricsServer, exposition, files, forget

Samples = dict[tuple[str, ...], float]


def read(folder: Path) -> Samples:
    """Every sample: (name without the prefix, values of the labels...) -> value."""
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition(folder).decode())
        for sample in family.samples
    }


def test_what_is_counted_can_be_read_back(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "relay-0")
    metrics.count("messages_total", "relay", "ok")
    metrics.count("messages_total", "relay", "ok", by=2)
    metrics.count("messages_total", "hold", 'a "quoted"\nword\\')
    metrics.gauge("sessions", 7)
    assert metrics.value("messages_total", "relay", "ok") == 3
    assert metrics.value("sessions") == 7
    assert metrics.value("messages_total", "reject", "never") == 0
    metrics.flush()
    samples = read(tmp_path)
    assert samples["messages_total", "relay", "ok"] == 3
    assert samples["messages_total", "hold", 'a "quoted"\nword\\'] == 1
    assert samples["sessions",] == 7
    # There before it first happens, so that its rate can be taken.
    assert samples["state_dropped_total",] == 0
    metrics.close()


def test_a_histogram_has_its_buckets(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "relay-0")
    for seconds in (0.0001, 0.001, 0.0011, 3.0, 1000.0):
        metrics.observe("message_seconds", seconds)
    metrics.flush()
    samples = read(tmp_path)
    buckets = {float(key[1]): value for key, value in samples.items() if key[0] == "message_seconds_bucket"}
    # A bound belongs to its bucket.
    assert [buckets[bound] for bound in (0.0005, 0.001, 0.0025, 2.5, 10.0, 60.0, math.inf)] == [1, 2, 3, 3, 4, 4, 5]
    assert samples["message_seconds_count",] == metrics.value("message_seconds") == 5
    assert samples["message_seconds_sum",] == pytest.approx(1003.0022)
    metrics.close()


def test_the_table_is_in_order() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    for metric in TABLE:
        assert (metric.kind == "counter") == metric.name.endswith("_total"), metric.name
        # A duration, or a moment: when a certificate ends.
        moment = metric.name == "certificate_expiry_seconds"
        assert (metric.kind == "histogram" or moment) == metric.name.endswith("_seconds"), metric.name
        assert metric.help
        assert list(metric.bounds) == sorted(metric.bounds)
        # What is counted must not tell who sends.
        assert not {"account", "sender", "address", "login", "client_ip", "recipient"} & set(metric.labels)


def test_all_of_the_table_is_read_by_prometheus(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "relay-0")
    for metric in TABLE:
        labels = [f"value of {label}" for label in metric.labels]
        match metric.kind:
            case "counter":
                metrics.count(metric.name, *labels)
            case "histogram":
                metrics.observe(metric.name, 1.0, *labels)
            case _:
                metrics.gauge(metric.name, 1, *labels)
    metrics.flush()
    families = {
        family.name: family
        for family in text_string_to_metric_families(exposition(tmp_path).decode())
        if family.samples
    }
    for metric in TABLE:
        family = families[PREFIX + metric.name.removesuffix("_total")]
        assert family.type == (metric.kind if metric.kind in ("counter", "histogram") else "gauge")
        assert family.documentation == metric.help
    metrics.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda metrics: metrics.count("nonsense_total"),
        lambda metrics: metrics.count("messages_total", "relay"),
        lambda metrics: metrics.count("sessions"),
        lambda metrics: metrics.gauge("messages_total", 1, "relay", "ok"),
        lambda metrics: metrics.gauge("sessions", 1, "more"),
        lambda metrics: metrics.observe("sessions", 1.0),
    ],
)
def test_what_is_not_in_the_table_is_refused(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(KeyError):
        wrong(Metrics())
    with pytest.raises(ValueError, match="underscore"):
        Metrics(slot="relay_0")


def test_two_workers_add_up_and_a_worker_that_comes_again_goes_on(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path, "relay-0"), Metrics(tmp_path, "relay-1")
    for metrics, number in ((first, 3), (second, 4)):
        metrics.count("messages_total", "relay", "ok", by=number)
        metrics.observe("message_seconds", number)
        metrics.gauge("sessions", number)
        metrics.gauge("state_up", number == 4)
        metrics.flush()
    samples = read(tmp_path)
    assert samples["messages_total", "relay", "ok"] == 7
    assert samples["message_seconds_count",] == 2
    assert samples["message_seconds_sum",] == 7
    assert samples["sessions",] == 7
    assert samples["state_up",] == 0

    # The first one is gone, without a word. What it was is over; what it did stays.
    forget(tmp_path, "relay-0")
    assert read(tmp_path)["sessions",] == 4
    assert read(tmp_path)["state_up",] == 1
    again = Metrics(tmp_path, "relay-0")
    again.count("messages_total", "relay", "ok")
    again.observe("message_seconds", 0.1)
    again.flush()
    again.flush()
    samples = read(tmp_path)
    assert samples["messages_total", "relay", "ok"] == 8
    assert samples["message_seconds_count",] == 3
    assert samples["sessions",] == 4
    for metrics in (first, second, again):
        metrics.close()


def test_figures_survive_sigkill(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from outbound_guard.metrics import Metrics
metrics = Metrics(Path(sys.argv[1]), "relay-0")
metrics.count("messages_total", "relay", "ok", by=5)
metrics.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert read(tmp_path)["messages_total", "relay", "ok"] == 10


def test_a_full_file_takes_no_more_series_and_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FILE_SIZE", 16_384)
    metrics = Metrics(tmp_path, "relay-0")
    for number in range(500):
        metrics.count("messages_total", "relay", f"word-{number}")
    metrics.flush()
    (file,) = tmp_path.glob("counter_*.db")
    assert file.stat().st_size == 16_384
    kept = [key for key in read(tmp_path) if key[0] == "messages_total"]
    assert 20 < len(kept) < 500
    # What has its place goes on counting.
    metrics.count(*kept[0])
    metrics.flush()
    assert read(tmp_path)[kept[0]] == 2
    metrics.close()


def test_a_folder_that_cannot_be_written_costs_figures_only(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "absent", "relay-0")
    metrics.count("messages_total", "relay", "ok")
    metrics.flush()
    assert metrics.value("messages_total", "relay", "ok") == 1
    # Once it is there, nothing is missing.
    (tmp_path / "absent").mkdir()
    metrics.flush()
    assert read(tmp_path / "absent")["messages_total", "relay", "ok"] == 1
    metrics.close()


async def test_keep_flushing_writes_until_the_end(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, "relay-0")
    task = asyncio.create_task(metrics.keep_flushing(3600.0))
    await asyncio.sleep(0)
    assert read(tmp_path)["state_dropped_total",] == 0
    metrics.count("state_dropped_total")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert read(tmp_path)["state_dropped_total",] == 1
    metrics.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_server_answers(tmp_path: Path, host: str) -> None:
    metrics = Metrics(tmp_path, "supervisor")
    metrics.flush()
    state = [(True, "ready")]
    server = MetricsServer(host, 0, tmp_path, lambda: state[0])

    def get(path: str, method: str = "GET") -> tuple[int, str, str]:
        request = urllib.request.Request(f"http://{server.address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    try:
        status, kind, body = get("/metrics")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        assert "outbound_guard_state_dropped_total 0.0\n" in body
        assert get("/healthz")[::2] == (200, "ok\n")
        assert get("/healthz", "HEAD")[::2] == (200, "")
        assert get("/readyz")[::2] == (200, "ready\n")
        state[0] = False, "waiting for state"
        assert get("/readyz")[::2] == (503, "waiting for state\n")
        assert get("/")[0] == 404
        assert get("/metrics", "POST")[0] == 405
        with pytest.raises(OSError, match="in use"):
            MetricsServer(host, int(server.address.rpartition(":")[2]), tmp_path, lambda: state[0])
    finally:
        server.stop()
        metrics.close()
