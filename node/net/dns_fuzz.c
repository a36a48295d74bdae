/* Any bytes as the answer to each kind of question: parsed within bounds, or refused.
 * Covers: node/net/dns_parse.c */
#include <stdlib.h>

#include "base/assert.h"
#include "node/net/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(const struct dns_answer *a, size_t i)
{
    struct str text = dns_text(a, i);
    volatile char last;

    ASSERT(strnlen(a->records[i].host, sizeof a->records[i].host) <= LIMIT_SMTP_DOMAIN_BYTES);
    ASSERT(text.n <= a->text_n);
    if (text.n > 0)
        last = text.p[text.n - 1];
    (void)last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum dns_type types[] = {DNS_A, DNS_MX, DNS_AAAA, DNS_PTR, DNS_TXT};
    static struct dns_answer a;
    uint8_t *copy = malloc(size > 0 ? size : 1); /* exact size: a read past it is seen */

    ASSERT(copy != NULL);
    memcpy(copy, data, size);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        dns_parse(copy, (int)size, types[i], &a);
        ASSERT((a.status == DNS_OK) == (a.count > 0 || a.cut));
        ASSERT(a.status != DNS_SERVFAIL || a.ttl_s == 0); /* never kept */
        ASSERT(a.count <= LIMIT_DNS_RECORDS && a.text_n <= sizeof a.text);
        for (size_t k = 0; k < a.count; k++)
            check_record(&a, k);
    }
    free(copy);
    return 0;
}
