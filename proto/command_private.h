/* Between command.c and command_domain.c only. */
#pragma once

#include "base/limits.h"
#include "proto/command.h"
#include "proto/command.pb-c.h"

/* The generated form of a domain; lives as long as its source. */
struct command_domain {
    Control__Domain domain;
    Control__Host hosts[LIMIT_ROUTE_HOSTS];
    Control__Host *host_list[LIMIT_ROUTE_HOSTS];
};

ProtobufCBinaryData command_bytes(struct str s);
void command_domain_to_pb(const struct domain *d, struct command_domain *pb);
/* False: a number does not fit. *full: no room in the arena. */
bool command_domain_from_pb(const Control__Domain *pb, struct arena *a, struct domain *d,
                            bool *full);
enum err command_pack(const ProtobufCMessage *m, size_t limit, uint8_t *buf, size_t size,
                      struct str *out);

/* Memory for protobuf-c: an arena with a fixed ceiling, so that a small input cannot grow large
 * and the answer does not depend on what else the caller keeps in its arena. */
ProtobufCAllocator command_scratch(struct arena *scratch);
/* A copy in the caller's arena; *full is set when there is no room. */
struct str command_keep(ProtobufCBinaryData b, struct arena *a, bool *full);
