/* Any bytes as HELO: reads nothing outside them, and a verdict that may refuse has a reply. A
 * name that is fine is one that DNS can have, or the client's own address. */
#include <stdlib.h>

#include "base/dns_data.h"
#include "node/policy/helo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const own[] = {"mx1.example.net"};
    char *copy = malloc(size + (size == 0)); /* exact, for the sanitizer */
    struct ip_addr client = {{0}};
    struct helo_facts f = {.client = &client, .own_names = own, .own_name_count = 1};
    enum helo_result r;

    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    if (size > 16)
        memcpy(client.b, data, 16);
    f.helo = (struct str){copy, size};
    r = helo_judge(&f);
    ASSERT(helo_result_text(r)[0] != 0);
    if (helo_is_bad(r))
        ASSERT(helo_reply(r, false)[0] == '5' && helo_reply(r, true)[0] == '4');
    if (r == HELO_FINE && copy[0] != '[')
        ASSERT(dns_name_is_legal(str_ends(f.helo, '.') ? str_head(f.helo, size - 1) : f.helo));
    free(copy);
    return 0;
}
