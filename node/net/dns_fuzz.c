/* Any bytes as the answer to each kind of question: parsed within bounds, or refused.
 * Covers: node/net/dns_parse.c */
#include <stdlib.h>

#include "base/assert.h"
#include "node/net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = {DNS_A, DNS_MX, DNS_AAAA};
    static struct dns_answer a;
    uint8_t *copy = malloc(size > 0 ? size : 1); /* exact size: a read past it is seen */

    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        dns_parse(copy, (int)size, types[i], &a);
        ASSERT((a.status == DNS_OK) == (a.count > 0));
        ASSERT(a.count <= LIMIT_DNS_RECORDS);
        for (size_t k = 0; k < a.count; k++)
            ASSERT(strnlen(a.records[k].host, sizeof a.records[k].host) <=
                   LIMIT_SMTP_DOMAIN_BYTES);
    }
    free(copy);
    return 0;
}
