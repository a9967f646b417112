"""What people decide: every act goes through here, with its entry in the journal and its audit record.

The order is always the same: take the message (so that nobody else can), write the journal to the disk, then act. A
crash before the journal leaves everything as it was; a crash after it is put right by `reconcile`.
"""

from outbound_guard.desk.accounts.importing import import_accounts
from outbound_guard.desk.accounts.lists import account_list, account_show
from outbound_guard.desk.errors import DeskError
from outbound_guard.desk.held.mail import delete, give_back, held_list, held_show, release
from outbound_guard.desk.held.reconcile import Reconciled, reconcile

__all__ = [
    "DeskError",
    "Reconciled",
    "account_list",
    "account_show",
    "delete",
    "give_back",
    "held_list",
    "held_show",
    "import_accounts",
    "reconcile",
    "release",
]
