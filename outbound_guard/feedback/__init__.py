"""What the world answered, turned into reputation."""
