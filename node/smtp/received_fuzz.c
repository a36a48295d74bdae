/* Whatever a client says: the field stays one field, and we find our own mark in it. */
#include <stdlib.h>

#include "base/limits.h"
#include "node/smtp/headerscan.h"
#include "node/smtp/received.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct str field)
{
    for (bool first = true; field.n > 0; first = false) {
        struct str line = str_split(&field, '\n');

        ASSERT(str_ends(line, '\r') && line.n > 2);
        ASSERT(first || line.p[0] == '\t');
        line.n--;
        for (size_t i = first ? 0 : 1; i < line.n; i++)
            ASSERT(line.p[i] >= ' ' && line.p[i] <= '~');
    }
}

/* Fields are parted by 0xff. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char buf[RECEIVED_SIZE], *copy = malloc(size > 0 ? size : 1);
    struct str rest = {copy, size}, field;
    struct received r = {.host = STR("mx.example"), .cluster = STR("east")};
    struct headerscan h;

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    r.esmtp = size % 2 == 0;
    r.helo = str_split(&rest, '\xff');
    r.client_addr = str_split(&rest, '\xff');
    r.tls = str_split(&rest, '\xff');
    r.rcpt = str_split(&rest, '\xff');
    memcpy(&r.wall_ms, rest.n > 0 ? rest.p : "", rest.n < 8 ? rest.n : 8);
    memcpy(&r.id, data, size < sizeof r.id ? 0 : sizeof r.id);
    field = received_format(&r, buf);
    check_lines(field);
    headerscan_init(&h, r.cluster);
    headerscan_feed(&h, field);
    headerscan_feed(&h, STR("\r\n"));
    ASSERT(h.received == 1 && h.own == 1 && h.done);
    free(copy);
    return 0;
}
