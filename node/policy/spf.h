/*
 * spf: may this client send mail with this MAIL FROM? RFC 7208, check_host() of section 4.
 *
 * A machine that asks DNS questions and takes the answers. No I/O, no clock, no heap but the
 * arena given. What a domain publishes is hostile until proved otherwise.
 *
 *   START -> RECORD <-> TERM <-> ADDRESSES, MX <-> MX_HOST, PTR <-> PTR_HOST
 *                        TERM -> EXPLAIN -> DONE          (PTR <-> EXPLAIN: a %{p} in it)
 *   any -> DONE
 *
 * The turn of the shell
 *   1. spf_init(), then spf_next(s, NULL).
 *   2. true: look s->ask up, and pass the answer to spf_next(). One question at a time.
 *   3. false: s->verdict is there. What it points to lives as long as s and its arena.
 *   4. When the time for the whole check is over (RFC 7208 4.6.4 wants 20 s or more),
 * spf_stop().
 *
 * How answers are taken: SERVFAIL (bogus included) and silence make temperror, never fail; in a
 * ptr they make the name not count (5.5), in an explanation there is none (6.2). An answer that
 * was cut and does not match makes permerror: what was not seen is not held against a client.
 *
 * Choices where the RFC leaves one
 *   - The whole record is parsed before the first question (4.6): any error in it is permerror.
 *   - A target that no DNS query can be made of does not match (4.8); of include and redirect
 *     it is permerror.
 *   - The limit of void look-ups counts terms: one that found nothing counts once, an mx also
 *     when none of its hosts has an address. Looking up the explanation, and the names of a
 *     ptr, counts nothing: the record has no part in what stands in a client's reverse zone.
 *   - The first %{p} in a term counts as a term with a look-up of its own. Reverse names are
 *     looked up once in a check.
 *   - exp= is looked up on fail only, and only of the record that failed (not of an include);
 *     an explanation is used when it is printable ASCII and not too long.
 *
 * A pass that says nothing: "+all", and an ip4, ip6, a or mx of a prefix shorter than
 * LIMIT_SPF_WIDE_BITS, match clients that the domain's owner has never heard of; in an include
 * or a redirect, too. The result is pass as the RFC has it, and matches_all is set: who takes a
 * pass for an identity asks spf_is_identity().
 *
 * Memory: 12 KiB, and at most LIMIT_SPF_MEMORY_BYTES of the arena; no room there: temperror.
 * At most 123 questions (RECORD, 10 MX of 10 hosts, TEXT, PTR and 10 names). Threads: one
 * owner. Limits: LIMIT_SPF_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/dns_data.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/str.h"
#include "node/policy/ip.h"

enum spf_result {
    SPF_NONE,
    SPF_NEUTRAL,
    SPF_PASS,
    SPF_FAIL,
    SPF_SOFTFAIL,
    SPF_TEMPERROR,
    SPF_PERMERROR
};

enum spf_identity { SPF_MAILFROM, SPF_HELO };

/* Why there is no other result. */
enum spf_problem {
    SPF_FINE,
    SPF_NO_DOMAIN,    /* none: the identity is no name with two labels or more */
    SPF_NO_RECORD,    /* none; of include and redirect permerror                */
    SPF_MANY_RECORDS, /* permerror: more than one begins with v=spf1            */
    SPF_LONG_RECORD,  /* permerror: above a limit of ours                       */
    SPF_SYNTAX,       /* permerror                                              */
    SPF_BAD_TARGET,   /* permerror: include or redirect of no legal name        */
    SPF_MANY_TERMS,   /* permerror: LIMIT_SPF_TERMS                             */
    SPF_MANY_VOID,    /* permerror: LIMIT_SPF_VOID_TERMS                        */
    SPF_MANY_NAMES,   /* permerror: LIMIT_SPF_NAMES hosts of an mx              */
    SPF_MANY_ADDRS,   /* permerror: an answer was cut                           */
    SPF_LONG_MACRO,   /* permerror: LIMIT_SPF_EXPANSION_BYTES                   */
    SPF_DNS_FAILED,   /* temperror: SERVFAIL                                    */
    SPF_DNS_BOGUS,    /* temperror: DNS_BOGUS                                    */
    SPF_DNS_SILENT,   /* temperror: no answer                                   */
    SPF_TIME,         /* temperror: spf_stop()                                  */
    SPF_NO_MEMORY     /* temperror: the arena is full                           */
};

struct spf_check {
    struct ip_addr client; /* one that is IPv4 is only ever IPv4, on any socket (5) */
    struct str helo;       /* as the client said it */
    struct str sender;     /* MAIL FROM without <>; empty: HELO is checked (2.4) */
    struct str receiver;   /* our host name, for %{r} */
    int64_t wall_s;        /* for %{t} */
};

struct spf_verdict {
    enum spf_result result;
    enum spf_problem problem;
    enum spf_identity identity; /* what was checked */
    struct str domain;          /* that was checked; as given, may be anything  */
    struct str mechanism;       /* that matched, as it stands in the record: "-all"; printable
                                   ASCII; empty: none did */
    struct str explanation; /* of the domain's owner, with fail; printable ASCII, or empty */
    bool matches_all;       /* pass by a mechanism that nearly every client matches */
    unsigned terms;         /* with look-ups */
    unsigned void_terms;    /* of them without an answer */
    unsigned questions;     /* asked in all */
};

struct spf_question {
    enum dns_type type;
    char name[LIMIT_SMTP_DOMAIN_BYTES + 1]; /* dns_name_is_legal() */
};

enum spf_mechanism {
    SPF_ALL,
    SPF_INCLUDE,
    SPF_A,
    SPF_MX,
    SPF_PTR,
    SPF_IP4,
    SPF_IP6,
    SPF_EXISTS,
    SPF_REDIRECT,
    SPF_EXP,
    SPF_UNKNOWN_MODIFIER
};

/* Private: one term of a record. */
struct spf_term {
    struct str text;
    enum spf_mechanism kind;
    enum spf_result on_match;
    struct str spec;       /* domain-spec; empty: the current domain */
    struct ip_addr net;    /* ip4, ip6 */
    unsigned bits4, bits6; /* prefix lengths; of ip4 bits4, of ip6 bits6 */
};

/* Private: a record that is evaluated. */
struct spf_frame {
    struct spf_frame *parent; /* whose include waits for this one */
    struct str include;       /* that include, as it stands there */
    enum spf_result on_match;
    bool is_target; /* of include or redirect: no record is permerror */
    struct str domain;
    struct str record; /* what stands behind the version */
    struct str rest;   /* of the terms, behind the current one */
    struct str exp, redirect;
};

struct spf {
    struct spf_question ask;
    struct spf_verdict verdict;

    /* private */
    struct arena *arena;
    int state;
    bool is_ipv4;
    struct ip_addr client;
    struct str helo, receiver, local, domain; /* of the sender */
    int64_t wall_s;
    struct spf_frame *top;
    struct spf_term term;
    bool has_memory;
    bool term_open, term_counted;
    bool term_is_void; /* no host of the mx has had an address yet */
    bool ptr_done;
    bool explaining;     /* the result is fail; all that is left is the text */
    struct str exp_text; /* before macro expansion */
    size_t name_count, name_at;
    char names[LIMIT_SPF_NAMES][LIMIT_SMTP_DOMAIN_BYTES + 1]; /* of the mx */
    size_t host_count, host_at;
    char hosts[LIMIT_SPF_NAMES][LIMIT_SMTP_DOMAIN_BYTES + 1]; /* reverse names */
    bool is_valid[LIMIT_SPF_NAMES];                           /* they lead back to the client */
};

/* Copies what it needs into the arena, which has room for LIMIT_SPF_MEMORY_BYTES and lives at
 * least as long as *s. HELO or sender longer than their limits are as good as none. */
void spf_init(struct spf *s, const struct spf_check *check, struct arena *arena);

/* answer: to s->ask, NULL in the first call. True: s->ask is to be looked up. False: over, the
 * verdict is there. */
MUST_CHECK bool spf_next(struct spf *s, const struct dns_answer *answer);

/* Ends the check: temperror, or fail without its explanation. */
void spf_stop(struct spf *s);

/* The verdict, once over, is a pass of few enough clients to say who sends. */
bool spf_is_identity(const struct spf_verdict *v);

const char *spf_result_text(enum spf_result r);   /* "pass", ...; the words of RFC 8601 too */
const char *spf_problem_text(enum spf_problem p); /* static, printable, without quotes */
