#include "cluster-tools/load/report.h"

#include <inttypes.h>
#include <sys/resource.h>

void report_ack(struct report *r, uint64_t now_us)
{
    r->acked++;
    if (r->first_ack_us == 0) {
        r->first_ack_us = now_us;
    } else if (now_us - r->last_ack_us > r->ack_gap_us) {
        r->ack_gap_us = now_us - r->last_ack_us;
        r->ack_gap_at_us = r->last_ack_us - r->start_us;
    }
    r->last_ack_us = now_us;
}

static double ms(uint64_t us)
{
    return (double)us / 1e3;
}

static void print_histogram(const char *name, const struct histogram *h, FILE *to)
{
    fprintf(to,
            "\"%s\":{\"count\":%" PRIu64 ",\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,"
            "\"p999\":%.3f,\"max\":%.3f,\"mean\":%.3f},",
            name, h->count, ms(histogram_quantile_us(h, 5000)),
            ms(histogram_quantile_us(h, 9000)), ms(histogram_quantile_us(h, 9900)),
            ms(histogram_quantile_us(h, 9990)), ms(h->max_us), ms(histogram_mean_us(h)));
}

static void print_counts(const struct report *r, double elapsed_s, FILE *to)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"offered", r->offered},
        {"acked", r->acked},
        {"acked_bytes", r->acked_bytes},
        {"tempfail_attempts", r->temp},
        {"permfail", r->perm},
        {"unknown", r->unknown},
        {"given_up", r->given_up},
        {"conn_fail", r->connect_failed},
        {"refused_sessions", r->refused},
        {"lost_conn", r->lost},
        {"malformed_replies", r->malformed},
        {"partial_rcpt", r->partial},
        {"sessions", r->sessions},
        {"tls_sessions", r->tls_sessions},
    };

    fprintf(to, "{\"run\":\"%s\",\"elapsed_s\":%.3f,\"msg_per_s\":%.1f,\"MB_per_s\":%.2f,",
            r->run, elapsed_s, (double)r->acked / elapsed_s,
            (double)r->acked_bytes / elapsed_s / 1e6);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        fprintf(to, "\"%s\":%" PRIu64 ",", rows[i].name, rows[i].value);
}

static void print_targets(const struct targets *t, FILE *to)
{
    fputs("\"targets\":[", to);
    for (size_t i = 0; i < t->n; i++) {
        const struct target *one = &t->list[i];

        fprintf(to,
                "%s{\"addr\":\"%s\",\"pref\":%u,\"acked\":%" PRIu64 ",\"temp\":%" PRIu64
                ",\"perm\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"conn_ok\":%" PRIu64
                ",\"conn_fail\":%" PRIu64 "}",
                i > 0 ? "," : "", one->address.text, one->preference, one->acked, one->temp,
                one->perm, one->unknown, one->connected, one->connect_failed);
    }
    fputs("]}\n", to);
}

void report_print(const struct report *r, const struct targets *t, uint64_t now_us, FILE *to)
{
    /* To the last ack, not to the last QUIT: that is the rate a reader asks for. */
    uint64_t end_us = r->last_ack_us > r->start_us ? r->last_ack_us : now_us;
    double elapsed_s = end_us > r->start_us ? (double)(end_us - r->start_us) / 1e6 : 1e-6;
    struct rusage used;

    print_counts(r, elapsed_s, to);
    print_histogram("eom_ms", &r->end_of_data, to);
    print_histogram("tx_ms", &r->transaction, to);
    print_histogram("connect_ms", &r->connect, to);
    print_histogram("e2e_ms", &r->end_to_end, to);
    getrusage(RUSAGE_SELF, &used);
    fprintf(to, "\"max_ack_gap_ms\":%.1f,\"max_ack_gap_at_s\":%.3f,\"cpu_s\":%.3f,",
            ms(r->ack_gap_us), (double)r->ack_gap_at_us / 1e6,
            (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    print_targets(t, to);
}
