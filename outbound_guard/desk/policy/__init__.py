"""The policy: what is in force and why, what was learned, a change tried and saved."""
