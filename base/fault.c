#include "base/fault.h"

#ifdef TRISPOOL_PLANTED

#include "base/assert.h"

static enum fault planted;

bool fault_is(enum fault f)
{
    return planted == f;
}

void fault_plant(unsigned f)
{
    ASSERT(f < FAULT_COUNT);
    planted = (enum fault)f;
}

#endif

const char *fault_text(enum fault f)
{
    static const char *const texts[FAULT_COUNT] = {
#define X(name, text) [FAULT_##name] = text,
        FAULTS(X)
#undef X
    };

    return f < FAULT_COUNT ? texts[f] : "";
}
