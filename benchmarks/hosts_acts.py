"""How soon what is decided on one host acts on the others: suspensions, judged texts, released mail.

Each is done again and again, on `alpha`; `beta` and `gamma` are asked all the while, every few milliseconds. The time
runs from the request (by the API), from the decision as it stands in the ledger (by command: before it lies the start
of the program), or from the message that convicted the sender, until the answer on the other host that shows it.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.hosts_house import Hosts
from tests.house import HELD, House
from tests.product import GUARD, message, until

_PAUSE = 0.005
"""Seconds between two questions to another host."""
_LONGEST = 300.0
"""Seconds after which something has not happened."""
_CONVICTED = 30.0
"""Seconds after which a thief should be convicted; not a number of messages, which all go while the state is away."""
_TEXT = """
parcel customs office waits fee account invoice balance meeting evening transfer winner office stamp letter garden
bridge window river summer ticket number signal market engine colour silver copper planet mirror button pocket
"""

Times = dict[str, float]
"""By host: seconds until it acted."""


def suspended_by_api(hosts: Hosts, number: int) -> Times:
    """A person suspends a sender at a console."""
    sender = f"api{number}@suspended.test"
    begun = 0.0

    def act() -> None:
        nonlocal begun
        begun = time.monotonic()
        subjects = [{"scope": "sender", "subject": sender}]
        asked = {"subjects": subjects, "what": "suspend", "reason": "stolen password"}
        hosts.visits["alpha"].api("POST", "/accounts/act", asked).raise_for_status()

    at = _seen(hosts.others("alpha"), lambda one, over: _refused(one, sender, over), act)
    return {name: seen - begun for name, seen in at.items()}


def suspended_by_command(hosts: Hosts, number: int, name: str = "command") -> Times:
    """A person suspends a sender by `account suspend`."""
    sender = f"{name}{number}@suspended.test"

    def act() -> None:
        _command(hosts["alpha"], "account", "suspend", sender, "--sender", "--reason", "stolen password")

    at = _seen(hosts.others("alpha"), lambda one, over: _refused(one, sender, over), act)
    decided = _audited(hosts, sender, "sender.suspended")
    return {other: seen - decided for other, seen in at.items()}


def convicted(hosts: Hosts, number: int, name: str = "convicted", *, calm: bool = True) -> Times:
    """A mailbox is stolen; a verdict suspends it. `calm`: it has no past yet."""
    sender, alpha = f"owner@{name}{number}.test", hosts["alpha"]
    if calm:
        alpha.calm_past(sender)

    def act() -> None:
        end = time.monotonic() + _CONVICTED
        for one in itertools.count():
            said = alpha.send(sender, f"stranger{one}@host{one}.test", f"offer {one}", thief=one % 250)
            if said.startswith("550 "):
                return
            assert time.monotonic() < end, f"{sender} was not convicted: {said}"

    at = _seen(hosts.others("alpha"), lambda one, over: _refused(one, sender, over), act)
    convicting = alpha.product.event("Suspension", identity=sender)["timestamp"]
    return {other: seen - _steady(convicting) for other, seen in at.items()}


def judged_by_api(hosts: Hosts, number: int) -> Times:
    """A person confirms a held message as abuse at a console: its text is stopped from everybody."""
    name = f"api{number}.test"
    text, id_ = _held(hosts, name)
    begun = 0.0

    def act() -> None:
        nonlocal begun
        begun = time.monotonic()
        order = {"act": "delete", "teach": True, "ids": [id_], "delay": 0.0, "reason": "a fraud"}
        hosts.visits["alpha"].api("POST", "/bulk", order).raise_for_status()

    at = _seen(hosts.others("alpha"), lambda one, over: _stopped(one, name, text, over), act)
    return {other: seen - begun for other, seen in at.items()}


def judged_by_command(hosts: Hosts, number: int) -> Times:
    """The same by `held delete --abuse`."""
    name = f"command{number}.test"
    text, id_ = _held(hosts, name)

    def act() -> None:
        _command(hosts["alpha"], "held", "delete", id_, "--abuse", "--reason", "a fraud")

    at = _seen(hosts.others("alpha"), lambda one, over: _stopped(one, name, text, over), act)
    decided = _audited(hosts, id_, "held.delete")
    return {other: seen - decided for other, seen in at.items()}


def released_by_api(hosts: Hosts, number: int) -> Times:
    """Mail held on alpha is released at beta's console, and at gamma's: until the next hop has it."""
    times = {}
    for name in hosts.others("alpha"):
        _, id_ = _held(hosts, f"released-{name}{number}.test")
        subject = _subject(hosts, id_)
        begun = time.monotonic()
        order = {"act": "release", "ids": [id_], "delay": 0.0}
        hosts.visits[name].api("POST", "/bulk", order).raise_for_status()
        times[name] = _arrived(hosts, subject) - begun
    return times


def released_by_command(hosts: Hosts, number: int) -> Times:
    """The same by `held release` there."""
    times = {}
    for name, one in hosts.others("alpha").items():
        _, id_ = _held(hosts, f"out-{name}{number}.test")
        subject = _subject(hosts, id_)
        (told,) = json.loads(_command(one, "held", "release", id_, "--json"))
        ((decided,),) = hosts.asked("SELECT time FROM bulk_action WHERE id = %s", told["decision"])
        times[name] = _arrived(hosts, subject) - _steady(decided)
    return times


ACTS: dict[str, tuple[str, Callable[[Hosts, int], Times]]] = {
    "suspended by API": ("a person suspends a sender (API): refused elsewhere", suspended_by_api),
    "suspended by command": ("the same by `account suspend`", suspended_by_command),
    "convicted": ("a verdict suspends a sender: refused elsewhere", convicted),
    "judged by API": ("a text confirmed as abuse (API): stopped elsewhere", judged_by_api),
    "judged by command": ("the same by `held delete --abuse`", judged_by_command),
    "released by API": ("a held message released elsewhere (API): delivered", released_by_api),
    "released by command": ("the same by `held release`", released_by_command),
}
"""By name: what it is, and how it is done once."""


# -- Looking -----------------------------------------------------------------------------------------------------------


def _seen(
    where: dict[str, House],
    look: Callable[[House, threading.Event], Iterable[bool]],
    act: Callable[[], None],
) -> Times:
    """When each of these hosts showed it (steady seconds): they are asked before `act`, and until then."""
    over, ready = threading.Event(), threading.Barrier(len(where) + 1, timeout=_LONGEST)

    def ask(one: House) -> float:
        looking = iter(look(one, over))
        assert not next(looking), "it was so before"
        ready.wait()
        for shown in looking:
            if shown:
                return time.monotonic()
            time.sleep(_PAUSE)
        return float("inf")

    with ThreadPoolExecutor() as pool:
        asking = {name: pool.submit(ask, one) for name, one in where.items()}
        try:
            ready.wait()
            act()
            return {name: future.result(_LONGEST) for name, future in asking.items()}
        finally:
            over.set()


def _refused(one: House, sender: str, over: threading.Event) -> Iterable[bool]:
    """Whether MAIL is refused to this sender, in one session."""
    with one.product.client() as client:
        client.ehlo()
        while not over.is_set():
            said = client.say(f"MAIL FROM:<{sender}>")
            yield said.startswith("550 ")
            assert said.startswith("250 "), said
            client.say("RSET")


def _stopped(one: House, name: str, text: str, over: threading.Event) -> Iterable[bool]:
    """Whether a text is stopped. Each time somebody else sends it, who has no past."""
    number = 0
    with one.product.client() as client:
        while not over.is_set():
            number += 1
            sender = f"somebody@{one.product.config.parent.name}{number}-{name}"
            content = message(f"for you {number}", text, From=f"<{sender}>")
            said = client.submit(sender, [f"friend{number}@there.test"], content)
            yield "queued as TEST" not in said


# -- Before and after --------------------------------------------------------------------------------------------------


def _held(hosts: Hosts, name: str) -> tuple[str, str]:
    """A text of its own that alpha holds of a stolen mailbox, and that message's id; every host knows of it."""
    words = random.Random(name).choices(_TEXT.split(), k=40)
    text, sender, alpha = " ".join(words).capitalize() + ".", f"owner@{name}", hosts["alpha"]
    alpha.calm_past(sender)
    for one in range(30):
        said = alpha.send(sender, f"s{one}@host{one}.test", f"{sender} {one}", thief=one, text=text)
        if found := HELD.fullmatch(said):
            until(lambda: hosts.asked("SELECT 1 FROM held WHERE id = %s", found[1]), "the ledger knows it")
            return text, found[1]
    raise AssertionError(f"{sender} was not contained")


def _command(one: House, *words: str) -> str:
    """What a command prints. On a busy machine its start alone may take a minute."""
    command = [GUARD, *words, "--config", one.product.config]
    return subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=True).stdout


def _subject(hosts: Hosts, id_: str) -> str:
    ((subject,),) = hosts.asked("SELECT subject FROM held WHERE id = %s", id_)
    return str(subject)


def _arrived(hosts: Hosts, subject: str) -> float:
    return until(lambda: hosts.arrivals.at.get(subject), f"{subject!r} has arrived", _LONGEST) or 0.0


def _audited(hosts: Hosts, subject: str, what: str) -> float:
    """When it was decided, as the audit has it (steady seconds)."""
    query = "SELECT time FROM audit WHERE subject = %s AND what = %s"
    rows = until(lambda: hosts.asked(query, subject, what), f"{what} of {subject} is in the ledger", _LONGEST)
    return _steady(rows[0][0])


def _steady(clock: float) -> float:
    """A moment of the machine's clock as steady seconds."""
    return clock - time.time() + time.monotonic()
