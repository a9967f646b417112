"""What the SMTP server itself says, ready for the wire: ordinary protocol answers, each with its enhanced status code.

Answers about a sender or a message come from `outbound_guard.reply` and carry a code word; these need none.
"""

from __future__ import annotations

from outbound_guard.reply import OUR_FAULT, SHUTTING_DOWN, Reply


def _wire(code: int, enhanced: str, text: str) -> bytes:
    return Reply(code, enhanced, text).wire()


OK = _wire(250, "2.0.0", "Ok")
SENDER_OK = _wire(250, "2.1.0", "Ok")
RECIPIENT_OK = _wire(250, "2.1.5", "Ok")
# RFC 2034 4: only replies of the classes 2, 4 and 5 carry an enhanced status code.
START_DATA = _wire(354, "", "End data with <CR><LF>.<CR><LF>")
BYE = _wire(221, "2.0.0", "Bye")
READY_FOR_TLS = _wire(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = _wire(235, "2.7.0", "Authentication successful")
NOT_VERIFIED = _wire(252, "2.1.5", "Cannot verify; send a message and see")
HELP = _wire(214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT: see RFC 5321")

FAULT = OUR_FAULT.wire()
STOPPING = SHUTTING_DOWN.wire()
TOO_MANY_SESSIONS = _wire(421, "4.3.2", "Too many connections, please try again later")
TOO_MANY_FROM_ADDRESS = _wire(421, "4.7.0", "Too many connections from your address")
TOO_MANY_COMMANDS = _wire(421, "4.7.0", "Too many commands without a message, closing connection")
BAD_PROXY = _wire(521, "5.5.2", "Malformed PROXY header")
TIMED_OUT = _wire(421, "4.4.2", "Timeout, closing connection")
TOO_MANY_ERRORS = _wire(421, "4.7.0", "Too many errors, closing connection")
TOO_MANY_LOGINS = _wire(421, "4.7.0", "Too many failed logins, closing connection")
SESSION_FAULT = _wire(421, "4.3.0", "Our fault, please try again")

UNKNOWN = _wire(500, "5.5.1", "Command not recognized")
NOT_IMPLEMENTED = _wire(502, "5.5.1", "Command not implemented")
BAD_LINE = _wire(500, "5.5.2", "Bad syntax")
LINE_TOO_LONG = _wire(500, "5.5.2", "Line too long")
# 521 says that the connection ends here (RFC 7504), and it does: what else was sent is not read.
BARE_LINE_END = _wire(521, "5.5.2", "Bare CR or LF; a line ends in CR LF")
NOT_SMTP = _wire(521, "5.5.1", "This is an SMTP server")
NO_CHUNKING = _wire(521, "5.5.1", "CHUNKING is not offered")

NO_ARGUMENTS = _wire(501, "5.5.4", "This command takes no argument")
HELO_SYNTAX = _wire(501, "5.5.4", "Syntax: EHLO or HELO and the name of your host")
MAIL_SYNTAX = _wire(501, "5.5.4", "Syntax: MAIL FROM:<address>")
RCPT_SYNTAX = _wire(501, "5.5.4", "Syntax: RCPT TO:<address>")
AUTH_SYNTAX = _wire(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
VRFY_SYNTAX = _wire(501, "5.5.4", "Syntax: VRFY address")
BAD_SENDER = _wire(501, "5.1.7", "Bad sender address syntax")
BAD_RECIPIENT = _wire(501, "5.1.3", "Bad recipient address syntax")
BAD_PARAMETER = _wire(501, "5.5.4", "Bad parameter syntax")
UNKNOWN_PARAMETER = _wire(555, "5.5.4", "Parameter not recognized")
# RFC 6531 3.5.
NEEDS_SMTPUTF8 = _wire(553, "5.6.7", "Address needs the SMTPUTF8 parameter")
TOO_LARGE = _wire(552, "5.3.4", "Message size exceeds the limit")
HEADER_TOO_LARGE = _wire(552, "5.3.4", "Header section exceeds the limit")
NO_ROOM = _wire(452, "4.3.1", "No room for a message now, please try again")
TOO_MANY_RECIPIENTS = _wire(452, "4.5.3", "Too many recipients")
BARE_IN_CONTENT = _wire(550, "5.6.0", "Message contains a bare CR or LF; lines must end in CR LF")
LOOP = _wire(554, "5.4.6", "Too many hops: this message is in a loop")

HELO_FIRST = _wire(503, "5.5.1", "Send EHLO first")
NESTED_MAIL = _wire(503, "5.5.1", "Nested MAIL command")
MAIL_FIRST = _wire(503, "5.5.1", "Send MAIL first")
NO_RECIPIENTS = _wire(554, "5.5.1", "No valid recipients")
TLS_ALREADY = _wire(503, "5.5.1", "TLS is already active")
LOGGED_IN_ALREADY = _wire(503, "5.5.1", "Already authenticated")
NOT_IN_TRANSACTION = _wire(503, "5.5.1", "Not in the middle of a message")
UNKNOWN_MECHANISM = _wire(504, "5.5.4", "Unrecognized authentication type")
TLS_FIRST = _wire(538, "5.7.11", "Encryption required: send STARTTLS first")
LOGIN_FIRST = _wire(530, "5.7.0", "Authentication required")
WRONG_PASSWORD = _wire(535, "5.7.8", "Authentication credentials invalid")
LOGIN_FAULT = _wire(454, "4.7.0", "Temporary authentication failure")
NO_XCLIENT = _wire(550, "5.7.0", "You may not speak for others")
XCLIENT_SYNTAX = _wire(501, "5.5.4", "Syntax: XCLIENT name=value ...")
NOBODY = _wire(550, "5.7.1", "Relaying denied: the address of the client is not known")
NO_RELAY = _wire(550, "5.7.1", "Relaying denied: your address may not send here")
