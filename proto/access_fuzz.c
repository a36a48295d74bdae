/* Any bytes: they are entries in the one form, or refused. What is taken is the same when it is
 * written again. The first byte chooses: the bytes as they are, or entries built from them. */
#include "proto/access.h"

#include <string.h>

#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char again[64 * KiB];

static void try_bytes(struct str in)
{
    struct str rest = in;
    struct access_entry e;
    size_t used = 0;

    if (access_check(in) != NULL)
        return;
    while (access_next(&rest, &e))
        ASSERT(access_append(again, sizeof again, &used, &e) == OK);
    ASSERT(rest.n == 0 && str_eq(in, (struct str){again, used}));
}

static void build(struct str in)
{
    static char made[64 * KiB];
    struct access_entry e;
    size_t used = 0;

    while (in.n >= 8) {
        size_t reason = (uint8_t)in.p[6] % 8 == 7 ? (uint8_t)in.p[7] : (uint8_t)in.p[7] % 4;

        e = (struct access_entry){.action = (enum access_action)((uint8_t)in.p[0] % 5),
                                  .prefix = {.bits = (uint8_t)in.p[1] % 132},
                                  .for_s = (uint32_t)(uint8_t)in.p[4] << (uint8_t)in.p[5] % 28};
        e.prefix.address[(uint8_t)in.p[2] % 16] = (uint8_t)in.p[3];
        in = str_from(in, 8);
        e.reason = str_head(in, reason < in.n ? reason : in.n);
        in = str_from(in, e.reason.n);
        if (access_append(made, sizeof made, &used, &e) == OK)
            ASSERT(access_entry_check(&e) == NULL);
    }
    try_bytes((struct str){made, used});
    if (used > 0)
        ASSERT(access_check(str_head((struct str){made, used}, used - 1)) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        try_bytes(str_from(in, 1));
    else
        build(str_from(in, 1));
    return 0;
}
