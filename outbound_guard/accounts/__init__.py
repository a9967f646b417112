"""Who sent a submission: identity rules, and the token by which our marks on a message lead back to its sender."""

from outbound_guard.accounts.identity import Identifier
from outbound_guard.accounts.token import Tokens, secret

__all__ = ["Identifier", "Tokens", "secret"]
