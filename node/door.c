#include "node/door.h"

#include <stdio.h>

const char *door_blocked(const struct access_found *found, const char *peer,
                         char buf[static DOOR_REPLY_BYTES])
{
    snprintf(buf, DOOR_REPLY_BYTES, "550 5.7.1 %s is blocked here%s%s; ask postmaster", peer,
             found->reason[0] != 0 ? ": " : "", found->reason);
    return buf;
}
