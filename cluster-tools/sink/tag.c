#include "cluster-tools/sink/tag.h"

#include "base/assert.h"
#include "cluster-tools/common/checksum.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"

#define FIELD "X-Trispool-Id:"

void tag_init(struct tag *t)
{
    t->id_bytes = t->line_bytes = 0;
    t->want_bytes = t->want_sum = t->body_bytes = 0;
    t->sum = CHECKSUM_INIT;
    t->in_body = false;
}

struct str tag_id(const struct tag *t)
{
    return (struct str){t->id, t->id_bytes};
}

static bool parse_hex(struct str s, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t v = 0;

    if (s.n == 0 || s.n > 16)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        const char *at = memchr(digits, s.p[i], 16);

        if (at == NULL)
            return false;
        v = v << 4 | (uint64_t)(at - digits);
    }
    *out = v;
    return true;
}

/* Printable, so that it can stand in a ledger. */
static bool is_id(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
    return s.n > 0 && s.n <= LIMIT_TOOL_ID_BYTES;
}

/* `line` comes without its line end. */
static void on_header(struct tag *t, struct str line)
{
    struct str id, bytes, sum;

    if (t->id_bytes > 0 || !str_cut_nocase(&line, STR(FIELD)))
        return;
    id = words_cut(&line);
    bytes = words_cut(&line);
    sum = words_cut(&line);
    if (!is_id(id) || line.n > 0 || !parse_hex(sum, &t->want_sum) ||
        number_count(bytes, UINT64_MAX, &t->want_bytes) != OK)
        return;
    memcpy(t->id, id.p, id.n);
    t->id_bytes = id.n;
}

/* Takes the rest of the header line, or of the header, off *in. */
static void add_header(struct tag *t, struct str *in)
{
    size_t lf = str_find(*in, '\n'), n = lf < in->n ? lf + 1 : in->n;
    bool complete = lf < in->n;
    size_t keep = n < sizeof t->line - t->line_bytes ? n : sizeof t->line - t->line_bytes;

    memcpy(t->line + t->line_bytes, in->p, keep);
    t->line_bytes += keep;
    *in = str_from(*in, n);
    if (!complete)
        return;
    while (t->line_bytes > 0 &&
           (t->line[t->line_bytes - 1] == '\n' || t->line[t->line_bytes - 1] == '\r'))
        t->line_bytes--;
    if (t->line_bytes == 0)
        t->in_body = true;
    else
        on_header(t, (struct str){t->line, t->line_bytes});
    t->line_bytes = 0;
}

void tag_add(struct tag *t, struct str bytes)
{
    while (!t->in_body && bytes.n > 0)
        add_header(t, &bytes);
    t->sum = checksum_add(t->sum, bytes);
    t->body_bytes += bytes.n;
}

enum tag_verdict tag_verdict(const struct tag *t)
{
    if (t->id_bytes == 0)
        return TAG_UNTAGGED;
    if (t->body_bytes < t->want_bytes)
        return TAG_SHORT;
    return t->body_bytes == t->want_bytes && t->sum == t->want_sum ? TAG_OK : TAG_BAD;
}

const char *tag_verdict_text(enum tag_verdict v)
{
    switch (v) {
    case TAG_OK:
        return "ok";
    case TAG_SHORT:
        return "short";
    case TAG_BAD:
        return "bad";
    case TAG_UNTAGGED:
        return "untagged";
    }
    ASSERT(false);
    return "";
}
