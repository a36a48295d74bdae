/* Any bytes: read whole and in pieces they give the same reply, and what DONE promises holds.
 */
#include "node/delivery/reply.h"

#include <stdlib.h>

#define HOLD(cond)                                                                             \
    do {                                                                                       \
        if (!(cond))                                                                           \
            abort();                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Feeds pieces as exact-size heap copies, so that a read past the end is seen. */
static enum reply_status feed(struct reply *r, struct str in, size_t piece, size_t *used)
{
    enum reply_status status = REPLY_MORE;

    *used = 0;
    reply_reset(r);
    while (status == REPLY_MORE && *used < in.n) {
        size_t n = in.n - *used < piece ? in.n - *used : piece, took;
        char *copy = malloc(n);

        memcpy(copy, in.p + *used, n);
        status = reply_feed(r, (struct str){copy, n}, &took);
        free(copy);
        HOLD(took <= n && took > 0);
        HOLD(status != REPLY_MORE || took == n);
        *used += took;
    }
    return status;
}

static void check_done(const struct reply *r, struct str in)
{
    uint16_t code;
    struct enhanced e;

    HOLD(r->code >= 200 && r->code <= 599);
    HOLD(r->lines >= 1 && r->lines <= LIMIT_REPLY_LINES);
    HOLD(r->kept >= 3 && r->kept <= LIMIT_REPLY_KEPT_BYTES);
    for (size_t i = 0; i < r->kept; i++)
        HOLD(r->text[i] != '\r' && r->text[i] != '\n' && r->text[i] != 0);
    HOLD(in.n <= LIMIT_REPLY_BYTES && str_ends(in, '\n'));
    HOLD(reply_text_parse(reply_text(r), &code, &e) && code == r->code);
    if (r->enhanced.klass != 0)
        HOLD(r->enhanced.klass == code / 100 && !r->contradicts);
    /* every line bears the code, and only the last has no hyphen behind it */
    for (uint16_t line = 1; line <= r->lines; line++) {
        struct str l = str_split(&in, '\n');

        HOLD(l.n >= 3 && memcmp(l.p, r->text, 3) == 0);
        HOLD((l.n > 3 && l.p[3] == '-') == (line < r->lines));
    }
    HOLD(in.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct reply whole, pieces;
    struct str in = {(const char *)data, size};
    size_t used, used_pieces, piece;
    enum reply_status status;

    if (size == 0)
        return 0;
    piece = 1 + data[size - 1] % 7;
    status = feed(&whole, in, size, &used);
    HOLD(feed(&pieces, in, piece, &used_pieces) == status);
    HOLD(used == used_pieces && whole.bad == pieces.bad);
    HOLD((status == REPLY_BAD) == (whole.bad != REPLY_FINE));
    HOLD(reply_begun(&whole) == (status != REPLY_DONE));
    if (status == REPLY_DONE) {
        HOLD(str_eq(reply_text(&whole), reply_text(&pieces)));
        check_done(&whole, str_head(in, used));
        if (used < size) /* the rest is a reply of its own */
            LLVMFuzzerTestOneInput(data + used, size - used);
    }
    return 0;
}
