"""One small file by https, from the address it is known to be at. The only user of httpx."""

from __future__ import annotations

import asyncio
import logging
import ssl

import httpx

# It tells each request at the level of news.
logging.getLogger("httpx").setLevel(logging.WARNING)


class NotFetched(Exception):  # noqa: N818 -- It says that there is no file for us; no fault of ours.
    """The file could not be had; the text says why."""


async def fetch(
    host: str, address: str, path: str, *, tls: ssl.SSLContext, port: int = 443, longest: int = 65_536, seconds: float
) -> tuple[str, bytes]:
    """The media type (in lower case, without parameters) and the content of https://HOST/PATH. Raises NotFetched.

    `address` is where HOST is, so that the caller decides which addresses are asked; `tls` checks the certificate,
    which must be HOST's. Another answer than 200, so a redirect too, more than `longest` octets, and more than
    `seconds` for all of it are failures.
    """
    where = f"[{address}]" if ":" in address else address
    name = host if port == 443 else f"{host}:{port}"
    try:
        async with (
            asyncio.timeout(seconds),
            # The environment may name a proxy, but not for this: it would go to addresses we have not looked at.
            httpx.AsyncClient(verify=tls, trust_env=False, follow_redirects=False, timeout=seconds) as client,
            client.stream(
                "GET",
                f"https://{where}:{port}{path}",
                headers={"Host": name, "User-Agent": "outbound-guard", "Accept-Encoding": "identity"},
                extensions={"sni_hostname": host},
            ) as answer,
        ):
            if answer.status_code != 200:
                raise NotFetched(f"answered {answer.status_code}")
            content = b""
            # As it comes over the wire: nothing small is unpacked into something large.
            async for piece in answer.aiter_raw():
                content += piece
                if len(content) > longest:
                    raise NotFetched(f"is longer than {longest} octets")
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            return kind, content
    except TimeoutError as error:
        raise NotFetched(f"no answer within {seconds:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise NotFetched(f"{type(error).__name__}: {error}"[:200]) from error
