/*
 * domain_name: the domain of an address in the one form in which domains are stored, compared
 * and asked of DNS: A-labels (RFC 5890, UTS 46), lower case. Not pure: libidn2 takes from the
 * heap. Threads: any.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/limits.h"
#include "node/smtp/address.h"

/* As domain_normalize(), of U-labels too. *out lies in buf. */
MUST_CHECK bool domain_name_ascii(struct str domain, char buf[static LIMIT_SMTP_DOMAIN_BYTES],
                                  struct str *out);
/* As address_owner(), the same. */
MUST_CHECK bool domain_name_owner(const struct path *rcpt,
                                  char buf[static LIMIT_SMTP_DOMAIN_BYTES], struct str *out);
