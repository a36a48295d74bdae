#include "node/delivery/smtpc.h"

const struct smtpc_result *smtpc_result_copy(const struct smtpc_result *r, struct arena *a)
{
    struct smtpc_result *copy = arena_take(a, sizeof *copy);
    struct smtpc_rcpt *rcpts = arena_take(a, r->count * sizeof *rcpts);

    if (copy == NULL || rcpts == NULL)
        return NULL;
    *copy = *r;
    copy->rcpts = rcpts;
    for (uint32_t i = 0; i < r->count; i++) {
        rcpts[i] = r->rcpts[i];
        /* recipients that share a text go on sharing it */
        if (i > 0 && r->rcpts[i].reply.p == r->rcpts[i - 1].reply.p &&
            r->rcpts[i].reply.n == r->rcpts[i - 1].reply.n)
            rcpts[i].reply = rcpts[i - 1].reply;
        else
            rcpts[i].reply = arena_str(a, r->rcpts[i].reply);
        if (rcpts[i].reply.p == NULL && r->rcpts[i].reply.n > 0)
            return NULL;
    }
    return copy;
}

const char *smtpc_why_name(enum smtpc_why why)
{
    static const char *const names[SMTPC_WHY_COUNT] = {
        [SMTPC_WHY_NONE] = "none",
        [SMTPC_WHY_QUIT] = "quit",
        [SMTPC_WHY_REFUSED] = "refused",
        [SMTPC_WHY_CLOSING] = "closing",
        [SMTPC_WHY_LOST] = "lost",
        [SMTPC_WHY_TIMEOUT] = "timeout",
        [SMTPC_WHY_ODDITY] = "oddity",
        [SMTPC_WHY_TLS_FAILED] = "tls_failed",
        [SMTPC_WHY_TLS_MISSING] = "tls_missing",
        [SMTPC_WHY_NO_CONSENT] = "no_consent",
        [SMTPC_WHY_BODY_FAILED] = "body_failed",
        [SMTPC_WHY_UNSOUND] = "unsound",
        [SMTPC_WHY_EIGHT_BIT] = "eight_bit",
        [SMTPC_WHY_SMTPUTF8] = "smtputf8",
        [SMTPC_WHY_EMPTY_DATA] = "empty_data",
    };

    ASSERT(why < SMTPC_WHY_COUNT);
    return names[why];
}
