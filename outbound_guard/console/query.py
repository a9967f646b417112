"""Names of query parameters that handlers cannot use as they are."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar.params import QueryParameter

State = Annotated[str, QueryParameter(name="state")]
"""The query parameter `state`: an argument of that name would be Litestar's own."""
CaseState = Annotated[Literal["open", "closed", "all"], QueryParameter(name="state")]
"""The same, of cases."""
