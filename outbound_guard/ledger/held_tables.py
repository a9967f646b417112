"""The schema of held mail, and of decisions about much of it. A change here needs a migration, as in `tables`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from outbound_guard.ledger.schema import metadata, only

_COUNTED = ("received", "state", "score", "size", "returnable", "id")

# One row for each message that is or was held. It says itself what lists show, search and sort by, so that they need
# no decision; everything else about it stands there.
held = Table(
    "held",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("received", Double, nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    # held | quarantine, then released | deleted | returned | expired | missing
    Column("state", String(32), nullable=False),
    Column("changed", Double, nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("due", Double, nullable=False),
    # True while `state` is held or quarantine: one word that the indexes below can begin with.
    Column("open", Boolean, nullable=False, server_default=false()),
    Column("mail_from", Text, nullable=False, server_default=""),
    # The first of them, as JSON, and how many there are in all.
    Column("recipients", Text, nullable=False, server_default="[]"),
    Column("recipient_count", Integer, nullable=False, server_default="0"),
    Column("subject", Text, nullable=False, server_default=""),
    Column("action", String(32), nullable=False, server_default=""),
    Column("score", Double, nullable=False, server_default="0"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("text", String(16), nullable=False, server_default=""),
    # True if its sender may be written to, since the account owns the address.
    Column("returnable", Boolean, nullable=False, server_default=false()),
    # The names of what spoke against it, strongest first, each between two spaces.
    Column("signals", Text, nullable=False, server_default=""),
    # What a search looks through: subject and addresses, with upper and lower case made one.
    Column("search", Text, nullable=False, server_default=""),
    # The host in whose spool it lies.
    Column("node", String(255), nullable=False, server_default=""),
    Index("held_state", "state", "received"),
    Index("held_account", "account", "received"),
    Index("held_sender", "sender", "received"),
    # These hold all that is counted and grouped: a hundred thousand rows are not fetched for a page of fifty.
    Index("held_open_account", "open", "account", *_COUNTED, "sender", "text"),
    Index("held_open_sender", "open", "sender", *_COUNTED, "account", "text"),
    Index("held_open_text", "open", "text", *_COUNTED, "account", "sender"),
    # And this one all that is searched.
    Index("held_open_received", "open", *_COUNTED, "account", "sender", "text", "action", "signals", "search"),
    Index("held_open_score", "open", "score", "state"),
    Index("held_open_size", "open", "size", "state"),
    # What waits for a person: its end is known from when it came in. Only so many columns make SQLite use it.
    Index("held_waiting", "state", "due", "received", "account", **only("state = 'held' AND due = 0")),
)

# What was decided about many held messages at once. It is done once `due` has come; until then it may be undone.
bulk_action = Table(
    "bulk_action",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    # release | delete | return
    Column("act", String(16), nullable=False),
    Column("teach", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    # Which messages were meant, in words.
    Column("meant", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("due", Double, nullable=False),
    # waiting (for a second person) | placed | running | done | undone | refused | expired
    Column("state", String(16), nullable=False),
    Column("changed", Double, nullable=False),
    Column("changed_by", Text, nullable=False),
    # What did not go as it should besides single messages; lines.
    Column("remarks", Text, nullable=False),
    # Of one that waits, or waited, for a second person: who must not be it, and the seconds to undo it in after that.
    Column("person", String(64), nullable=False, server_default=""),
    Column("delay", Double, nullable=False, server_default="0"),
    Column("confirmed_by", Text, nullable=False, server_default=""),
    Index("bulk_action_state", "state", "due"),
    Index("bulk_action_time", "time"),
)

bulk_item = Table(
    "bulk_item",
    metadata,
    Column("bulk", String(64), nullable=False),
    Column("id", String(64), nullable=False),
    # pending | done | gone | failed
    Column("state", String(16), nullable=False),
    Column("time", Double, nullable=False),
    Column("detail", Text, nullable=False),
    PrimaryKeyConstraint("bulk", "id"),
    Index("bulk_item_state", "bulk", "state"),
    Index("bulk_item_message", "id", "state"),
    sqlite_with_rowid=False,
)
