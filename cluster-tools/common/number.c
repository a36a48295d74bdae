#include "cluster-tools/common/number.h"

#define MICRO      UINT64_C(1000000)
#define MAX_TIME_S (100 * UINT64_C(86400))
#define TEXT(lit, v)                                                                           \
    {                                                                                          \
        {lit, sizeof(lit) - 1}, v                                                              \
    }

struct unit {
    struct str name;
    uint64_t factor;
};

/* Cuts the digits at the front of *text. */
static enum err cut_digits(struct str *text, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;

    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++) {
        unsigned digit = (unsigned)(text->p[i] - '0');

        if (v > (UINT64_MAX - digit) / 10)
            return E_FULL;
        v = v * 10 + digit;
    }
    if (i == 0)
        return E_PROTO;
    *text = str_from(*text, i);
    *out = v;
    return OK;
}

/* Cuts digits and a fraction; digits of the fraction past the sixth have no effect. */
static enum err cut_micro(struct str *text, uint64_t max, uint64_t *out)
{
    uint64_t whole, place = MICRO / 10;
    enum err e = cut_digits(text, &whole);

    if (e != OK)
        return e;
    if (whole > max || whole > UINT64_MAX / MICRO - 1)
        return E_FULL;
    *out = whole * MICRO;
    if (text->n == 0 || text->p[0] != '.')
        return OK;
    if (text->n == 1)
        return E_PROTO;
    size_t i = 1;
    for (; i < text->n && text->p[i] >= '0' && text->p[i] <= '9'; i++, place /= 10)
        *out += (uint64_t)(text->p[i] - '0') * place;
    *text = str_from(*text, i);
    return *out <= max * MICRO ? OK : E_FULL;
}

static enum err find_unit(struct str text, const struct unit *units, size_t n, uint64_t *factor)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(text, units[i].name)) {
            *factor = units[i].factor;
            return OK;
        }
    return E_PROTO;
}

enum err number_count(struct str text, uint64_t max, uint64_t *out)
{
    uint64_t v;
    enum err e = cut_digits(&text, &v);

    if (e != OK)
        return e;
    if (text.n > 0)
        return E_PROTO;
    if (v > max)
        return E_FULL;
    *out = v;
    return OK;
}

enum err number_size(struct str text, uint64_t max, uint64_t *out)
{
    static const struct unit units[] = {
        TEXT("", 1),        TEXT("k", 1 << 10),   TEXT("K", 1 << 10), TEXT("KiB", 1 << 10),
        TEXT("M", 1 << 20), TEXT("MiB", 1 << 20), TEXT("G", 1 << 30), TEXT("GiB", 1 << 30),
    };
    uint64_t v, factor;
    enum err e = cut_digits(&text, &v);

    if (e == OK)
        e = find_unit(text, units, sizeof units / sizeof units[0], &factor);
    if (e != OK)
        return e;
    if (v > max / factor)
        return E_FULL;
    *out = v * factor;
    return OK;
}

/* Factors are thousandths of a second, so that a millisecond is a whole number. */
static enum err duration(struct str text, uint64_t bare_ms, uint64_t *out)
{
    const struct unit units[] = {
        TEXT("", bare_ms), TEXT("ms", 1), TEXT("s", 1000), TEXT("m", 60000), TEXT("h", 3600000),
    };
    uint64_t micro, factor_ms;
    enum err e = cut_micro(&text, MAX_TIME_S * 1000, &micro);

    if (e == OK)
        e = find_unit(text, units, sizeof units / sizeof units[0], &factor_ms);
    if (e != OK)
        return e;
    if (micro / 1000 > MAX_TIME_S * MICRO / factor_ms)
        return E_FULL;
    *out = micro / 1000 * factor_ms + micro % 1000 * factor_ms / 1000;
    return OK;
}

enum err number_duration_us(struct str text, uint64_t *out)
{
    return duration(text, 1000, out);
}

enum err number_delay_us(struct str text, uint64_t *out)
{
    return duration(text, 1, out);
}

enum err number_micro(struct str text, uint64_t max, uint64_t *out)
{
    enum err e = cut_micro(&text, max, out);

    if (e != OK)
        return e;
    return text.n == 0 ? OK : E_PROTO;
}
