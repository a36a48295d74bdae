#include "cluster-tools/sink/fault.h"

#include "base/assert.h"
#include "cluster-tools/common/number.h"
#include "cluster-tools/common/words.h"

#define ALWAYS_MICRO (100 * UINT64_C(1000000))

static const struct {
    const char *name;
    enum stage stage; /* where it happens when nothing else is said */
} kinds[] = {
    [FAULT_NONE] = {"accept", STAGE_EOM},    [FAULT_TEMPFAIL] = {"tempfail", STAGE_RCPT},
    [FAULT_REJECT] = {"reject", STAGE_RCPT}, [FAULT_DROP] = {"drop", STAGE_EOM},
    [FAULT_STALL] = {"stall", STAGE_BANNER}, [FAULT_ACKLOSS] = {"ackloss", STAGE_EOM},
};

static const char *const stages[STAGE_COUNT] = {
    [STAGE_BANNER] = "banner",     [STAGE_EHLO] = "ehlo", [STAGE_HELO] = "helo",
    [STAGE_STARTTLS] = "starttls", [STAGE_MAIL] = "mail", [STAGE_RCPT] = "rcpt",
    [STAGE_DATA] = "data",         [STAGE_BODY] = "body", [STAGE_EOM] = "eom",
    [STAGE_QUIT] = "quit",
};

void fault_init(struct fault *f, uint64_t seed)
{
    *f = (struct fault){.stage = STAGE_EOM, .share_micro = ALWAYS_MICRO};
    prng_seed(&f->prng, seed);
}

const char *fault_kind_text(enum fault_kind kind)
{
    return kinds[kind].name;
}

const char *stage_text(enum stage stage)
{
    ASSERT(stage < STAGE_COUNT);
    return stages[stage];
}

static enum err find_stage(struct str name, enum stage *out)
{
    for (int i = 0; i < STAGE_COUNT; i++)
        if (str_eq(name, str_of(stages[i]))) {
            *out = (enum stage)i;
            return OK;
        }
    return E_NOTFOUND;
}

static enum err set_delay(struct fault *f, struct str rest, const char **why)
{
    enum stage stage = STAGE_EOM;
    struct str word = words_cut(&rest), place = words_cut(&rest);
    uint64_t delay_us;

    *why = "delay wants a time: 250, 250ms or 2s";
    if (number_delay_us(word, &delay_us) != OK)
        return E_PROTO;
    *why = "behind the time only at=STAGE can follow";
    if (place.n > 0 && (!str_cut_nocase(&place, STR("at=")) || find_stage(place, &stage) != OK))
        return E_PROTO;
    if (rest.n > 0)
        return E_PROTO;
    f->delay_us = delay_us;
    f->delay_stage = stage;
    return OK;
}

/* One of at=, code=, pct=. */
static enum err set_detail(struct fault *f, struct str word, const char **why)
{
    uint64_t code;

    *why =
        "no such stage; there are banner, ehlo, helo, starttls, mail, rcpt, data, body, eom, "
        "quit";
    if (str_cut_nocase(&word, STR("at=")))
        return find_stage(word, &f->stage) == OK ? OK : E_PROTO;
    *why = "pct wants a number from 0 to 100";
    if (str_cut_nocase(&word, STR("pct=")))
        return number_micro(word, 100, &f->share_micro) == OK ? OK : E_PROTO;
    *why = "only at=STAGE, code=N and pct=P can follow";
    if (!str_cut_nocase(&word, STR("code=")))
        return E_PROTO;
    *why = "tempfail wants a code from 400 to 499, reject one from 500 to 599; others none";
    if (number_count(word, 599, &code) != OK)
        return E_PROTO;
    f->code = (int)code;
    if (f->kind == FAULT_TEMPFAIL)
        return code / 100 == 4 ? OK : E_PROTO;
    return f->kind == FAULT_REJECT && code / 100 == 5 ? OK : E_PROTO;
}

static enum err set_kind(struct fault *f, enum fault_kind kind, struct str rest,
                         const char **why)
{
    struct fault next = *f;
    struct str word;

    next.kind = kind;
    next.stage = kinds[kind].stage;
    next.code = 0;
    next.share_micro = ALWAYS_MICRO;
    while ((word = words_cut(&rest)).n > 0)
        if (set_detail(&next, word, why) != OK)
            return E_PROTO;
    *why = "at=body goes with drop and stall only, ackloss with at=eom only";
    if (next.stage == STAGE_BODY && kind != FAULT_DROP && kind != FAULT_STALL)
        return E_PROTO;
    if (kind == FAULT_ACKLOSS && next.stage != STAGE_EOM)
        return E_PROTO;
    *f = next;
    return OK;
}

enum err fault_command(struct fault *f, struct str word, struct str rest, const char **why)
{
    if (str_eq(word, STR("delay")))
        return set_delay(f, rest, why);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (str_eq(word, str_of(kinds[i].name)))
            return set_kind(f, (enum fault_kind)i, rest, why);
    return E_NOTFOUND;
}

enum fault_kind fault_at(struct fault *f, enum stage stage)
{
    if (f->kind == FAULT_NONE || f->stage != stage)
        return FAULT_NONE;
    if (f->share_micro < ALWAYS_MICRO && prng_next(&f->prng) % ALWAYS_MICRO >= f->share_micro)
        return FAULT_NONE;
    return f->kind;
}

int fault_code(const struct fault *f, enum stage stage)
{
    if (f->code != 0)
        return f->code;
    if (f->kind == FAULT_REJECT)
        return 554;
    return stage == STAGE_BANNER ? 421 : 451;
}

uint64_t fault_delay_us(const struct fault *f, enum stage stage)
{
    return f->delay_stage == stage ? f->delay_us : 0;
}
