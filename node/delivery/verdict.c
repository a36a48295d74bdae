#include "node/delivery/verdict.h"
#include "base/fault.h"

#define IN(at) (UINT32_C(1) << (at))
#define SETUP  (IN(AT_BANNER) | IN(AT_EHLO) | IN(AT_STARTTLS) | IN(AT_AUTH))
#define MAILS  (IN(AT_MAIL) | IN(AT_RCPT) | IN(AT_DATA) | IN(AT_DOT))
#define ALL    (IN(AT_COUNT) - 1)

static const struct row {
    uint32_t at; /* set of places */
    uint16_t from, to;
    struct enhanced enhanced; /* class 0: any */
    enum verdict verdict;
} rows[] = {
    {IN(AT_BANNER) | IN(AT_STARTTLS), 220, 220, {0}, VERDICT_OK},
    {IN(AT_AUTH), 235, 235, {0}, VERDICT_OK},
    {IN(AT_EHLO) | IN(AT_RSET) | IN(AT_MAIL) | IN(AT_DOT), 250, 250, {0}, VERDICT_OK},
    {IN(AT_RCPT), 250, 252, {0}, VERDICT_OK},
    {IN(AT_DATA), 354, 354, {0}, VERDICT_OK},

    {SETUP, 500, 599, {0}, VERDICT_DEST_NOT_UP_ALARM},
    {SETUP, 200, 499, {0}, VERDICT_DEST_NOT_UP},

    {IN(AT_MAIL), 552, 552, {5, 3, 4}, VERDICT_PERMANENT},
    {IN(AT_RCPT), 550, 551, {0}, VERDICT_PERMANENT},
    {IN(AT_RCPT), 552, 552, {0}, VERDICT_RETRY},
    {IN(AT_RCPT), 553, 553, {0}, VERDICT_PERMANENT},
    {IN(AT_RCPT), 556, 556, {0}, VERDICT_PERMANENT},
    {IN(AT_DOT), 550, 550, {0}, VERDICT_PERMANENT},
    {IN(AT_DOT), 552, 554, {0}, VERDICT_PERMANENT},
    {IN(AT_DOT), 556, 556, {0}, VERDICT_PERMANENT},
    {MAILS, 500, 599, {0}, VERDICT_ODD_5XX},

    {ALL, 421, 421, {0}, VERDICT_RETRY_BRAKE},
    {MAILS | IN(AT_RSET), 450, 450, {0}, VERDICT_RETRY_BRAKE},
    {MAILS | IN(AT_RSET), 400, 499, {0}, VERDICT_RETRY},
};

static bool matches(const struct row *row, enum at at, const struct reply *r)
{
    const struct enhanced *e = &row->enhanced;

    return (row->at & IN(at)) && r->code >= row->from && r->code <= row->to &&
           (e->klass == 0 ||
            (e->klass == r->enhanced.klass && e->subject == r->enhanced.subject &&
             e->detail == r->enhanced.detail));
}

enum verdict verdict_of(enum at at, const struct reply *r)
{
    if (FAULT(REPLY_4XX_TAKEN) && at == AT_DOT && r->code / 100 == 4)
        return VERDICT_OK;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!matches(&rows[i], at, r))
            continue;
        if (rows[i].verdict == VERDICT_PERMANENT && r->contradicts)
            return VERDICT_ODD_5XX;
        return rows[i].verdict;
    }
    return VERDICT_ODDITY;
}

enum verdict verdict_of_loss(enum at at)
{
    if (at <= AT_AUTH)
        return VERDICT_DEST_NOT_UP;
    return at == AT_DOT ? VERDICT_UNKNOWN : VERDICT_RETRY;
}

enum verdict verdict_of_oddity(enum at at)
{
    return at <= AT_AUTH ? VERDICT_DEST_NOT_UP : VERDICT_ODDITY;
}

const char *verdict_name(enum verdict v)
{
    static const char *const names[VERDICT_COUNT] = {
        [VERDICT_OK] = "ok",
        [VERDICT_RETRY] = "retry",
        [VERDICT_RETRY_BRAKE] = "retry, brake",
        [VERDICT_PERMANENT] = "permanent",
        [VERDICT_ODD_5XX] = "odd 5xx",
        [VERDICT_UNKNOWN] = "unknown",
        [VERDICT_ODDITY] = "oddity",
        [VERDICT_DEST_NOT_UP] = "not up",
        [VERDICT_DEST_NOT_UP_ALARM] = "not up, alarm",
    };

    ASSERT(v < VERDICT_COUNT);
    return names[v];
}

const char *at_name(enum at at)
{
    static const char *const names[AT_COUNT] = {
        [AT_CONNECT] = "connect", [AT_BANNER] = "the banner",
        [AT_EHLO] = "EHLO",       [AT_STARTTLS] = "STARTTLS",
        [AT_AUTH] = "AUTH",       [AT_IDLE] = "an idle connection",
        [AT_RSET] = "RSET",       [AT_MAIL] = "MAIL",
        [AT_RCPT] = "RCPT",       [AT_DATA] = "DATA",
        [AT_BODY] = "the body",   [AT_DOT] = "the dot",
        [AT_QUIT] = "QUIT",
    };

    ASSERT(at < AT_COUNT);
    return names[at];
}
