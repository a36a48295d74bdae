/* idn: domain names in any script to A-labels (UTS 46, non-transitional). */
#pragma once

#include "base/limits.h"

/* NULL: buf has the name, in lower case, without a final dot. Else why not, static. */
const char *idn_to_ascii(const char *name, char buf[LIMIT_SMTP_DOMAIN_BYTES + 1]);
