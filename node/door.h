/* door: what is said at RCPT for what the node itself knows; to sessions, and to operators who
 * ask what would be said. Threads: any. */
#pragma once

#include "node/access_view.h"

#define DOOR_NOT_SERVED  "550 5.7.1 Relaying denied: this domain is not served here"
#define DOOR_REPLY_BYTES 512

/* Of an entry that blocks. peer: the address as text. In buf. */
const char *door_blocked(const struct access_found *found, const char *peer,
                         char buf[static DOOR_REPLY_BYTES]);
