"""A message made safe to look at."""
