/*
 * header: the header of a message in a file, as it would come by SMTP: up to and with its empty
 * line, every line ended by CRLF, whatever ends lines in the file.
 * Limits: LIMIT_POLICY_HEADER_BYTES.
 */
#pragma once

#include <stddef.h>

#include "base/limits.h"

/* *n bytes into buf. NULL: done. Else why not, static. */
const char *header_read(const char *path, char buf[static LIMIT_POLICY_HEADER_BYTES],
                        size_t *n);
