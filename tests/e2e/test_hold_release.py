"""The first milestone: mail goes through; a burst is held; one sees why, and releases, suspends, resumes."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import HELD, House, house, policy
from tests.product import Hops, until

CONTRACT = {"id", "received", "account", "sender", "mail_from", "recipients", "subject", "action", "score", "reasons"}


@pytest.fixture(scope="module")
def enforcing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Hops() as hops:
        product, found = house(tmp_path_factory.mktemp("enforcing"), hops, "enforce")
        with product:
            yield found


def test_a_burst_is_held_explained_and_released(enforcing: House) -> None:
    anna, product = "anna@shop.test", enforcing.product
    enforcing.calm_past(anna)
    held = enforcing.burst(anna)
    assert len(held) >= 10, "the burst was not contained"
    # Only what came in before there was evidence has gone out.
    assert sum(subject.startswith("offer") for subject in enforcing.subjects()) == 20 - len(held)

    until(lambda: len(product.held()) == len(held), product.held)
    listed = product.held()
    assert [one["id"] for one in listed] == held, "oldest first"
    for one in listed:
        assert set(one) >= CONTRACT
        assert one["account"] == "shop.test"
        assert one["sender"] == one["mail_from"] == anna
        assert one["action"] == "hold"
        assert one["score"] >= 3.0
        assert any(re.search(r"\d|new", reason) for reason in one["reasons"]), one
    first = listed[0]
    assert first["recipients"] == [f"stranger{20 - len(held)}@host{20 - len(held)}.test"]
    assert first["subject"] == f"offer {20 - len(held)} from {anna}"

    # The arithmetic: what each signal contributes adds up to the score.
    shown = json.loads(product.guard("held", "show", first["id"], "--json"))
    signals = [one for one in shown["decision"]["signals"] if not one["shadow"]]
    assert sum(one["weight"] for one in signals) == pytest.approx(shown["score"], abs=0.01)
    assert {"structure", "recipients"} <= {one["name"] for one in signals}
    assert shown["in_spool"] == "held"
    assert product.metric("spool_messages", state="held") <= len(held)

    product.guard("held", "release", first["id"], "--reason", "she called")
    until(lambda: first["subject"] in enforcing.subjects(), product.said)
    until(lambda: first["id"] not in {one["id"] for one in product.held()}, product.held)
    got = next(got for got in enforcing.hop.messages if f"Subject: {first['subject']}\r".encode() in got.content)
    assert (got.mail_from, got.recipients) == (anna, first["recipients"])
    assert b"X-Mailer: bulk 1\r\n" in got.content
    # Nothing is left of it to be sent again.
    assert not list((product.data / "spool/queue").iterdir())
    assert enforcing.subjects().count(first["subject"]) == 1
    assert product.guard("held", "release", first["id"], code=1).startswith("outbound-guard: ")

    product.guard("held", "delete", "--sender", anna, "--reason", "stolen")
    until(lambda: not product.held(), product.held)
    assert not list((product.data / "spool/held").iterdir())


def test_suspend_and_resume(enforcing: House) -> None:
    product, bert = enforcing.product, "bert@suspended.test"
    enforcing.calm_past(bert, 2)
    product.guard("account", "suspend", bert, "--sender", "--reason", "stolen password")
    # It holds as soon as the relays have read the ledger again, about once a second.
    until(lambda: not enforcing.send(bert, "friend@there.test", "refused?").startswith("250 "))
    refused = enforcing.send(bert, "friend@there.test", "refused")
    assert re.match(r"5(25 5\.7\.13|50 5\.7\.1) OG-SUSPENDED .*", refused), refused
    assert enforcing.send("berta@suspended.test", "friend@there.test", "her neighbour").startswith("250 ")
    product.guard("account", "suspend", "suspended.test", "--reason", "all of them")
    until(lambda: not enforcing.send("berta@suspended.test", "friend@there.test", "hers?").startswith("250 "))

    for words in (["suspended.test"], [bert, "--sender"]):
        product.guard("account", "resume", *words, "--reason", "password changed")
    until(lambda: enforcing.send(bert, "friend@there.test", "he may again").startswith("250 "))
    assert "he may again" in enforcing.subjects()
    assert "refused" not in enforcing.subjects()
    history = json.loads(product.guard("account", "show", "suspended.test", "--json"))["history"]
    assert {one["change"] for one in history} == {"suspended", "resumed", "probation"}


def test_the_policy_is_reloaded_and_a_broken_one_is_not(enforcing: House) -> None:
    product, file = enforcing.product, enforcing.product.config.parent / "policy.toml"

    def reload(text: str, says: str) -> None:
        said = product.said().count(says)
        file.write_text(text)
        product.signal(signal.SIGHUP)
        until(lambda: product.said().count(says) > said, product.said)

    # One relay and the delivery process read it.
    said = product.said().count("policy reloaded")
    reload(policy(limit=3), "policy reloaded")
    until(lambda: product.said().count("policy reloaded") == said + 2, product.said)
    carl = "carl@limited.test"
    enforcing.calm_past(carl, 3)
    deferred = enforcing.send(carl, "friend@there.test", "too many")
    # A volume limit defers, with a stable word, the time to wait, and an id that the log knows.
    found = re.fullmatch(
        r"451 4\.7\.1 OG-LIMIT rate limit of this sender: 4 of 3 messages in a hour, retry after 900s ([0-9a-z]{16})",
        deferred,
    )
    assert found, deferred
    event = product.event(id=found[1])
    assert (event["action"], event["code"], event["response"]) == ("defer", "limit", deferred)
    until(lambda: product.metric("messages_total", action="defer", reason="limit") == 1, product.get("/metrics"))
    assert "too many" not in enforcing.subjects()

    reload("[threshold]\nhold = 'a lot'\n", "everything stays as it was")
    assert "threshold.hold" in product.said().rpartition("everything stays as it was")[2]
    again = enforcing.send(carl, "friend@there.test", "still too many")
    assert again.startswith("451 4.7.1 OG-LIMIT "), again
    until(lambda: product.metric("config_reloads_total", result="refused") == 1, "it is counted")

    said = product.said().count("policy reloaded")
    reload(policy(), "policy reloaded")
    until(lambda: product.said().count("policy reloaded") == said + 2, product.said)
    assert enforcing.send(carl, "friend@there.test", "enough room").startswith("250 ")


def test_strong_evidence_goes_into_quarantine_and_suspends(enforcing: House) -> None:
    product, file = enforcing.product, enforcing.product.config.parent / "policy.toml"
    said = product.said().count("policy reloaded")
    file.write_text(policy(quarantine=5.0, suspend=6.0))
    product.signal(signal.SIGHUP)
    until(lambda: product.said().count("policy reloaded") == said + 2, product.said)
    dora = "dora@quarantine.test"
    enforcing.calm_past(dora)
    answers = [enforcing.send(dora, f"stranger{one}@host{one}.test", f"dora {one}", thief=one) for one in range(30)]
    suspension = product.event("Suspension", identity=dora)
    assert suspension["account"] == "quarantine.test"
    until(lambda: enforcing.send(dora, "friend0@there.test", "hers").startswith("550 5.7.1 OG-SUSPENDED "))
    # The first are kept as evidence, then it is refused; nothing goes out any more.
    refused = [one.startswith("550 5.7.1 OG-SUSPENDED ") for one in answers]
    assert refused == sorted(refused), answers
    assert "dora 29" not in enforcing.subjects()
    until(lambda: any(one["sender"] == dora and one["action"] == "quarantine" for one in product.held()), product.held)


@pytest.mark.long
def test_what_a_person_says_of_a_text_holds_for_everybody(enforcing: House) -> None:
    product = enforcing.product
    said = product.said().count("policy reloaded")
    (product.config.parent / "policy.toml").write_text(policy())
    product.signal(signal.SIGHUP)
    until(lambda: product.said().count("policy reloaded") == said + 2, product.said)
    fraud = "Your parcel waits at the customs office and is sent back unless the fee is paid by tomorrow evening."
    honest = "The minutes of our last meeting are attached, with the figures that the treasurer had promised you."

    def held_as(sender: str, text: str) -> str:
        """A stolen account sends the text until it is held; the id of that message."""
        enforcing.calm_past(sender)
        for one in range(20):
            answer = enforcing.send(sender, f"s{one}@host{one}.test", f"{sender} {one}", thief=one, text=text)
            if found := HELD.fullmatch(answer):
                return found[1]
        raise AssertionError("it was not contained")

    id_ = held_as("emil@one.test", fraud)
    assert enforcing.send("gerd@two.test", "friend@there.test", "before", text=fraud).startswith("250 2.0.0 Ok: queued")
    product.guard("held", "delete", id_, "--abuse", "--reason", "a fraud")
    found = HELD.fullmatch(enforcing.send("gerd@two.test", "friend@there.test", "after", text=fraud))
    assert found, "the text was confirmed as abuse"
    shown = json.loads(product.guard("held", "show", found[1], "--json"))
    assert "this text was confirmed as abuse 1 times" in str(shown)

    id_ = held_as("hans@three.test", honest)
    product.guard("held", "release", id_, "--reason", "asked him")
    # From now on it speaks for whoever sends it, as far as a text can.
    assert enforcing.send("inge@four.test", "friend@there.test", "minutes", text=honest).startswith("250 2.0.0 Ok: q")
    assert product.event(identity="inge@four.test")["signals"]["campaign"] == -6.0
    product.guard("held", "delete", "--since", "1d")


@pytest.mark.long
def test_observing_changes_nothing(tmp_path: Path) -> None:
    with Hops() as hops:
        product, watched = house(tmp_path, hops, "observe", limit=30)
        with product:
            anna = "anna@shop.test"
            watched.calm_past(anna)
            assert watched.burst(anna, 30) == []
            assert sum(subject.startswith("offer") for subject in watched.subjects()) == 30
            assert not list((product.data / "spool/held").iterdir())
            assert product.held() == []
            # What would have been done is recorded all the same; the ledger is a second or two behind the mail.
            until(lambda: sum(product.day("shop.test").values()) == 55, product.said)
            assert product.day("shop.test")["hold"] >= 10
            assert {event["response"][:4] for event in product.events()} == {"250 "}
            assert product.metric("suspensions_total") == 0
