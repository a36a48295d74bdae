/* Whatever a client says: each field stays one field of printable ASCII with all quotes closed,
 * which we know as ours; and any field is judged within its bounds. */
#include <stdlib.h>

#include "base/assert.h"
#include "node/policy/auth_results.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_field(struct str field)
{
    bool in_quotes = false;

    for (bool first = true; field.n > 0; first = false) {
        struct str line = str_split(&field, '\n');

        ASSERT(str_ends(line, '\r') && line.n > 2 && (first || line.p[0] == '\t'));
        line.n--;
        for (size_t i = first ? 0 : 1; i < line.n; i++) {
            ASSERT(line.p[i] >= ' ' && line.p[i] <= '~');
            ASSERT(in_quotes || (line.p[i] != '(' && line.p[i] != '\\'));
            if (line.p[i] == '"')
                in_quotes = !in_quotes;
            else if (line.p[i] == '\\')
                i++;
        }
        ASSERT(!in_quotes); /* a fold within quotes would change the value */
    }
}

/* Every field that is found claims our id, and lies in the section behind the one before. */
static void check_section(struct str section)
{
    struct str field;

    while (auth_results_find(section, STR("mx1.example"), &field)) {
        ASSERT(field.n > 0 && auth_results_claims(field, STR("mx1.example")));
        ASSERT(field.p >= section.p && field.p + field.n <= section.p + section.n);
        section = str_from(section, (size_t)(field.p - section.p) + field.n);
    }
    (void)auth_results_claims(section, STR("mx1.example"));
}

/* Parts are parted by 0xff: HELO, sender, mechanism, and the section to be searched. */
static void run(struct str rest, size_t size)
{
    char buf[AUTH_RESULTS_SIZE];
    struct spf_check check = {.receiver = STR("mx1.example")};
    struct spf_verdict verdict = {.identity = size % 3 == 0 ? SPF_HELO : SPF_MAILFROM,
                                  .result = (enum spf_result)(size % 7),
                                  .problem = (enum spf_problem)(size % 16)};
    struct auth_result results[2];
    struct str field;

    check.helo = str_split(&rest, '\xff');
    check.sender = str_split(&rest, '\xff');
    verdict.mechanism = str_split(&rest, '\xff');
    if (check.helo.n >= sizeof check.client)
        memcpy(&check.client, check.helo.p, sizeof check.client);
    check_field(received_spf_format(&check, &verdict, buf));
    results[0] = results[1] = auth_result_of_spf(&check, &verdict);
    results[1].property = STR_NONE;
    field = auth_results_format(STR("mx1.example"), results, size % 3, buf);
    check_field(field);
    ASSERT(auth_results_claims(field, STR("mx1.example")));
    ASSERT(!auth_results_claims(field, STR("mx2.example")));
    check_section(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1); /* exact size: a read past it is seen */

    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    run((struct str){copy, size}, size);
    free(copy);
    return 0;
}
