/*
 * fault: what the sink does wrong, where, and how often.
 *
 * Pure but for the dice, which are part of the struct. Threads: one owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/prng.h"
#include "base/str.h"

enum stage {
    STAGE_BANNER,
    STAGE_EHLO,
    STAGE_HELO,
    STAGE_STARTTLS,
    STAGE_MAIL,
    STAGE_RCPT,
    STAGE_DATA, /* DATA or BDAT itself */
    STAGE_BODY, /* while the message comes in; drop and stall only */
    STAGE_EOM,  /* behind the end of the message */
    STAGE_QUIT,
    STAGE_COUNT,
};

enum fault_kind {
    FAULT_NONE,
    FAULT_TEMPFAIL, /* a 4xx */
    FAULT_REJECT,   /* a 5xx */
    FAULT_DROP,     /* the connection is cut */
    FAULT_STALL,    /* no answer any more */
    FAULT_ACKLOSS,  /* the message is taken, then the connection cut instead of the 250 */
};

struct fault {
    enum fault_kind kind;
    enum stage stage;
    int code;             /* 0: the usual one for kind and stage */
    uint64_t share_micro; /* of 100,000,000: how often it happens */
    uint64_t delay_us;    /* before the answer at delay_stage; 0: none */
    enum stage delay_stage;
    struct prng prng;
};

/* No fault; `seed` for the dice. */
void fault_init(struct fault *f, uint64_t seed);

/* Obeys "accept", "tempfail|reject|drop|stall|ackloss [at=STAGE] [code=N] [pct=P]" or
 * "delay TIME [at=STAGE]" (`word` is the first word, `rest` what stands behind it).
 * E_NOTFOUND: `word` is none of these. E_PROTO: *why says what is wrong; nothing is changed. */
MUST_CHECK enum err fault_command(struct fault *f, struct str word, struct str rest,
                                  const char **why);

/* Throws the dice: what goes wrong at this step. */
enum fault_kind fault_at(struct fault *f, enum stage stage);

/* The reply code of FAULT_TEMPFAIL and FAULT_REJECT. */
int fault_code(const struct fault *f, enum stage stage);

uint64_t fault_delay_us(const struct fault *f, enum stage stage);

const char *fault_kind_text(enum fault_kind kind);
const char *stage_text(enum stage stage);
