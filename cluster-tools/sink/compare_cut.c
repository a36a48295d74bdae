/* Reads what others wrote; apart from the files and lists of compare.c, which do not. */
#include "cluster-tools/sink/compare.h"

/* The length of the field at the front with its folded lines; 0: it does not end. RFC 5322
 * 2.2.3: a line that begins with a blank or a tab goes on with the one before. */
static size_t field_bytes(struct str s)
{
    for (size_t i = 0; i + 1 < s.n; i++)
        if (s.p[i] == '\r' && s.p[i + 1] == '\n' &&
            (i + 2 == s.n || (s.p[i + 2] != ' ' && s.p[i + 2] != '\t')))
            return i + 2;
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Cuts the next word of a field off *s, leaving comments out. Empty: there is none. */
static struct str cut_token(struct str *s)
{
    size_t start = 0, depth = 0, n;
    struct str token;

    for (; start < s->n && (depth > 0 || is_blank(s->p[start]) || s->p[start] == '(');
         start++) {
        depth += s->p[start] == '(';
        depth -= s->p[start] == ')' && depth > 0;
    }
    for (n = start; n < s->n && !is_blank(s->p[n]) && s->p[n] != '(' && s->p[n] != ';'; n++)
        continue;
    token = str_from(str_head(*s, n), start);
    n += n < s->n && s->p[n] == ';';
    *s = str_from(*s, n);
    return token;
}

/* Does the body of a Received field say "by NAME"? */
static bool names_relay(struct str field, struct str relay)
{
    struct str token;

    while (field.n > 0) {
        token = cut_token(&field);
        if (!str_eq_nocase(token, STR("by")))
            continue;
        token = cut_token(&field);
        return token.n > 0 && (relay.n == 0 || str_eq_nocase(token, relay));
    }
    return false;
}

bool compare_cut_received(struct str *message, struct str relay)
{
    struct str field = *message;
    size_t n;

    /* at most one of each, above it */
    if (str_cut_nocase(&field, STR("Authentication-Results:")))
        field = str_from(field, field_bytes(field));
    if (str_cut_nocase(&field, STR("Received-SPF:")))
        field = str_from(field, field_bytes(field));
    if (!str_cut_nocase(&field, STR("Received:")))
        return false;
    n = field_bytes(field);
    if (n == 0 || !names_relay(str_head(field, n), relay))
        return false;
    *message = str_from(field, n);
    return true;
}
