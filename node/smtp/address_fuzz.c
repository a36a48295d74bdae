/* Any argument: what is taken has one @ outside quotes, a domain that normalizes or a literal,
 * and reads the same when it is put between <> again. */
#include <stdlib.h>

#include "base/utf8.h"
#include "node/smtp/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_domain(const struct path *p)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES], again[LIMIT_SMTP_DOMAIN_BYTES];
    struct str lower, twice;

    if (utf8_has_8bit(p->domain)) { /* libidn2's to judge */
        ASSERT(!p->literal && !domain_normalize(p->domain, buf, &lower));
        return;
    }
    ASSERT(domain_normalize(p->domain, buf, &lower) != p->literal);
    ASSERT(address_is_literal(p->domain) == p->literal);
    if (p->literal)
        return;
    ASSERT(str_eq_nocase(lower, p->domain));
    ASSERT(domain_normalize(lower, again, &twice) && str_eq(lower, twice));
}

static void check_path(const struct path *p, bool of_rcpt)
{
    struct str unquoted = p->local;

    for (size_t i = 0; i < p->whole.n; i++)
        ASSERT((uint8_t)p->whole.p[i] >= 0x80 ? p->utf8
                                              : p->whole.p[i] >= ' ' && p->whole.p[i] <= '~');
    ASSERT(utf8_is_valid(p->whole) && utf8_has_8bit(p->whole) == p->utf8);
    if (p->is_null || p->is_postmaster) {
        ASSERT(p->is_null != of_rcpt && p->is_postmaster == of_rcpt);
        ASSERT(p->domain.n == 0);
        return;
    }
    ASSERT(p->whole.n <= LIMIT_SMTP_PATH_BYTES);
    ASSERT(p->local.n > 0 && p->local.n + 1 + p->domain.n == p->whole.n);
    ASSERT(p->whole.p[p->local.n] == '@');
    ASSERT(str_find_last(p->whole, '@') == p->local.n);
    if (p->local.p[0] != '"')
        ASSERT(str_find(unquoted, '@') == unquoted.n && str_find(unquoted, ' ') == unquoted.n);
    check_domain(p);
}

static void check_again(const struct path *p)
{
    char arg[LIMIT_SMTP_PATH_BYTES + 2 + 9];
    size_t n = p->whole.n + 2;
    struct path again;
    struct mail_params params;

    arg[0] = '<';
    if (p->whole.n > 0)
        memcpy(arg + 1, p->whole.p, p->whole.n);
    arg[p->whole.n + 1] = '>';
    memcpy(arg + n, " SMTPUTF8", 9);
    ASSERT(address_parse_mail((struct str){arg, n + 9}, &again, &params) == ADDRESS_OK);
    ASSERT((address_parse_mail((struct str){arg, n}, &again, &params) == ADDRESS_OK) ==
           !p->utf8);
    ASSERT(address_parse_mail((struct str){arg, n + 9}, &again, &params) == ADDRESS_OK);
    ASSERT(str_eq(again.local, p->local) && str_eq(again.domain, p->domain));
    ASSERT(again.relay_form == p->relay_form && again.literal == p->literal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1), buf[LIMIT_SMTP_DOMAIN_BYTES];
    struct str in = {copy, size}, lower;
    enum address_verdict v;
    struct path path;
    struct mail_params params;

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    v = address_parse_mail(in, &path, &params);
    if (v == ADDRESS_OK) {
        check_path(&path, false);
        check_again(&path);
    } else {
        ASSERT(path.whole.n == 0 && params.size_bytes == 0 &&
               address_reply(v, false)[0] == '5');
    }
    v = address_parse_rcpt(in, true, &path);
    if (v == ADDRESS_OK)
        check_path(&path, true);
    else
        ASSERT(path.whole.n == 0 && address_reply(v, true)[0] == '5');
    (void)address_is_literal(in);
    if (!domain_normalize(in, buf, &lower))
        ASSERT(lower.n == 0);
    free(copy);
    return 0;
}
