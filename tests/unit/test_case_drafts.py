"""Every letter can be written, whatever the case came from; the ones to operators only when it is time."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from outbound_guard.config import Config
from outbound_guard.desk.cases import channels, drafts, stages
from outbound_guard.desk.cases.drafts import Draft
from outbound_guard.desk.errors import DeskError
from outbound_guard.ledger.case_queries import Case, Check, Event
from outbound_guard.ledger.case_storing import EMPTY
from outbound_guard.ledger.records import CaseSubject

CONFIG = msgspec.convert(
    {
        "server": {"hostname": "guard.example.net"},
        "cases": {"organisation": "Example Hosting", "contact": "abuse@example.net"},
    },
    Config,
)


def case(finding: str = "caused", cause: str = "password", **checks: str) -> Case:
    """A case of one listing and one receiver's refusals, with what was found."""
    checks = {"cause": "shop.example sent it", "contained": "account shop.example suspended"} | checks
    fields: dict[str, Any] = EMPTY | {"accounts": ("shop.example",), "finding": finding, "cause": cause}
    fields |= {"id": "20261122-4f7k", "state": "open", "stage": "appeal", "title": "192.0.2.10 on zen.spamhaus.org"}
    return Case(
        **fields,
        subjects=(
            CaseSubject("192.0.2.10", "zen.spamhaus.org", operator="spamhaus.org", codes="127.0.0.3", since=1.79e9),
            CaseSubject("receiver", "Google", kind="receiver", operator="Google", since=1.79e9, count=12),
        ),
        checks={
            item: Check(item=item, state="done", time=1.79e9, by="ann", evidence=evidence, data={})
            for item, evidence in checks.items()
            if evidence
        },
    )


FILED = [
    Event(id=to, time=1.7901e9, by="ann", what="contact", text="", data={"with": to, "about": "appeal"})
    for to in ("list:zen.spamhaus.org", "receiver:Google")
]


def whole(draft: Draft) -> None:
    """A letter without gaps, in lines of ordinary length."""
    assert len(draft.subject) > 10
    assert len(draft.body) > 300
    assert not re.search(r"\$|\{\}|None", draft.body + draft.subject)
    assert max(map(len, draft.body.splitlines())) <= 76
    assert draft.body.startswith("Dear ")
    assert "Example Hosting\nabuse@example.net\n" in draft.body


@pytest.mark.parametrize("finding", ["caused", "false"])
@pytest.mark.parametrize("cause", stages.CAUSES)
def test_every_letter_can_be_written_whatever_the_cause(finding: str, cause: str) -> None:
    for kind in drafts.KINDS:
        name = "shop.example" if kind == "apology" else ""
        found = drafts.drafts(case(finding, cause), FILED, CONFIG, kind, name=name)
        expected = (
            ["customer:shop.example"] if kind in drafts.TO_CUSTOMER else ["list:zen.spamhaus.org", "receiver:Google"]
        )
        assert [draft.to for draft in found] == expected
        for draft in found:
            whole(draft)
            if kind in stages.FILING:
                assert "shop.example" not in draft.subject + draft.body
                assert draft.way is not None


def test_nothing_is_asked_for_before_the_cause_is_known_and_contained() -> None:
    with pytest.raises(DeskError, match="the cause is not known yet"):
        drafts.drafts(case(""), FILED, CONFIG, "appeal")
    with pytest.raises(DeskError, match="the cause is not known yet"):
        drafts.drafts(msgspec.structs.replace(case("false"), checks={}), FILED, CONFIG, "appeal")
    with pytest.raises(DeskError, match="not contained yet"):
        drafts.drafts(case(contained=""), FILED, CONFIG, "appeal")
    assert drafts.drafts(case("false", contained=""), FILED, CONFIG, "appeal")
    with pytest.raises(DeskError, match="nothing was filed with list:zen"):
        drafts.drafts(case(), [], CONFIG, "escalation")


def test_the_letter_says_what_the_form_asks_for_and_where_it_is() -> None:
    (zen, google) = drafts.drafts(case(), [], CONFIG, "appeal")
    assert zen.way is not None
    assert google.way is not None
    assert google.way.page.startswith("https://support.google.com/")
    assert "the refusal, word for word" in google.way.asks
    assert any("Postmaster Tools" in one for one in google.way.programmes)
    assert zen.way.page.startswith("https://")
    assert zen.subject == "Removal request: 192.0.2.10"
    assert google.subject == "Request for review: guard.example.net"
    assert "127.0.0.3" in zen.body
    assert "accept its mail again" in " ".join(google.body.split())


def test_a_letter_says_nothing_that_is_not_so() -> None:
    """What is not known yet, or is not so, is left out."""
    (notice,) = drafts.drafts(case("", "", contained=""), [], CONFIG, "notice")
    assert "What we have done" not in notice.body
    assert "points to this" not in notice.body
    assert "seems to have brought" in notice.body
    assert "\n\n\n" not in notice.body
    for stage in stages.STAGES:
        (update,) = drafts.drafts(msgspec.structs.replace(case(), stage=stage.name), [], CONFIG, "update")
        assert f"What is being done: {stage.doing}." in " ".join(update.body.split())
    over = msgspec.structs.replace(case(), subjects=(), stage="prevent", removed=1.79e9)
    (update,) = drafts.drafts(over, [], CONFIG, "update")
    assert "Until then" not in update.body
    # Who is on a list by no fault of ours has stopped nothing.
    (mistaken, _) = drafts.drafts(case("false", "mistake", contained=""), [], CONFIG, "appeal")
    assert "No more of this mail" not in mistaken.body
    (caused, _) = drafts.drafts(case(), [], CONFIG, "appeal")
    assert "No more of this mail has left" in caused.body


def test_nobody_to_write_to() -> None:
    nobody = msgspec.structs.replace(case(), accounts=())
    with pytest.raises(DeskError, match="say which customer is meant"):
        drafts.drafts(nobody, [], CONFIG, "notice")
    with pytest.raises(DeskError, match="any more"):
        drafts.drafts(msgspec.structs.replace(case(), subjects=()), [], CONFIG, "appeal")


def test_channels_of_ones_own_and_what_happens_when_they_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "channels.toml"
    file.write_text(
        '[[channel]]\nname = "ZEN"\nkind = "list"\nzones = ["spamhaus.org"]\nwaiting_days = 9\n'
        'removal = "https://forms.example/{subject}"\nnext_step = "Ring the bell."\n'
    )
    own = msgspec.convert({"blocklist": {"channels": "channels.toml"}, "path": str(tmp_path / "guard.toml")}, Config)
    listed, google = case().subjects
    assert channels.way(own, listed).page == "https://forms.example/192.0.2.10"
    assert channels.waiting_days(own, listed) == 9
    assert channels.next_step(own, listed) == "Ring the bell."
    assert channels.way(own, google) == channels.Way("Google")
    assert channels.next_step(own, google).startswith("ask again")
    assert channels.waiting_days(own, google) == channels.WAITING
    file.write_text("nonsense")
    os.utime(file, ns=(1, 1))
    assert channels.way(own, listed).name.startswith("Spamhaus")
