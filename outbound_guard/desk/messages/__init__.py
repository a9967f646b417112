"""Where is my mail? Messages found, and their story."""
