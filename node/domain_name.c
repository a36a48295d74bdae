#include "node/domain_name.h"

#include "base/utf8.h"
#include "node/idn.h"

bool domain_name_ascii(struct str domain, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                       struct str *out)
{
    char u_labels[LIMIT_SMTP_DOMAIN_BYTES + 1], ascii[LIMIT_SMTP_DOMAIN_BYTES + 1];

    *out = STR_NONE;
    if (!utf8_has_8bit(domain))
        return domain_normalize(domain, buf, out);
    return str_to_z(domain, u_labels, sizeof u_labels) &&
           idn_to_ascii(u_labels, ascii) == NULL && domain_normalize(str_of(ascii), buf, out);
}

bool domain_name_owner(const struct path *rcpt, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                       struct str *out)
{
    *out = STR_NONE;
    return !rcpt->relay_form && !rcpt->literal && domain_name_ascii(rcpt->domain, buf, out);
}
