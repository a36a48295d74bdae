/*
 * dns_cache: what DNS said lately, for a thread that asks the same for each message of a
 * sender. Answers as they came (the bytes of the message), by name in any case and type;
 * those that found something for their TTL, those that say that there is nothing for the time
 * that RFC 2308 5 gives them, and LIMIT_DNS_CACHE_MS at most. The oldest go at
 * LIMIT_DNS_CACHE_ENTRIES and LIMIT_DNS_CACHE_BYTES.
 *
 * Threads: one owner. Memory: 300 bytes an entry, and the messages.
 */
#pragma once

#include <stdbool.h>

#include "base/dns_data.h"

struct dns_cache;

/* seed: any value, best one nobody can guess. */
struct dns_cache *dns_cache_new(uint64_t seed);
void dns_cache_free(struct dns_cache **c);

/* name: without a final dot. The message is borrowed until the next call. */
bool dns_cache_get(struct dns_cache *c, struct str name, enum dns_type type, uint64_t now_ms,
                   struct str *message);

/* Takes the place of what is there. A longer message than LIMIT_DNS_CACHE_MESSAGE_BYTES, or a
 * TTL of 0, is not kept. */
void dns_cache_put(struct dns_cache *c, struct str name, enum dns_type type, struct str message,
                   uint32_t ttl_s, uint64_t now_ms);
