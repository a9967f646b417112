"""The console as a person or a program sees it: over HTTP, with a session or a token.

with Product.made(...) as product:
    with signed_in(product, "ann", role="operator") as ann:
        page = ann.get("/held")                         # httpx.Response, redirects followed
        ann.post("/held/act", what="release", id="...")  # the CSRF token is added
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.product import GUARD, Product

PASSWORD = "correct horse battery staple"
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


class Visit:
    """Somebody at the console."""

    def __init__(self, address: str, *, token: str = "") -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=f"http://{address}", headers=headers, timeout=30.0, trust_env=False)
        self.csrf = ""

    def get(self, path: str, **query: Any) -> httpx.Response:
        """A page; redirects are followed."""
        return self._seen(self.http.get(path, params=query or None, follow_redirects=True))

    def post(self, path: str, files: Any = None, **form: Any) -> httpx.Response:
        """A form sent, with the CSRF token of the last page; redirects are followed."""
        data = {"csrf": self.csrf} | form
        return self._seen(self.http.post(path, data=data, files=files, follow_redirects=True))

    def api(self, method: str, path: str, json: Any = None, **query: Any) -> httpx.Response:
        """A call of the API; `path` without `/api/v1`."""
        headers = {"X-CSRF-Token": self.csrf} if self.csrf else {}
        return self.http.request(method, f"/api/v1{path}", json=json, params=query or None, headers=headers)

    def _seen(self, answer: httpx.Response) -> httpx.Response:
        if found := _CSRF.search(answer.text):
            self.csrf = found[1]
        return answer


def add_user(product: Product, name: str, role: str) -> None:
    """A user with PASSWORD, by the command line."""
    command = [GUARD, "user", "add", name, "--role", role, "--password-stdin", "--config", str(product.config)]
    subprocess.run(command, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True, timeout=60)


@contextmanager
def signed_in(product: Product, name: str = "ann", *, role: str = "admin", add: bool = True) -> Iterator[Visit]:
    """A session of a user, who is made first unless `add` is False."""
    if add:
        add_user(product, name, role)
    visit = Visit(product.addresses["console"])
    try:
        answer = visit.post("/sign-in", name=name, password=PASSWORD)
        assert answer.status_code == 200, answer.text
        assert "Sign out" in answer.text, answer.text[:2000]
        yield visit
    finally:
        visit.http.close()
