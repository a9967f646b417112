"""`user add|list|remove|...`: who may sign in to the console, and the tokens of its API."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from outbound_guard.cli.room import Room
from outbound_guard.cli.terminal import harmless, print_json, print_table, when
from outbound_guard.cli.times import duration

if TYPE_CHECKING:
    from outbound_guard.desk.people.users import Users
    from outbound_guard.ledger.user_queries import User

_ROLES = ("viewer", "operator", "admin", "tenant")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    user = commands.add_parser("user", help="who may sign in to the console, and the tokens of its API")
    acts = user.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="all users")
    listing.set_defaults(run=_list)
    adding = _act(acts, common, "add", "add a user; the password is asked for", _add)
    adding.add_argument("--role", choices=_ROLES, default="viewer", help="what the user may do (default: viewer)")
    adding.add_argument(
        "--accounts", default="", metavar="A,B", help="of a tenant: the accounts that it sees; *.x, x-*"
    )
    _add_password(adding)
    _act(acts, common, "remove", "remove a user for good, with its tokens", _remove)
    _add_password(_act(acts, common, "password", "set another password; ends the user's sessions", _password))
    role = _act(acts, common, "role", "give a user another role; ends the user's sessions", _role)
    role.add_argument("role", choices=_ROLES, metavar="ROLE", help=" | ".join(_ROLES))
    role.add_argument("--accounts", default="", metavar="A,B", help="of a tenant: the accounts that it sees")
    theirs = _act(acts, common, "accounts", "say which accounts a tenant sees; ends the user's sessions", _accounts)
    theirs.add_argument(
        "accounts", nargs="+", metavar="ACCOUNT", help="a name, or a pattern: *.example.com, reseller7-*"
    )
    _act(acts, common, "disable", "let a user sign in no more; its tokens rest", _disable)
    _act(acts, common, "enable", "let a disabled user sign in again", _enable)
    _act(acts, common, "sign-out", "end all sessions of a user", _sign_out)
    _act(acts, common, "totp-reset", "take the second factor from a user who lost it", _totp_reset)

    tokens = acts.add_parser("tokens", parents=[common], help="the tokens of the API")
    tokens.add_argument("user", metavar="USER", nargs="?", default="", help="of this user alone")
    tokens.set_defaults(run=_tokens)
    token = _act(acts, common, "token-add", "make a token of a user; it is printed once", _token_add)
    token.add_argument("token", metavar="TOKEN", help="its name, as in the audit")
    token.add_argument("--scopes", default="read", help="what it is for, with commas (default: read)")
    token.add_argument("--for", dest="duration", type=duration, metavar="DURATION", help="it ends after 90d, 12h, ...")
    revoke = acts.add_parser("token-revoke", parents=[common], help="end a token")
    revoke.add_argument("id", metavar="ID", help="as `user tokens` shows it")
    revoke.add_argument("--by", help="who decides (default: your login)")
    revoke.set_defaults(run=_token_revoke)


def _act(acts: Any, common: argparse.ArgumentParser, name: str, what: str, run: Any) -> argparse.ArgumentParser:
    act: argparse.ArgumentParser = acts.add_parser(name, parents=[common], help=what)
    act.add_argument("name", metavar="NAME")
    act.add_argument("--by", help="who decides (default: your login)")
    act.set_defaults(run=run)
    return act


def _add_password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")


def _list(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger.user_queries import users

    room = Room(arguments)
    with room.ledger() as ledger:
        found = users(ledger)
    if arguments.json:
        print_json([{name: getattr(user, name) for name in user.__struct_fields__} for user in found])
    elif found:
        print_table(
            ("name", "role", "state", "second factor", "signed in last"),
            [(u.name, u.role, u.state, _factor(u), when(u.seen)) for u in found],
        )
    else:
        print("There are no users yet: `outbound-guard user add NAME --role admin`, or the link that `serve` prints.")
    return 0


def _factor(user: User) -> str:
    return "by provider" if user.issuer else "yes" if user.second_factor else "no"


def _add(arguments: argparse.Namespace) -> int:
    password = _password_of(arguments)
    with _users(arguments) as (users, by):
        theirs = arguments.accounts.split(",")
        name = asyncio.run(users.add(arguments.name, arguments.role, password, by=by, accounts=theirs))
    return _done(arguments, name, f"added as {arguments.role}", role=arguments.role)


def _remove(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda users, by: users.remove(arguments.name, by=by), "removed")


def _password(arguments: argparse.Namespace) -> int:
    password = _password_of(arguments)
    return _change(
        arguments, lambda users, by: users.set_password(arguments.name, password, by=by), "has another password now"
    )


def _role(arguments: argparse.Namespace) -> int:
    theirs = arguments.accounts.split(",")
    return _change(
        arguments,
        lambda users, by: users.set_role(arguments.name, arguments.role, by=by, accounts=theirs),
        f"is {arguments.role} now",
    )


def _accounts(arguments: argparse.Namespace) -> int:
    return _change(
        arguments,
        lambda users, by: users.set_accounts(arguments.name, arguments.accounts, by=by),
        f"sees {', '.join(arguments.accounts)} now",
    )


def _disable(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda users, by: users.disable(arguments.name, by=by), "disabled")


def _enable(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda users, by: users.enable(arguments.name, by=by), "enabled")


def _sign_out(arguments: argparse.Namespace) -> int:
    return _change(arguments, lambda users, by: users.sign_out(arguments.name, by=by), "signed out everywhere")


def _totp_reset(arguments: argparse.Namespace) -> int:
    return _change(
        arguments, lambda users, by: users.reset_second_factor(arguments.name, by=by), "signs in without a code now"
    )


def _tokens(arguments: argparse.Namespace) -> int:
    from outbound_guard.ledger.user_queries import tokens

    room = Room(arguments)
    with room.ledger() as ledger:
        found = tokens(ledger, arguments.user)
    now = room.clock.now()
    if arguments.json:
        print_json([{name: getattr(token, name) for name in token.__struct_fields__} for token in found])
    elif found:
        print_table(
            ("id", "name", "user", "scopes", "state", "used last"),
            [(t.id, t.name, t.user, " ".join(t.scopes), t.state(now), when(t.used)) for t in found],
        )
    else:
        print("There are no tokens.")
    return 0


def _token_add(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.people.tokens import Tokens
    from outbound_guard.desk.people.users import ROLES
    from outbound_guard.ledger.user_queries import users

    room = Room(arguments)
    until = room.clock.now() + arguments.duration if arguments.duration else 0.0
    scopes = [scope for scope in arguments.scopes.replace(",", " ").split() if scope]
    with room.ledger() as ledger, room.journal() as journal:
        maker = next((user for user in users(ledger) if user.name == arguments.name), None)
        if maker is None:
            raise _refusal(f"no user {arguments.name}")
        tokens = Tokens(ledger, None, journal, room.clock)
        id_, value = asyncio.run(
            tokens.make(maker.name, arguments.token, scopes, allowed=ROLES[maker.role], until=until, by=room.by)
        )
    if arguments.json:
        print_json({"id": id_, "name": arguments.token, "user": maker.name, "scopes": scopes, "token": value})
    else:
        print(value)
    return 0


def _token_revoke(arguments: argparse.Namespace) -> int:
    from outbound_guard.desk.people.tokens import NoToken, Tokens

    room = Room(arguments)
    with room.ledger() as ledger, room.journal() as journal:
        try:
            token = asyncio.run(Tokens(ledger, None, journal, room.clock).revoke(arguments.id, by=room.by))
        except NoToken as error:
            raise _refusal(str(error)) from None
    if arguments.json:
        print_json({"id": token.id, "name": token.name, "user": token.user})
    else:
        print(f"token {harmless(token.name)} of {harmless(token.user)} revoked")
    return 0


def _change(arguments: argparse.Namespace, act: Callable[[Users, str], Awaitable[None]], said: str) -> int:
    async def acting(users: Users, by: str) -> None:
        await act(users, by)

    with _users(arguments) as (users, by):
        asyncio.run(acting(users, by))
    return _done(arguments, arguments.name.strip().lower(), said)


def _done(arguments: argparse.Namespace, name: str, said: str, **more: Any) -> int:
    if arguments.json:
        print_json({"name": name, "done": said} | more)
    else:
        print(f"user {harmless(name)} {said}")
    return 0


@contextmanager
def _users(arguments: argparse.Namespace) -> Iterator[tuple[Users, str]]:
    """The users of this data directory, which may be new: the first user can be added before the first start."""
    from outbound_guard.desk.people.passwords import Hashing
    from outbound_guard.desk.people.users import Users

    room = Room(arguments)
    room.config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    hashing = Hashing()
    try:
        with room.ledger() as ledger, room.journal() as journal:
            yield Users(ledger, journal, room.clock, hashing), room.by
    finally:
        hashing.close()


def _password_of(arguments: argparse.Namespace) -> str:
    """The password, from standard input or asked for; never an argument, which every process can read."""
    if arguments.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise _refusal("no terminal to ask for the password; give it with --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise _refusal("the two passwords differ")
    return password


def _refusal(text: str) -> Exception:
    from outbound_guard.desk.errors import DeskError

    return DeskError(text)
