"""The mail log's lines: what operators grep for."""

from __future__ import annotations

import io
import json

from outbound_guard.maillog import MailLog, Reception


def test_the_line_of_a_submission_has_its_fields_in_their_order() -> None:
    stream = io.StringIO()
    log = MailLog(stream)
    log.reception(
        Reception(
            timestamp=1.5,
            id="m1",
            sender="a@example.org",
            recipient=("b@example.net",),
            size=7,
            peer_address={"addr": "192.0.2.1", "name": "x"},
            account="example.org",
            identity="a@example.org",
            identity_source="sasl",
            class_="new",
            action="relay",
            code="OG-OK",
            score=0.0,
            signals={"rate": -0.5},
            shadow={},
            state="",
            response="250 2.0.0 Ok",
            seconds=0.0,
        )
    )
    log.event("Suspension", 2.0, id="m2")
    first, second = map(json.loads, stream.getvalue().splitlines())
    # Also what is zero or empty is said.
    assert " ".join(first) == (
        "type timestamp id sender recipient size peer_address account identity identity_source class action code "
        "score signals shadow state response seconds"
    )
    assert first["type"] == "Reception"
    assert first["recipient"] == ["b@example.net"]
    assert second == {"type": "Suspension", "timestamp": 2.0, "id": "m2"}
