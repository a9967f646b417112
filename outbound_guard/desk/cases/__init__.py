"""Cases: a listing of our addresses, or refusals of them, worked through from the first sign to the end.

`stages` what must be done in which order; `following` what happens outside; `opening` which case that belongs to;
`traffic`, `resolvers` and `evidence` what the machine finds; `timers` what is due; `work` all that needs nobody;
`person`, `acts`, `letters` and `merging` what people do; `originals` letters kept apart; `channels` and `drafts`
letters to write; `showing`, `overview`, `export` and `numbers` what is told about it; `words` how it is written.
"""
