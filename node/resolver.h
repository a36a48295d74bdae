/*
 * resolver: dns.h as trispool.yaml wants it: the servers of dns.servers, or the system's.
 * Threads: as dns.h.
 */
#pragma once

#include "node/config.h"
#include "node/net/dns.h"

/* E_PROTO: the servers cannot be used. */
MUST_CHECK enum err resolver_open(struct event_base *base, const struct node_config *c,
                                  struct dns **out);
