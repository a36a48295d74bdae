/* Any bytes from a policy server, whole and byte by byte: the same answer; a refusal is a line
 * that may be said to a client. Any bytes in the facts: a question of as many lines as ever.
 */
#include <stdlib.h>

#include "node/policy/delegate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct delegate_answer *a)
{
    size_t n = strlen(a->reply);

    ASSERT((a->act == DELEGATE_REFUSE) == (n > 0));
    ASSERT(!a->closes || a->act == DELEGATE_REFUSE);
    if (n == 0)
        return;
    ASSERT(n > 10 && n < 500 && (a->reply[0] == '4' || a->reply[0] == '5'));
    ASSERT(a->reply[1] <= '5' && a->reply[3] == ' ' && a->reply[4] == a->reply[0]);
    for (size_t i = 0; i < n; i++)
        ASSERT(a->reply[i] >= ' ' && a->reply[i] <= '~');
}

static void answers(struct str in)
{
    struct delegate_answer whole, piece;
    size_t used, used_piece;
    enum delegate_read r = delegate_read(in, &used, &whole), got = DELEGATE_MORE;

    for (size_t n = 0; n <= in.n && got == DELEGATE_MORE; n++) {
        char *copy = malloc(n > 0 ? n : 1);

        ASSERT(copy != NULL);
        if (n > 0)
            memcpy(copy, in.p, n);
        got = delegate_read((struct str){copy, n}, &used_piece, &piece);
        free(copy);
    }
    ASSERT(r == got);
    if (r != DELEGATE_DONE)
        return;
    ASSERT(used == used_piece && used <= LIMIT_DELEGATE_ANSWER_BYTES);
    ASSERT(whole.act == piece.act && strcmp(whole.reply, piece.reply) == 0);
    check_reply(&whole);
    for (uint8_t mode = CHECK_MARK; mode <= CHECK_REFUSE; mode++) {
        piece = whole;
        delegate_soften(&piece, mode);
        check_reply(&piece);
        ASSERT(mode != CHECK_MARK || piece.act != DELEGATE_REFUSE);
        ASSERT(mode != CHECK_DEFER || piece.reply[0] != '5');
    }
}

static struct str piece_of(struct str *in, size_t most)
{
    size_t n = in->n < most ? in->n : most;
    struct str s = str_head(*in, n);

    *in = str_from(*in, n);
    return s;
}

static void questions(struct str in)
{
    struct delegate_facts f = {.client = piece_of(&in, LIMIT_CLIENT_ADDR_BYTES),
                               .tls = piece_of(&in, LIMIT_TLS_TEXT_BYTES),
                               .helo = piece_of(&in, LIMIT_SMTP_HELO_BYTES),
                               .sender = piece_of(&in, LIMIT_SMTP_PATH_BYTES),
                               .recipient = piece_of(&in, LIMIT_SMTP_PATH_BYTES)};
    char buf[LIMIT_DELEGATE_REQUEST_BYTES];
    unsigned lines = 0;
    struct str q;

    f.esmtp = f.helo.n % 2 == 0;
    q = delegate_request(&f, buf);

    for (size_t i = 0; i < q.n; i++)
        lines += q.p[i] == '\n';
    ASSERT(lines == 26 && q.p[q.n - 1] == '\n' && q.p[q.n - 2] == '\n');
}

/* A server that fails in any order rests, and is asked again in the end. */
static void rests(struct str in)
{
    struct delegate_rest r = {0};
    uint64_t now_ms = 1;

    for (size_t i = 0; i < in.n; i++, now_ms += 100) {
        if (in.p[i] % 3 == 0)
            delegate_answered(&r);
        else if (in.p[i] % 3 == 1)
            delegate_failed(&r, now_ms);
        else if (delegate_timed_out(&r, now_ms))
            ASSERT(delegate_is_resting(&r, now_ms));
    }
    ASSERT(!delegate_is_resting(&r, now_ms + LIMIT_DELEGATE_REST_MS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};

    if (size > 2 * LIMIT_DELEGATE_ANSWER_BYTES)
        return 0;
    answers(in);
    questions(in);
    rests(in);
    return 0;
}
