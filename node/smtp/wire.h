/*
 * wire: cuts command lines out of the bytes a client sent. RFC 5321 2.3.8: a line ends with
 * CRLF and with nothing else; a lone CR or LF is never a line end, because two programs that
 * disagree about line ends are how one message is smuggled inside another.
 *
 * Pure and without state: the shell keeps the read buffer and calls again after each line.
 * Threads: any. Limits: LIMIT_SMTP_LINE_BYTES, the CRLF included.
 * Only for commands; bytes between DATA and the dot belong to bodyscan.
 */
#pragma once

#include <stddef.h>

#include "base/str.h"

enum wire_kind {
    WIRE_LINE,     /* .line without its CRLF, .consumed with it                               */
    WIRE_MORE,     /* no whole line yet; read on                                              */
    WIRE_TOO_LONG, /* no CRLF within LIMIT_SMTP_LINE_BYTES; the session ends here             */
    WIRE_BARE_CR,  /* a CR that no LF follows; the session ends here                          */
    WIRE_BARE_LF,  /* an LF that no CR precedes; the session ends here                        */
    WIRE_NUL,      /* a whole line that holds a NUL; .consumed covers it, the session goes on */
    WIRE_TLS,      /* a TLS record where a command is due: a client of implicit TLS           */
};

struct wire_cut {
    enum wire_kind kind;
    struct str line; /* borrows from the buffer; empty unless WIRE_LINE */
    size_t consumed; /* bytes to drop from the front of the buffer; 0 with WIRE_MORE. Kinds that
                        end the session consume everything. */
};

/* Cuts the first line of `buffered`. */
struct wire_cut wire_cut_line(struct str buffered);
