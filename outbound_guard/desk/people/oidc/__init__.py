"""Signing in at an OpenID Connect provider: authorization code flow with PKCE.

`provider` asks the provider, `idtoken` checks what it signed, `claims` reads what is in it, `signin` is the way of a
person from the button to a session.
"""
