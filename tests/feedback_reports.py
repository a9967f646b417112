"""Reports as the world sends them, about a message as it left us."""

from __future__ import annotations

from collections.abc import Sequence


def arf(original: bytes, *, type_: str = "abuse", recipient: str = "", headers_only: bool = False) -> bytes:
    """A complaint in the format of RFC 5965 about `original`."""
    head = original.partition(b"\r\n\r\n")[0] + b"\r\n"
    kind, third = (b"text/rfc822-headers", head) if headers_only else (b"message/rfc822", original)
    to = f"Original-Rcpt-To: {recipient}\r\n" if recipient else ""
    return (
        b"From: <feedback@isp.test>\r\nTo: <fbl@guard.test>\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nThis is a complaint.\r\n"
        b"--b\r\nContent-Type: message/feedback-report\r\n\r\n"
        + f"Feedback-Type: {type_}\r\nUser-Agent: Loop/1.0\r\nVersion: 1\r\n{to}".encode()
        + b"\r\n--b\r\nContent-Type: "
        + kind
        + b"\r\n\r\n"
        + third
        + b"\r\n--b--\r\n"
    )


def dsn(original: bytes, fates: Sequence[tuple[str, str, str]], *, action: str = "failed") -> bytes:
    """A bounce (RFC 3464); `fates`: recipient, status, diagnostic."""
    blocks = "\r\n".join(
        f"Final-Recipient: rfc822; {to}\r\nAction: {action}\r\nStatus: {status}\r\n"
        f"Remote-MTA: dns; mx.b.test\r\nDiagnostic-Code: smtp; {said}\r\n"
        for to, status, said in fates
    )
    head = original.partition(b"\r\n\r\n")[0] + b"\r\n"
    return (
        b"Return-Path: <>\r\nFrom: Mail Delivery System <MAILER-DAEMON@mx.isp.test>\r\nTo: <fbl@guard.test>\r\n"
        b"Subject: Undelivered Mail Returned to Sender\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n"
        b"--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.isp.test\r\n\r\n"
        + blocks.encode()
        + b"\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
        + head
        + b"\r\n--b--\r\n"
    )


def forwarded(original: bytes) -> bytes:
    """A complaint by hand: the message is attached."""
    return (
        b"From: Carl <carl@isp.test>\r\nTo: <fbl@guard.test>\r\nSubject: Fwd: buy now\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="f"\r\n\r\n'
        b"--f\r\nContent-Type: text/plain\r\n\r\nYour customer has sent me this. Stop it.\r\n"
        b"--f\r\nContent-Type: message/rfc822\r\n\r\n" + original + b"\r\n--f--\r\n"
    )


def quoted(original: bytes) -> bytes:
    """A complaint by hand: the message with all of its header is quoted."""
    lines = b"\r\n".join(b"> " + line for line in original.split(b"\r\n"))
    return (
        b"From: Carl <carl@isp.test>\r\nTo: <fbl@guard.test>\r\nSubject: spam from your network\r\n\r\n"
        b"I never asked for this:\r\n\r\n" + lines + b"\r\n"
    )


def qmail(original: bytes, to: str, said: str) -> bytes:
    """A bounce as qmail writes it."""
    return (
        b"Return-Path: <>\r\nFrom: MAILER-DAEMON@mx.isp.test\r\nTo: fbl@guard.test\r\nSubject: failure notice\r\n\r\n"
        b"Hi. This is the qmail-send program at mx.isp.test.\r\nI'm afraid I wasn't able to deliver your message to "
        b"the following addresses.\r\nThis is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n"
        + f"<{to}>:\r\n198.51.100.9 does not like recipient.\r\nRemote host said: {said}\r\nGiving up.\r\n\r\n".encode()
        + b"--- Below this line is a copy of the message.\r\n\r\n"
        + original
    )
