"""Signing in at an OpenID Connect provider: the way there and back.

The session's cookie is one that no other site can make a browser send, so that a redirect which began at the provider
would arrive without it. Therefore who has come in gets a page of ours, and the browser goes on from there.
"""

from __future__ import annotations

import math
from typing import Any

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromQuery
from litestar.response import Redirect

from outbound_guard.console.access import NOBODY, Asked, client_of
from outbound_guard.console.pages import local, page
from outbound_guard.console.signin import GivenAccess, agent_of, begin_session, cookie, form, sentence
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.oidc.signin import SECONDS, OidcSignIn
from outbound_guard.desk.people.signin import SignInRefused, SignInThrottled

_BEGUN = ("__Host-og_oidc", "og_oidc")
"""Cookie of a sign-in that has begun: by https, and by http."""
ID_TOKEN = "og_id_token"  # noqa: S105 -- its name.
"""Cookie with the ID token, which the provider wants to see again when somebody signs out there; sent nowhere else."""
SIGN_OUT = "/sign-out"
_LONGEST = 3_800
"""Octets of a cookie that browsers keep."""


@get("/sign-in/oidc", needs=NOBODY)
async def there(
    request: Asked, access: GivenAccess, next: FromQuery[str] = "", anew: FromQuery[bool] = False
) -> Response[Any]:
    """On to the provider; `anew`: it is to ask who somebody is, though it may know."""
    oidc = _oidc(access.oidc)
    try:
        begun = await oidc.begin(local(next or "/"), anew=anew)
    except DeskError as error:
        return form(request, access, status=503, wrong=_away(str(error)), next=local(next or "/"))
    answer = Redirect(begun.url, status_code=303)
    # Lax: the browser comes back from another site.
    answer.set_cookie(cookie(request, _begun_name(request), begun.cookie, SECONDS, samesite="lax"))
    return answer


@get("/sign-in/oidc/callback", needs=NOBODY)
async def back(request: Asked, access: GivenAccess) -> Response[Any]:
    """Back from the provider: a session, or why there is none."""
    oidc, name = _oidc(access.oidc), _begun_name(request)
    try:
        entered = await oidc.finish(
            dict(request.query_params.items()),
            request.cookies.get(name, ""),
            client=client_of(request),
            agent=agent_of(request),
        )
    except SignInRefused as error:
        refused = page(request, "users/refused.html", status=403, text=sentence(str(error)), label=oidc.settings.label)
        refused.set_cookie(cookie(request, name, "", 0, samesite="lax"))
        return refused
    except SignInThrottled as error:
        waits = form(request, access, status=429, wrong=sentence(str(error)))
        waits.headers["Retry-After"] = str(math.ceil(error.wait))
        return waits
    except DeskError as error:
        return form(request, access, status=503, wrong=_away(str(error)))
    to = local(entered.next)
    answer = page(request, "users/entered.html", to=to)
    begin_session(request, answer, entered.session)
    answer.set_cookie(cookie(request, name, "", 0, samesite="lax"))
    if oidc.settings.sign_out == "everywhere":
        token = entered.id_token if len(entered.id_token) <= _LONGEST else "-"
        left = entered.session.expires - request.app.state.tools.clock.now()
        answer.set_cookie(cookie(request, ID_TOKEN, token, left, path=SIGN_OUT))
    # The address has the code in it, which is worth nothing any more; no page needs to know it all the same.
    answer.headers.update({"Refresh": f"0; url={to}", "Referrer-Policy": "no-referrer"})
    return answer


def _oidc(found: OidcSignIn | None) -> OidcSignIn:
    if found is None:
        raise NotFoundException("Not Found")
    return found


def _away(text: str) -> str:
    return f"{sentence(text)} Try again in a moment."


def _begun_name(request: Asked) -> str:
    return _BEGUN[0] if request.url.scheme == "https" else _BEGUN[1]


PAGES: list[Any] = [there, back]
API: list[Any] = []
