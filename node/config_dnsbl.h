/*
 * config_dnsbl: an item of dnsbl.lists in trispool.yaml, taken apart:
 *
 *   ZONE=ANSWER[*WEIGHT],...[,key_file=PATH]
 *
 *   zen.spamhaus.org=127.0.0.2-127.0.0.11
 *   bl.example.net=127.0.0.2*2,127.0.0.3-127.0.0.9*1
 *   list.dnswl.org=127.0.0.0-127.0.255.255*-1
 *   zen.dq.spamhaus.net=127.0.0.2-127.0.0.11,key_file=/etc/trispool/dqs.key
 *
 * An answer is an address of 127.0.0.0/8, or two with a hyphen between them, both included; not
 * one of 127.255.255.0/24, which are errors. A weight is 1 unless it is given; below zero the
 * list speaks for a client. The key file is not opened here.
 *
 * Threads: any. Limits: LIMIT_DNSBL_ANSWERS, LIMIT_DNSBL_WEIGHT.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"

struct config_dnsbl_answer {
    uint32_t low, high; /* 127.0.0.2 is 0x7f000002 */
    int32_t weight;
};

struct config_dnsbl {
    struct str zone;     /* borrows from the text, as what follows */
    struct str key_file; /* absolute; empty: none */
    size_t answer_count;
    struct config_dnsbl_answer answers[LIMIT_DNSBL_ANSWERS];
};

/* NULL: done. Else why not: static, "must be ...". */
MUST_CHECK const char *config_dnsbl_parse(struct str text, struct config_dnsbl *out);
