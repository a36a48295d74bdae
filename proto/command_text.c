/* Names of commands and orders, for logs and people. */
#include "base/assert.h"
#include "proto/command.h"

static const char *const op_texts[] = {[OPERATE_HOLD] = "hold",
                                       [OPERATE_RELEASE] = "release",
                                       [OPERATE_RETRY] = "retry",
                                       [OPERATE_DELETE] = "delete",
                                       [OPERATE_BOUNCE] = "bounce"};

const char *operate_op_text(enum operate_op op)
{
    ASSERT(op >= OPERATE_HOLD && op <= OPERATE_BOUNCE);
    return op_texts[op];
}

bool operate_op_parse(struct str text, enum operate_op *out)
{
    for (int i = OPERATE_HOLD; i <= OPERATE_BOUNCE; i++) {
        if (str_eq(text, str_of(op_texts[i]))) {
            *out = (enum operate_op)i;
            return true;
        }
    }
    return false;
}

const char *command_kind_text(enum command_kind k)
{
    static const char *const texts[] = {[COMMAND_SESSION_OPEN] = "session_open",
                                        [COMMAND_CLOCK] = "clock",
                                        [COMMAND_DOMAIN_PUT] = "domain_put",
                                        [COMMAND_DOMAIN_REMOVE] = "domain_remove",
                                        [COMMAND_DOMAIN_DROP] = "domain_drop",
                                        [COMMAND_SETTING_PUT] = "setting_put",
                                        [COMMAND_PLAN_PUT] = "plan_put",
                                        [COMMAND_OPERATE] = "operate",
                                        [COMMAND_OPERATE_DONE] = "operate_done",
                                        [COMMAND_MEMBER_ADD] = "member_add",
                                        [COMMAND_MEMBER_REMOVE] = "member_remove",
                                        [COMMAND_MEMBER_KEY] = "member_key",
                                        [COMMAND_MEMBER_FILLED] = "member_filled",
                                        [COMMAND_SESSION_RENEW] = "session_renew",
                                        [COMMAND_SESSION_END] = "session_end",
                                        [COMMAND_SLOT_WANTED] = "slot_wanted",
                                        [COMMAND_SLOT_RELEASE] = "slot_release",
                                        [COMMAND_PLACE] = "place",
                                        [COMMAND_DRAIN] = "drain",
                                        [COMMAND_ACCESS] = "access",
                                        [COMMAND_ROSTER] = "roster"};

    ASSERT(k >= COMMAND_SESSION_OPEN && k <= COMMAND_KIND_MAX);
    return texts[k];
}
