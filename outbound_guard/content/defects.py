"""The closed list of what can be wrong with, or dangerous in, the form of a message.

The word is the same in `Message.defects`, in the log and in a policy; the sentence is for people.
"""

from __future__ import annotations

from typing import Final

DEFECTS: Final[dict[str, str]] = {
    # The header.
    "no_header": "the message has no header field",
    "no_from": "there is no From field",
    "bad_from": "the From field holds no address",
    "several_from": "the From field holds several addresses",
    "nul_in_header": "the header holds a NUL octet",
    "control_in_header": "the header holds control characters",
    "raw_8bit_header": "the header holds octets that are neither ASCII nor UTF-8",
    "header_too_long": "a header line is longer than 998 octets",
    "header_block_too_long": "the header is longer than 64 kB",
    "duplicate_header:from": "there are several From fields",
    "duplicate_header:subject": "there are several Subject fields",
    "duplicate_header:to": "there are several To fields",
    "duplicate_header:date": "there are several Date fields",
    "duplicate_header:message-id": "there are several Message-ID fields",
    "duplicate_header:reply-to": "there are several Reply-To fields",
    "duplicate_header:sender": "there are several Sender fields",
    "duplicate_header:content-type": "there are several Content-Type fields",
    "bad_encoded_word": "an encoded word in Subject or From does not decode",
    "bidi_in_header": "Subject or From holds characters that turn the direction of text",
    "address_in_name": "the display name is an address of another domain than the From address",
    # The MIME structure.
    "no_boundary": "a multipart has no boundary parameter",
    "bad_boundary": "the boundary of a multipart never occurs",
    "missing_end": "a multipart is not closed",
    "deep_nesting": "parts are nested too deep; the inner ones were not read",
    "too_many_parts": "there are too many parts; the last ones were not read",
    "broken_base64": "a base64 part does not decode",
    "unknown_encoding": "the transfer encoding of a part is unknown",
    "unknown_charset": "the charset of a part is unknown",
    "undecodable_text": "a text part does not fit its charset",
    "nul_in_text": "the text holds NUL characters",
    # Attachments.
    "executable_attachment": "an attachment is a program",
    "disk_image_attachment": "an attachment is a disk image",
    "macro_attachment": "an attachment is an office file with macros",
    "html_attachment": "an attachment is a web page",
    "double_extension": "an attachment's name hides its type behind another one",
    "bidi_in_name": "an attachment's name holds characters that turn the direction of text",
    "encrypted_archive": "an attachment is an archive that needs a password",
    "executable_in_archive": "an archive holds a program",
    # The HTML.
    "html_script": "the HTML holds a script",
    "html_form": "the HTML holds a form",
    "html_frame": "the HTML loads another page or object",
    "html_refresh": "the HTML sends the reader on to another page",
    "html_deep": "the elements of the HTML lie too deep within each other; its tags were not read",
    "html_too_long": "the HTML was not read to its end",
}
