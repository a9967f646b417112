"""Customers answer for their held mail: the links that let them, what they see, and what follows from what they say."""
