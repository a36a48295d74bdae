#include "node/domain_name.h"

#include "base/utf8.h"
#include "node/idn.h"

/* Each label of one is that of the other. What UTS 46 takes for a dot, for nothing or for ASCII
 * is no U-label (RFC 5890 2.3.2.1), and would be another spelling of a name that has one. */
static bool is_label_by_label(struct str u, struct str a)
{
    while (u.n > 0 && a.n > 0) {
        struct str label = str_split(&u, '.'), ascii = str_split(&a, '.');

        if (utf8_has_8bit(label) && !str_starts_nocase(ascii, STR("xn--")))
            return false;
    }
    return u.n == 0 && a.n == 0;
}

bool domain_name_ascii(struct str domain, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                       struct str *out)
{
    char u_labels[LIMIT_SMTP_DOMAIN_BYTES + 1], ascii[LIMIT_SMTP_DOMAIN_BYTES + 1];

    *out = STR_NONE;
    if (!utf8_has_8bit(domain))
        return domain_normalize(domain, buf, out);
    return str_to_z(domain, u_labels, sizeof u_labels) &&
           idn_to_ascii(u_labels, ascii) == NULL && is_label_by_label(domain, str_of(ascii)) &&
           domain_normalize(str_of(ascii), buf, out);
}

bool domain_name_owner(const struct path *rcpt, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                       struct str *out)
{
    *out = STR_NONE;
    return !rcpt->relay_form && !rcpt->literal && domain_name_ascii(rcpt->domain, buf, out);
}
