"""What every template of the console keeps to: the content security policy, forms with their token, labels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import Environment, meta

from outbound_guard.console.pages import HERE, environment

TEMPLATES = sorted(path.relative_to(HERE / "templates").as_posix() for path in (HERE / "templates").rglob("*.html"))
_COMMENT = re.compile(r"\{#.*?#\}", re.S)
_JINJA = re.compile(r"\{[{%].*?[%}]\}", re.S)
_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.S | re.I)
_FIELD = re.compile(r"<(?:input|select|textarea)\b[^>]*>", re.I)


def _text(name: str) -> str:
    return _COMMENT.sub("", (HERE / "templates" / name).read_text())


@pytest.mark.parametrize("name", TEMPLATES)
def test_has_nothing_that_the_content_security_policy_forbids(name: str) -> None:
    text = _text(name)
    assert not re.search(r"\sstyle\s*=", text), "style attribute"
    assert not re.search(r"<style\b", text), "style element"
    assert not re.search(r"\son[a-z]+\s*=", _JINJA.sub("", text)), "event attribute"
    assert not re.search(r"javascript:", text, re.I)
    for script in re.findall(r"<script\b([^>]*)>", text):
        assert "src=" in script, "inline script"


@pytest.mark.parametrize("name", TEMPLATES)
def test_turns_escaping_off_nowhere(name: str) -> None:
    text = _text(name)
    assert "autoescape" not in text
    # Constant texts alone may be called safe: what a page is told may come from mail.
    for unsafe in re.findall(r"([^{}|]+)\|\s*safe\b", text):
        assert re.fullmatch(r"\s*(?:[^{}]*\s)?'[^']*'\s*", unsafe), unsafe


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_form_that_changes_something_has_its_token(name: str) -> None:
    if '{% extends "customers/layout.html" %}' in _text(name):
        # There nobody is signed in: the secret of the link stands in the path, and in nothing that a browser adds.
        assert all('action="{{ base }}/' in attributes for attributes, _ in _FORM.findall(_text(name)))
        return
    for attributes, inside in _FORM.findall(_text(name)):
        if 'method="post"' in attributes and "/sign-in" not in attributes and "/setup/" not in attributes:
            assert "ui.csrf()" in inside, attributes


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_field_has_a_label(name: str) -> None:
    text = _text(name)
    for field in _FIELD.findall(text):
        if re.search(r'type="(?:hidden|submit)"', field):
            continue
        id_ = re.search(r'\bid="([^"]+)"', field)
        labelled = "aria-label" in field or (id_ and f'for="{id_[1]}"' in text)
        assert labelled or re.search(r"<label\b[^>]*>\s*" + re.escape(field), text), field


@pytest.mark.parametrize("name", TEMPLATES)
def test_compiles_and_names_only_templates_that_exist(name: str) -> None:
    made: Environment = environment()
    found = meta.find_referenced_templates(made.parse((HERE / "templates" / name).read_text()))
    assert all(other in TEMPLATES for other in found)
    made.get_template(name)


def test_the_folder_is_the_one_that_is_served() -> None:
    assert "layout.html" in TEMPLATES
    assert Path(HERE / "static" / "console.css").exists()
