"""One small file by https, or one small POST, at an address that was chosen before. The only user of httpx."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx
import msgspec

# It tells each request at the level of news.
logging.getLogger("httpx").setLevel(logging.WARNING)


class NotSent(Exception):  # noqa: N818 -- It says that the other side did not answer; no fault of ours.
    """There was no answer. The text says why, without anything that was sent."""

    def __init__(self, text: str, *, unreached: bool = False) -> None:
        """`unreached`: no connection came to be, so that nothing was sent either."""
        super().__init__(text)
        self.unreached = unreached


class NotFetched(Exception):  # noqa: N818 -- It says that there is no file for us; no fault of ours.
    """The file could not be had; the text says why."""


class Page(msgspec.Struct, frozen=True):
    """What a program at the other side answered."""

    status: int
    kind: str
    """The media type, in lower case and without parameters."""
    body: bytes
    retry_after: str = ""


async def fetch(
    host: str, address: str, path: str, *, tls: ssl.SSLContext, port: int = 443, longest: int = 65_536, seconds: float
) -> tuple[str, bytes]:
    """The media type (in lower case, without parameters) and the content of https://HOST/PATH. Raises NotFetched.

    `address` is where HOST is, so that the caller decides which addresses are asked; `tls` checks the certificate,
    which must be HOST's. Another answer than 200, so a redirect too, more than `longest` octets, and more than
    `seconds` for all of it are failures.
    """
    url = f"https://{host if port == 443 else f'{host}:{port}'}{path}"
    try:
        async with _answer("GET", url, address, b"", {}, tls, seconds) as answer:
            if answer.status_code != 200:
                raise NotFetched(f"answered {answer.status_code}")
            return _kind(answer), await _content(answer, longest)
    except NotSent as error:
        raise NotFetched(str(error)) from error


async def post(
    url: str,
    address: str,
    body: bytes,
    headers: dict[str, str],
    *,
    tls: ssl.SSLContext | None,
    seconds: float,
) -> tuple[int, str]:
    """The status that a POST was answered with, and the value of its Retry-After field. Raises NotSent.

    `address` is where the URL's host is, so that the caller decides which addresses are spoken to: the name is not
    looked up again. `tls` checks the certificate, which must be for the URL's host. Nothing of the answer but its head
    is read, so its size does not matter; redirects are not followed; `seconds` is for all of it.
    """
    async with _answer("POST", url, address, body, headers, tls, seconds) as answer:
        return answer.status_code, _retry_after(answer)


async def exchange(
    method: str,
    url: str,
    address: str,
    body: bytes,
    headers: dict[str, str],
    *,
    tls: ssl.SSLContext | None,
    seconds: float,
    longest: int = 4_194_304,
) -> Page:
    """One request with its whole answer, as `post` does it otherwise. Raises NotSent, also for more than `longest`."""
    async with _answer(method, url, address, body, headers, tls, seconds) as answer:
        content = await _content(answer, longest)
        return Page(answer.status_code, _kind(answer), content, _retry_after(answer))


@asynccontextmanager
async def _answer(
    method: str,
    url: str,
    address: str,
    body: bytes,
    headers: dict[str, str],
    tls: ssl.SSLContext | None,
    seconds: float,
) -> AsyncIterator[httpx.Response]:
    """The answer to one request, whose body can be read within these seconds too. Raises NotSent."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        literal = f"[{address}]" if ":" in address else address
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        async with (
            asyncio.timeout(seconds),
            # The environment may name a proxy, but not for this: it would go to addresses we have not looked at.
            httpx.AsyncClient(verify=tls or False, trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream(
                method,
                f"{parts.scheme}://{literal}:{port}{path}",
                content=body,
                headers={
                    "Host": parts.netloc,
                    "User-Agent": "outbound-guard",
                    "Accept-Encoding": "identity",
                    **headers,
                },
                extensions={"sni_hostname": parts.hostname or ""},
            ) as answer,
        ):
            yield answer
    except TimeoutError as error:
        raise NotSent(f"no answer within {seconds:g} s") from error
    except httpx.ConnectError as error:
        raise NotSent(_cause(error), unreached=True) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise NotSent(_cause(error)) from error


async def _content(answer: httpx.Response, longest: int) -> bytes:
    """The body as it comes over the wire: nothing small is unpacked into something large. Raises NotSent."""
    content = b""
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > longest:
            raise NotSent(f"its answer is longer than {longest} octets")
    return content


def _kind(answer: httpx.Response) -> str:
    return str(answer.headers.get("content-type", "")).partition(";")[0].strip().lower()


def _retry_after(answer: httpx.Response) -> str:
    return str(answer.headers.get("retry-after", ""))[:64]


def _cause(error: BaseException) -> str:
    """What went wrong with a connection, in a few words: the innermost cause says most."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"[:200]
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}"[:200].rstrip(": ")
