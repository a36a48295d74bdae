/* raftwire_decode() with bytes of anybody: it reads nothing outside, and what it takes encodes
 * to the same bytes. The checksum is put right, so that the form is what is tried. */
#include <stdlib.h>
#include <xxhash.h>

#include "base/assert.h"
#include "proto/raftwire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 8);
    uint64_t sum = XXH3_64bits(data, size);
    struct raftwire_frame f;
    struct arena a;

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    for (int i = 0; i < 8; i++)
        copy[size + (size_t)i] = (char)(sum >> (8 * i));
    arena_init(&a, 1 * MiB);
    if (raftwire_decode((struct str){copy, size + 8}, &a, &f) == OK) {
        uint8_t *buf = malloc(size + 8);
        struct str again;

        ASSERT(buf != NULL);
        ASSERT(raftwire_encode(&f, buf, size + 8, &again) == OK);
        ASSERT(str_eq(again, (struct str){copy, size + 8}));
        free(buf);
    }
    arena_reset(&a);
    free(copy);
    return 0;
}
