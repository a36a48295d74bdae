#include "node/policy/recipient.h"

bool recipient_is_reserved(struct str local)
{
    return str_eq_nocase(local, STR("postmaster")) || str_eq_nocase(local, STR("abuse"));
}

/* In a domain that learns, of whom the set does not know. */
static enum recipient_verdict judge_unknown(const struct recipient_facts *f)
{
    if (!f->any_is_known)
        return RECIPIENT_TAKE;
    if (f->is_suspicious)
        return RECIPIENT_UNSURE;
    if (f->is_up && !f->was_asked)
        return RECIPIENT_ASK;
    if (f->unknown == RECIPIENT_ACCEPT ||
        (f->unknown == RECIPIENT_AUTHENTICATED && f->is_authenticated))
        return RECIPIENT_TAKE;
    return RECIPIENT_UNSURE;
}

enum recipient_verdict recipient_judge(const struct recipient_facts *f)
{
    if (f->is_reserved || f->is_listed)
        return RECIPIENT_TAKE;
    if (f->mode == RECIPIENT_LIST)
        return RECIPIENT_REFUSE;
    if (f->mode == RECIPIENT_ANY)
        return RECIPIENT_TAKE;
    if (f->known == RCPTSET_INVALID)
        return f->is_suspicious ? RECIPIENT_UNSURE : RECIPIENT_REFUSE;
    if (f->known == RCPTSET_VALID)
        return RECIPIENT_TAKE;
    return judge_unknown(f);
}

const char *recipient_reply(enum recipient_verdict v)
{
    switch (v) {
    case RECIPIENT_REFUSE:
        return "550 5.1.1 No such recipient here";
    case RECIPIENT_UNSURE:
        return "450 4.1.1 Cannot say now whether there is such a recipient, try again later";
    case RECIPIENT_TAKE:
    case RECIPIENT_ASK:
        break;
    }
    return "";
}
