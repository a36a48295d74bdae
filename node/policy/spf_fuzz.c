/* Any DNS against any client: the check ends within its limits, asks for legal names only, and
 * what it says can stand in a header.
 * Covers: node/policy/spf.c node/policy/spf_record.c node/policy/spf_macro.c */
#include <stdlib.h>

#include "base/assert.h"
#include "node/policy/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input: lines CLIENT, HELO, SENDER, a number of bytes of memory (empty: enough), and then
 * one for each answer: a letter for its status, and records parted by '|'. When they are used
 * up they begin anew. */
struct script {
    struct str answers, rest;
    struct ip_addr client;
};

static struct ip_addr address(struct str text)
{
    struct ip_addr out = {.b = {[10] = 0xff, [11] = 0xff}};

    (void)ip_parse(text, &out);
    return out;
}

static void take_record(struct dns_answer *a, enum dns_type type, struct str text,
                        const struct script *s)
{
    struct dns_record *r = &a->records[a->count];
    struct ip_addr addr = str_eq(text, STR("=")) ? s->client : address(text); /* =: its own */

    if (a->count == LIMIT_DNS_RECORDS || text.n > sizeof a->text - a->text_n) {
        a->cut = true;
        return;
    }
    *r = (struct dns_record){.text_at = (uint32_t)a->text_n, .text_n = (uint32_t)text.n};
    memcpy(&r->addr, addr.b + (type == DNS_A ? 12 : 0), type == DNS_A ? 4 : 16);
    if (!str_to_z(text, r->host, sizeof r->host))
        r->host[0] = 0;
    if (text.n > 0)
        memcpy(a->text + a->text_n, text.p, text.n);
    a->text_n += text.n;
    a->count++;
}

static const struct dns_answer *answer(struct script *s, enum dns_type type)
{
    static struct dns_answer a;
    struct str line;
    char status;

    if (s->rest.n == 0)
        s->rest = s->answers;
    line = str_split(&s->rest, '\n');
    status = line.n > 0 ? line.p[0] : 'n';
    a.count = a.text_n = 0;
    a.cut = false;
    a.status = status == 'n'   ? DNS_NXDOMAIN
               : status == 'd' ? DNS_NODATA
               : status == 's' ? DNS_SERVFAIL
               : status == 'b' ? DNS_BOGUS
               : status == 't' ? DNS_SILENCE
                               : DNS_OK;
    if (a.status != DNS_OK)
        return &a;
    a.cut = status == 'c';
    for (line = str_from(line, 1); line.n > 0;)
        take_record(&a, type, str_split(&line, '|'), s);
    return &a;
}

static void check_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        ASSERT(s.p[i] >= ' ' && s.p[i] <= '~');
}

static void check_verdict(const struct spf_verdict *v)
{
    bool is_error = v->result == SPF_TEMPERROR || v->result == SPF_PERMERROR;

    ASSERT(v->questions <= 123 && v->terms <= LIMIT_SPF_TERMS);
    ASSERT(v->void_terms <= LIMIT_SPF_VOID_TERMS + 1);
    ASSERT((v->problem != SPF_FINE) == (is_error || v->result == SPF_NONE));
    ASSERT(strlen(spf_result_text(v->result)) > 0 && strlen(spf_problem_text(v->problem)) > 0);
    ASSERT(v->explanation.n == 0 || v->result == SPF_FAIL);
    ASSERT(v->explanation.n <= LIMIT_SPF_EXPLANATION_BYTES);
    ASSERT(v->result != SPF_PASS || v->mechanism.n > 0);
    ASSERT(!v->matches_all || (v->result == SPF_PASS && !spf_is_identity(v)));
    check_text(v->mechanism);
    check_text(v->explanation);
}

static void run(struct script *s, struct str input)
{
    static struct spf spf;
    struct spf_check check = {.receiver = STR("mx.example"), .wall_s = 1795484816};
    struct arena arena;
    uint64_t ceiling = LIMIT_SPF_MEMORY_BYTES, stop_after = 1000;

    s->client = check.client = address(str_split(&input, '\n'));
    check.helo = str_split(&input, '\n');
    check.sender = str_split(&input, '\n');
    if (!str_to_u64(str_split(&input, '\n'), &ceiling))
        ceiling = LIMIT_SPF_MEMORY_BYTES;
    else if (ceiling < 200)
        stop_after = ceiling; /* a small number: questions until the time is over */
    if (ceiling < 200 || ceiling > LIMIT_SPF_MEMORY_BYTES)
        ceiling = LIMIT_SPF_MEMORY_BYTES;
    s->answers = s->rest = input;
    arena_init(&arena, (size_t)ceiling);
    spf_init(&spf, &check, &arena);
    for (bool more = spf_next(&spf, NULL); more;) {
        ASSERT(dns_name_is_legal(str_of(spf.ask.name)));
        if (spf.verdict.questions > stop_after)
            break;
        more = spf_next(&spf, answer(s, spf.ask.type));
    }
    spf_stop(&spf);
    check_verdict(&spf.verdict);
    ASSERT(arena.used <= ceiling);
    ASSERT(ceiling < LIMIT_SPF_MEMORY_BYTES || spf.verdict.problem != SPF_NO_MEMORY);
    arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1); /* exact size: a read past it is seen */
    struct script s = {.answers = STR_NONE};

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    run(&s, (struct str){copy, size});
    free(copy);
    return 0;
}
