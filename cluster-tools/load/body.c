#include "cluster-tools/load/body.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "cluster-tools/common/checksum.h"

#define LINE_NUMBER_BYTES 10 /* nine digits and a space */
#define LETTERS_PER_DRAW  10 /* of 6 bits each, from one 64-bit draw */
#define PAD_NAME          "X-Trispool-Pad: "

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void body_init(struct body *b)
{
    *b = (struct body){.fd = -1};
}

void body_close(struct body *b)
{
    if (b->fd >= 0)
        close(b->fd);
    body_init(b);
}

/* One line of the text with its CRLF. Dots at the start, and lines of a single dot, are there
 * to exercise dot stuffing on the whole way. */
static size_t make_line(uint64_t line, unsigned variant, char out[BODY_LINE_BYTES + 1])
{
    uint64_t mix = (line * BODY_VARIANTS + variant + 1) * UINT64_C(0x9E3779B97F4A7C15);
    size_t n = BODY_LINE_BYTES - 2;

    if (line % 16 == 9) {
        out[0] = '.';
        n = 1;
    } else {
        snprintf(out, BODY_LINE_BYTES, "%09u ", (unsigned)(line % 1000000000));
        for (size_t i = LINE_NUMBER_BYTES; i < n; i++) {
            size_t nth = i % LETTERS_PER_DRAW;

            if (nth == 0)
                mix = mix * UINT64_C(6364136223846793005) + 1442695040888963407;
            out[i] = alphabet[mix >> (4 + 6 * nth) & 63];
        }
        if (line % 16 == 7)
            out[0] = '.';
    }
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}

/* The next line, cut so that the text ends after exactly left_bytes, and with CRLF. */
static void next_line(struct body *b)
{
    size_t n = make_line(b->line++, b->variant, b->piece);

    ASSERT(b->left_bytes >= 2);
    if (b->left_bytes < n || b->left_bytes - n == 1) {
        n = b->left_bytes < n ? (size_t)b->left_bytes : n - 1;
        b->piece[n - 2] = '\r';
        b->piece[n - 1] = '\n';
    }
    b->piece_start = 0;
    b->piece_end = n;
}

void body_plan_init(struct body_plan *p, uint64_t message_bytes)
{
    ASSERT(message_bytes >= BODY_MIN_BYTES);
    *p = (struct body_plan){.text_bytes = message_bytes - BODY_HEAD_BYTES};
    p->variants = p->text_bytes > MiB ? 2 : BODY_VARIANTS;
    for (unsigned v = 0; v < p->variants; v++) {
        struct body b = {.fd = -1, .left_bytes = p->text_bytes, .variant = v};

        p->checksum[v] = CHECKSUM_INIT;
        while (b.left_bytes > 0) {
            next_line(&b);
            p->checksum[v] = checksum_add(p->checksum[v], (struct str){b.piece, b.piece_end});
            b.left_bytes -= b.piece_end;
        }
    }
}

static void format_date(uint64_t wall_s, char *out, size_t room)
{
    time_t t = (time_t)wall_s;
    struct tm tm;
    size_t n;

    gmtime_r(&t, &tm);
    n = strftime(out, room, "%a, %d %b %Y %H:%M:%S +0000", &tm); /* the tool runs in "C" */
    ASSERT(n > 0);
}

static void make_head(struct body *b, const struct body_plan *plan,
                      const struct body_stamp *stamp)
{
    char date[64];
    size_t n, pad;
    int len;

    ASSERT(stamp->id.n <= 64 && stamp->from.n <= 254);
    format_date(stamp->wall_s, date, sizeof date);
    len = snprintf(b->piece, sizeof b->piece,
                   "X-Trispool-Id: " STR_FMT " %" PRIu64 " %016" PRIx64 "\r\n"
                   "From: <" STR_FMT ">\r\n"
                   "To: undisclosed-recipients:;\r\n"
                   "Subject: load %" PRIu64 "\r\n"
                   "Message-ID: <" STR_FMT "@load.example>\r\n"
                   "Date: %s\r\n"
                   "MIME-Version: 1.0\r\n" PAD_NAME,
                   STR_ARG(stamp->id), plan->text_bytes, plan->checksum[b->variant],
                   STR_ARG(stamp->from), stamp->number, STR_ARG(stamp->id), date);
    ASSERT(len > 0 && (size_t)len + 4 <= sizeof b->piece);
    n = (size_t)len;
    pad = BODY_HEAD_BYTES - 4 - n; /* the pad makes every header equally long */
    memset(b->piece + n, 'x', pad);
    memcpy(b->piece + n + pad, "\r\n\r\n", 4);
    b->piece_start = 0;
    b->piece_end = BODY_HEAD_BYTES;
}

void body_open_generated(struct body *b, const struct body_plan *plan,
                         const struct body_stamp *stamp)
{
    ASSERT(b->fd < 0);
    b->left_bytes = plan->text_bytes + BODY_HEAD_BYTES;
    b->line = 0;
    b->variant = (unsigned)(stamp->number % plan->variants);
    make_head(b, plan, stamp);
}

enum err body_open_file(struct body *b, const char *path, uint64_t bytes)
{
    ASSERT(b->fd < 0);
    b->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (b->fd < 0)
        return E_NOTFOUND;
    b->left_bytes = bytes;
    return OK;
}

static enum err read_file(struct body *b, char *to, size_t room, size_t *got)
{
    ssize_t n;

    if (room > b->left_bytes)
        room = (size_t)b->left_bytes;
    do {
        n = read(b->fd, to, room);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return E_IO;
    b->left_bytes -= (uint64_t)n;
    *got = (size_t)n;
    return OK;
}

enum err body_read(struct body *b, char *to, size_t room, size_t *got)
{
    *got = 0;
    if (b->left_bytes == 0 || room == 0)
        return OK;
    if (b->fd >= 0)
        return read_file(b, to, room, got);
    while (b->left_bytes > 0 && *got < room) {
        size_t n;

        if (b->piece_start == b->piece_end)
            next_line(b);
        n = b->piece_end - b->piece_start;
        if (n > room - *got)
            n = room - *got;
        memcpy(to + *got, b->piece + b->piece_start, n);
        b->piece_start += n;
        b->left_bytes -= n;
        *got += n;
    }
    return OK;
}
