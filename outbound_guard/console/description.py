"""The API's description (OpenAPI), completed by what holds for every call: how it refuses, and by which scope."""

from __future__ import annotations

from typing import Any

from litestar import Litestar

REFUSALS = {
    "400": "What was sent is not understood, or not possible.",
    "401": "No token, or one that is not good (any more).",
    "403": "The token's scopes do not allow this.",
    "404": "There is no such thing.",
    "409": "The desk does not do that, and says why; nothing was changed.",
    "413": "Too large.",
    "415": "What was sent is of a kind that is not taken here.",
    "422": "What was sent is of the right kind, and cannot be read.",
    "503": "The ledger cannot be used right now; mail goes on.",
}
"""Status codes that every call may answer, each with `{"error": "..."}`."""
_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "Why, in one line."}},
}


def description(app: Litestar) -> dict[str, Any]:
    """The description, with the refusals of every call in the place of those the framework would give. Made once."""
    if "description" not in app.state:
        app.state.description = _described(app.openapi_schema.to_schema())
    made: dict[str, Any] = app.state.description
    return made


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    paths = {}
    for path, calls in schema["paths"].items():
        paths[path] = {method: call | {"responses": _responses(call)} for method, call in calls.items()}
    components = schema.get("components", {})
    schemas = components.get("schemas", {}) | {"Refusal": _SCHEMA}
    return schema | {"paths": paths, "components": components | {"schemas": schemas}}


def _responses(call: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    refusals = {status: {"description": text, "content": content} for status, text in REFUSALS.items()}
    done = {status: answer for status, answer in call["responses"].items() if status.startswith("2")}
    return done | refusals
