"""Who may use the console: users, passwords, second factors, sessions, tokens."""
