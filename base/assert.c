#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "level=crit ev=assert_failed cond=\"%s\" at=%s:%d\n", cond, file, line);
    abort();
}
