/*
 * familiar: whom the greylist knew a moment ago, as one thread remembers it, so that the mail
 * of those who send much waits for no other thread. A hint that is never wrong for longer than
 * LIMIT_FAMILIAR_MS: who is known stays so for weeks (greylist.h).
 *
 * Who somebody is: his network and the domain that SPF passed, if any, hashed under a secret of
 * the thread, so that nobody can aim at a place. The place of another is taken.
 *
 * Pure. Threads: one owner. Memory: 64 KiB, fixed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/str.h"
#include "node/policy/ip.h"

struct familiar {
    uint64_t secret[2];
    struct {
        uint64_t key, until_ms; /* 0: nobody */
    } places[LIMIT_FAMILIAR];
};

/* *f is zeroed; the secret: random bytes. */
void familiar_init(struct familiar *f, const uint64_t secret[2]);
/* The greylist knows him. spf_domain: or empty; in any case. now_ms: of a clock that is never
 * set back. */
void familiar_note(struct familiar *f, const struct ip_addr *client, struct str spf_domain,
                   uint64_t now_ms);
bool familiar_is(const struct familiar *f, const struct ip_addr *client, struct str spf_domain,
                 uint64_t now_ms);
