/*
 * The plan of callouts under any order of events and any answers. The input is a list of moves.
 * Checked from outside:
 *   - every wish comes back exactly once, with a verdict;
 *   - an address sees at most per_minute questions in any minute, and one session at a time;
 *   - left alone, the plan gets idle.
 */
#include "node/delivery/callout.h"

#include <stdio.h>
#include <stdlib.h>

#define HOLD(cond)                                                                             \
    do {                                                                                       \
        if (!(cond)) {                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                         \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

#define WISHES   512
#define ADDRS    4
#define ASKED    1024
#define SESSIONS 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
    uint16_t code;
    const char *text;
} replies[] = {{250, "250 ok"},    {550, "550 5.1.1 no"},    {550, "550 no"},
               {450, "450 later"}, {550, "550 5.7.1 block"}, {421, "421 bye"},
               {553, "553 x"},     {554, "554 no"}};

struct fuzz_session {
    bool is_open, is_asked;
    uint32_t place, addr;
    struct callout_names names;
};

struct fuzz {
    struct callout c;
    uint32_t per_minute;
    uint64_t now_ms;
    struct callout_wish wishes[WISHES];
    bool back[WISHES];
    uint32_t wish_count, back_count;
    struct {
        uint64_t ms[ASKED];
        uint32_t count;
        bool is_busy;
    } addrs[ADDRS];
    struct fuzz_session sessions[SESSIONS];
    const uint8_t *data;
    size_t size, at;
};

static uint8_t byte(struct fuzz *f)
{
    return f->at < f->size ? f->data[f->at++] : 0;
}

static struct fuzz_session *session_of(struct fuzz *f, uint32_t place)
{
    for (size_t i = 0; i < SESSIONS; i++)
        if (f->sessions[i].is_open && f->sessions[i].place == place)
            return &f->sessions[i];
    return NULL;
}

static uint32_t addr_of(uint64_t generation)
{
    return (uint32_t)(generation % ADDRS);
}

static void route(struct fuzz *f, const struct callout_action *a)
{
    uint8_t b[4] = {192, 0, 2, (uint8_t)addr_of(a->domain->generation)};
    struct route_ip ip = route_ip_v4(b);

    callout_routed(&f->c, a->place, byte(f) % 8 == 1 ? NULL : &ip, f->now_ms);
}

static void open_session(struct fuzz *f, const struct callout_action *a)
{
    struct fuzz_session *s = f->sessions;

    while (s->is_open)
        s++;
    HOLD(s < f->sessions + SESSIONS && session_of(f, a->place) == NULL);
    *s = (struct fuzz_session){
        .is_open = true, .place = a->place, .addr = addr_of(a->domain->generation)};
    HOLD(!f->addrs[s->addr].is_busy);
    f->addrs[s->addr].is_busy = true;
}

static void back(struct fuzz *f, const struct callout_wish *w)
{
    size_t i = (size_t)(w - f->wishes);

    HOLD(i < f->wish_count && !f->back[i] && w->verdict < CALLOUT_VERDICTS);
    f->back[i] = true;
    f->back_count++;
}

static void pull(struct fuzz *f)
{
    struct callout_action a;

    while (callout_next(&f->c, f->now_ms, &a)) {
        switch (a.act) {
        case CALLOUT_ROUTE:
            route(f, &a);
            break;
        case CALLOUT_OPEN:
            open_session(f, &a);
            break;
        case CALLOUT_CUT:
            HOLD(session_of(f, a.place) != NULL);
            break;
        case CALLOUT_ANSWER:
            back(f, a.wish);
            break;
        }
    }
}

static void count_questions(struct fuzz *f, struct fuzz_session *s)
{
    for (uint32_t i = 0; i < s->names.count; i++) {
        uint32_t n = f->addrs[s->addr].count++;

        f->addrs[s->addr].ms[n % ASKED] = f->now_ms;
        if (n >= f->per_minute) {
            uint64_t before = f->addrs[s->addr].ms[(n - f->per_minute) % ASKED];

            HOLD(f->now_ms - before >= 60000);
        }
    }
}

static void question(struct fuzz *f, struct fuzz_session *s)
{
    s->is_asked = true;
    HOLD(s->names.count > 0 && s->names.count <= LIMIT_CALLOUT_NAMES);
    count_questions(f, s);
}

static void answer(struct fuzz *f, struct fuzz_session *s)
{
    struct smtpc_rcpt rcpts[LIMIT_CALLOUT_NAMES];
    struct smtpc_result r = {.begun = true, .rcpts = rcpts, .count = s->names.count};
    uint8_t how = byte(f);

    for (uint32_t i = 0; i < s->names.count; i++) {
        size_t k = byte(f) % (sizeof replies / sizeof replies[0]);
        const char *text = replies[k].text;
        struct reply reply = {.code = replies[k].code};

        if (!enhanced_parse(str_from(str_of(text), 4), &reply.enhanced))
            reply.enhanced.klass = 0;
        rcpts[i] = (struct smtpc_rcpt){.verdict = verdict_of(AT_RCPT, &reply),
                                       .code = reply.code,
                                       .tried = how % 16 != 3,
                                       .reply = str_of(text)};
        r.brake |= rcpts[i].verdict == VERDICT_RETRY_BRAKE;
        r.alarm |= rcpts[i].verdict == VERDICT_ODD_5XX;
    }
    if (how % 16 == 2)
        r.why = SMTPC_WHY_LOST;
    s->is_asked = callout_result(&f->c, s->place, how % 16 == 1 ? NULL : &r, &s->names);
    if (s->is_asked)
        question(f, s);
}

/* The next thing that may happen to a session. */
static void go_on(struct fuzz *f, struct fuzz_session *s)
{
    uint8_t how = byte(f);

    if (s->is_asked) {
        answer(f, s);
        return;
    }
    if (s->names.count == 0 && how % 4 != 1) {
        callout_ready(&f->c, s->place, &s->names);
        question(f, s);
        return;
    }
    s->is_open = false;
    f->addrs[s->addr].is_busy = false;
    callout_closed(&f->c, s->place, f->now_ms);
}

static void want(struct fuzz *f)
{
    uint8_t how = byte(f);
    struct callout_wish *w = &f->wishes[f->wish_count];

    if (f->wish_count == WISHES)
        return;
    f->wish_count++;
    *w = (struct callout_wish){
        .generation = 1 + how % 11, .hurries = (how & 128) != 0, .verdict = CALLOUT_VERDICTS};
    snprintf(w->domain, sizeof w->domain, "d%u.example", how % 11);
    snprintf(w->local, sizeof w->local, "u%u", byte(f) % 32);
    callout_want(&f->c, w, f->now_ms);
}

/* All sessions are over, without a further word. */
static void abandon(struct fuzz *f)
{
    callout_abandon(&f->c);
    for (size_t i = 0; i < SESSIONS; i++)
        f->sessions[i].is_open = false;
}

static void move(struct fuzz *f)
{
    uint8_t how = byte(f);
    struct fuzz_session *s = &f->sessions[byte(f) % SESSIONS];

    switch (how % 8) {
    case 0:
    case 1:
        want(f);
        break;
    case 2:
        f->now_ms += (how & 128 ? 60000 : 250) * (uint64_t)byte(f);
        break;
    case 3:
        if (how == 251)
            callout_stop(&f->c);
        else if (how == 243)
            abandon(f);
        break;
    default:
        for (s = f->sessions; s < f->sessions + SESSIONS && !s->is_open; s++)
            ;
        if (s < f->sessions + SESSIONS)
            go_on(f, s);
        break;
    }
    pull(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz f;

    memset(&f, 0, sizeof f);
    f.data = data;
    f.size = size;
    f.per_minute = byte(&f) % 2 ? callout_share(3) : callout_share(1);
    callout_init(&f.c, f.per_minute, 1, 0);
    f.now_ms = byte(&f) % 2 ? LIMIT_CALLOUT_MINUTE_MS : 0;
    while (f.at < f.size)
        move(&f);
    for (int turns = 0; !callout_is_idle(&f.c); turns++) {
        HOLD(turns < 4000);
        f.now_ms += 1000;
        pull(&f);
        for (size_t i = 0; i < SESSIONS; i++)
            if (f.sessions[i].is_open)
                go_on(&f, &f.sessions[i]);
    }
    HOLD(f.back_count == f.wish_count);
    return 0;
}
