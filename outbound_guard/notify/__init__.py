"""Notices: sends what the ledger's outbox holds. Nobody calls it; who has something to tell puts a row into the outbox.

`routes` which notices go by which routes, and when; `sender` the one that works the outbox off; `letter` what a carrier
gets and says. A carrier is a function from a letter to an answer: `webhook` (with `forms`, `signature` and `reaching`,
which keeps it away from addresses that are not of the internet) and `mail` (with `addressee`, which keeps letters away
from suspect mailboxes, `writing`, `words` and `arf`). The texts for people are in `texts/`.
"""
