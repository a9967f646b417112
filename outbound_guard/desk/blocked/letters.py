"""What a customer is told about a refusal: plain, open, and about what each side does next."""

from __future__ import annotations

from outbound_guard.delivery.answers import Side

_LETTERS = {
    ("our_address_blocked", "provider"): (
        "Your message was refused because {who} does not accept mail from the address of ours that "
        "it left from. The cause is on "
        "our side, not in your message. We are looking into it, are sending your mail another way where we can, and "
        "will tell you when it is solved. You need not do anything; please do not send the message "
        "again in the meantime."
    ),
    ("our_address_blocked", "customer"): (
        "Your message was refused by {who}, but it did not leave through our mail servers: the "
        "refused address is not one of ours. "
        "Please check which server or program sends your mail, and let it send through us."
    ),
    ("our_address_blocked", "receiver"): (
        "Your message was refused by {who} because of a blocklist that does not answer it properly "
        "or no longer exists. Neither your "
        "message nor our address is at fault; we are telling the receiver. Please reach the "
        "recipient another way for now."
    ),
    ("content", "customer"): (
        "Your message was refused by {who} because of what it contains or links to. Please look at "
        "its links and attachments, "
        "check that your website and your computers are clean, and change your password if you did not send it."
    ),
    ("policy_auth", "customer"): (
        "Your message was refused by {who} because it could not be told that it may come from your "
        "domain, or a rule there forbids "
        "it. Please check the SPF, DKIM and DMARC records of your domain; we gladly help with the right values."
    ),
    ("policy_auth", "recipient"): (
        "The recipient, or the recipient's administrator, has set rules that refuse your message. Please ask the "
        "recipient, by another way, to permit your address."
    ),
    ("rate", "customer"): (
        "{who} takes mail from you more slowly than it is sent. Nothing is lost; please send large "
        "mailings in smaller portions."
    ),
    ("rate", "provider"): (
        "{who} takes mail from us more slowly at present. Nothing is lost: it is tried again, and we "
        "are looking for the cause."
    ),
    ("unknown_user", "recipient"): (
        "The mailbox you wrote to does not exist or was shut. Please check the address for a slip, "
        "and take it off your lists."
    ),
    ("mailbox_full", "recipient"): (
        "The recipient's mailbox is full. Please reach the recipient another way, and send again when there is room."
    ),
    ("greylisting", "receiver"): "{who} asks to come back later, which happens by itself within the "
        "hour. You need not do anything.",
    ("dns", "customer"): "The domain of your sender address cannot be found in the DNS. Please check "
        "its spelling and its records.",
    ("dns", "recipient"): "The domain you wrote to cannot be found, or takes no mail. Please check "
        "the address for a slip.",
    ("dns", "provider"): "Your message was refused by {who} because of the name of one of our "
        "servers. We are putting it right.",
}  # fmt: skip


def letter(coarse: str, side: Side, who: str) -> str:
    """The text for the customer: by class and side; `who` refused the message."""
    text = _LETTERS.get(
        (coarse, side), "Your message could not be delivered: {who} did not accept it. We are looking into the reason."
    ).format(who=who)
    return text[0].upper() + text[1:]
