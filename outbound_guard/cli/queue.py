"""`queue list|show|retry|hold|bounce`: mail that waits to be delivered."""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from outbound_guard.cli.room import Room, note
from outbound_guard.cli.terminal import print_fields, print_json, print_table, some, when
from outbound_guard.cli.times import duration

if TYPE_CHECKING:
    from outbound_guard.desk.queue.acts import Act
    from outbound_guard.desk.queue.desk import Page, Preview, QueueDesk
    from outbound_guard.desk.queue.showing import Queued
    from outbound_guard.desk.queue.waiting import Search
    from outbound_guard.spool import Spool

_SORTS = ("received", "due", "attempts", "size", "account")
_PATIENCE = 3600.0
"""Seconds that a command waits until the whole queue is read."""
_T = TypeVar("_T")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the command line."""
    queue = commands.add_parser("queue", help="see queued mail and why it waits; try it now, hold it, give it up")
    acts = queue.add_subparsers(title="commands", metavar="COMMAND", required=True)

    listing = acts.add_parser("list", parents=[common], help="what waits to be delivered, oldest first")
    _add_filters(listing)
    listing.add_argument("--sort", choices=_SORTS, default="received", help="by what (default: received)")
    listing.add_argument("--down", action="store_true", help="the largest or newest first")
    listing.add_argument("--limit", type=int, default=1000, metavar="N", help="the first N (default 1000; 0: all)")
    listing.add_argument(
        "--summary", action="store_true", help="only how many, by destination, account and last answer"
    )
    listing.set_defaults(run=_list)

    show = acts.add_parser("show", parents=[common], help="for whom one message waits, why, and until when")
    show.add_argument("id", metavar="ID")
    show.set_defaults(run=_show)

    for name, what, reason in (
        ("retry", "try messages now; when they expire stays as it was", "why; stands in the audit"),
        ("hold", "take messages out of the queue until a person decides (`held`)", "why; stands in the audit"),
        ("bounce", "give messages up; senders are told, as far as the account owns the address", "why; is told, too"),
    ):
        act = acts.add_parser(name, parents=[common], help=what)
        act.add_argument("ids", nargs="*", metavar="ID")
        _add_filters(act)
        act.add_argument("--dry-run", action="store_true", help="only say what it would do")
        act.add_argument("--reason", default="", help=reason)
        act.add_argument("--by", help="who decides (default: your login)")
        act.set_defaults(run=_act, act=name, parser=act)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account")
    parser.add_argument("--sender", help="the sender, or MAIL FROM")
    parser.add_argument("--sender-class", metavar="CLASS", help="the sender's class when it came in, such as bulk")
    parser.add_argument("--recipient", help="a whole address")
    parser.add_argument("--destination", metavar="DOMAIN", help="the recipient's domain")
    parser.add_argument("--reply", metavar="WORDS", help="words of the last answer")
    parser.add_argument("--class", dest="reply_class", metavar="CLASS", help="what the last answer means (`classify`)")
    parser.add_argument("--subject", metavar="WORDS", help="words of the subject's beginning")
    parser.add_argument("--older-than", type=duration, metavar="DURATION", help="received more than 2h, 3d, ... ago")
    parser.add_argument("--since", type=duration, metavar="DURATION", help="received in the last 2h, 7d, ...")


def _search(arguments: argparse.Namespace, now: float) -> Search:
    from outbound_guard.desk.queue.waiting import Search

    given = {
        name: (getattr(arguments, name) or "").strip()
        for name in ("account", "sender", "sender_class", "recipient", "destination", "reply", "reply_class", "subject")
    }
    return Search(
        since=now - arguments.since if arguments.since is not None else 0.0,
        before=now - arguments.older_than if arguments.older_than is not None else 0.0,
        **given,
    )


@contextmanager
def _spool(room: Room) -> Iterator[Spool]:
    """The spool, unless there is none yet, which a look must not make."""
    from outbound_guard.desk.errors import DeskError

    if not (room.config.data_dir / "spool").is_dir():
        raise DeskError(f"no spool yet: {room.config.data_dir / 'spool'} does not exist")
    with room.spool() as spool:
        yield spool


def _with_desk(room: Room, spool: Spool, ask: Callable[[QueueDesk], Awaitable[_T]]) -> _T:
    from outbound_guard.desk.queue.desk import QueueDesk

    async def asked() -> _T:
        hostname = room.config.server.hostname or socket.getfqdn()
        with room.journal() as journal:
            desk = QueueDesk(spool, journal, room.clock, room.config.delivery, hostname, _PATIENCE)
            try:
                return await ask(desk)
            finally:
                await desk.close()

    return asyncio.run(asked())


def _list(arguments: argparse.Namespace) -> int:
    import msgspec

    room = Room(arguments)
    now = room.clock.now()
    limit = 0 if arguments.summary else arguments.limit or 1_000_000_000
    with _spool(room) as spool:
        found: Page = _with_desk(
            room,
            spool,
            lambda desk: desk.page(
                _search(arguments, now), sort=arguments.sort, down=arguments.down, limit=max(limit, 0)
            ),
        )
    if arguments.summary:
        _print_summary(arguments, found)
        return 0
    if found.next is not None:
        note(f"the first {len(found.items)} of {found.summary.number}, see --limit")
    if arguments.json:
        print_json([msgspec.to_builtins(one) for one in found.items])
    elif found.items:
        print_table(
            ("id", "received", "tries", "next", "account", "to", "last answer"),
            [
                (
                    one.id,
                    when(one.received),
                    one.attempts,
                    when(one.due) if one.due > now else "now",
                    one.account or ("(report)" if one.report else ""),
                    some(one.recipients[:1]) + (f" and {one.number - 1} more" if one.number > 1 else ""),
                    one.answers[0].text if one.answers else "none yet",
                )
                for one in found.items
            ],
        )
    else:
        print("Nothing that is queued fits." if found.queue else "Nothing is queued.")
    return 0


def _print_summary(arguments: argparse.Namespace, found: Page) -> None:
    import msgspec

    told = found.summary
    if arguments.json:
        print_json(msgspec.to_builtins(told))
        return
    print_fields(
        [
            ("messages", told.number),
            ("recipients", told.recipients),
            ("oldest", when(told.oldest)),
            ("not answered yet", told.untried),
            ("reports of our own", told.reports),
        ]
    )
    for heading, shares in (
        ("destination", told.destinations),
        ("account", told.accounts),
        ("last answer", told.answers),
    ):
        if shares:
            print()
            columns = ("messages", heading, "class") if heading == "last answer" else ("messages", heading)
            print_table(columns, [(one.number, one.key, one.class_)[: len(columns)] for one in shares])


def _show(arguments: argparse.Namespace) -> int:
    import msgspec

    room = Room(arguments)
    with _spool(room) as spool, room.ledger() as ledger:
        found: Queued = _with_desk(room, spool, lambda desk: desk.show(ledger, arguments.id))
    if arguments.json:
        print_json(msgspec.to_builtins(found))
        return 0
    one, now = found.message, room.clock.now()
    print_fields(
        [
            ("id", one.id),
            ("received", when(one.received)),
            ("account", one.account),
            ("sender", one.sender),
            ("mail_from", one.mail_from or "<>"),
            ("subject", one.subject),
            ("size", one.size),
            ("verdict", f"{found.action}, score {found.score:.2f}" if not one.report else ""),
            ("report about", found.about),
            ("tries", one.attempts),
            ("next try", when(one.due) if one.due > now else "now"),
            ("expires", when(found.expires)),
            ("then told", found.report_to or "nobody"),
        ]
    )
    print()
    print_table(
        ("recipient", "state", "class", "by", "last answer"),
        [(each.recipient, each.state, each.class_, each.peer, each.answer or "none yet") for each in found.recipients],
    )
    for advice in dict.fromkeys(each.advice for each in found.recipients if each.state == "waiting" and each.advice):
        print()
        print_fields([("advice", advice)])
    if found.audit:
        print()
        print_table(("time", "by", "what", "detail"), [(when(a.time), a.by, a.what, a.detail) for a in found.audit])
    return 0


def _act(arguments: argparse.Namespace) -> int:
    import msgspec

    from outbound_guard.desk.errors import DeskError
    from outbound_guard.desk.queue.deciding import MOST_NAMED, Meant, Progress

    room = Room(arguments)
    search = _search(arguments, room.clock.now())
    if bool(arguments.ids) != search.empty:
        # Whoever forgets the condition must not give everybody's mail up.
        arguments.parser.error(
            "name messages, or say which by --account, --sender, --sender-class, --recipient, --destination, --reply, "
            "--class, --subject, --older-than or --since; one of the two"
        )
    if len(arguments.ids) > MOST_NAMED:
        raise DeskError(f"more than {MOST_NAMED} messages by name: say by a condition which are meant")
    meant: Meant = tuple(dict.fromkeys(arguments.ids)) or search
    act: Act = arguments.act

    async def preview(desk: QueueDesk) -> Preview:
        return await desk.preview(meant, act)

    async def carry_out(desk: QueueDesk) -> Progress:
        if isinstance(meant, tuple):
            # What is named and not there is reported one by one.
            messages = [(id_, 0) for id_ in meant]
        else:
            messages = [(one.id, one.size) for one in (await desk.meant(meant))[0]]
        return await desk.acts.carry_out(meant, messages, act, by=room.by, reason=arguments.reason.strip())

    with _spool(room) as spool:
        if arguments.dry_run:
            told = _with_desk(room, spool, preview)
            _print_preview(arguments, told)
            return 0 if told.number else 1
        done = _with_desk(room, spool, carry_out)
    from outbound_guard.desk.queue.acts import DONE

    if arguments.json:
        print_json(msgspec.to_builtins(done))
    else:
        gone = f", {done.gone} not queued any more" if done.gone else ""
        print(f"{done.done} of {done.number} {DONE[act]}{gone}")
    for remark in done.remarks:
        note(remark)
    left = done.failed or done.state != "done" or (done.gone and isinstance(meant, tuple))
    return 1 if left else 0


def _print_preview(arguments: argparse.Namespace, told: Preview) -> None:
    import msgspec

    if arguments.json:
        print_json(msgspec.to_builtins(told))
        return
    print(f"{told.act} {told.number} messages: {told.meant}")
    for out in told.left_out:
        print(f"{out.number} left out: {out.why}")
    for sentence in told.consequences:
        print(sentence)
