"""The names of aiosmtplib that delivery relies on though they are not documented."""

from __future__ import annotations

import asyncio

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

from outbound_guard.delivery.connecting import RELIED_ON


async def test_the_names_are_there() -> None:
    objects = {
        "SMTP": aiosmtplib.SMTP(hostname="127.0.0.1", port=25),
        "SMTPProtocol": SMTPProtocol(loop=asyncio.get_running_loop()),
    }
    assert RELIED_ON.keys() == objects.keys()
    for name, attributes in RELIED_ON.items():
        assert [attribute for attribute in attributes if not hasattr(objects[name], attribute)] == []


async def test_they_are_what_they_were() -> None:
    protocol = SMTPProtocol(loop=asyncio.get_running_loop())
    # What has come and was not asked for: it is looked at before the connection is taken over.
    assert isinstance(protocol._buffer, bytearray)
    smtp = aiosmtplib.SMTP(hostname="127.0.0.1", port=25)
    assert smtp.protocol is None
    assert smtp.transport is None
    assert smtp.esmtp_extensions == {}
    # Nothing closes the connection when the client object goes away.
    assert not hasattr(smtp, "__del__")
