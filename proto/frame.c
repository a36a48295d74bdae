#include "proto/frame.h"

#include "base/limits.h"

/* Tags, lengths and numbers of a record, each at its longest. */
#define RECORD_FIXED_BYTES 128
#define RANGE_BYTES        20

size_t frame_record_bytes(const struct copy_record *r)
{
    return RECORD_FIXED_BYTES + r->domain.n + r->envelope.n + r->body.n +
           (size_t)r->range_count * RANGE_BYTES;
}
