"""The queue as people see it: what waits and why, and what they do about it: try now, hold, give up."""
