/* The bytes of a DNS answer; has its own fuzzer. */
#include <arpa/nameser.h>
#include <resolv.h>

#include "node/net/dns.h"

static bool parse_mx(ns_msg *msg, ns_rr *rr, struct dns_record *out)
{
    char name[NS_MAXDNAME];
    size_t n;

    if (ns_rr_rdlen(*rr) < 3)
        return false;
    out->preference = (uint16_t)ns_get16(ns_rr_rdata(*rr));
    if (dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), ns_rr_rdata(*rr) + 2, name,
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

static bool parse_record(ns_msg *msg, ns_rr *rr, enum dns_type type, struct dns_record *out)
{
    *out = (struct dns_record){0};
    switch (type) {
    case DNS_MX:
        return parse_mx(msg, rr, out);
    case DNS_A:
        if (ns_rr_rdlen(*rr) != 4)
            return false;
        memcpy(&out->addr, ns_rr_rdata(*rr), 4);
        return true;
    case DNS_AAAA:
        if (ns_rr_rdlen(*rr) != 16)
            return false;
        memcpy(&out->addr, ns_rr_rdata(*rr), 16);
        return true;
    }
    return false;
}

void dns_parse(const unsigned char *bytes, int n, enum dns_type type, struct dns_answer *out)
{
    ns_msg msg;
    ns_rr rr;

    *out = (struct dns_answer){.status = DNS_SERVFAIL, .ttl_s = UINT32_MAX};
    if (ns_initparse(bytes, n, &msg) != 0)
        return;
    for (int i = 0; i < ns_msg_count(msg, ns_s_an) && out->count < LIMIT_DNS_RECORDS; i++) {
        if (ns_parserr(&msg, ns_s_an, i, &rr) != 0) {
            out->count = 0; /* half an answer is none */
            return;
        }
        if (ns_rr_class(rr) != ns_c_in || (int)ns_rr_type(rr) != (int)type)
            continue; /* CNAMEs on the way */
        if (!parse_record(&msg, &rr, type, &out->records[out->count]))
            continue;
        if (ns_rr_ttl(rr) < out->ttl_s)
            out->ttl_s = ns_rr_ttl(rr);
        out->count++;
    }
    out->status = out->count > 0 ? DNS_OK : DNS_NODATA;
}
