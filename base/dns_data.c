#include "base/dns_data.h"

#define LABEL_BYTES 63 /* RFC 1035 2.3.4 */

struct str dns_text(const struct dns_answer *a, size_t record)
{
    const struct dns_record *r = &a->records[record];

    ASSERT(record < a->count && r->text_at + r->text_n <= sizeof a->text);
    return (struct str){a->text + r->text_at, r->text_n};
}

static bool is_label(struct str s)
{
    if (s.n == 0 || s.n > LABEL_BYTES)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '\\')
            return false;
    return true;
}

bool dns_name_is_legal(struct str name)
{
    if (name.n == 0 || name.n > LIMIT_SMTP_DOMAIN_BYTES || str_ends(name, '.'))
        return false;
    while (name.n > 0)
        if (!is_label(str_split(&name, '.')))
            return false;
    return true;
}

const char *dns_status_text(enum dns_status s)
{
    static const char *const texts[] = {"ok",
                                        "no such domain",
                                        "no such record",
                                        "server failure",
                                        "failure, but for who asks unchecked",
                                        "no answer"};

    ASSERT((int)s >= 0 && s < DNS_STATUSES);
    return texts[s];
}
