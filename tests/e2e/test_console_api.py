"""The API against its own description: schemathesis makes calls of every kind, an admin's token lets them all in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import House, house
from tests.product import Hops
from tests.webconsole import Visit, add_user

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SECONDS = 150
SCOPES = "read,content,held,accounts,cases,policy,users,erase,originals,feedback"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "ignored_auth",
)


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    more = '[blocklist]\naddresses = ["192.0.2.25"]\ninterval = 0\n'
    with Hops() as hops:
        product, found = house(tmp_path_factory.mktemp("api"), hops, more=more)
        with product:
            add_user(product, "ann", "admin")
            found.calm_past("anna@shop.test", 12)
            assert found.burst("anna@shop.test", 8)
            found.queue("quentin@shop.test", "waits & <b>waits</b>")
            product.guard("case", "open", "192.0.2.25", "--reason", "a customer told us")
            yield found


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(SECONDS + 240)
def test_every_call_answers_as_described(customers: House, tmp_path: Path) -> None:
    product = customers.product
    made = json.loads(product.guard("user", "token-add", "ann", "calls", "--scopes", SCOPES, "--json"))
    command = [
        str(SCHEMATHESIS),
        "run",
        f"http://{product.addresses['console']}/openapi.json",
        *("--header", f"Authorization: Bearer {made['token']}"),
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing"),
        *("--max-examples", "4", "--seed", "1", "--max-time", str(SECONDS)),
        *("--request-timeout", "30", "--continue-on-failure", "--no-color"),
        # It reads the list of tokens and would revoke its own.
        *("--exclude-path", "/api/v1/tokens/{id}"),
        # It cannot write message/rfc822 (tests/integration/test_feedback_http.py does).
        *("--exclude-path", "/api/v1/feedback/report"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 200, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    # The token was good until the end, so that the calls were more than refused; and the service stands.
    program = Visit(product.addresses["console"], token=made["token"])
    assert program.api("GET", "/me").json()["by"] == "token:calls"
    program.http.close()
    assert "the console failed at" not in product.said()
    assert product.metric("restarts_total", role="console") == 0
