#include "base/err.h"

#include "base/assert.h"

static const char *const texts[] = {
#define X(code, text, transient) [code] = text,
    ERR_LIST(X)
#undef X
};

const char *err_text(enum err e)
{
    ASSERT((int)e >= 0 && e < ERR_COUNT);
    return texts[e];
}
