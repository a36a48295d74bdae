#include "node/policy/auth_results.h"

#define FOLD_COLUMNS    76  /* with a semicolon a line stays below 78 bytes, without CRLF */
#define MECHANISM_BYTES 200 /* a longer one is left out */

/* Appends words to a field and folds in front of one that would pass the column. */
struct writer {
    char *buf;
    size_t size, n, column;
    size_t word;   /* where the word that is being written began */
    bool is_first; /* no fold behind the name: a line of white space is obsolete syntax */
};

static void put(struct writer *w, struct str s)
{
    ASSERT(w->n + s.n <= w->size);
    if (s.n > 0)
        memcpy(w->buf + w->n, s.p, s.n);
    w->n += s.n;
    w->column += s.n;
}

static struct writer begin(char *buf, size_t size, struct str name)
{
    struct writer w = {.buf = buf, .size = size, .is_first = true};

    put(&w, name);
    return w;
}

static void begin_word(struct writer *w)
{
    w->word = w->n;
    put(w, STR(" "));
}

/* Folds in front of the word when it passes the column. */
static void end_word(struct writer *w)
{
    size_t n = w->n - w->word;

    if (!w->is_first && w->column > FOLD_COLUMNS) {
        ASSERT(w->n + 2 <= w->size);
        memmove(w->buf + w->word + 3, w->buf + w->word + 1, n - 1);
        memcpy(w->buf + w->word, "\r\n\t", 3);
        w->n += 2;
        w->column = 8 + n - 1; /* as a tab shows */
    }
    w->is_first = false;
}

/* --- what may stand in the field --- */

static bool is_plain_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_' || c == '+';
}

/* A dot-atom of RFC 5322 that is a token of RFC 2045 as well. */
static bool is_plain(struct str s)
{
    bool after_dot = true;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.' ? after_dot : !is_plain_char(s.p[i]))
            return false;
        after_dot = s.p[i] == '.';
    }
    return !after_dot;
}

/* local-part "@" domain-name, both plain */
static bool is_plain_address(struct str s)
{
    struct str local = str_split(&s, '@');

    return is_plain(local) && is_plain(s);
}

static bool is_quotable(struct str s, size_t most)
{
    if (s.n == 0 || s.n > most)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~')
            return false;
    return true;
}

static void put_quoted(struct writer *w, struct str s)
{
    put(w, STR("\""));
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            put(w, STR("\\"));
        put(w, (struct str){s.p + i, 1});
    }
    put(w, STR("\""));
}

/* --- Authentication-Results --- */

struct auth_result auth_result_of_spf(const struct spf_check *check,
                                      const struct spf_verdict *verdict)
{
    bool is_error = verdict->result == SPF_TEMPERROR || verdict->result == SPF_PERMERROR;
    bool is_helo = verdict->identity == SPF_HELO;

    return (struct auth_result){.method = STR("spf"),
                                .result = str_of(spf_result_text(verdict->result)),
                                .reason = is_error ? str_of(spf_problem_text(verdict->problem))
                                                   : STR_NONE,
                                .property = is_helo ? STR("smtp.helo") : STR("smtp.mailfrom"),
                                .value = is_helo ? check->helo : check->sender};
}

struct auth_result auth_result_of_rdns(const struct ip_addr *client, enum rdns_result result,
                                       char addr[static IP_TEXT_BYTES])
{
    static const char *const words[] = {[RDNS_CONFIRMED] = "pass",
                                        [RDNS_MISMATCH] = "fail",
                                        [RDNS_NONE] = "permerror",
                                        [RDNS_UNKNOWN] = "temperror"};

    return (struct auth_result){.method = STR("iprev"),
                                .result = str_of(words[result]),
                                .property = STR("policy.iprev"),
                                .value = ip_text(client, addr)};
}

/* Each word is put with the semicolon that ends what stood before. */
static void put_result(struct writer *w, const struct auth_result *r)
{
    begin_word(w);
    put(w, r->method);
    put(w, STR("="));
    put(w, r->result);
    end_word(w);
    if (r->reason.n > 0) {
        begin_word(w);
        put(w, STR("reason="));
        put_quoted(w, r->reason);
        end_word(w);
    }
    if (r->property.n > 0 && is_quotable(r->value, LIMIT_SMTP_HELO_BYTES)) {
        begin_word(w);
        put(w, r->property);
        put(w, STR("="));
        if (is_plain(r->value) || is_plain_address(r->value))
            put(w, r->value);
        else
            put_quoted(w, r->value);
        end_word(w);
    }
}

struct str auth_results_format(struct str authserv_id, const struct auth_result *results,
                               size_t count, char buf[static AUTH_RESULTS_SIZE])
{
    struct writer w = begin(buf, AUTH_RESULTS_SIZE, STR("Authentication-Results:"));

    ASSERT(is_plain(authserv_id) && authserv_id.n <= LIMIT_SMTP_DOMAIN_BYTES);
    ASSERT(count <= AUTH_RESULTS_MOST);
    begin_word(&w);
    put(&w, authserv_id);
    put(&w, STR(";"));
    end_word(&w);
    for (size_t i = 0; i < count; i++) {
        put_result(&w, &results[i]);
        if (i + 1 < count)
            put(&w, STR(";"));
    }
    if (count == 0) {
        begin_word(&w);
        put(&w, STR("none"));
        end_word(&w);
    }
    put(&w, STR("\r\n"));
    return (struct str){buf, w.n};
}

/* --- Received-SPF --- */

/* key "=" ( dot-atom / quoted-string ), left out when it cannot be shown. */
static void put_pair(struct writer *w, struct str key, struct str value, size_t most)
{
    if (!is_quotable(value, most))
        return;
    put(w, STR(";"));
    begin_word(w);
    put(w, key);
    put(w, STR("="));
    if (is_plain(value))
        put(w, value);
    else
        put_quoted(w, value);
    end_word(w);
}

struct str received_spf_format(const struct spf_check *check, const struct spf_verdict *verdict,
                               char buf[static RECEIVED_SPF_SIZE])
{
    struct writer w = begin(buf, RECEIVED_SPF_SIZE, STR("Received-SPF:"));
    char addr[IP_TEXT_BYTES];
    bool is_helo = verdict->identity == SPF_HELO;

    ASSERT(is_plain(check->receiver) && check->receiver.n <= LIMIT_SMTP_DOMAIN_BYTES);
    begin_word(&w);
    put(&w, str_of(spf_result_text(verdict->result)));
    end_word(&w);
    begin_word(&w);
    put(&w, STR("receiver="));
    put(&w, check->receiver);
    end_word(&w);
    put_pair(&w, STR("client-ip"), ip_text(&check->client, addr), sizeof addr);
    put_pair(&w, STR("envelope-from"), check->sender, LIMIT_SMTP_PATH_BYTES);
    put_pair(&w, STR("helo"), check->helo, LIMIT_SMTP_HELO_BYTES);
    put_pair(&w, STR("identity"), is_helo ? STR("helo") : STR("mailfrom"), sizeof addr);
    put_pair(&w, STR("mechanism"), verdict->mechanism, MECHANISM_BYTES);
    if (verdict->problem != SPF_FINE)
        put_pair(&w, STR("problem"), str_of(spf_problem_text(verdict->problem)),
                 MECHANISM_BYTES);
    put(&w, STR("\r\n"));
    return (struct str){buf, w.n};
}

/* --- whose field it is --- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Cuts a comment off the front, with those within it; false: it does not end. */
static bool cut_comment(struct str *s)
{
    size_t depth = 0;

    for (size_t i = 0; i < s->n; i++) {
        char c = s->p[i];

        if (c == '\\')
            i++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0) {
            *s = str_from(*s, i + 1);
            return true;
        }
    }
    return false;
}

/* Comments and folding white space (RFC 5322 CFWS). */
static bool cut_cfws(struct str *s)
{
    while (s->n > 0 && (is_space(s->p[0]) || s->p[0] == '('))
        if (s->p[0] != '(')
            *s = str_from(*s, 1);
        else if (!cut_comment(s))
            return false;
    return true;
}

/* The id as it is meant, in buf; false: there is none, or it does not end or fit. is_whole: the
 * end of s is that of the field, and ends an id as well. */
static bool cut_id(struct str s, bool is_whole, char buf[static LIMIT_SMTP_DOMAIN_BYTES + 1],
                   struct str *id)
{
    bool is_quoted = s.n > 0 && s.p[0] == '"', is_open = is_quoted || !is_whole;
    size_t n = 0;

    for (size_t i = is_quoted; i < s.n && n <= LIMIT_SMTP_DOMAIN_BYTES; i++) {
        char c = s.p[i];

        if (is_quoted ? c == '"' : is_space(c) || strchr(";(/\"", c) != NULL) {
            is_open = false;
            break;
        }
        if (is_quoted && c == '\\' && ++i < s.n)
            c = s.p[i];
        if (c != '\r' && c != '\n') /* of a fold */
            buf[n++] = c;
    }
    *id = (struct str){buf, n};
    if (n > LIMIT_SMTP_DOMAIN_BYTES || is_open)
        return false;
    str_skip(id, ' ');
    while (id->n > 0 && (is_space(id->p[id->n - 1]) || str_ends(*id, '.')))
        id->n--;
    return id->n > 0;
}

static bool holds_nocase(struct str s, struct str part)
{
    for (; s.n >= part.n; s = str_from(s, 1))
        if (str_starts_nocase(s, part))
            return true;
    return false;
}

static bool claims(struct str field, bool is_whole, struct str authserv_id)
{
    char buf[LIMIT_SMTP_DOMAIN_BYTES + 1];
    struct str rest = field, id;

    ASSERT(authserv_id.n > 0);
    if (!str_cut_nocase(&rest, STR("Authentication-Results")))
        return false;
    while (rest.n > 0 && is_space(rest.p[0])) /* obsolete, and read by many */
        rest = str_from(rest, 1);
    if (rest.n > 0 && rest.p[0] != ':')
        return false;
    rest = str_from(rest, rest.n > 0);
    if (cut_cfws(&rest) && cut_id(rest, is_whole, buf, &id))
        return str_eq_nocase(id, authserv_id);
    return !is_whole || holds_nocase(rest, authserv_id);
}

bool auth_results_start_claims(struct str start, struct str authserv_id)
{
    return claims(start, false, authserv_id);
}

bool auth_results_claims(struct str field, struct str authserv_id)
{
    if (field.n > LIMIT_AUTH_CLAIM_BYTES)
        return claims(str_head(field, LIMIT_AUTH_CLAIM_BYTES), false, authserv_id);
    return claims(field, true, authserv_id);
}

/* Cuts the first field with its folds off *s. */
static struct str cut_field(struct str *s)
{
    struct str whole = *s;

    do
        (void)str_split(s, '\n');
    while (s->n > 0 && (s->p[0] == ' ' || s->p[0] == '\t'));
    return str_head(whole, whole.n - s->n);
}

bool auth_results_find(struct str section, struct str authserv_id, struct str *field)
{
    while (section.n > 0 && section.p[0] != '\r') {
        *field = cut_field(&section);
        if (auth_results_claims(*field, authserv_id))
            return true;
    }
    *field = STR_NONE;
    return false;
}
