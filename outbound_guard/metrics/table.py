"""All metrics there are. A new one is a line here, a place that counts it, and a line in docs/operations.md."""

from __future__ import annotations

from typing import Literal

import msgspec

PREFIX = "outbound_guard_"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)
_LONG = (0.1, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0, 432_000.0)


class Metric(msgspec.Struct, frozen=True):
    """One line of the table. No label names an account, a sender or a customer's address."""

    name: str
    """Without the prefix. Counters end in `_total`, durations in `_seconds`."""
    kind: Literal["counter", "histogram", "livesum", "livemin", "livemax", "livemostrecent"]
    """For a gauge, how the values of several processes become one; a process that has ended does not count."""
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = _SECONDS
    """Upper bounds of a histogram's buckets, in seconds."""


TABLE = (
    # The path of a message.
    Metric("messages_total", "counter", ("action", "reason"), "Messages decided, by action and code word"),
    Metric("message_seconds", "histogram", (), "Time from the end of DATA to our answer"),
    Metric("signal_total", "counter", ("signal",), "Messages on which a signal spoke"),
    Metric("held_total", "counter", ("reason",), "Messages put on hold or in quarantine, by code word"),
    Metric("suspensions_total", "counter", ("reason",), "Senders and accounts suspended, by code word"),
    Metric("signal_factor", "livemostrecent", ("signal",), "What decisions about held mail made of a signal's weight"),
    Metric("identity_headers_total", "counter", ("result",), "Signed identity headers, by what became of them"),
    # Sessions.
    Metric("sessions", "livesum", (), "SMTP sessions open now"),
    Metric("smtp_sessions_total", "counter", ("listener",), "SMTP sessions opened"),
    Metric("smtp_sessions_refused_total", "counter", ("listener", "reason"), "Connections refused by a limit"),
    Metric("smtp_commands_refused_total", "counter", ("reason",), "Commands refused by the SMTP session itself"),
    Metric("smtp_messages_refused_total", "counter", ("reason",), "Messages refused for their form, before the path"),
    Metric("smtp_timeouts_total", "counter", ("phase",), "Sessions ended because the client was too slow"),
    Metric("smtp_faults_total", "counter", ("phase",), "Faults of ours, answered 451 (a whole session: 421)"),
    Metric("background_failures_total", "counter", (), "Background work that failed; it is tried again, and logged"),
    Metric("smtp_tls_sessions_total", "counter", ("listener", "version"), "Sessions that were encrypted"),
    Metric("smtp_tls_failed_total", "counter", ("listener",), "TLS handshakes that failed"),
    Metric("smtp_logins_total", "counter", ("result",), "Tries to log in"),
    Metric("smtp_memory_bytes", "livesum", (), "Octets of messages in memory while they come in and are passed on"),
    Metric("smtp_on_disk_bytes", "livesum", (), "Octets of large messages on disk while they come in"),
    Metric("certificate_expiry_seconds", "livemin", ("listener",), "When the certificate in use ends, in unix seconds"),
    Metric("file_reloads_total", "counter", ("file", "result"), "Certificates and passwords read again: ok or refused"),
    # Delivery.
    Metric("deliveries_total", "counter", ("result",), "Deliveries tried, by result"),
    Metric("delivery_seconds", "histogram", (), "Time from reception to final delivery", _LONG),
    Metric("pool_messages_total", "counter", ("pool", "class"), "Tries to deliver by a pool, by class of the sender"),
    Metric("pool_moves_total", "counter", ("pool", "to"), "Messages a pool could not carry, by the next pool"),
    Metric("pins_lost_total", "counter", (), "Messages of senders that are pinned to a pool that does not exist"),
    Metric("pool_addresses", "livemin", ("pool",), "Source addresses of a pool that may be used now"),
    Metric("warm_up_left", "livemostrecent", ("source_address",), "Messages a new address may still send today"),
    Metric("next_hop_up", "livemin", ("pool",), "1 while at least one next hop of the pool answers"),
    Metric("next_hop_events_total", "counter", ("event",), "What happened on connections to next hops"),
    Metric("spool_messages", "livemostrecent", ("state",), "Messages in the spool"),
    # What comes back.
    Metric("feedback_reports_total", "counter", ("result",), "Reports handed in, by what became of them"),
    Metric("feedback_total", "counter", ("kind", "class", "counts"), "Complaints, bounces, logs of next hops"),
    Metric("feedback_log_lines_total", "counter", ("result",), "Lines of next hops' logs, by what became of them"),
    Metric("suppressed_recipients", "livemax", (), "Recipients on suppression lists that mail is refused for"),
    Metric("feedback_log_behind_bytes", "livemostrecent", (), "Octets of next hops' logs that are not read yet"),
    # Other filters.
    Metric("scanner_answers_total", "counter", ("scanner", "result"), "Messages a scanner was to judge, by result"),
    Metric("scanner_seconds", "histogram", ("scanner",), "Time a scanner took to answer"),
    Metric("scanner_agreement_total", "counter", ("scanner", "result"), "Scanner's answers against our own judgement"),
    # Own addresses.
    Metric("blocklist_answers_total", "counter", ("state",), "Answers of blocklists about own addresses and domains"),
    Metric("blocklist_subjects", "livemostrecent", ("zone", "state"), "Own addresses and domains by what a list says"),
    Metric("blocklist_round_age", "livemostrecent", (), "Seconds since every list was asked about all of them"),
    Metric("own_addresses", "livemostrecent", ("pool", "state"), "Source addresses: in use, resting, kept in use"),
    Metric("own_addresses_objectionable", "livemostrecent", (), "Source addresses with wrong reverse DNS, name or SPF"),
    Metric("cases_open", "livemostrecent", ("stage",), "Open cases by stage"),
    Metric("cases_overdue", "livemostrecent", ("stage",), "Open cases whose stage has taken longer than it should"),
    Metric("customer_answers_total", "counter", ("answer",), "Answers of customers: me, not_me, undone"),
    Metric("customer_released_total", "counter", (), "Messages that customers have released themselves"),
    Metric("customer_reoffences_total", "counter", (), "Senders that offended within a day after such a release"),
    Metric("cases_opened_total", "counter", (), "Cases opened"),
    Metric("cases_reopened_total", "counter", (), "Cases opened again because a listing came back"),
    # The parts it stands on.
    Metric("state_up", "livemin", (), "1 while the store of counters answers"),
    Metric("state_errors_total", "counter", ("kind",), "Calls to the store of counters that failed"),
    Metric("state_dropped_total", "counter", (), "Records meant for the store of counters that were lost"),
    Metric("ledger_up", "livemin", (), "1 while the ledger can be written"),
    Metric("ledger_leads", "livemax", (), "1 while this host does what one host of a shared ledger does alone"),
    Metric("ledger_backlog_segments", "livesum", (), "Segments of the journal waiting to be put into the ledger"),
    Metric("ledger_written_total", "counter", (), "Records written to the ledger"),
    Metric("ledger_rejected_total", "counter", (), "Records that the ledger cannot store; they lie in rejected/"),
    Metric("journal_errors_total", "counter", (), "Writes of the journal that failed; its lines are tried again"),
    Metric("journal_lost_total", "counter", (), "Records given up while the journal could not be written"),
    Metric("recording_lost_total", "counter", (), "Transactions and answers left out of the recorded traffic"),
    # Notices.
    Metric("notices_total", "counter", ("route", "result"), "Tries to send a notice, by route and result"),
    Metric("notices_waiting", "livemostrecent", ("route",), "Notices that are to be sent, by route"),
    Metric("notices_oldest_age", "livemostrecent", (), "Seconds the oldest notice that is overdue has waited"),
    # The console.
    Metric("held_expiring", "livemostrecent", (), "Held messages that wait for a person and end soon"),
    Metric("console_sign_ins_total", "counter", ("result",), "Tries to sign in to the console, by result"),
    # Processes.
    Metric("processes", "livesum", ("role",), "Processes that are ready"),
    Metric("restarts_total", "counter", ("role",), "Processes that ended unasked and were started again"),
    Metric("data_dir_free_bytes", "livemostrecent", (), "Octets free on the disk of data_dir, for the service's user"),
    Metric("draining", "livemostrecent", (), "While the node is being drained: messages that are still queued"),
    Metric("config_reloads_total", "counter", ("result",), "Reloads of configuration and policy: ok or refused"),
)
METRICS = {metric.name: metric for metric in TABLE}


def known(name: str, labels: tuple[str, ...], kind: str) -> Metric:
    """The table's line for a metric. Raises KeyError if it is not there, of another kind, or has other labels."""
    metric = METRICS.get(name)
    if metric is None or not metric.kind.startswith(kind) or len(labels) != len(metric.labels):
        raise KeyError(f"no metric {name!r} of kind {kind!r} with {len(labels)} labels in metrics/table.py")
    return metric
