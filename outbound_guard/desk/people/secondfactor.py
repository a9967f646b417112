"""The second factor: codes that change every 30 s (RFC 6238), and recovery codes for when the telephone is lost.

The only user of pyotp and segno. A code works once, and may be one step early or late, since clocks differ.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import re
import secrets

import msgspec
import pyotp
import segno

from outbound_guard.clock import Clock
from outbound_guard.desk.errors import DeskError, on_disk
from outbound_guard.desk.people.users import Settle, at_once
from outbound_guard.ledger import user_queries, user_storing
from outbound_guard.ledger.database import Ledger
from outbound_guard.ledger.journal import Journal
from outbound_guard.ledger.records import Audit, UserChange
from outbound_guard.ledger.user_queries import Credentials

ISSUER = "Outbound Guard"
CODES = 10
"""Recovery codes at a time."""
_STEP = 30
_DRIFT = 1
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Of recovery codes: none that look alike."""
_TOTP = re.compile(r"\d{6}")
_RECOVERY = re.compile(r"[a-z2-9]{16}")


class Begun(msgspec.Struct, frozen=True):
    """A second factor that waits for its first code."""

    secret: str
    """Base32, to type by hand."""
    uri: str
    """otpauth://..., as in the QR code."""


class SecondFactor:
    """Sets up, checks and ends the second factor of users."""

    def __init__(
        self, reader: Ledger, writer: Ledger, journal: Journal, clock: Clock, settle: Settle = at_once
    ) -> None:
        self._reader, self._writer, self._journal, self._clock = reader, writer, journal, clock
        self._settle = settle

    async def begin(self, name: str, *, by: str) -> Begun:
        """A new secret, which counts once its first code was given. Raises DeskError, LedgerError."""
        known = await self._known(name)
        if known.totp_confirmed:
            raise DeskError("there is a second factor already; turn it off first")
        secret = pyotp.random_base32()
        await self._write(name, "factor_started", by, totp=secret)
        return Begun(secret, _uri(name, secret))

    async def waiting(self, name: str) -> Begun | None:
        """What was begun and waits for its first code. Raises DeskError, LedgerError."""
        known = await self._known(name)
        return Begun(known.totp, _uri(name, known.totp)) if known.totp and not known.totp_confirmed else None

    async def confirm(self, name: str, code: str, *, by: str) -> list[str]:
        """The first code: from now on one is asked for. The recovery codes, which nobody sees again.

        Raises DeskError, LedgerError.
        """
        known = await self._known(name)
        if known.totp_confirmed or not known.totp:
            raise DeskError("no second factor was begun")
        if not await self._totp(known, code):
            raise DeskError("that is not the code of now; is the clock of your telephone right?")
        codes, hashes = _recovery_codes(name)
        await self._write(name, "factor_confirmed", by, recovery=hashes)
        return codes

    async def new_codes(self, name: str, *, by: str) -> list[str]:
        """New recovery codes; the old ones are void. Raises DeskError, LedgerError."""
        if not (await self._known(name)).totp_confirmed:
            raise DeskError("there is no second factor")
        codes, hashes = _recovery_codes(name)
        await self._write(name, "codes", by, recovery=hashes)
        return codes

    async def turn_off(self, name: str, *, by: str) -> None:
        """Ask for no code any more. Raises DeskError, LedgerError."""
        if not (await self._known(name)).totp:
            raise DeskError("there is no second factor")
        await self._write(name, "factor_off", by)

    async def fits(self, known: Credentials, code: str) -> bool:
        """True if this is a code of now, or a recovery code, and was not used before. Raises LedgerError."""
        if await self._totp(known, code):
            return True
        plain = re.sub(r"[\s-]", "", code).lower()
        if not _RECOVERY.fullmatch(plain):
            return False
        hash_, now = _hash(known.name, plain), self._clock.now()
        if not await asyncio.to_thread(user_storing.use_recovery, self._writer, known.name, hash_, now):
            return False
        self._journal.append(Audit(time=now, by=f"console:{known.name}", what="user.recovery_code", subject=known.name))
        return True

    async def _totp(self, known: Credentials, code: str) -> bool:
        code = re.sub(r"[\s-]", "", code)
        if not known.totp or not _TOTP.fullmatch(code) or not code.isascii():
            return False
        clock, now = pyotp.TOTP(known.totp), int(self._clock.now()) // _STEP
        fitting = [
            step
            for step in range(now - _DRIFT, now + _DRIFT + 1)
            if hmac.compare_digest(clock.generate_otp(step), code)
        ]
        # The ledger says which step was used last: so a code works once, after a restart too.
        return bool(fitting) and await asyncio.to_thread(user_storing.use_code, self._writer, known.name, fitting[0])

    async def _known(self, name: str) -> Credentials:
        known = await asyncio.to_thread(user_queries.credentials, self._reader, name)
        if known is None:
            raise DeskError(f"no user {name}")
        return known

    async def _write(self, name: str, what: str, by: str, *, totp: str = "", recovery: tuple[str, ...] = ()) -> None:
        now = self._clock.now()
        on_disk(
            self._journal,
            UserChange(time=now, name=name, what=what, totp=totp, recovery=recovery),
            Audit(time=now, by=by, what=f"user.{what}", subject=name),
        )
        await self._settle()


def qr(uri: str) -> str:
    """The QR code as an SVG element for a page: black on white, without styles, which the page's policy forbids."""
    out = io.BytesIO()
    segno.make(uri, error="m", micro=False).save(
        out,
        kind="svg",
        scale=5,
        border=4,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgns=False,
        svgclass="qr",
        lineclass=None,
        title="QR code of the secret",
        omitsize=False,
        nl=False,
    )
    return out.getvalue().decode()


def _uri(name: str, secret: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=ISSUER)


def _recovery_codes(name: str) -> tuple[list[str], tuple[str, ...]]:
    plain = ["".join(secrets.choice(_LETTERS) for _ in range(16)) for _ in range(CODES)]
    shown = ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in plain]
    return shown, tuple(_hash(name, code) for code in plain)


def _hash(name: str, code: str) -> str:
    # Of 80 random bits: a slow hash would make nothing harder.
    return hashlib.sha256(f"{name}\0{code}".encode()).hexdigest()
