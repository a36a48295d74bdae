/* Any bytes in any pieces: what leaves is canonical, and a reader that undoes the stuffing gets
 * the very bytes back; all else is refused. */
#include "node/delivery/stuff.h"

#include <stdlib.h>

#define HOLD(cond)                                                                             \
    do {                                                                                       \
        if (!(cond))                                                                           \
            abort();                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A strict receiver: lines end in CRLF, a lone dot ends the data, a leading dot is taken off.
 */
static void check_out(struct str out, struct str in)
{
    while (out.n > 0) {
        size_t end = str_find(out, '\n');
        struct str line;

        HOLD(end < out.n && end > 0 && out.p[end - 1] == '\r');
        line = str_head(out, end + 1);
        out = str_from(out, end + 1);
        HOLD(str_find(line, '\r') == line.n - 2);
        HOLD(!str_eq(line, STR(".\r\n")));
        if (line.p[0] == '.')
            line = str_from(line, 1);
        HOLD(in.n >= line.n && memcmp(in.p, line.p, line.n) == 0);
        in = str_from(in, line.n);
    }
    HOLD(in.n == 0);
}

static bool is_canonical(struct str in)
{
    bool cr = false;

    for (size_t i = 0; i < in.n; i++) {
        if ((in.p[i] == '\n') != cr)
            return false;
        cr = in.p[i] == '\r';
    }
    return !cr && (in.n == 0 || str_ends(in, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece, room, n = 0, at = 0, written;
    char *out;
    struct stuff s;
    enum err e = OK;
    struct str in;

    if (size < 2)
        return 0;
    piece = 1 + data[0] % 9;
    room = STUFF_MIN_ROOM + data[1] % 9;
    in = (struct str){(const char *)data + 2, size - 2};
    out = malloc(2 * size + room);
    stuff_init(&s);
    while (e == OK && at < in.n) {
        size_t len = in.n - at < piece ? in.n - at : piece;
        char *copy = malloc(len), *dest = malloc(room);
        struct str segment = {copy, len};

        memcpy(copy, in.p + at, len);
        while (e == OK && segment.n > 0) {
            size_t before = segment.n;

            e = stuff_step(&s, &segment, dest, room, &written);
            HOLD(written <= room && (e != OK || segment.n < before));
            memcpy(out + n, dest, written);
            n += written;
        }
        at += len;
        free(copy);
        free(dest);
    }
    if (e == OK)
        e = stuff_end(&s);
    HOLD((e == OK) == is_canonical(in));
    if (e == OK)
        check_out((struct str){out, n}, in);
    free(out);
    return 0;
}
