/* A DNS made of rows of text, for the tests of spf: zones as the public suite means them. */
#pragma once

#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>

#include "node/policy/spf.h"

#define ZONE_ROWS   1000
#define ZONE_FIELDS 8
#define CNAME_HOPS  8

struct zone_row {
    struct str name, type;
    struct str data[ZONE_FIELDS];
    size_t n;
};

struct world {
    struct zone_row rows[ZONE_ROWS];
    size_t count;
    enum dns_status timeout; /* what a TIMEOUT row answers */
    struct dns_answer answer;
    struct arena arena;
    struct spf spf;
};

static inline void world_reset(struct world *w)
{
    w->count = 0;
    w->timeout = DNS_SILENCE;
}

/* rest: TYPE and data, parted by `sep` */
static inline void world_add(struct world *w, struct str name, struct str rest, char sep)
{
    struct zone_row *row = &w->rows[w->count++];

    ck_assert_uint_le(w->count, ZONE_ROWS);
    *row = (struct zone_row){.name = name, .type = str_split(&rest, sep)};
    if (str_eq(row->type, STR("MX")) && str_find(rest, sep) == rest.n) {
        ck_assert_uint_gt(rest.n, 0); /* a null MX: its host is an empty field */
        row->data[row->n++] = rest;
        row->data[row->n++] = STR("");
        return;
    }
    while (rest.n > 0) {
        ck_assert_uint_lt(row->n, ZONE_FIELDS);
        row->data[row->n++] = str_split(&rest, sep);
    }
}

static inline struct str zone_name(struct str s)
{
    return str_ends(s, '.') ? str_head(s, s.n - 1) : s;
}

static inline const char *zone_type(enum dns_type t)
{
    return t == DNS_A     ? "A"
           : t == DNS_PTR ? "PTR"
           : t == DNS_MX  ? "MX"
           : t == DNS_TXT ? "TXT"
                          : "AAAA";
}

static inline void world_take_row(struct dns_answer *a, enum dns_type type,
                                  const struct zone_row *row)
{
    struct dns_record *r = &a->records[a->count];
    char z[INET6_ADDRSTRLEN];

    if (a->count == LIMIT_DNS_RECORDS) {
        a->cut = true;
        return;
    }
    a->count++;
    *r = (struct dns_record){.text_at = (uint32_t)a->text_n};
    if (type == DNS_TXT) {
        for (size_t i = 0; i < row->n; i++) {
            ck_assert_uint_le(a->text_n + row->data[i].n, sizeof a->text);
            memcpy(a->text + a->text_n, row->data[i].p, row->data[i].n);
            a->text_n += row->data[i].n;
        }
        r->text_n = (uint32_t)a->text_n - r->text_at;
    } else if (type == DNS_MX || type == DNS_PTR) {
        struct str host = zone_name(row->data[row->n - 1]);

        str_lower(host, r->host, sizeof r->host - 1);
    } else {
        ck_assert(str_to_z(row->data[0], z, sizeof z));
        ck_assert_int_eq(inet_pton(type == DNS_A ? AF_INET : AF_INET6, z, &r->addr), 1);
    }
}

/* One name; false: a CNAME leads on. */
static inline bool world_look(struct world *w, enum dns_type type, struct str *name)
{
    struct dns_answer *a = &w->answer;
    struct str alias = STR_NONE;
    bool exists = false;

    for (size_t i = 0; i < w->count; i++) {
        const struct zone_row *row = &w->rows[i];

        if (!str_eq_nocase(row->name, *name))
            continue;
        exists = true;
        if (str_eq(row->type, str_of(zone_type(type))))
            world_take_row(a, type, row);
        else if (str_eq(row->type, STR("CNAME")))
            alias = zone_name(row->data[0]);
        else if (str_eq(row->type, STR("TIMEOUT")) && a->count == 0) {
            a->status = w->timeout;
            return true;
        }
    }
    *name = alias;
    a->status = a->count > 0 ? DNS_OK : exists ? DNS_NODATA : DNS_NXDOMAIN;
    return a->count > 0 || alias.n == 0;
}

static inline const struct dns_answer *world_ask(struct world *w, const struct spf_question *q)
{
    struct str name = str_of(q->name);

    ck_assert(dns_name_is_legal(name));
    w->answer.count = w->answer.text_n = 0;
    w->answer.cut = false;
    for (int i = 0; i < CNAME_HOPS; i++)
        if (world_look(w, q->type, &name))
            return &w->answer;
    w->answer.status = DNS_SERVFAIL;
    return &w->answer;
}

static inline struct ip_addr client_of(const char *text)
{
    struct ip_addr out;

    ck_assert(ip_parse(str_of(text), &out));
    return out;
}

/* A check with so much memory; its first turn. */
static inline bool world_begin(struct world *w, const struct spf_check *c, size_t memory_bytes)
{
    arena_reset(&w->arena);
    arena_init(&w->arena, memory_bytes);
    spf_init(&w->spf, c, &w->arena);
    return spf_next(&w->spf, NULL);
}

/* A whole check. The verdict lives until the next one. */
static inline const struct spf_verdict *world_check(struct world *w, const struct spf_check *c)
{
    for (bool more = world_begin(w, c, LIMIT_SPF_MEMORY_BYTES); more;
         more = spf_next(&w->spf, world_ask(w, &w->spf.ask)))
        ck_assert_uint_le(w->spf.verdict.questions, 123);
    ck_assert_uint_le(w->spf.verdict.terms, LIMIT_SPF_TERMS);
    return &w->spf.verdict;
}
