#include "node/idn.h"

#include <idn2.h>
#include <stdbool.h>

#include "base/str.h"

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return false;
    return true;
}

static const char *copy(struct str s, char buf[LIMIT_SMTP_DOMAIN_BYTES + 1])
{
    if (str_ends(s, '.'))
        s.n--;
    if (s.n == 0)
        return "the name is empty";
    if (s.n > LIMIT_SMTP_DOMAIN_BYTES || !str_to_z(s, buf, LIMIT_SMTP_DOMAIN_BYTES + 1))
        return "a name has at most 253 bytes";
    str_lower(s, buf, LIMIT_SMTP_DOMAIN_BYTES);
    return NULL;
}

const char *idn_to_ascii(const char *name, char buf[LIMIT_SMTP_DOMAIN_BYTES + 1])
{
    char *ascii = NULL;
    const char *why;
    int rc;

    /* What is ASCII goes as it is: the daemon is the judge of it. */
    if (is_ascii(str_of(name)))
        return copy(str_of(name), buf);
    rc = idn2_to_ascii_8z(name, &ascii, IDN2_NONTRANSITIONAL);
    if (rc != IDN2_OK)
        return idn2_strerror(rc);
    why = copy(str_of(ascii), buf);
    idn2_free(ascii);
    return why;
}
