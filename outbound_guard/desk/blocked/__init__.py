""" "We are blocked": what a pasted bounce says, whose side it is on, and what to do."""
