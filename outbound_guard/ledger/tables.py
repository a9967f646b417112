"""The schema of the ledger. A change here needs a migration (migrations/versions); a test compares the two.

Times are unix seconds. Ids are those of the messages; they sort by time. Lists and signals are JSON texts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from outbound_guard.ledger.account_tables import account_note as account_note
from outbound_guard.ledger.account_tables import account_seen as account_seen
from outbound_guard.ledger.account_tables import erasure as erasure
from outbound_guard.ledger.account_tables import sender_seen as sender_seen
from outbound_guard.ledger.class_tables import class_change as class_change
from outbound_guard.ledger.class_tables import sender_class as sender_class
from outbound_guard.ledger.customer_tables import customer_answer as customer_answer
from outbound_guard.ledger.customer_tables import customer_link as customer_link
from outbound_guard.ledger.customer_tables import customer_release as customer_release
from outbound_guard.ledger.feedback_tables import feedback as feedback
from outbound_guard.ledger.feedback_tables import suppression as suppression
from outbound_guard.ledger.held_tables import bulk_action as bulk_action
from outbound_guard.ledger.held_tables import bulk_item as bulk_item
from outbound_guard.ledger.held_tables import held as held
from outbound_guard.ledger.node_tables import erasure_node as erasure_node
from outbound_guard.ledger.node_tables import lease as lease
from outbound_guard.ledger.node_tables import node as node
from outbound_guard.ledger.outbox_tables import outbox as outbox
from outbound_guard.ledger.outbox_tables import outbox_sending as outbox_sending
from outbound_guard.ledger.schema import SERIAL, only
from outbound_guard.ledger.schema import metadata as metadata
from outbound_guard.ledger.traffic_tables import held_change as held_change
from outbound_guard.ledger.traffic_tables import traffic as traffic
from outbound_guard.ledger.user_tables import console_recovery as console_recovery
from outbound_guard.ledger.user_tables import console_session as console_session
from outbound_guard.ledger.user_tables import console_token as console_token
from outbound_guard.ledger.user_tables import console_user as console_user

decision = Table(
    "decision",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("received", Double, nullable=False),
    Column("account", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("sender_kind", String(32), nullable=False),
    Column("source", Text, nullable=False),
    Column("server", Text, nullable=False),
    Column("client_ip", String(64), nullable=False),
    Column("mail_from", Text, nullable=False),
    Column("recipients", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("action", String(32), nullable=False),
    Column("score", Double, nullable=False),
    Column("code", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("signals", Text, nullable=False),
    Column("answered", Text, nullable=False),
    # Of ours, as far as it was tried at once; `source` above is the rule that found the sender.
    Column("source_address", String(64), nullable=False, server_default=""),
    # The fingerprint of the text, 16 hexadecimal digits; empty if there is none.
    Column("text", String(16), nullable=False, server_default=""),
    # The host that took it, and in whose spool it lies if it is queued.
    Column("node", String(255), nullable=False, server_default=""),
    Index("decision_received", "received"),
    Index("decision_account", "account", "received"),
    Index("decision_sender", "sender", "received"),
    Index("decision_text", "text", "received"),
    # Who is worth a look: a part of all, and every column of the answer. Queries must say the condition word for word.
    Index("decision_risk", "received", "score", "sender", "account", "action", **only("score >= 3")),
    # Mostly the sender is the mailbox itself, and is found as such.
    Index("decision_mail_from", "mail_from", "received", **only("mail_from <> sender")),
    Index("decision_message_id", "message_id"),
)

# Who a message was for, to find it by its recipient.
recipient = Table(
    "recipient",
    metadata,
    Column("address", Text, nullable=False),
    Column("decision", String(64), ForeignKey("decision.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("decision", "address"),
    Index("recipient_address", "address"),
    # Kept in the order of its key, which for SQLite has to be said.
    sqlite_with_rowid=False,
)

delivery = Table(
    "delivery",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False),
    Column("time", Double, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("code", Integer, nullable=False),
    Column("enhanced", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("source_address", String(64), nullable=False, server_default=""),
    # Of a report about a message (a bounce): the message it is about; else empty.
    Column("about", String(64), nullable=False, server_default=""),
    Index("delivery_id", "id"),
    Index("delivery_about", "about", **only("about <> ''")),
)

# The last word on each subject: `kind` is suspension, limit, exemption or probation; `change` says whether it is on.
standing = Table(
    "standing",
    metadata,
    Column("scope", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("change", String(16), nullable=False),
    Column("account", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("limits", Text, nullable=False),
    Column("pool", String(64), nullable=False, server_default=""),
    PrimaryKeyConstraint("scope", "subject", "kind"),
    Index("standing_account", "account"),
)

standing_history = Table(
    "standing_history",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("change", String(16), nullable=False),
    Column("account", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Double, nullable=False),
    Column("limits", Text, nullable=False),
    Column("pool", String(64), nullable=False, server_default=""),
    Index("standing_history_subject", "subject", "time"),
    Index("standing_history_account", "account", "time"),
)

audit = Table(
    "audit",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("audit_time", "time"),
    Index("audit_subject", "subject", "time"),
    Index("audit_by", "by", "time"),
    Index("audit_what", "what", "time"),
)

account = Table(
    "account",
    metadata,
    Column("account", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("contact", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created", Double, nullable=False),
)

# Which account answers for a sender. `pattern` is an address, a sender, or has `*` in it.
sender_account = Table(
    "sender_account",
    metadata,
    Column("pattern", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Index("sender_account_account", "account"),
)

# The journal's segments that are in the ledger: one that is met again is not put in twice.
segment = Table(
    "segment",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("taken", Double, nullable=False),
    # On whose disk it was.
    Column("node", String(255), nullable=False, server_default=""),
)

# Grows whenever standings or the directory change, so that the copies in memory know when to read them again.
revision = Table(
    "revision",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# What each list said last about each address and domain of ours. `state` is listed, clean or unknown; `known` is the
# last of listed and clean (empty: neither yet). An unknown answer leaves what is known, and its times, as they are.
listing = Table(
    "listing",
    metadata,
    Column("subject", String(255), nullable=False),
    Column("zone", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("known", String(16), nullable=False),
    # Separated by spaces.
    Column("codes", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("scope", String(16), nullable=False),
    Column("weight", Double, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    # 0 if not known to be clean.
    Column("clean_since", Double, nullable=False),
    Column("checked", Double, nullable=False),
    PrimaryKeyConstraint("subject", "zone"),
    Index("listing_known", "known"),
)

# Listings that began, or whose codes changed (listed), of which nothing is known for now (unknown), that ended (clean).
listing_history = Table(
    "listing_history",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("subject", String(255), nullable=False),
    Column("zone", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("codes", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("listing_history_subject", "subject", "time"),
)

# The source addresses of the pools. `state`: in_use | resting | kept (it should rest, but its pool has no other).
own_address = Table(
    "own_address",
    metadata,
    Column("pool", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", Double, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("pool", "address"),
)

# What happened in the cases; everything else about a case follows from it, in the order of `time` and `serial`. `id` is
# made from the fact itself where a machine found it, so that a fact found twice counts once.
case_event = Table(
    "case_event",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("id", String(128), nullable=False),
    Column("case_id", String(32), nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("what", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("changes", Text, nullable=False),
    Column("data", Text, nullable=False),
    UniqueConstraint("id", name="case_event_id"),
    Index("case_event_case", "case_id", "time"),
)

case_file = Table(
    "case_file",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("finding", String(16), nullable=False),
    Column("cause", String(32), nullable=False),
    Column("accounts", Text, nullable=False),
    Column("began", Double, nullable=False),
    Column("opened", Double, nullable=False),
    Column("round_since", Double, nullable=False),
    Column("stage_since", Double, nullable=False),
    Column("contained", Double, nullable=False),
    Column("removed", Double, nullable=False),
    Column("closed", Double, nullable=False),
    Column("reopened", Integer, nullable=False),
    Column("due", Double, nullable=False),
    Column("due_for", Text, nullable=False),
    Column("reminded", Double, nullable=False),
    Column("summary", Text, nullable=False),
    Column("changed", Double, nullable=False),
    Index("case_file_state", "state", "opened"),
)

# What is listed, or refused, and by whom (`source`: a list's zone or a receiver).
case_subject = Table(
    "case_subject",
    metadata,
    Column("case_id", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("operator", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("codes", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("seen", Double, nullable=False),
    Column("clean_since", Double, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("case_id", "subject", "source"),
    Index("case_subject_subject", "subject"),
)

case_check = Table(
    "case_check",
    metadata,
    Column("case_id", String(32), nullable=False),
    Column("item", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("case_id", "item"),
)

# How far the listings and refusals have been followed (`serial` of listing_history and delivery).
case_progress = Table(
    "case_progress",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("serial", BigInteger, nullable=False),
)

# What people's decisions have made of the signals' weights: one factor each, 1 where there is no row.
weight = Table(
    "weight",
    metadata,
    Column("signal", String(64), primary_key=True),
    Column("factor", Double, nullable=False),
    Column("time", Double, nullable=False),
    Column("by", Text, nullable=False),
)

# One row for each factor that was changed. `message`, `finding`, `sender` and `text` (its fingerprint) say what a
# factor was learned from, and are empty otherwise.
weight_history = Table(
    "weight_history",
    metadata,
    Column("serial", SERIAL, primary_key=True, autoincrement=True),
    Column("time", Double, nullable=False),
    Column("signal", String(64), nullable=False),
    Column("change", String(16), nullable=False),
    Column("factor_from", Double, nullable=False),
    Column("factor_to", Double, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", String(64), nullable=False),
    Column("finding", String(16), nullable=False),
    Column("sender", Text, nullable=False),
    Column("text", String(32), nullable=False),
    Index("weight_history_time", "time"),
    Index("weight_history_message", "message"),
)
