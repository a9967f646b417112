"""The content model: what it says, and what it does with a file that is not one."""

import math
from pathlib import Path

import pytest
from msgspec.structs import replace

from outbound_guard.content import features, parse
from outbound_guard.content.model import About, Model, ModelError, describe, load, monotone, pack, unpack

ABOUT = About(bias=-0.5, scale=0.001, scores=[-2.0, 0.0, 1.0, 3.0], weights=[-3.0, 0.0, 1.0, 9.0], trained="by hand")
WEAK = [first + second for first in "efghijk" for second in "lmnopqr"]
WEIGHTS = {
    b"pills": 4.0,
    b"meeting": -3.0,
    (b"buy", b"pills"): 2.0,
    b"s:offer": 1.5,
    b"S:new offer": 1.0,
    b"u:address": 2.5,
}


def message(body: str, subject: str = "hello") -> bytes:
    return f"From: a@b.example\r\nSubject: {subject}\r\n\r\n{body}\r\n".encode()


@pytest.fixture
def model() -> Model:
    return Model(WEIGHTS, ABOUT)


def test_more_evidence_never_weighs_less(model: Model) -> None:
    weights = [model.evidence(raw / 10) for raw in range(-80, 80)]
    assert weights == sorted(weights)
    assert weights[0] == -3.0
    assert weights[-1] == 6.0  # Clipped, whatever the calibration says.


def test_between_knots_the_weight_is_interpolated(model: Model) -> None:
    assert model.evidence(0.5) == pytest.approx(0.5)
    assert model.evidence(-1.0) == pytest.approx(-1.5)


def test_spam_and_ham(model: Model) -> None:
    spam, why = model.score(parse(message("buy pills at http://10.2.3.4/", "new offer")))
    ham, why_ham = model.score(parse(message("the meeting is at ten")))
    assert spam > 1 > -0.5 > ham
    assert '"pills"' in why
    assert "times as common in spam" in why
    assert "ham" in why_ham


def test_the_sum_of_what_is_explained_is_the_score(model: Model) -> None:
    content = parse(message("buy pills at the meeting", "new offer"))
    shares = model.explain(content, 100)
    assert sum(share for _, share in shares) + ABOUT.bias == pytest.approx(model.raw(features.extract(content)))
    assert ('"buy pills"', pytest.approx(2.0 / math.sqrt(len(features.extract(content)) + 1))) in shares


def test_the_sentence_names_the_strongest_three_in_one_order() -> None:
    # Of equal weights the one that stands first is named, and what speaks for ham never is.
    weights = {b"d": 3.0, b"a": 2.0, b"b": 2.0, b"c": 2.0, b"z": 1.0, b"x": -9.0}
    weights |= {name.encode(): 0.5 for name in WEAK}
    body = "z c b a d x " + " ".join(WEAK)
    ours = Model(weights, replace(ABOUT, bias=9.0))
    assert '("d", "c", "b")' in ours.score(parse(message(body)))[1]
    assert '("z")' in ours.score(parse(message("z x")))[1]
    assert "()" not in ours.score(parse(message("nothing known")))[1]


def test_features_in_words() -> None:
    assert describe((b"buy", b"pills")) == '"buy pills"'
    assert describe(b"s:offer") == 'subject word "offer"'
    assert describe(b"u:address") == "links: address"
    assert describe("größe".encode()) == '"größe"'


def test_a_file_and_back(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(pack(WEIGHTS, ABOUT))
    read = load(path)
    assert read.about == ABOUT
    assert read.by_name == pytest.approx(WEIGHTS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: b"", "is no content model"),
        (lambda data: b"GIF89a" + data, "is no content model"),
        (lambda data: data[:20], "is no content model"),
        (lambda data: data[:4] + b"\x63" + data[5:], "another version"),
        (lambda data: data.replace(b"\r\n", b"\n", 1), "another version, or was changed in transfer"),
        (lambda data: data[:-1], "damaged or cut off"),
        (lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "damaged or cut off"),
        (lambda data: data + b"more", "damaged or cut off"),
    ],
)
def test_what_is_no_model_is_refused_in_words(change: object, says: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(change(pack(WEIGHTS, ABOUT)))  # type: ignore[operator]
    with pytest.raises(ModelError, match=says) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        load(tmp_path / "none.bin")


def test_numbers_that_do_not_fit_each_other() -> None:
    about = About(bias=0, scale=1, scores=[1.0], weights=[1.0])
    with pytest.raises(ModelError, match="two knots"):
        unpack(pack({b"a": 1.0}, about), "the file")


def test_isotonic_regression() -> None:
    assert monotone([(1, 1, 1), (2, 3, 1), (3, 2, 1), (4, 5, 1)]) == [(1, 1), (2.5, 2.5), (4, 5)]
    assert monotone([(1, 3, 1), (2, 2, 1), (3, 1, 2)]) == [(2.25, 1.75)]


_TEXT = "Dear customer, the meeting of our members is next week in the large hall, number {0}. Buy at http://{1}/p/{0}"


def test_what_was_said_of_a_text_holds_for_its_copies(model: Model) -> None:
    first, copy = (parse(message(_TEXT.format(number, "shop.example"), f"order {number}")) for number in (17, 28))
    assert model.score(first) is model.score(copy)


@pytest.mark.parametrize(
    ("body", "subject"),
    [
        (_TEXT.format(1, "evil.example"), "hello"),
        (_TEXT.format(1, "shop.example"), "goodbye"),
        (_TEXT.format(1, "shop.example") + " and pills", "hello"),
    ],
    ids=["another link under the text", "another subject", "a word more"],
)
def test_what_is_no_copy_is_read(body: str, subject: str, model: Model) -> None:
    original = model.score(parse(message(_TEXT.format(1, "shop.example"))))
    other = model.score(parse(message(body, subject)))
    assert other is not original
    model.texts = 0
    assert other == model.score(parse(message(body, subject)))


def test_another_file_under_the_same_text_is_read(model: Model) -> None:
    part = b"--x\r\nContent-Type: text/plain\r\n\r\n" + _TEXT.format(1, "shop.example").encode() + b"\r\n--x\r\n"
    head = b"From: a@b.example\r\nSubject: hello\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
    file = b"Content-Type: application/octet-stream; name=%b\r\n\r\nMZ\r\n--x--\r\n"
    said = [model.score(parse(head + part + file % name)) for name in (b"plan.pdf", b"plan.pdf.exe")]
    assert said[0] is not said[1]


def test_old_texts_are_forgotten_and_none_is_kept_where_it_is_not_wanted(model: Model) -> None:
    texts = [parse(message(_TEXT.format(1, f"shop{letter}.example"))) for letter in "abc"]
    model.texts = 2
    said = [model.score(text) for text in texts]
    assert model.score(texts[2]) is said[2]
    assert model.score(texts[0]) is not said[0]
    model.texts = 0
    assert model.score(texts[2]) is not said[2]
