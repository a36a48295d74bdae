#include "node/smtp/wire.h"

#include "base/limits.h"

#define TLS_HANDSHAKE_RECORD 0x16 /* RFC 8446 5.1: first byte of a ClientHello */

static struct wire_cut ends_session(enum wire_kind kind, struct str buffered)
{
    return (struct wire_cut){.kind = kind, .line = STR_NONE, .consumed = buffered.n};
}

static struct wire_cut whole_line(struct str line)
{
    struct wire_cut cut = {.kind = WIRE_LINE, .line = line, .consumed = line.n + 2};

    if (str_find(line, '\0') < line.n) {
        cut.kind = WIRE_NUL;
        cut.line = STR_NONE;
    }
    return cut;
}

struct wire_cut wire_cut_line(struct str buffered)
{
    struct str window = str_head(
        buffered, buffered.n < LIMIT_SMTP_LINE_BYTES ? buffered.n : LIMIT_SMTP_LINE_BYTES);
    size_t lf = str_find(window, '\n');
    size_t cr = str_find(window, '\r');

    if (window.n > 0 && window.p[0] == TLS_HANDSHAKE_RECORD)
        return ends_session(WIRE_TLS, buffered);
    if (lf < cr)
        return ends_session(WIRE_BARE_LF, buffered);
    if (cr + 1 < window.n)
        return lf == cr + 1 ? whole_line(str_head(window, cr))
                            : ends_session(WIRE_BARE_CR, buffered);
    /* no CR, or one as the very last byte: what follows it is still to come */
    if (window.n == LIMIT_SMTP_LINE_BYTES)
        return ends_session(WIRE_TOO_LONG, buffered);
    return (struct wire_cut){.kind = WIRE_MORE, .line = STR_NONE, .consumed = 0};
}
