"""What a tenant sees is a condition of every question; what is another's is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from outbound_guard.clock import VirtualClock
from outbound_guard.ledger import tenant_queries
from outbound_guard.ledger.records import AccountEntry, Delivered
from outbound_guard.ledger.tenant_queries import OwnSearch, check_accounts
from tests.records import Books, books, decision

NOW = 1_700_000_000.0
OWNED = {
    "a1": "shop.test",
    "a2": "www.shop.test",
    "a3": "SHOP.test",
    "a4": "notshop.test",
    "a5": "reseller7/one",
    "a6": "reseller70/one",
    "a7": "x%_.test",
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with books(tmp_path_factory.mktemp("tenants"), VirtualClock(NOW)) as made:
        made.keep(
            *(
                decision(id_, account=account, sender=f"me@{account}", received=NOW - 60)
                for id_, account in OWNED.items()
            ),
            *(Delivered(id=id_, time=NOW, recipient="x@there.test", code=250, text="ok") for id_ in OWNED),
            AccountEntry(time=NOW, account="silent.shop.test", name="A silent one"),
        )
        yield made


@pytest.mark.parametrize(
    ("accounts", "ids"),
    [
        ((), set()),
        (("",), set()),
        (("*",), set()),
        (("shop.test",), {"a1"}),
        (("*.shop.test",), {"a2"}),
        (("*shop.test",), set()),
        (("reseller7*", "shop.test"), {"a1"}),
        (("reseller7/*",), {"a5"}),
        (("x%_.*",), {"a7"}),
        (("*.",), set()),
        (("%.test",), set()),
        (("_hop.test",), set()),
        (("sh*st",), set()),
        (("shop.test' OR '1'='1",), set()),
    ],
)
def test_whose_mail_is_seen(opened: Books, accounts: tuple[str, ...], ids: set[str]) -> None:
    ledger = opened.ledger
    rows, total = tenant_queries.own_held(ledger, accounts, OwnSearch())
    assert ({row.id for row in rows}, total) == (ids, len(ids))
    assert {row.id for row in tenant_queries.own_messages(ledger, accounts, OwnSearch())} == ids
    for id_ in OWNED:
        assert (tenant_queries.own_held_one(ledger, accounts, id_) is not None) == (id_ in ids)
        assert (tenant_queries.own_message(ledger, accounts, id_) is not None) == (id_ in ids)
    seen = {row.account for row in tenant_queries.own_accounts(ledger, accounts, NOW)[0]} - {"silent.shop.test"}
    assert seen == {OWNED[id_] for id_ in ids}


def test_a_search_goes_no_further_than_the_accounts(opened: Books) -> None:
    for search in (
        OwnSearch(account="notshop.test"),
        OwnSearch(sender="me@notshop.test"),
        OwnSearch(recipient="x@example.net"),
        OwnSearch(words="hello"),
    ):
        for rows in (
            tenant_queries.own_held(opened.ledger, ("shop.test",), search)[0],
            tenant_queries.own_messages(opened.ledger, ("shop.test",), search),
        ):
            assert {row.account for row in rows} <= {"shop.test"}, search
    found = tenant_queries.own_message(opened.ledger, ("shop.test",), "a1")
    assert found is not None
    assert [(one.recipient, one.code) for one in found.deliveries] == [("x@there.test", 250)]
    rows, total = tenant_queries.own_accounts(opened.ledger, ("*.shop.test",), NOW)
    assert ([row.account for row in rows], total) == (["silent.shop.test", "www.shop.test"], 2)
    assert (rows[0].name, rows[1].held) == ("A silent one", 1)


@pytest.mark.parametrize(
    "accounts",
    [
        [],
        ["*"],
        ["**"],
        ["a*b"],
        ["*.b"],
        ["*.x*"],
        ["*shop.test"],
        ["web1/uid101*"],
        ["x\n"],
        ["x" * 300],
        ["ok.test", "*"],
    ],
)
def test_accounts_that_a_tenant_cannot_have(accounts: list[str]) -> None:
    assert check_accounts(accounts)


def test_accounts_that_a_tenant_can_have() -> None:
    assert check_accounts(["shop.test", "*.example.com", "*@example.net", "reseller7/*", "web1/1012:*"]) == ""
