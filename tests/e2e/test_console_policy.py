"""The policy in the console: changed, tried on recorded traffic, saved, refused, taken back; and weights undone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import LENIENT, Hops, Product, message, until
from tests.webconsole import Visit, signed_in

POLICY = f"# Ours: ask the desk first.\n{LENIENT}"
ONE_A_DAY = (
    "[limit]\naction = 'hold'\n"
    "[limit.sender]\nmessages_per_day = 1\nrecipients_per_hour = 6000\nrecipients_per_day = 40000\n"
)
_TEXT = re.compile(r"<textarea[^>]*>\n?(.*?)</textarea>", re.S)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Hops() as hops:
        hop = hops.start()
        more = "[recording]\nenabled = true\n"
        folder = tmp_path_factory.mktemp("policy")
        with Product.made(folder, smarthosts=[hop.address], policy=POLICY, relays=1, more=more) as made:
            yield made


@pytest.fixture(scope="module")
def ann(product: Product) -> Iterator[Visit]:
    with signed_in(product, "ann") as visit:
        yield visit


@pytest.fixture(scope="module")
def vera(product: Product, ann: Visit) -> Iterator[Visit]:
    with signed_in(product, "vera", role="viewer") as visit:
        yield visit


class Editor:
    """The editor as somebody has it open in a browser."""

    def __init__(self, visit: Visit, **query: str) -> None:
        answer = visit.get("/policy/edit", **query)
        assert answer.status_code == 200, answer.text
        self.visit, self.page = visit, answer.text
        found = _TEXT.search(answer.text)
        assert found
        self.text = html.unescape(found[1])
        self.instead_of = re.findall(r'name="instead_of" value="(\w+)"', answer.text)[0]

    def send(self, do: str, text: str | None = None, **more: str) -> tuple[int, str, str]:
        """Status, address and text of what follows."""
        shown = self.text if text is None else text
        # A browser sends the lines of a text field with CRLF.
        sent = shown.replace("\n", "\r\n")
        answer = self.visit.post("/policy/edit", text=sent, instead_of=self.instead_of, do=do, **more)
        return answer.status_code, answer.url.path, html.unescape(answer.text)


def in_force(product: Product) -> str:
    return (product.config.parent / "policy.toml").read_text()


def recorded(product: Product) -> list[str]:
    """The lines of the recorded traffic."""
    files = (product.data / "recording").glob("*relay-0.jsonl")
    return [line for file in files for line in file.read_text().splitlines()]


def audited(visit: Visit, what: str) -> list[str]:
    return [entry["detail"] for entry in visit.api("GET", "/audit", what=what).json()["items"]]


def action(product: Product, number: int) -> str:
    """What is done with one more message of a sender."""
    to = f"b{number}@y.test"
    with product.client() as client:
        assert client.submit("a@x.test", [to], message(f"note {number}")).startswith("250 ")
    return str(product.event(recipient=[to])["action"])


@pytest.mark.timeout(180)
def test_a_change_is_tried_saved_and_judged_by_and_taken_back(product: Product, ann: Visit) -> None:
    assert [action(product, number) for number in range(3)] == ["relay"] * 3
    stale = Editor(ann)
    editor = Editor(ann)
    wanted = editor.text + ONE_A_DAY

    status, _, page = editor.send("check", wanted)
    assert status == 200
    assert "<td><code>limit.sender.messages_per_day</code></td><td>0</td><td>1</td>" in page
    assert '<span class="added">+messages_per_day = 1</span>' in page
    assert in_force(product) == POLICY

    until(lambda: len(recorded(product)) == 3, "the traffic is recorded")
    status, path, _ = editor.send("try", wanted, days="1")
    assert path.startswith("/policy/backtests/")
    page = until(lambda: "" if 'data-live="2"' in (text := ann.get(path).text) else text, "the back-test has ended", 90)
    assert ">done<" in page
    assert "<b>2</b><span>messages newly touched, of 1 senders</span>" in page
    assert "a@x.test" in page

    editor.send("save", wanted, reason="one a day")
    assert in_force(product) == wanted
    (said,) = audited(ann, "policy.save")
    assert said == (
        f"(back-test {path.rpartition('/')[2]}) one a day: "
        'limit.action: "defer" -> "hold"; limit.sender.messages_per_day: 0 -> 1'
    )
    # It is used as soon as the page says so.
    assert action(product, 3) == "hold"

    status, _, page = stale.send("save", stale.text + "\n# Another browser.\n")
    assert status == 409
    assert "changed by somebody else meanwhile" in page
    assert "# Another browser." in page  # What was typed is not lost.
    assert in_force(product) == wanted

    copy = ann.api("GET", "/policy/copies").json()["items"][0]["name"]
    earlier = Editor(ann, copy=copy)
    assert earlier.text == POLICY
    _, path, page = earlier.send("save", reason=f"taken back: {copy}")
    assert path == "/policy"
    assert "All 2 processes that judge mail use it." in page
    assert in_force(product) == POLICY
    assert action(product, 4) == "relay"


def test_what_is_wrong_is_said_with_its_line_and_not_saved(product: Product, ann: Visit) -> None:
    editor = Editor(ann)
    status, _, page = editor.send("save", editor.text + "[signal.rate]\nmode = 'maybe'\n[odd]\n")
    assert status == 409
    assert "2 mistakes" in page
    assert "signal.rate.mode" in page
    assert "line 9:" in page
    assert in_force(product) == POLICY


def test_small_changes_are_made_in_the_text(product: Product, ann: Visit) -> None:
    assert 'mode = "shadow"' in Editor(ann, where="signal.rate.mode", value="shadow").text
    assert "hold = 2500\n" in Editor(ann, where="threshold.hold", value="2500").text
    rule = Editor(ann, about="account", pattern="x.test", until="2099-12-31", reason='their "move"').text
    assert rule.endswith('[[allow]]\nreason = "their \\"move\\""\nuntil = "2099-12-31"\naccount = "x.test"\n')
    assert "must rise" in Editor(ann, where="threshold.hold", value="1").page
    assert "is no day" in Editor(ann, about="account", pattern="x.test", until="soon", reason="x").page
    assert in_force(product) == POLICY


def test_a_signal_is_put_in_shadow(product: Product, ann: Visit) -> None:
    editor = Editor(ann, where="signal.recipients.mode", value="shadow")
    _, path, _ = editor.send("save", reason="in doubt")
    assert path == "/policy"
    page = ann.get("/policy").text
    assert "<strong>recipients</strong>" in page
    assert "Take it out of shadow" in page
    assert audited(ann, "policy.save")[0] == '(no back-test) in doubt: signal.recipients.mode: "on" -> "shadow"'
    Editor(ann, where="signal.recipients.mode", value="on").send("save")


def test_a_viewer_sees_and_changes_nothing(product: Product, vera: Visit) -> None:
    page = vera.get("/policy")
    assert page.status_code == 200
    assert "/policy/edit" not in page.text
    before = in_force(product)
    assert vera.get("/policy/edit").status_code == 403
    assert vera.post("/policy/edit", text="", instead_of="x", do="save").status_code == 403
    assert vera.api("PUT", "/policy", json={"text": "", "instead_of": "x"}).status_code == 403
    assert vera.api("GET", "/backtests").status_code == 403
    assert vera.api("POST", "/weights/reset", json={}).status_code == 403
    assert vera.api("GET", "/policy").status_code == 200
    assert in_force(product) == before


def test_by_the_api(product: Product, ann: Visit) -> None:
    shown = ann.api("GET", "/policy").json()
    assert shown["in_force"]["file"] == str(product.config.parent / "policy.toml")
    assert {setting["where"]: setting["in_file"] for setting in shown["in_force"]["settings"]}["threshold.hold"]
    checked = ann.api("POST", "/policy/check", json={"text": "[threshold]\nhold = 'x'\n"}).json()
    assert [(problem["where"], problem["line"]) for problem in checked["problems"]] == [("threshold.hold", 2)]
    text = shown["in_force"]["text"] + "# By a program.\n"
    saved = ann.api("PUT", "/policy", json={"text": text, "instead_of": shown["in_force"]["sha256"]})
    assert saved.status_code == 200
    assert saved.json()["processes"] == {"delivery-0": True, "relay-0": True}
    again = ann.api("PUT", "/policy", json={"text": text + "#\n", "instead_of": shown["in_force"]["sha256"]})
    assert again.status_code == 409
    assert "changed by somebody else" in again.json()["error"]
    for path in ("/backtests/0123456789abcdef", "/backtests/..%2f..%2fx", "/policy/copies/..%2f..%2fguard.toml"):
        assert ann.api("GET", path).status_code in (404, 409)
    begun = ann.api("POST", "/backtests", json={"text": text})
    assert begun.status_code == 202
    id_ = begun.json()["id"]
    assert ann.api("POST", "/backtests", json={"text": text}).status_code == 409
    assert ann.api("POST", f"/backtests/{id_}/cancel").json()["state"] == "cancelled"


def test_weights_are_reset(product: Product, ann: Visit) -> None:
    assert ann.get("/policy/weights").status_code == 200
    assert ann.api("GET", "/weights").json()["total"] == 14
    assert ann.api("POST", "/weights/undo", json={"message": "nothing"}).status_code == 409
    assert "Nothing was learned that could be reset." in ann.post("/policy/weights/reset", reason="x").text


@pytest.mark.long
def test_the_packaged_policy_says_what_to_set(tmp_path: Path) -> None:
    with Hops() as hops:
        made = Product.made(tmp_path, smarthosts=[hops.start().address], relays=1)
        config = made.config.read_text().replace('file = "policy.toml"\n', "")
        made.config.write_text(config)
        with made as product, signed_in(product) as ann:
            page = html.unescape(ann.get("/policy").text)
            assert 'write file = "policy.toml" under [policy]' in page
            editor = Editor(ann)
            _, _, checked = editor.send("check", "[threshold]\nhold = 6.0\n")
            assert "<td>5.0</td><td>6.0</td>" in checked
            status, _, refused = editor.send("save", "[threshold]\nhold = 6.0\n")
            assert status == 409
            assert "The packaged policy is in force" in refused
            # What it says is enough, without a restart.
            (tmp_path / "policy.toml").write_text("")
            made.config.write_text(config.replace("[policy]\n", '[policy]\nfile = "policy.toml"\n'))
            _, path, saved = Editor(ann).send("save", "[threshold]\nhold = 6.0\n")
            assert path == "/policy"
            assert "All 2 processes that judge mail use it." in saved
