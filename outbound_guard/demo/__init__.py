"""`outbound-guard demo`: the product as it is, with a made-up hosting provider around it, on loopback alone.

The provider's customers write honest mail, attacks come and go, a next hop answers as the world would, and a name
server of its own plays the blocklists. Nothing of that is known to the product: it is started by `serve` with a
configuration, and is spoken to by SMTP and DNS.

    provider.py  writing.py  traffic.py  attacks.py    who sends what; pure, from a seed
    receivers.py  nexthop.py  nameserver.py            the world around it
    past.py                                            the days before, through the product's own pipeline
    house.py  product.py                               the installation, and the product that runs on it
    sending.py  live.py  running.py                    the demo while it runs
"""
