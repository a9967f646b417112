"""What people decide changes how the next message is judged, in the running product."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.product import Hops, Product, message, until

pytestmark = pytest.mark.long

POLICY = """
[threshold]
watch = 1.0
hold = 2.5
quarantine = 60.0
suspend = 90.0
[signal.content]
mode = "off"
"""
BODY = (
    "--edge\r\nContent-Type: text/plain\r\n\r\n{text}\r\n--edge\r\n"
    'Content-Type: application/octet-stream; name="receipt.pdf.exe"\r\nContent-Transfer-Encoding: base64\r\n'
    'Content-Disposition: attachment; filename="receipt.pdf.exe"\r\n\r\nTVo=\r\n--edge--'
)
HEADERS = {"MIME_Version": "1.0", "Content_Type": "multipart/mixed; boundary=edge"}
HELD = re.compile(r"250 2\.0\.0 Ok: held for review as ([0-9a-z]{16})")


def send(product: Product, number: int) -> tuple[str, float]:
    """A message with a program attached, by somebody new: its id, and what `structure` said of it."""
    sender, text = f"someone@customer{number}.test", f"{'words ' * (3 + number)} of their own"
    with product.client() as client:
        said = client.submit(
            sender, ["you@there.test"], message(f"Receipt {number}", BODY.format(text=text), From=sender, **HEADERS)
        )
    held = HELD.match(said)
    assert held, said
    until(lambda: held[1] in {row["id"] for row in product.held()}, "the abuse desk sees it")
    return held[1], float(product.event(id=held[1])["signals"]["structure"])


def factor(product: Product) -> float:
    rows = json.loads(product.guard("weights", "show", "--json"))
    return next(float(row["factor"]) for row in rows if row["signal"] == "structure")


@pytest.mark.slow
def test_releases_and_confirmations_change_how_the_next_message_is_judged(tmp_path: Path) -> None:
    with Hops() as hops:
        hop = hops.start()
        with Product.made(tmp_path, smarthosts=[hop.address], policy=POLICY, relays=1) as product:

            def in_force(wanted: float) -> bool:
                return abs(product.metric("signal_factor", signal="structure") - wanted) < 1e-9

            first, plain = send(product, 1)
            product.guard("held", "release", first)
            lowered = factor(product)
            assert 0.9 < lowered < 1.0
            until(lambda: in_force(lowered), "the relay knows the factor")
            second, milder = send(product, 2)
            assert milder == pytest.approx(plain * lowered, abs=0.01)
            assert milder < plain

            product.guard("held", "delete", "--abuse", second)
            raised = factor(product)
            assert raised > lowered

            # A policy that is read again is judged by with the same factors.
            until(lambda: in_force(raised), "the relay knows the factor")
            (tmp_path / "policy.toml").write_text(POLICY + "[signal.structure]\nscale = 1.1\n")
            product.signal(signal.SIGHUP)
            until(lambda: product.said().count("policy reloaded") >= 2, "relay and delivery have read it")
            _, scaled = send(product, 3)
            assert scaled == pytest.approx(plain * raised * 1.1, abs=0.01)

            product.guard("weights", "reset")
            assert factor(product) == 1.0
            until(lambda: in_force(1.0), "the relay knows the factor")
            _, restored = send(product, 4)
            assert restored == pytest.approx(plain * 1.1, abs=0.01)
