"""The world around a recorded trace: what a driver makes of traffic that the product has recorded itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from outbound_guard.replay.driver import Driver

START = 1_800_000_000.0


def line(id_: str, after: float, **recorded: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "t": START + after,
        "client_ip": "192.0.2.7",
        "server": "web1",
        "sasl_user": "web1",
        "helo": "x",
        "mail_from": "anna@a.example",
        "rcpt_to": ["bob@b.example"],
        "message": "20270115-relay-0.zbin:0:10",
        "size": 10,
        "outcomes": {"ok_after": 1.0},
        "recorded": {"message_id": "one@a", "state": "", "action": "relay"} | recorded,
    }


def drive(folder: Path, lines: list[dict[str, Any]], *actions: str) -> tuple[Driver, list[dict[str, Any]]]:
    """A relay that answers with these actions in turn; the driver, and the events it was asked about."""
    (folder / "20270115-relay-0.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    told: list[dict[str, Any]] = []
    todo = list(actions)

    def handle(event: dict[str, Any]) -> dict[str, Any]:
        told.append(event)
        return {"action": todo.pop(0), "account": "a"} if event["ev"] in ("tx", "release_due") else {}

    driver = Driver(handle)
    driver.run(folder)
    assert not todo
    return driver, told


TRIES = [line("m1", 0, action="defer", deferred=True), line("m2", 900), line("m3", 1000, message_id="two@a")]


def test_what_a_client_tried_again_is_one_message(tmp_path: Path) -> None:
    driver, told = drive(tmp_path, TRIES, "throttle", "relay", "relay")
    assert {id_: record["final"] for id_, record in driver.records.items()} == {"m1": "relay", "m3": "relay"}
    assert driver.records["m1"]["throttled"] == 1
    # The next try came when it was recorded, not when a queue would have made it.
    assert [event["t"] - START for event in told if event["ev"] == "tx"] == [0, 900, 1000]
    assert [event["id"] for event in told if event["ev"] == "result"] == ["m1", "m3"]


def test_where_the_first_try_goes_out_there_is_no_second(tmp_path: Path) -> None:
    driver, told = drive(tmp_path, TRIES, "relay", "relay")
    assert set(driver.records) == {"m1", "m3"}
    assert [event["id"] for event in told if event["ev"] == "tx"] == ["m1", "m3"]


def test_a_client_that_gave_up_then_gives_up_now(tmp_path: Path) -> None:
    driver, _ = drive(tmp_path, TRIES[:1], "throttle")
    assert driver.records["m1"]["final"] == "expired"


def test_the_relay_is_given_what_was_recorded_but_no_outcomes(tmp_path: Path) -> None:
    _, told = drive(tmp_path, TRIES[2:], "relay")
    (transaction,) = [event for event in told if event["ev"] == "tx"]
    assert transaction["recorded"]["message_id"] == "two@a"
    assert "outcomes" not in transaction
