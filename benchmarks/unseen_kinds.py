"""The stories of `benchmarks.unseen`: each adds the mail of an attack (`x`) or of an honest kind (`ok`) to a world."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

from benchmarks.unseen_world import BEGAN, DAY, MONDAY, PAST, Mailbox, World


def _invitation(world: World, sender: str, at: float, subject: str, text: str, place: str) -> EmailMessage:
    message = world.letter(sender, subject, text, at)
    event = f"BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:{subject}\nLOCATION:{place}\nUID:{world.word()}\n"
    message.add_attachment(event + "END:VEVENT\nEND:VCALENDAR\n", subtype="calendar", params={"method": "REQUEST"})
    return message


def _picture(world: World, sender: str, at: float, subject: str, text: str) -> EmailMessage:
    message = world.letter(sender, subject, "", at)
    message.set_content(f'<html><body>{text}<img src="cid:code"></body></html>', subtype="html")
    picture = b"\x89PNG\r\n\x1a\n" + world.rng.randbytes(1200)
    message.add_related(picture, "image", "png", cid="<code>", filename="code.png")
    return message


# Attacks, on accounts of others unless it is said.


def calendar_phish(world: World) -> None:
    owner, ip, link = Mailbox(world), world.address(), f"https://{world.domain()}/meet/"
    for number in range(400):
        at = MONDAY + number * 10
        text = "You are invited to a meeting: payroll review."
        message = _invitation(world, owner.user, at, "Invitation: Payroll review", text, link + world.word())
        owner.send(
            "x: invitation with a link, 400 strangers",
            at,
            [world.stranger()],
            "",
            message=message,
            ip=ip,
            program="Google Calendar",
            gone=0.04,
            complaints=0.02,
        )


def picture_only(world: World) -> None:
    owner, ip = Mailbox(world), world.address()
    for number in range(300):
        at = MONDAY + number * 20
        message = _picture(world, owner.user, at, f"Action required: 2FA expires {world.word()}", "")
        owner.send("x: a QR code and no text", at, [world.stranger()], "", message=message, ip=ip, gone=0.05)


def invoice_fraud(world: World) -> None:
    owner, ip = Mailbox(world), world.address()
    for number in range(60):
        at, bill = MONDAY + number * 1200 + world.rng.random() * 400, world.rng.randint(1000, 9999)
        text = (
            f"Dear {world.word().title()},\n\nplease note that our bank details have changed. Kindly use the new "
            f"account for invoice {bill} and confirm when paid.\n\nRegards,\n{owner.name}\n"
        )
        owner.send(
            "x: changed bank details, three an hour",
            at,
            [world.stranger()],
            f"Re: Invoice {bill}",
            text,
            ip=ip,
            gone=0.02,
            complaints=0.02,
            Reply_To=f"{world.word()}@gmail.com",
        )


def hidden_copies(world: World) -> None:
    owner, ip = Mailbox(world), world.address()
    for number in range(20):
        to = [world.stranger() for _ in range(90)]
        text = world.rng.choice(world.spam)
        at = MONDAY + number * 60
        owner.send("x: spam to 90 hidden recipients at a time", at, to, world.word(), text, ip=ip, gone=0.08)


def own_computer(world: World) -> None:
    owner = Mailbox(world)
    for number in range(500):
        at = MONDAY + number * 60 + world.rng.random() * 30
        text = f"{world.ham()[:600]}\n\nsee https://{world.domain()}/{world.word()}\n\n-- \n{owner.name}\n"
        to = [world.stranger()]
        owner.send("x: the owner's computer, no text twice, one a minute", at, to, world.word(), text, gone=0.1)


def warmed_up(world: World) -> None:
    owner = Mailbox(world, days=range(14, 21), daily=8, friends=5)
    for number in range(400):
        at, text = MONDAY + number * 8, world.rng.choice(world.spam)
        owner.send("x: a week old, then spam", at, [world.stranger()], world.word(), text, gone=0.08, complaints=0.02)


def fresh_accounts(world: World) -> None:
    text = world.rng.choice(world.spam)
    for account in range(15):
        owner = Mailbox(world, days=range(0))
        for number in range(8):
            at = MONDAY + account * 900 + number * 120
            said = f"Hi {world.word()}\n{text}{world.word()}"
            to = [world.stranger()]
            owner.send("x: one text, 15 fresh accounts, 8 each", at, to, world.word(), said, gone=0.06, complaints=0.02)


def rotating_script(world: World) -> None:
    server, ip, site = f"web{world.word()}.host.example", world.address(), f"shop{world.word()}.example"
    for day in range(21):
        for number in range(6):
            at = BEGAN + day * DAY + 9 * 3600 + number * 4000
            sender, script = f"wordpress@{site}", "1001:class-phpmailer.php"
            text = world.ham()[:400]
            message = world.letter(sender, "New order", text, at, X_PHP_Originating_Script=script)
            world.say(PAST, at, (sender, [f"info@{site}"]), message, (ip, None, server))
    for number in range(500):
        at, sender, text = MONDAY + number * 5, f"{world.word()}@{site}", world.rng.choice(world.spam)
        message = world.letter(sender, world.word(), text, at, X_PHP_Originating_Script=f"1001:{world.word()}.php")
        kind, to = "x: a script of another name each time", [world.stranger()]
        world.say(kind, at, (sender, to), message, (ip, None, server), 0.07, 0.01)


def hijacked_thread(world: World) -> None:
    owner, ip = Mailbox(world, friends=40), world.address()
    for number, friend in enumerate(owner.friends * 2):
        quoted = world.ham()[:500].replace("\n", "\n> ")
        text = f"Hi,\n\nplease see what we discussed: https://{world.domain()}/{world.word()}.zip\n\n> {quoted}"
        at = MONDAY + number * 40
        owner.send("x: an answer with a link, to own contacts", at, [friend], f"Re: {world.word()}", text, ip=ip)


def slow_botnet(world: World) -> None:
    owner = Mailbox(world)
    for number in range(400):
        at, text = MONDAY + number * 150, world.rng.choice(world.spam)
        owner.send(
            "x: another address for each message",
            at,
            [world.stranger()],
            world.word(),
            text,
            ip=world.address(),
            program="Microsoft Outlook 16.0",
            gone=0.08,
            complaints=0.02,
        )


def filled_in(world: World) -> None:
    owner, ip = Mailbox(world), world.address()
    for number in range(400):
        text = (
            f"Dear {world.word().title()} {world.word().title()},\n\nyour parcel {world.rng.randint(10**7, 10**8)} "
            "could not be delivered today. Please choose another day: "
            f"https://{world.domain()}/{world.word()}\n\nYour post\n"
        )
        owner.send(
            "x: one letter, filled in for 400 strangers",
            MONDAY + number * 6,
            [world.stranger()],
            f"Your parcel {world.word()}",
            text,
            ip=ip,
            program="Mailer 2",
            gone=0.07,
            complaints=0.02,
        )


# Honest mail that looks odd.


def school(world: World) -> None:
    owner = Mailbox(world)
    text = (
        "Dear parents,\n\nbecause of the storm warning the school stays closed today. Lessons are held online from "
        "9 am. Please write to the office with questions.\n\nThe head teacher\n"
    )
    for number in range(30):
        to = [world.stranger() for _ in range(20)]
        at = MONDAY - 4 * 3600 + number * 5
        owner.send("ok: school closed, 600 parents at six in the morning", at, to, "School closed", text, gone=0.015)


def moved(world: World) -> None:
    owner, ip = Mailbox(world), world.address()
    for day in range(3):
        for number in range(14):
            to = world.rng.choice(owner.friends) if world.rng.random() < 0.85 else world.stranger()
            at = MONDAY + day * DAY + number * 1500
            owner.send("ok: new provider and new program", at, [to], world.word(), ip=ip, program="Evolution 3.4")


def tickets(world: World) -> None:
    owner = Mailbox(world, daily=20, friends=400)
    for number in range(800):
        at, order = MONDAY + number * 13, world.rng.randint(10_000, 99_999)
        text = f"<p>Dear {world.word().title()}, thank you for your order {order}. Here is your ticket.</p>"
        message = _picture(world, owner.user, at, f"Your ticket {order}", text)
        owner.send("ok: 800 tickets with a QR code", at, [world.stranger()], "", message=message, gone=0.01)


def salespeople(world: World) -> None:
    owner = Mailbox(world)
    people = [world.word() for _ in range(5)]
    for day in range(3):
        for number in range(120):
            who, at = world.rng.choice(people), MONDAY + day * DAY + number * 200
            text = (
                f"Hello {world.word().title()},\n\nthank you for your visit at our stand. As promised here is our "
                f"price list for {world.word()} parts. I will call you next week.\n\nBest regards\n{who.title()}\n"
            )
            owner.send(
                "ok: five salespeople by one login",
                at,
                [world.stranger()],
                "Our offer",
                text,
                sender=f"{who.title()} <{who}@{owner.domain}>",
                program="CRM 9",
                gone=0.01,
            )


def invoices(world: World) -> None:
    owner = Mailbox(world)
    for number in range(900):
        at, bill = MONDAY + number * 4, world.rng.randint(10**5, 10**6)
        text = f"Dear customer,\n\nplease find your invoice {bill} for March attached.\n\n{owner.name}\n"
        message = world.letter(owner.user, f"Invoice {bill}", text, at)
        pdf = b"%PDF-1.4\n" + world.rng.randbytes(1200)
        message.add_attachment(pdf, "application", "pdf", filename=f"invoice-{bill}.pdf")
        owner.send("ok: 900 invoices in an hour", at, [world.stranger()], "", message=message, gone=0.015)


def other_language(world: World) -> None:
    owner = Mailbox(world)
    text = (
        "Αγαπητοί φίλοι,\n\nσας στέλνουμε τα νέα του συλλόγου μας για τον Μάρτιο. Η επόμενη συνάντηση θα γίνει την "
        "Κυριακή στις έντεκα το πρωί.\n\nΓια να μη λαμβάνετε το δελτίο, απαντήστε σε αυτό το μήνυμα.\n\n"
        "Το διοικητικό συμβούλιο\n"
    )
    for number in range(700):
        at, kind = MONDAY + number * 3, "ok: a first newsletter, in Greek"
        stop = f"<mailto:stop@{owner.domain}>"
        owner.send(kind, at, [world.stranger()], "Νέα Μαρτίου", text, gone=0.02, List_Unsubscribe=stop)


def passwords(world: World) -> None:
    owner = Mailbox(world, daily=15, friends=300)
    for number in range(300):
        code, at = world.rng.randint(10**5, 10**6), MONDAY + number * 2
        text = f"Hello,\n\nyou asked to reset your password. Your code is {code}. It is valid for 15 minutes.\n"
        owner.send("ok: 300 passwords after an outage", at, [world.stranger()], "Reset", text, program="", gone=0.01)


def applicants(world: World) -> None:
    owner = Mailbox(world)
    for number in range(300):
        text = (
            f"Dear {world.word().title()} {world.word().title()},\n\nthank you for your application. After careful "
            "review we have decided for another candidate. We wish you all the best.\n"
        )
        at = MONDAY + number * 30
        owner.send("ok: answers to 300 applicants", at, [world.stranger()], "Your application", text, gone=0.005)


def old_list(world: World) -> None:
    owner = Mailbox(world)
    text = "Dear members,\n\nour yearly meeting takes place on 12 April at 7 pm in the town hall.\n\nThe board\n"
    for number in range(10):
        to = [world.stranger() for _ in range(40)]
        at = MONDAY + number * 20
        owner.send("ok: a club's list, 6 % gone", at, to, "Yearly meeting", text, gone=0.06)


def traveller(world: World) -> None:
    owner = Mailbox(world)
    for day in range(4):
        ip = world.address()
        for number in range(10):
            to = world.rng.choice(owner.friends) if world.rng.random() < 0.8 else world.stranger()
            at = MONDAY + day * DAY + number * 2000
            owner.send("ok: another hotel each day", at, [to], world.word(), ip=ip)


def law_firm(world: World) -> None:
    owner = Mailbox(world)
    for number in range(120):
        matter, at = f"Matter {world.rng.randint(10, 99)} IN {world.rng.randint(100, 999)}", MONDAY + number * 90
        text = (
            f"Dear {world.word().title()},\n\nwe represent the insolvency administrator in the matter {matter}. "
            f"Creditors may file their claims until 30 April. The form is at https://{owner.domain}/claims .\n"
        )
        owner.send("ok: serial letters of a law firm", at, [world.stranger()], matter, text, gone=0.03)


def school_by_telephone(world: World) -> None:
    owner, home = Mailbox(world), world.address()
    text = (
        "Dear parents,\n\nas a pipe has burst in the gym the school is closed tomorrow. Day care takes place in the "
        "town hall. The school bus runs as usual.\n\nThe head teacher\n"
    )
    for number in range(15):
        to, at = [world.stranger() for _ in range(40)], MONDAY + 10 * 3600 + number * 20
        kind = "ok: school closed, from the head's new telephone"
        owner.send(kind, at, to, "School closed", text, ip=home, program="Phone Mail 7", gone=0.02, complaints=0.0005)


def conference_tool(world: World) -> None:
    owner, cloud = Mailbox(world), world.address()
    for number in range(300):
        decision = world.rng.choice(("is accepted. Please register", "could not be accepted. We hope to see you"))
        text = (
            f"Dear {world.word().title()} {world.word().title()},\n\nwe write about your paper {number + 20}: "
            f"it {decision} before the end of April.\n\n"
            f"The reviews are at https://papers.{owner.domain}/{number + 20}\n\nThe chairs\n"
        )
        owner.send(
            "ok: a conference's tool in the cloud, 300 authors",
            MONDAY + number * 3,
            [world.stranger()],
            f"Your paper {number + 20}",
            text,
            ip=cloud,
            sender=f"The chairs <{owner.user}>",
            program="Papers 3",
            gone=0.01,
            Reply_To=f"chairs@{owner.domain}",
        )


def booking_tool(world: World) -> None:
    owner, clouds = Mailbox(world), [world.address() for _ in range(6)]
    for number in range(60):
        at, what = MONDAY + number // 15 * DAY + number % 15 * 1700, f"30 minutes with {world.word().title()}"
        text = f"Your appointment is confirmed. To change it see https://book.example/{world.word()} .\n"
        message = _invitation(world, owner.user, at, f"Confirmed: {what}", text, f"https://meet.example/{world.word()}")
        kind, to, ip = "ok: a booking tool, changing addresses", [world.stranger()], world.rng.choice(clouds)
        owner.send(kind, at, to, "", message=message, ip=ip, program="Booking", gone=0.01)


KINDS: tuple[Callable[[World], None], ...] = (
    calendar_phish,
    picture_only,
    invoice_fraud,
    hidden_copies,
    own_computer,
    warmed_up,
    fresh_accounts,
    rotating_script,
    hijacked_thread,
    slow_botnet,
    school,
    moved,
    tickets,
    salespeople,
    invoices,
    other_language,
    passwords,
    applicants,
    old_list,
    traveller,
    law_firm,
    school_by_telephone,
    conference_tool,
    booking_tool,
    filled_in,
)
