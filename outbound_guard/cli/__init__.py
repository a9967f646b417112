"""The commands: they read arguments, call the desk or the application, and print. Nothing is decided here."""
