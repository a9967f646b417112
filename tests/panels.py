"""Control panels that we own: real HTTP servers which answer as the panels' documentation says, errors included.

async with panel("cpanel") as server:
    server.answers = ["500", "ok"]      # in turn; the last one for ever. "ok" is what the panel really says
    ... http://127.0.0.1:{server.port} ...
    server.requests, server.stopped
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

TOKEN = "TOKEN-4711-abcdefghijkl"
DOMAINS = {"shop.example": "web12", "other.example": "web13"}
UIDS = {"web12": "1012", "web13": "1013"}
MAILBOXES = ("anna@shop.example", "eve@shop.example", "carl@other.example")
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Login</title><body>Please log in</body></html>"
Answer = tuple[int, str, bytes]


@dataclass
class Request:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))


@dataclass
class Panel:
    """One server. `stopped` are mailboxes and users whose outgoing mail is suspended, `held` those on hold."""

    kind: str
    port: int = 0
    answers: list[str] = field(default_factory=lambda: ["ok"])
    """ok | lost (done, and no answer) | hang | html | login | garbage | list | STATUS; each for one changing call."""
    ask_too: bool = False
    """Also calls that only ask fail as `answers` say."""
    knows: bool = True
    """It tells what is suspended; older ones do not."""
    token: str = TOKEN
    stopped: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    effects: list[str] = field(default_factory=list)
    """Each change that was made, in order."""
    requests: list[Request] = field(default_factory=list)

    @property
    def changing(self) -> list[Request]:
        """The requests that were to change something."""
        return [one for one in self.requests if _changes(self.kind, one)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head.split("\r\n")[:-2]
            headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields)}
            request = Request(line, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
            self.requests.append(request)
            how = "ok"
            if self.ask_too or _changes(self.kind, request):
                how = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if how == "hang":
                await reader.read()
                return
            status, media, body = self._answer(how, request)
            if how == "lost":
                return
            head = f"HTTP/1.1 {status} Said\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # Who asked has gone.
        finally:
            writer.close()

    def _answer(self, how: str, request: Request) -> Answer:
        match how:
            case "html":
                return 200, "text/html", b"<html><body>It works!</body></html>"
            case "login":
                return 200, "text/html", LOGIN_PAGE
            case "garbage":
                return 200, "application/json", b'{"metadata": {"result": '
            case "list":
                return 200, "application/json", b"[1, 2]"
            case "ok" | "lost":
                return {"cpanel": self._whm, "plesk": self._plesk, "directadmin": self._directadmin}[self.kind](request)
            case _:
                return int(how), "text/plain", b"something is wrong here"

    def _change(self, what: str, who: str, of: set[str], *, on: bool) -> None:
        self.effects.append(f"{what} {who}")
        (of.add if on else of.discard)(who)

    # WHM: https://api.docs.cpanel.net, "metadata" as documented for suspend_outgoing_email.

    def _whm(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"whm root:{self.token}":
            body = {"cpanelresult": {"apiversion": "2", "error": "Access denied", "data": {"reason": "Access denied", "result": "0"}, "type": "text"}}  # fmt: skip  # noqa: E501
            return 403, "application/json", json.dumps(body).encode()
        function, query = urlsplit(request.target).path.removeprefix("/json-api/"), request.query
        assert query.get("api.version") == "1"
        user = query.get("user", query.get("cpanel.user", ""))
        if function == "version":
            return self._whm_ok(function, {"version": "11.130.0.5"})
        if function == "getdomainowner":
            owner = DOMAINS.get(query["domain"])
            return (
                self._whm_ok(function, {"user": owner})
                if owner
                else self._whm_no(
                    function, f"The system could not find the owner of the domain “{query['domain']}”: no such domain."
                )
            )
        if function == "listaccts":
            return self._whm_ok(function, {"acct": [{"user": name, "uid": uid} for name, uid in UIDS.items()]})
        if user not in UIDS:
            return self._whm_no(function, f"Sorry, the user {user} does not exist.")
        if function == "accountsummary":
            row: dict[str, Any] = {"user": user, "domain": "shop.example"}
            if self.knows:
                row |= {
                    "outgoing_mail_suspended": int(user in self.stopped),
                    "outgoing_mail_hold": int(user in self.held),
                }
            return self._whm_ok(function, {"acct": [row]})
        if function in ("suspend_outgoing_email", "unsuspend_outgoing_email"):
            self._change(function, user, self.stopped, on=function.startswith("suspend"))
            return self._whm_ok(function)
        if function in ("hold_outgoing_email", "release_outgoing_email"):
            self._change(function, user, self.held, on=function.startswith("hold"))
            return self._whm_ok(function)
        if function == "uapi_cpanel" and query["cpanel.module"] == "Email":
            return self._whm_ok(function, {"uapi": self._uapi(user, query)})
        return self._whm_no(function, f"Unknown app (“{function}”) requested for this version (1) of the API.")

    def _uapi(self, user: str, query: dict[str, str]) -> dict[str, Any]:
        function, own = query["cpanel.function"], [one for one in MAILBOXES if DOMAINS[one.split("@")[1]] == user]
        if function == "list_pops_with_disk":
            return self._uapi_said([self._pop(one, query) for one in own if one.endswith("@" + query["domain"])])
        address = query["email"]
        if address not in own:
            return self._uapi_said(None, f"The account “{address}” does not exist.")
        of = self.stopped if "suspend" in function else self.held
        self._change(function, address, of, on=function in ("suspend_outgoing", "hold_outgoing"))
        return self._uapi_said(1)

    def _pop(self, address: str, query: dict[str, str]) -> dict[str, Any]:
        row: dict[str, Any] = {"email": address, "login": address, "suspended_login": 0, "suspended_incoming": 0}
        if self.knows and query.get("get_restrictions") == "1":
            row |= {"suspended_outgoing": int(address in self.stopped), "hold_outgoing": int(address in self.held)}
        return row

    def _uapi_said(self, data: Any, error: str = "") -> dict[str, Any]:
        errors = [error] if error else None
        return {
            "data": data,
            "errors": errors,
            "messages": None,
            "metadata": {},
            "status": int(not error),
            "warnings": None,
        }

    def _whm_ok(self, command: str, data: Any = None) -> Answer:
        answer: dict[str, Any] = {"metadata": {"command": command, "reason": "OK", "result": 1, "version": 1}}
        return 200, "text/plain", json.dumps(answer | ({"data": data} if data is not None else {})).encode()

    def _whm_no(self, command: str, reason: str) -> Answer:
        answer = {"metadata": {"command": command, "reason": reason, "result": 0, "version": 1}}
        return 200, "text/plain", json.dumps(answer).encode()

    # Plesk: https://docs.plesk.com, REST API, /api/v2/cli/{id}/call.

    def _plesk(self, request: Request) -> Answer:
        if request.headers.get("x-api-key") != self.token:
            return 401, "application/json", b'{"code":0,"message":"Access denied."}'
        if request.target == "/api/v2/server":
            return 200, "application/json", b'{"platform":"Unix","panel_version":"18.0.70"}'
        assert request.headers["content-type"] == "application/json"
        utility, params = request.target.split("/")[4], json.loads(request.body)["params"]
        assert request.target == f"/api/v2/cli/{utility}/call"
        command, who, option, value = params
        options = {"mail": "-outgoing-messages-mbox-limit", "site": "-outgoing-messages-domain-limit"}
        if command != "--update" or options.get(utility) != option:
            return self._cli(1, stderr="Unknown option\n")
        if who not in (MAILBOXES if utility == "mail" else DOMAINS):
            what = "Mail account" if utility == "mail" else "Domain"
            return self._cli(
                1, stderr=f"An error occurred during {utility} update: {what} '{who}' does not exist\n\nexit status 1\n"
            )
        self._change(f"{utility} {option} {value}", who, self.stopped, on=value == "0")
        return self._cli(0, stdout=f"SUCCESS: Update of '{who}' completed.\n")

    def _cli(self, code: int, stdout: str = "", stderr: str = "") -> Answer:
        return 200, "application/json", json.dumps({"code": code, "stdout": stdout, "stderr": stderr}).encode()

    # DirectAdmin: the legacy API, URL-encoded answers, error=1 with status 200.

    def _directadmin(self, request: Request) -> Answer:
        kind, _, encoded = request.headers.get("authorization", "").partition(" ")
        login, _, secret = base64.b64decode(encoded).decode().partition(":")
        admin, _, behalf = login.partition("|")
        if kind != "Basic" or (admin, secret) != ("admin", self.token):
            return 200, "text/html", LOGIN_PAGE
        path = urlsplit(request.target).path
        if path == "/CMD_API_DOMAIN_OWNERS":
            owner = DOMAINS.get(request.query["domain"])
            return self._fields({request.query["domain"]: owner} if owner else {})
        if path != "/CMD_API_POP":
            return self._fields({"error": "1", "text": "Unknown command", "details": path})
        fields = (
            request.query
            if request.line.startswith("GET")
            else {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
        )
        domain = fields["domain"]
        if DOMAINS.get(domain) != behalf:
            return self._fields(
                {"error": "1", "text": "Cannot execute your request", "details": "Domain does not belong to you"}
            )
        own = {one.split("@")[0]: one for one in MAILBOXES if one.endswith("@" + domain) and one not in self.deleted}
        if fields["action"] == "full_list":
            rows = {local: {"quota": "50", "usage": "1.5"} | self._da_state(address) for local, address in own.items()}
            return self._fields({local: urlencode(row) for local, row in rows.items()})
        if fields["action"] == "delete" and request.line.startswith("POST"):
            address = own.get(fields["user"], "")
            if not address:
                return self._fields(
                    {"error": "1", "text": "Error", "details": f"The mailbox {fields['user']} does not exist"}
                )
            if self.knows and "suspend" in fields:
                self._change("suspend", address, self.stopped, on=True)
            elif self.knows and "unsuspend" in fields:
                self._change("unsuspend", address, self.stopped, on=False)
            else:
                self._change("DELETE", address, self.deleted, on=True)
            return self._fields({"error": "0", "text": "Saved", "details": ""})
        return self._fields({"error": "1", "text": "Unknown action", "details": fields["action"]})

    def _da_state(self, address: str) -> dict[str, str]:
        return {"suspended": "yes" if address in self.stopped else "no"} if self.knows else {}

    def _fields(self, fields: dict[str, str]) -> Answer:
        return 200, "text/plain", urlencode(fields, quote_via=quote).encode()


def _changes(kind: str, request: Request) -> bool:
    if kind == "cpanel":
        function = request.query.get("cpanel.function", urlsplit(request.target).path.rpartition("/")[2])
        return function.startswith(("suspend_", "unsuspend_", "hold_", "release_"))
    return request.line.startswith("POST")


@asynccontextmanager
async def panel(kind: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Panel]:
    """One that listens until the block ends."""
    here = Panel(kind)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        if hasattr(server, "close_clients"):
            server.close_clients()
