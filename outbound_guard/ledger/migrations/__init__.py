"""The schema's history, run by `Ledger.migrate`. Each step is written out and never changed again."""
