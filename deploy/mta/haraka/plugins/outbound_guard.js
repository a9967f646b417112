'use strict';
// plugins/outbound_guard.js: says in a header who logged in, and takes away what clients wrote under such names.

const NAMES = [
    'X-AuthUser', 'X-Authenticated-Sender', 'X-Get-Message-Sender-Via', 'X-SmarterMail-Authenticated-As', 'X-PPP-Vhost',
    'X-PHP-Originating-Script', 'X-PHP-Script', 'X-Source-Args',
];

exports.hook_data_post = function (next, connection) {
    const transaction = connection?.transaction;
    if (!transaction) return next();
    for (const name of NAMES) transaction.remove_header(name);
    // Set by Haraka's own auth plugins; one line, since a login is one.
    const login = connection.notes.auth_user;
    if (login && /^[\x21-\x7e]+$/.test(login)) transaction.add_header('X-AuthUser', login);
    next();
};
