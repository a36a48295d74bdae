/*
 * lesson: what a try teaches about a recipient: that its primary has it, that it has not, or
 * nothing.
 *
 *   RCPT 2xx and the dot accepted                           VALID
 *   RCPT 550, 551 or 553, with 5.1.x or no enhanced code    INVALID
 *   everything else                                         NOTHING
 *
 * 5.7.x is about the sender or the message, 5.2.x about a mailbox that is there (RFC 3463);
 * a refusal after the dot, or of MAIL, is about the message; 556 about the domain.
 *
 * Pure. Threads: any.
 */
#pragma once

#include "node/delivery/smtpc.h"

enum lesson { LESSON_NOTHING, LESSON_VALID, LESSON_INVALID };

enum lesson lesson_of(const struct smtpc_rcpt *r);
