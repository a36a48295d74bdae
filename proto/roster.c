#include "proto/roster.h"

#include <string.h>

static_assert(LIMIT_SMTP_LOCAL_PART_BYTES <= UINT8_MAX, "a length is one byte");

int roster_compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

const char *roster_local_check(struct str local)
{
    if (str_eq(local, ROSTER_CATCH_ALL))
        return NULL;
    if (local.n == 0 || local.n > LIMIT_SMTP_LOCAL_PART_BYTES)
        return "a local part has 1 to 64 characters";
    for (size_t i = 0; i < local.n; i++) {
        char c = local.p[i];

        if (c >= 'A' && c <= 'Z')
            return "upper case; a list is kept in lower case";
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '@')
            return "a local part is printable ASCII without blanks, quotes, backslash and @";
    }
    return NULL;
}

enum err roster_append(char *buf, size_t size, size_t *used, const struct roster_entry *e)
{
    char *p = buf + *used;

    if (roster_local_check(e->local) != NULL)
        return E_PROTO;
    if (size - *used < ROSTER_HEAD_BYTES + e->local.n)
        return E_FULL;
    p[0] = e->is_removed ? 0 : 1;
    p[1] = (char)e->local.n;
    memcpy(p + ROSTER_HEAD_BYTES, e->local.p, e->local.n);
    *used += ROSTER_HEAD_BYTES + e->local.n;
    return OK;
}

bool roster_next(struct str *bytes, struct roster_entry *out)
{
    size_t n;

    *out = (struct roster_entry){.local = STR_NONE};
    if (bytes->n < ROSTER_HEAD_BYTES || (uint8_t)bytes->p[0] > 1)
        return false;
    n = (uint8_t)bytes->p[1];
    if (bytes->n - ROSTER_HEAD_BYTES < n)
        return false;
    out->is_removed = bytes->p[0] == 0;
    out->local = str_head(str_from(*bytes, ROSTER_HEAD_BYTES), n);
    *bytes = str_from(*bytes, ROSTER_HEAD_BYTES + n);
    return true;
}

const char *roster_check(struct str bytes)
{
    struct str last = STR_NONE;
    struct roster_entry e;
    uint32_t count = 0;

    while (roster_next(&bytes, &e)) {
        const char *why = roster_local_check(e.local);

        if (why != NULL)
            return why;
        if (count > 0 && roster_compare(last, e.local) >= 0)
            return "entries are in ascending order, each once";
        if (++count > LIMIT_ROSTER_BATCH)
            return "at most 900 entries at once";
        last = e.local;
    }
    if (bytes.n > 0)
        return "an entry is cut short, or its action unknown";
    return count > 0 ? NULL : "there is no entry";
}

const char *roster_separator_check(char separator)
{
    static const char allowed[] = "!#$%&'*+-/=?^_`{|}~"; /* atext of RFC 5322 3.2.3 */

    if (separator == 0 || memchr(allowed, separator, sizeof allowed - 1) != NULL)
        return NULL;
    return "a separator is one of !#$%&'*+-/=?^_`{|}~, or none";
}

/* "John"@ is John@ (RFC 5321 4.1.2: quotes are no part of the name). What needs its quotes has
 * no entry. */
static struct str unquoted(struct str local)
{
    bool is_quoted = local.n >= 2 && local.p[0] == '"' && str_ends(local, '"');

    return is_quoted ? str_from(str_head(local, local.n - 1), 1) : local;
}

void roster_wanted(struct roster_wanted *out, struct str local, char separator)
{
    struct str plain = unquoted(local), key;
    size_t at;

    for (int i = 0; i < ROSTER_NO_MATCH; i++)
        out->key[i] = STR_NONE;
    out->key[ROSTER_CAUGHT] = ROSTER_CATCH_ALL;
    if (plain.n > sizeof out->folded)
        return;
    key = str_lower(plain, out->folded, sizeof out->folded);
    if (roster_local_check(key) != NULL || str_eq(key, ROSTER_CATCH_ALL))
        return;
    out->key[ROSTER_EXACT] = key;
    at = str_find(key, separator);
    if (separator != 0 && at < key.n)
        out->key[ROSTER_BASE] = str_head(key, at);
}

const char *roster_match_text(enum roster_match m)
{
    static const char *const texts[] = {[ROSTER_EXACT] = "exact",
                                        [ROSTER_BASE] = "sub-address",
                                        [ROSTER_CAUGHT] = "catch-all",
                                        [ROSTER_NO_MATCH] = "none"};

    return texts[m];
}
