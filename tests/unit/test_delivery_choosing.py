from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound_guard.config import Pool
from outbound_guard.delivery.choosing import ORDER, UNKNOWN, Choice
from outbound_guard.reputation.classes import CLASSES

POOLS = (
    Pool(name="good", classes=("trusted", "normal")),
    Pool(name="mass", classes=("bulk",)),
    Pool(name="default"),
    Pool(name="reports", classes=("bounces",)),
    Pool(name="bad", classes=("doubtful", "forwarded")),
    Pool(name="spare"),
)


def test_configuration_and_memory_have_the_same_words() -> None:
    field = typing.get_type_hints(Pool)["classes"]
    assert typing.get_args(typing.get_args(field)[0]) == ORDER
    assert {*ORDER, "suspended"} == set(CLASSES)


def test_each_class_goes_by_the_pool_that_names_it() -> None:
    choice = Choice(POOLS)
    assert {class_: choice.way(class_)[0] for class_ in CLASSES} == {
        "trusted": "good",
        "normal": "good",
        "new": "default",
        "bulk": "mass",
        "bounces": "reports",
        "forwarded": "bad",
        "doubtful": "bad",
        "suspended": "bad",
    }
    assert choice.carried("bad") == ("forwarded", "doubtful")
    assert choice.carried("spare") == ()
    # A message that was queued by an older version, or of whose sender nothing is known.
    assert choice.way("") == choice.way("unheard of") == choice.way(UNKNOWN)


def test_without_a_default_the_first_pool_carries_what_nobody_names() -> None:
    choice = Choice((Pool(name="first"), Pool(name="second", classes=("doubtful",))))
    assert choice.way("normal") == ("first",)
    assert choice.way("doubtful") == ("second",)


def test_mail_goes_on_to_where_it_does_no_harm() -> None:
    choice = Choice(POOLS)
    assert choice.way("trusted") == ("good", "mass", "default", "reports")
    assert choice.way("new") == ("default", "mass", "reports")
    assert choice.way("bulk") == ("mass", "reports")
    # These never come to better addresses, nor to those that nobody uses yet.
    assert choice.way("bounces") == ("reports",)
    assert choice.way("doubtful") == choice.way("forwarded") == ("bad",)


def test_the_operator_says_otherwise() -> None:
    pools = (
        Pool(name="default", otherwise=()),
        Pool(name="bad", classes=("doubtful",), otherwise=("spare", "default")),
        Pool(name="mass", classes=("bulk",), otherwise=("spare", "*")),
        Pool(name="spare"),
    )
    choice = Choice(pools)
    assert choice.way("doubtful") == ("bad", "spare", "default")
    assert choice.way("normal") == ("default",)
    assert choice.way("bulk") == ("mass", "spare", "default")


def test_a_pin_comes_first_and_one_to_nowhere_has_no_effect() -> None:
    choice = Choice(POOLS)
    assert choice.way("trusted", "spare") == ("spare", "good", "mass", "default", "reports")
    assert choice.way("doubtful", "good") == ("good", "bad")
    assert choice.way("trusted", "gone") == choice.way("trusted")


def test_where_no_class_is_named_all_pools_carry_everything() -> None:
    choice = Choice((Pool(name="a"), Pool(name="b"), Pool(name="c")))
    assert {choice.way(class_) for class_ in ORDER} == {("a", "b", "c")}
    assert choice.way("doubtful", "b") == ("b", "a", "c")


@given(st.lists(st.integers(0, 3), min_size=len(ORDER), max_size=len(ORDER)), st.sampled_from(ORDER))
def test_nothing_makes_a_pool_worse(places: list[int], class_: str) -> None:
    """Whatever the division of the classes: mail goes on only to pools that carry such mail or worse."""
    pools = [
        Pool(name=str(number), classes=tuple(name for name, at in zip(ORDER, places, strict=True) if at == number))
        for number in range(4)
    ]
    choice = Choice(pools)
    own, *others = choice.way(class_)
    assert class_ in choice.carried(own)
    for other in others:
        assert max(map(ORDER.index, choice.carried(other))) >= ORDER.index(class_)
    if class_ == "doubtful":
        assert others == []


@pytest.mark.parametrize("class_", ORDER)
def test_a_way_never_comes_back(class_: str) -> None:
    way = Choice(POOLS).way(class_, "mass")
    assert len(set(way)) == len(way)
