"""Small parts of the console's pages: where one may be sent, how figures look, what charts draw."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from litestar.exceptions import ValidationException

from outbound_guard.console import charts
from outbound_guard.console.moments import field_of, moment_of
from outbound_guard.console.pages import ago, back, link, local, number, octets, signed, static, when


@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "held",
        "//evil.example/",
        "/\\evil.example/",
        "https://evil.example/",
        "javascript:alert(1)",
        "/held\r\nSet-Cookie: a=b",
        "/\t/evil.example",
    ],
)
def test_nobody_is_sent_elsewhere(elsewhere: str) -> None:
    assert local(elsewhere) == "/"


@pytest.mark.parametrize(
    ("path", "sent"),
    [("/", "/"), ("/held?account=a%40b&page=2", "/held?account=a%40b&page=2"), ("/x#y", "/x#y"), ("/ä", "/%C3%A4")],
)
def test_paths_of_ours_stay(path: str, sent: str) -> None:
    assert local(path) == sent


@pytest.mark.parametrize(
    ("referer", "to"),
    [
        ("https://guard.example:8443/held?page=2&q=a%20b", "/held?page=2&q=a%20b"),
        ("https://guard.example:8443", "/"),
        ("https://guard.example:8443//evil.example", "/"),
        ("https://evil.example/held", "/otherwise"),
        ("https://[", "/otherwise"),
        ("guard.example:8443/held", "/otherwise"),
        (None, "/otherwise"),
    ],
)
def test_a_form_leads_back_to_its_page(referer: str | None, to: str) -> None:
    headers = {"host": "guard.example:8443"} | ({"referer": referer} if referer is not None else {})
    asked: Any = SimpleNamespace(headers=headers)
    assert back(asked, otherwise="/otherwise").url == to


def test_a_link_leaves_out_what_is_empty() -> None:
    assert link("/held") == "/held"
    assert link("/held", account="a&b", page=0, sort="", tag=["x", "y"]) == "/held?account=a%26b&tag=x&tag=y"


def test_figures_for_people() -> None:
    assert [ago(seconds) for seconds in (5, 90, 7200, 200_000)] == ["5 s", "2 min", "2 h", "2 d"]
    assert number(1_234_567) == "1\u202f234\u202f567"
    assert [octets(size) for size in (12, 1_234, 45_600, 7_800_000, 9.9e9)] == [
        "12 B",
        "1.2 kB",
        "46 kB",
        "7.8 MB",
        "9.9 GB",
    ]
    assert (signed(1.5), signed(-0.25)) == ("+1.50", "\u22120.25")
    assert when(0) == "-"
    assert when(1e300).startswith("1970")


@pytest.mark.parametrize("time", ["0001-01-01T00:00+23:00", "9999-12-31", "9999-12-31T23:59-23:00", "9" * 11])
def test_a_moment_that_is_taken_can_be_shown(time: str) -> None:
    try:
        taken = moment_of(time, 0.0)
    except ValidationException:
        return
    assert isinstance(field_of(taken), str)


def test_a_moment_of_no_year_of_ours_is_refused() -> None:
    with pytest.raises(ValidationException, match="is no time"):
        moment_of("9999-12-31T23:59-23:59", 0.0)


def test_a_static_file_has_another_address_when_it_changes() -> None:
    assert static("console.css").startswith("/static/console.css?v=")
    assert static("console.css") != static("console.js")


def test_hostile_words_stay_words_in_charts() -> None:
    hostile = '"><script>alert(1)</script>'
    drawn = [
        charts.stacked(
            [(hostile, {"relay": 3})], ["relay", hostile], title=hostile, line=[1.0, None], line_name=hostile
        ),
        charts.scores(
            [(1.0, 2.0, "hold", hostile)], [(hostile, 5.0)], since=0, until=2, title=hostile, events=[(1, "x", hostile)]
        ),
        charts.bar(1.0, 2.0, kind=hostile),
        charts.share(1.0, 2.0, kind=hostile),
    ]
    assert not any("<script" in chart for chart in drawn)


def test_a_column_is_as_high_as_its_value() -> None:
    chart = charts.stacked([("a", {"relay": 10}), ("b", {"relay": 5, "hold": 5})], ["relay", "hold"], title="t")
    heights = {part.split('"')[0] for part in chart.split('height="')[1:]}
    assert chart.count('class="of-relay"') == 2
    assert chart.count('class="of-hold"') == 1
    assert {"148.0", "74.0"} <= heights
    assert "a: relay 10" in chart


@pytest.mark.parametrize("values", [[], [("a", {})], [("a", {"relay": 0})], [("a", {"relay": 1e9})]])
def test_charts_of_nothing_and_of_much_are_drawn(values: list[tuple[str, dict[str, float]]]) -> None:
    assert charts.stacked(values, ["relay"], title="t").startswith("<svg")
    assert charts.scores([], [], since=5, until=5, title="t").startswith("<svg")
