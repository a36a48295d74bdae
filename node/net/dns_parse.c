/* The bytes of a DNS answer; has its own fuzzer. */
#include <arpa/nameser.h>
#include <resolv.h>

#include "node/net/dns.h"

/* A name at `at` of the record's data. */
static bool parse_host(ns_msg *msg, ns_rr *rr, size_t at, struct dns_record *out)
{
    char name[NS_MAXDNAME];
    size_t n;

    if (ns_rr_rdlen(*rr) < at + 1)
        return false;
    if (dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), ns_rr_rdata(*rr) + at, name,
                  sizeof name) < 0)
        return false;
    n = strlen(name);
    if (n > 0 && name[n - 1] == '.')
        name[--n] = 0;
    if (n > LIMIT_SMTP_DOMAIN_BYTES)
        return false;
    str_lower((struct str){name, n}, out->host, sizeof out->host - 1);
    out->host[n] = 0;
    return true;
}

static bool parse_mx(ns_msg *msg, ns_rr *rr, struct dns_record *out)
{
    if (ns_rr_rdlen(*rr) < 3)
        return false;
    out->preference = (uint16_t)ns_get16(ns_rr_rdata(*rr));
    return parse_host(msg, rr, 2, out);
}

/* Bytes of the strings of a TXT record without their lengths; false: a string runs out of it.
 */
static bool text_bytes(const unsigned char *data, size_t n, size_t *bytes)
{
    *bytes = 0;
    for (size_t at = 0; at < n; at += 1u + data[at]) {
        if (data[at] > n - at - 1)
            return false;
        *bytes += data[at];
    }
    return true;
}

static bool parse_txt(ns_rr *rr, struct dns_answer *a, struct dns_record *out)
{
    const unsigned char *data = ns_rr_rdata(*rr);
    size_t n = ns_rr_rdlen(*rr), bytes;

    if (!text_bytes(data, n, &bytes))
        return false;
    if (bytes > sizeof a->text - a->text_n) {
        a->cut = true;
        return false;
    }
    out->text_at = (uint32_t)a->text_n;
    out->text_n = (uint32_t)bytes;
    for (size_t at = 0; at < n; at += 1u + data[at]) {
        memcpy(a->text + a->text_n, data + at + 1, data[at]);
        a->text_n += data[at];
    }
    return true;
}

static bool parse_addr(ns_rr *rr, size_t bytes, struct dns_record *out)
{
    if (ns_rr_rdlen(*rr) != bytes)
        return false;
    memcpy(&out->addr, ns_rr_rdata(*rr), bytes);
    return true;
}

static bool parse_record(ns_msg *msg, ns_rr *rr, enum dns_type type, struct dns_answer *a,
                         struct dns_record *out)
{
    *out = (struct dns_record){0};
    switch (type) {
    case DNS_MX:
        return parse_mx(msg, rr, out);
    case DNS_PTR:
        return parse_host(msg, rr, 0, out);
    case DNS_TXT:
        return parse_txt(rr, a, out);
    case DNS_A:
        return parse_addr(rr, 4, out);
    case DNS_AAAA:
        return parse_addr(rr, 16, out);
    }
    return false;
}

/* RFC 2308 5: the least of the TTL and the last number of the SOA record. */
static uint32_t negative_ttl(ns_msg *msg)
{
    ns_rr rr;

    for (int i = 0; i < ns_msg_count(*msg, ns_s_ns); i++) {
        if (ns_parserr(msg, ns_s_ns, i, &rr) != 0)
            return 0;
        if ((int)ns_rr_type(rr) == (int)ns_t_soa && ns_rr_rdlen(rr) >= 22) {
            uint32_t least = (uint32_t)ns_get32(ns_rr_rdata(rr) + ns_rr_rdlen(rr) - 4);

            return least < ns_rr_ttl(rr) ? least : (uint32_t)ns_rr_ttl(rr);
        }
    }
    return 0;
}

/* Nothing of the type stands in it. */
static void parse_denial(ns_msg *msg, struct dns_answer *out)
{
    bool is_none = ns_msg_getflag(*msg, ns_f_rcode) == ns_r_nxdomain;

    dns_answer_clear(out, is_none ? DNS_NXDOMAIN : DNS_NODATA);
    out->ttl_s = negative_ttl(msg);
}

static bool says_something(const ns_msg *msg)
{
    int rcode = ns_msg_getflag(*msg, ns_f_rcode);

    return rcode == ns_r_noerror || rcode == ns_r_nxdomain;
}

void dns_parse(const unsigned char *bytes, int n, enum dns_type type, struct dns_answer *out)
{
    ns_msg msg;
    ns_rr rr;

    dns_answer_clear(out, DNS_SERVFAIL);
    if (ns_initparse(bytes, n, &msg) != 0 || !says_something(&msg))
        return;
    for (int i = 0; i < ns_msg_count(msg, ns_s_an) && !out->cut; i++) {
        if (ns_parserr(&msg, ns_s_an, i, &rr) != 0) {
            dns_answer_clear(out, DNS_SERVFAIL); /* half an answer is none */
            return;
        }
        if (ns_rr_class(rr) != ns_c_in || (int)ns_rr_type(rr) != (int)type)
            continue; /* CNAMEs on the way */
        if (out->count == LIMIT_DNS_RECORDS) {
            out->cut = true;
            break;
        }
        if (!parse_record(&msg, &rr, type, out, &out->records[out->count]))
            continue;
        if (out->count == 0 || ns_rr_ttl(rr) < out->ttl_s)
            out->ttl_s = ns_rr_ttl(rr);
        out->count++;
    }
    if (out->count > 0 || out->cut)
        out->status = DNS_OK;
    else
        parse_denial(&msg, out);
    out->is_authentic = ns_msg_getflag(msg, ns_f_ad) != 0;
}
