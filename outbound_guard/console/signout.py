"""Signing out: here, and where that is wanted at the OpenID Connect provider too."""

from __future__ import annotations

from typing import Any

from litestar import Response, post

from outbound_guard.console.access import ANONYMOUS, COOKIES, SIGNED_IN, Asked
from outbound_guard.console.oidc import ID_TOKEN, SIGN_OUT
from outbound_guard.console.pages import go, page
from outbound_guard.console.signin import GivenAccess, cookie
from outbound_guard.desk.people.access import Access


@post(SIGN_OUT, needs=SIGNED_IN)
async def sign_out(request: Asked, access: GivenAccess) -> Response[Any]:
    """This session ends."""
    if request.user.session:
        await access.sessions.end(request.user.name, request.user.session, by=request.user.by)
    url = await _further(request, access)
    if url:
        # Not a redirect: the content security policy lets our forms lead to no other site. It is nobody's page.
        request.scope["user"] = ANONYMOUS
        answer: Response[Any] = page(request, "users/leaving.html", to=url)
        answer.headers.update({"Refresh": f"0; url={url}", "Referrer-Policy": "no-referrer"})
    else:
        answer = go("/sign-in", "You are signed out.")
    for name in COOKIES:
        # Browsers let a `__Host-` cookie be taken away only by one that is for https too.
        answer.set_cookie(cookie(request, name, "", 0))
    answer.set_cookie(cookie(request, ID_TOKEN, "", 0, path=SIGN_OUT))
    return answer


async def _further(request: Asked, access: Access) -> str:
    """Where to sign out at the provider; empty: that is not wanted, or cannot be."""
    token = request.cookies.get(ID_TOKEN, "")
    if not access.oidc or not request.user.provided:
        return ""
    return await access.oidc.sign_out_url(token if token.count(".") == 2 else "")


PAGES: list[Any] = [sign_out]
API: list[Any] = []
