"""Held mail: found, decided about one by one or by thousands, learned from; nothing of it ends in silence."""
