/* Any bytes as HELO: reads nothing outside them, and a verdict that may refuse has a reply. A
 * name that is fine is one that DNS can have, or the client's own address. The first byte says
 * whose the client is: '4' 192.0.2.1, '6' 2001:db8::1, others 192.0.2.1 and a host of ours. */
#include <stdlib.h>

#include "base/dns_data.h"
#include "node/policy/helo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const own[] = {"mx1.example.net", "mx2.example.net"};
    struct ip_addr client = ip_v4((const uint8_t[4]){192, 0, 2, 1});
    struct helo_facts f = {.client = &client, .own_names = own, .own_name_count = 2};
    enum helo_result r;
    char *copy;

    if (size == 0)
        return 0;
    if (data[0] == '6')
        client = (struct ip_addr){{0x20, 1, 0xd, 0xb8, [15] = 1}};
    f.client_is_ours = data[0] != '4' && data[0] != '6';
    size--;
    copy = malloc(size + (size == 0)); /* exact, for the sanitizer */
    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data + 1, size);
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
