#include "cluster-tools/sink/stats.h"

#include <inttypes.h>

void stats_reset(struct stats *s, uint64_t wall_us)
{
    *s = (struct stats){.open = s->open, .up_us = wall_us};
}

void stats_count_fault(struct stats *s, enum fault_kind kind)
{
    switch (kind) {
    case FAULT_NONE:
        break;
    case FAULT_TEMPFAIL:
        s->tempfailed++;
        break;
    case FAULT_REJECT:
        s->rejected++;
        break;
    case FAULT_DROP:
    case FAULT_ACKLOSS:
        s->dropped++;
        break;
    case FAULT_STALL:
        s->stalled++;
        break;
    }
}

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

static double since_up(const struct stats *s, uint64_t us)
{
    return us >= s->up_us && us > 0 ? seconds(us - s->up_us) : -1;
}

void stats_print(const struct stats *s, const struct fault *f, bool up, FILE *to)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"received", s->received},
        {"unique", s->unique},
        {"duplicates", s->duplicates},
        {"corrupt", s->corrupt},
        {"untagged", s->untagged},
        {"tempfailed", s->tempfailed},
        {"rejected", s->rejected},
        {"dropped", s->dropped},
        {"stalled", s->stalled},
        {"not_kept", s->not_kept},
        {"noncanonical", s->noncanonical},
        {"early_bytes", s->early_bytes},
        {"bytes", s->bytes},
        {"connections", s->connections},
        {"tls_sessions", s->tls_sessions},
        {"open", s->open},
    };
    double span = s->last_us > s->first_us ? seconds(s->last_us - s->first_us) : 0;

    fputc('{', to);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fprintf(to, "\"%s\":%" PRIu64 ",", rows[i].name, rows[i].value);
    fprintf(to,
            "\"up\":%d,\"mode\":\"%s\",\"t_up\":%.6f,\"first\":%.6f,\"last\":%.6f,"
            "\"span_s\":%.3f,\"msg_per_s\":%.1f,\"first_after_up_s\":%.3f,"
            "\"last_after_up_s\":%.3f}\n",
            up, fault_kind_text(f->kind), seconds(s->up_us), seconds(s->first_us),
            seconds(s->last_us), span, span > 0 ? (double)s->received / span : 0,
            since_up(s, s->first_us), since_up(s, s->last_us));
    fflush(to);
}
