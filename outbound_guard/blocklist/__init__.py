"""Own addresses and domains on blocklists: which lists there are, what they say, and what follows from it.

`lists` the file that describes them; `own` what is ours; `answers` what an answer means; `asking` one round of
questions, politely; `keeping` what was found, in the ledger; `watch` round after round; `rule` which addresses rest;
`identity` and `spf` what else receivers look at.
"""
