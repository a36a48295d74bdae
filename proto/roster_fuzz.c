/* Any bytes: they are entries in the one form, or refused, and what is taken is the same when
 * it is written again; any local part: what is looked for could be an entry.
 *
 * Covers: proto/roster.c
 */
#include <stdlib.h>

#include "base/assert.h"
#include "proto/roster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char again[64 * KiB];

static void try_bytes(struct str in)
{
    struct str rest = in;
    struct roster_entry e;
    size_t used = 0;

    if (roster_check(in) != NULL)
        return;
    while (roster_next(&rest, &e)) {
        size_t before = used;

        ASSERT(roster_append(again, used + e.local.n, &used, &e) == E_FULL && used == before);
        ASSERT(roster_append(again, sizeof again, &used, &e) == OK);
    }
    ASSERT(rest.n == 0 && str_eq(in, (struct str){again, used}));
    ASSERT(roster_check(str_head(in, in.n - 1)) != NULL);
}

static void try_local(struct str local, char separator)
{
    const struct roster_entry e = {.local = local};
    struct roster_wanted w;
    size_t used = 0;

    ASSERT((roster_append(again, sizeof again, &used, &e) == OK) ==
           (roster_local_check(local) == NULL));
    if (roster_separator_check(separator) != NULL)
        return;
    roster_wanted(&w, local, separator);
    for (int i = 0; i < ROSTER_NO_MATCH; i++)
        ASSERT(w.key[i].n == 0 || roster_local_check(w.key[i]) == NULL);
    ASSERT(str_eq(w.key[ROSTER_CAUGHT], ROSTER_CATCH_ALL));
    ASSERT(w.key[ROSTER_BASE].n == 0 || w.key[ROSTER_BASE].n < w.key[ROSTER_EXACT].n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy;

    if (size == 0 || size > sizeof again)
        return 0;
    copy = malloc(size);
    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    if (copy[0] % 2 == 0)
        try_bytes(str_from((struct str){copy, size}, 1));
    else
        try_local(str_from((struct str){copy, size}, 1), (char)(copy[0] / 2));
    free(copy);
    return 0;
}
