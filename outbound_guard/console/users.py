"""Users of the console, for admins."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body, FromPath, FromQuery, JSONBody
from litestar.response import Redirect

from outbound_guard.console.access import Asked
from outbound_guard.console.pages import go, link, page
from outbound_guard.console.signin import GivenAccess
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.people.access import Access
from outbound_guard.desk.people.users import ROLES
from outbound_guard.ledger.user_queries import User

Role = Literal["viewer", "operator", "admin", "tenant"]
Accounts = Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)]


class UserList(msgspec.Struct, frozen=True):
    """All users, by name."""

    items: list[User]
    total: int


class NewUser(msgspec.Struct, frozen=True):
    """A user to be added."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    password: Annotated[str, msgspec.Meta(min_length=12, max_length=1024)]
    role: Role = "viewer"
    accounts: Accounts = ()
    """Of a tenant: the accounts that it sees, patterns with `*` at the beginning or end among them."""


class UserChanges(msgspec.Struct, frozen=True):
    """What is to be different; what is left out stays."""

    role: Role | None = None
    accounts: Accounts | None = None
    """Of a tenant."""
    state: Literal["active", "disabled"] | None = None
    password: Annotated[str, msgspec.Meta(min_length=12, max_length=1024)] | None = None


class AddForm(msgspec.Struct):
    """A user to be added, as the form sends it."""

    name: str = ""
    role: str = ""
    accounts: str = ""
    """One a line."""
    password: str = ""
    again: str = ""


class ChangeForm(msgspec.Struct):
    """One change of a user."""

    name: str = ""
    what: str = ""
    """role | accounts | password | disable | enable | sign-out | totp-reset | remove"""
    role: str = ""
    accounts: str = ""
    password: str = ""
    again: str = ""


@get("/users", needs="users")
async def users_page(request: Asked, access: GivenAccess) -> Response[str]:
    """All users."""
    return page(request, "users/list.html", users=await access.users.all(), roles=list(ROLES))


@get("/users/one", needs="users")
async def user_page(request: Asked, access: GivenAccess, name: FromQuery[str] = "") -> Response[str]:
    """One user, with sessions and tokens."""
    user = await access.users.one(name)
    return page(
        request,
        "users/one.html",
        user=user,
        roles=list(ROLES),
        sessions=await access.sessions.of_user(user.name),
        tokens=await access.tokens.all(user.name),
    )


@post("/users/add", needs="users")
async def add(
    request: Asked, access: GivenAccess, data: Annotated[AddForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Adds a user."""
    if data.password != data.again:
        raise DeskError("the two passwords differ")
    theirs = data.accounts.splitlines()
    name = await access.users.add(data.name, data.role, data.password, by=request.user.by, accounts=theirs)
    return go("/users", f"{name} can sign in now, as {data.role}.")


@post("/users/change", needs="users")
async def change(
    request: Asked, access: GivenAccess, data: Annotated[ChangeForm, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> Redirect:
    """Changes a user."""
    users, by, name = access.users, request.user.by, data.name
    there = link("/users/one", name=name)
    match data.what:
        case "role":
            await users.set_role(name, data.role, by=by, accounts=data.accounts.splitlines())
            return go(there, f"{name} is {data.role} now, and has to sign in anew.")
        case "accounts":
            await users.set_accounts(name, data.accounts.splitlines(), by=by)
            return go(there, f"{name} sees these accounts now, and has to sign in anew.")
        case "password":
            if data.password != data.again:
                raise DeskError("the two passwords differ")
            await users.set_password(name, data.password, by=by)
            return go(there, f"{name} has another password now, and has to sign in again.")
        case "disable":
            await users.disable(name, by=by)
            return go(there, f"{name} cannot sign in any more; the tokens of {name} rest.")
        case "enable":
            await users.enable(name, by=by)
            return go(there, f"{name} can sign in again.")
        case "sign-out":
            await users.sign_out(name, by=by)
            return go(there, f"{name} is signed out everywhere.")
        case "totp-reset":
            await users.reset_second_factor(name, by=by)
            return go(there, f"{name} signs in with the password alone now.")
        case "remove":
            await users.remove(name, by=by)
            return go("/users", f"{name} is removed; the tokens of {name} are revoked.")
    raise DeskError("nothing was asked for")


@get("/users", needs="users")
async def users_api(access: GivenAccess) -> UserList:
    """All users."""
    found = await access.users.all()
    return UserList(found, len(found))


@get("/users/{name:str}", needs="users")
async def user_api(access: GivenAccess, name: FromPath[str]) -> User:
    """One user."""
    return await _one(access, name)


@post("/users", needs="users")
async def add_api(request: Asked, access: GivenAccess, data: JSONBody[NewUser]) -> User:
    """Adds a user."""
    by = request.user.by
    name = await access.users.add(data.name, data.role, data.password, by=by, accounts=data.accounts)
    return await _one(access, name)


@patch("/users/{name:str}", needs="users")
async def change_api(request: Asked, access: GivenAccess, name: FromPath[str], data: JSONBody[UserChanges]) -> User:
    """Changes a user: role, accounts, state or password. Any of them ends the user's sessions."""
    user, by = await _one(access, name), request.user.by
    if data.role is not None:
        await access.users.set_role(user.name, data.role, by=by, accounts=data.accounts or ())
    elif data.accounts is not None:
        await access.users.set_accounts(user.name, data.accounts, by=by)
    if data.state is not None:
        await (access.users.enable if data.state == "active" else access.users.disable)(user.name, by=by)
    if data.password is not None:
        await access.users.set_password(user.name, data.password, by=by)
    return await _one(access, name)


@delete("/users/{name:str}", needs="users", status_code=204)
async def remove_api(request: Asked, access: GivenAccess, name: FromPath[str]) -> None:
    """Removes a user for good, and revokes the user's tokens."""
    user = await _one(access, name)
    await access.users.remove(user.name, by=request.user.by)


@post("/users/{name:str}/sign-out", needs="users", status_code=204)
async def sign_out_api(request: Asked, access: GivenAccess, name: FromPath[str]) -> None:
    """Ends all sessions of a user."""
    user = await _one(access, name)
    await access.users.sign_out(user.name, by=request.user.by)


@post("/users/{name:str}/totp-reset", needs="users", status_code=204)
async def totp_reset_api(request: Asked, access: GivenAccess, name: FromPath[str]) -> None:
    """Takes the second factor from a user who lost it."""
    user = await _one(access, name)
    await access.users.reset_second_factor(user.name, by=request.user.by)


async def _one(access: Access, name: str) -> User:
    try:
        return await access.users.one(name)
    except DeskError as error:
        raise NotFoundException(str(error)) from error


PAGES: list[Any] = [users_page, user_page, add, change]
API: list[Any] = [users_api, user_api, add_api, change_api, remove_api, sign_out_api, totp_reset_api]
