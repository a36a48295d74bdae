/* Any message: what is cut is a prefix that ends in CRLF and whose fold is complete; the rest
 * is not touched.
 *
 * Covers: cluster-tools/sink/compare_cut.c
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "cluster-tools/sink/compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1); /* exact, so that reading past the end is seen */
    struct str m = {copy, size}, any = m;

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    if (compare_cut_received(&m, STR("mx.example"))) {
        ASSERT(m.n < size && m.p + m.n == copy + size);
        ASSERT(m.p[-1] == '\n' && m.p[-2] == '\r');
        ASSERT(m.n == 0 || (m.p[0] != ' ' && m.p[0] != '\t'));
        ASSERT(compare_cut_received(&any, STR("")));
        ASSERT(any.p == m.p && any.n == m.n);
    } else {
        ASSERT(m.p == copy && m.n == size);
    }
    free(copy);
    return 0;
}
