"""Our own addresses by the lists that know them."""
