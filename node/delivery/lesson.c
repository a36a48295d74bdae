#include "node/delivery/lesson.h"

#define SUBJECT_ADDRESS 1 /* RFC 3463 3.2 */

enum lesson lesson_of(const struct smtpc_rcpt *r)
{
    struct enhanced e;
    uint16_t code;

    if (r->verdict == VERDICT_OK)
        return LESSON_VALID;
    if (r->verdict != VERDICT_PERMANENT || !r->tried || r->accepted)
        return LESSON_NOTHING;
    if (r->code != 550 && r->code != 551 && r->code != 553)
        return LESSON_NOTHING;
    if (!reply_text_parse(r->reply, &code, &e))
        return LESSON_NOTHING;
    return e.klass == 0 || e.subject == SUBJECT_ADDRESS ? LESSON_INVALID : LESSON_NOTHING;
}
