/* Who a member is: keys, tokens, and the stores of a first and of a joining member; what is
 * there already is never built over. */
#include "node/identity.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "node/control_core.h"
#include "spool/control.h"

#define CONTROL STR("192.0.2.1:7301")
#define DATA    STR("192.0.2.1:7302")

static char dir[64], why[IDENTITY_WHY_BYTES];

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/identity_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    why[0] = 0;
}

static void remove_file(const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (unlink(path) != 0)
        rmdir(path);
}

static void teardown(void)
{
    static const char *const names[] = {
        "cluster/key",
        "cluster/next",
        "cluster/seeds",
        "cluster/key.new",
        "cluster/next.new",
        "cluster/seeds.new",
        "cluster",
        "control/log/data.mdb",
        "control/log/lock.mdb",
        "control/log",
        "control/state/data.mdb",
        "control/state/lock.mdb",
        "control/state",
        "control",
        "spool/data",
        "spool",
        "deep/er/cluster/key",
        "deep/er/cluster",
        "deep/er",
        "deep",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove_file(names[i]);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void put_text(const char *name, const char *text)
{
    char path[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void get_text(const char *name, char *out, size_t size)
{
    char path[160];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    out[fread(out, 1, size - 1, f)] = 0;
    fclose(f);
}

static void make_folder(const char *name)
{
    char path[160];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

/* --- tokens --- */

static struct identity_token a_token(void)
{
    struct identity_token t = {.site = 3, .incarnation = 77, .peer_count = 2};

    memset(t.cluster, 0xc1, sizeof t.cluster);
    memset(t.key, 0x33, sizeof t.key);
    for (uint16_t i = 0; i < 2; i++) {
        struct identity_peer *p = &t.peers[i];

        *p = (struct identity_peer){.site = (uint16_t)(i + 1), .incarnation = 5u + i};
        memset(p->key, 0x10 + i, sizeof p->key);
        snprintf(p->control, sizeof p->control, "mx%u.example.net:7301", i + 1u);
        snprintf(p->data, sizeof p->data, "[2001:db8::%u]:7302", i + 1u);
    }
    return t;
}

static void expect_equal(const struct identity_token *a, const struct identity_token *b)
{
    ck_assert_mem_eq(a->cluster, b->cluster, sizeof a->cluster);
    ck_assert_uint_eq(a->site, b->site);
    ck_assert_uint_eq(a->incarnation, b->incarnation);
    ck_assert_mem_eq(a->key, b->key, sizeof a->key);
    ck_assert_uint_eq(a->peer_count, b->peer_count);
    for (uint32_t i = 0; i < a->peer_count; i++) {
        ck_assert_uint_eq(a->peers[i].site, b->peers[i].site);
        ck_assert_uint_eq(a->peers[i].incarnation, b->peers[i].incarnation);
        ck_assert_mem_eq(a->peers[i].key, b->peers[i].key, MEMBER_KEY_BYTES);
        ck_assert_str_eq(a->peers[i].control, b->peers[i].control);
        ck_assert_str_eq(a->peers[i].data, b->peers[i].data);
    }
}

START_TEST(a_token_is_one_word_and_comes_back_as_it_was)
{
    struct identity_token t = a_token(), back;
    char text[IDENTITY_TOKEN_BYTES];

    ck_assert_int_eq(identity_token_text(&t, text), OK);
    ck_assert_int_eq(strncmp(text, "trispool-join:", 14), 0);
    for (const char *p = text; *p != 0; p++)
        ck_assert(*p > ' ' && *p < 127);
    ck_assert_int_eq(identity_token_parse(str_of(text), &back), OK);
    expect_equal(&t, &back);
}
END_TEST

START_TEST(a_token_with_the_longest_of_everything_fits)
{
    struct identity_token t = a_token(), back;
    char text[IDENTITY_TOKEN_BYTES];

    t.site = 9;
    t.peer_count = LIMIT_CLUSTER_MEMBERS;
    for (uint32_t i = 0; i < t.peer_count; i++) {
        struct identity_peer *p = &t.peers[i];

        *p = t.peers[0];
        p->site = (uint16_t)(i + 1);
        memset(p->control, 'a', LIMIT_ADDRESS_BYTES);
        memcpy(p->control + LIMIT_ADDRESS_BYTES - 5, ":7301", 6);
        memcpy(p->data, p->control, sizeof p->data);
    }
    ck_assert_int_eq(identity_token_text(&t, text), OK);
    ck_assert_int_eq(identity_token_parse(str_of(text), &back), OK);
    expect_equal(&t, &back);
}
END_TEST

START_TEST(a_token_with_any_character_changed_is_refused)
{
    struct identity_token t = a_token(), back;
    char text[IDENTITY_TOKEN_BYTES];
    size_t n;

    ck_assert_int_eq(identity_token_text(&t, text), OK);
    n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char was = text[i];

        text[i] = was == 'A' ? 'B' : 'A';
        ck_assert_int_eq(identity_token_parse(str_of(text), &back), E_PROTO);
        ck_assert_uint_eq(back.site, 0);
        text[i] = was;
        ck_assert_int_eq(identity_token_parse((struct str){text, i}, &back), E_PROTO);
    }
}
END_TEST

static void no_site(struct identity_token *t)
{
    t->site = 0;
}
static void no_incarnation(struct identity_token *t)
{
    t->incarnation = 0;
}
static void no_key(struct identity_token *t)
{
    memset(t->key, 0, sizeof t->key);
}
static void no_cluster(struct identity_token *t)
{
    memset(t->cluster, 0, sizeof t->cluster);
}
static void no_peers(struct identity_token *t)
{
    t->peer_count = 0;
}
static void many_peers(struct identity_token *t)
{
    t->peer_count = LIMIT_CLUSTER_MEMBERS + 1;
}
static void itself(struct identity_token *t)
{
    t->peers[1].site = t->site;
}
static void twice(struct identity_token *t)
{
    t->peers[1].site = t->peers[0].site;
}
static void peer_without_site(struct identity_token *t)
{
    t->peers[0].site = 0;
}
static void peer_without_incarnation(struct identity_token *t)
{
    t->peers[0].incarnation = 0;
}
static void peer_without_key(struct identity_token *t)
{
    memset(t->peers[1].key, 0, sizeof t->peers[1].key);
}
static void bad_control(struct identity_token *t)
{
    t->peers[0].control[3] = ' ';
}
static void bad_data(struct identity_token *t)
{
    t->peers[1].data[0] = 0;
}

static void (*const spoil[])(struct identity_token *) = {
    no_site,          no_incarnation, no_key,   no_cluster,        no_peers,
    many_peers,       itself,         twice,    peer_without_site, peer_without_incarnation,
    peer_without_key, bad_control,    bad_data,
};

START_TEST(a_token_that_makes_no_sense_is_not_written)
{
    struct identity_token t = a_token();
    char text[IDENTITY_TOKEN_BYTES];

    spoil[_i](&t);
    ck_assert_int_eq(identity_token_text(&t, text), E_PROTO);
    ck_assert_str_eq(text, "");
}
END_TEST

/* --- keys --- */

START_TEST(the_key_is_made_once_and_is_for_its_owner_alone)
{
    uint8_t key[MEMBER_KEY_BYTES], again[MEMBER_KEY_BYTES];
    char path[128], text[128];
    struct stat st;

    ck_assert_int_eq(identity_key(dir, key, why), OK);
    ck_assert_int_eq(identity_key(dir, again, why), OK);
    ck_assert_mem_eq(key, again, sizeof key);
    snprintf(path, sizeof path, "%s/cluster/key", dir);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0600);
    get_text("cluster/key", text, sizeof text);
    ck_assert_uint_eq(strlen(text), 48);
    ck_assert_int_eq(strncmp(text, "secret ", 7), 0);
}
END_TEST

START_TEST(the_data_directory_is_made_too)
{
    char deep[128];
    uint8_t key[MEMBER_KEY_BYTES];

    make_folder("deep");
    snprintf(deep, sizeof deep, "%s/deep/er", dir);
    ck_assert_int_eq(identity_key(deep, key, why), OK);
}
END_TEST

static const char *const damaged[] = {
    "",
    "secret",
    "secret Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
    "secret Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hI\n\n",
    "secreT Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n",
    "secret Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n\n",
    "secret #####w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\n",
};

START_TEST(a_damaged_key_is_not_replaced)
{
    uint8_t key[MEMBER_KEY_BYTES];
    char text[128];

    make_folder("cluster");
    put_text("cluster/key", damaged[_i]);
    ck_assert_int_eq(identity_key(dir, key, why), E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why, "damaged"));
    get_text("cluster/key", text, sizeof text);
    ck_assert_str_eq(text, damaged[_i]);
}
END_TEST

START_TEST(the_next_key_is_drawn_once_and_takes_the_place_of_the_key)
{
    uint8_t key[MEMBER_KEY_BYTES], next[MEMBER_KEY_BYTES], secret[MEMBER_KEY_BYTES];
    uint8_t again[MEMBER_KEY_BYTES], secret_again[MEMBER_KEY_BYTES];

    ck_assert_int_eq(identity_key(dir, key, why), OK);
    ck_assert_int_eq(identity_take_next_key(dir, why), E_NOTFOUND);
    ck_assert_int_eq(identity_next_key(dir, next, secret, why), OK);
    ck_assert_mem_ne(next, key, sizeof key);
    ck_assert_int_eq(identity_next_key(dir, again, secret_again, why), OK);
    ck_assert_mem_eq(next, again, sizeof next);
    ck_assert_mem_eq(secret, secret_again, sizeof secret);
    ck_assert_int_eq(identity_key(dir, again, why), OK);
    ck_assert_mem_eq(key, again, sizeof key);
    ck_assert_int_eq(identity_take_next_key(dir, why), OK);
    ck_assert_int_eq(identity_key(dir, again, why), OK);
    ck_assert_mem_eq(next, again, sizeof next);
    ck_assert_int_eq(identity_take_next_key(dir, why), E_NOTFOUND);
}
END_TEST

/* --- stores --- */

static void open_state(struct ctllog **log, struct control **state)
{
    char path[128];

    snprintf(path, sizeof path, "%s/control/log", dir);
    ck_assert_int_eq(ctllog_open(log, &(struct ctllog_options){.dir = path, .map_bytes = GiB}),
                     OK);
    snprintf(path, sizeof path, "%s/control/state", dir);
    ck_assert_int_eq(control_open(state, &(struct control_options){.dir = path,
                                                                   .map_bytes = 4 * GiB,
                                                                   .id = ctllog_id(*log)}),
                     OK);
}

START_TEST(the_first_member_has_itself_in_its_log)
{
    struct identity i;
    struct ctllog *log;
    struct control *state;
    struct log_entry entry;
    struct arena arena;
    struct command c;

    ck_assert_msg(identity_init(dir, 2, CONTROL, DATA, why) == OK, "%s", why);
    ck_assert_msg(identity_load(dir, &i, why) == OK, "%s", why);
    ck_assert_uint_eq(i.seed_count, 0);
    open_state(&log, &state);
    ck_assert_uint_eq(ctllog_id(log)->site, 2);
    ck_assert_uint_ge(ctllog_id(log)->incarnation, UINT64_C(1) << 51);
    ck_assert_uint_lt(ctllog_id(log)->incarnation, UINT64_C(1) << 52);
    arena_init(&arena, LIMIT_COMMAND_SCRATCH);
    ck_assert_int_eq(ctllog_read(log, 2, &arena, &entry), OK);
    ck_assert_int_eq(command_decode(entry.bytes, &arena, &c), OK);
    ck_assert_int_eq(c.kind, COMMAND_MEMBER_ADD);
    ck_assert_uint_eq(c.member_add.site, 2);
    ck_assert_uint_eq(c.member_add.incarnation, ctllog_id(log)->incarnation);
    ck_assert_mem_eq(c.member_add.key, i.public_key, MEMBER_KEY_BYTES);
    ck_assert(str_eq(c.member_add.control, CONTROL) && str_eq(c.member_add.data, DATA));
    arena_reset(&arena);
    control_close(&state);
    ctllog_close(&log);
}
END_TEST

START_TEST(two_clusters_are_never_the_same)
{
    struct ctllog *log;
    struct control *state;
    struct store_id first;

    ck_assert_int_eq(identity_init(dir, 1, CONTROL, DATA, why), OK);
    open_state(&log, &state);
    first = *ctllog_id(log);
    control_close(&state);
    ctllog_close(&log);
    teardown();
    setup();
    ck_assert_int_eq(identity_init(dir, 1, CONTROL, DATA, why), OK);
    open_state(&log, &state);
    ck_assert_mem_ne(first.cluster, ctllog_id(log)->cluster, sizeof first.cluster);
    ck_assert_uint_ne(first.incarnation, ctllog_id(log)->incarnation);
    control_close(&state);
    ctllog_close(&log);
}
END_TEST

/* Of the node in `dir`, for site 3. */
static struct identity_token my_token(char text[IDENTITY_TOKEN_BYTES])
{
    struct identity_token t = a_token();

    ck_assert_msg(identity_key(dir, t.key, why) == OK, "%s", why);
    ck_assert_int_eq(identity_token_text(&t, text), OK);
    return t;
}

START_TEST(a_node_that_joins_is_who_the_token_says_and_knows_the_members)
{
    char text[IDENTITY_TOKEN_BYTES];
    struct identity_token t = my_token(text);
    struct identity i;
    struct ctllog *log;
    struct control *state;

    ck_assert_msg(identity_join(dir, 3, str_of(text), why) == OK, "%s", why);
    ck_assert_msg(identity_load(dir, &i, why) == OK, "%s", why);
    ck_assert_mem_eq(i.public_key, t.key, sizeof t.key);
    ck_assert_uint_eq(i.seed_count, 2);
    for (uint32_t k = 0; k < 2; k++) {
        ck_assert_uint_eq(i.seeds[k].site, t.peers[k].site);
        ck_assert_uint_eq(i.seeds[k].incarnation, t.peers[k].incarnation);
        ck_assert_mem_eq(i.seeds[k].key, t.peers[k].key, MEMBER_KEY_BYTES);
        ck_assert_str_eq(i.seeds[k].control, t.peers[k].control);
        ck_assert_str_eq(i.seeds[k].data, t.peers[k].data);
    }
    open_state(&log, &state);
    ck_assert_mem_eq(ctllog_id(log)->cluster, t.cluster, sizeof t.cluster);
    ck_assert_uint_eq(ctllog_id(log)->site, 3);
    ck_assert_uint_eq(ctllog_id(log)->incarnation, 77);
    ck_assert_uint_eq(ctllog_last(log), 0);
    control_close(&state);
    ctllog_close(&log);
}
END_TEST

START_TEST(an_identity_is_given_once)
{
    char text[IDENTITY_TOKEN_BYTES];

    (void)my_token(text);
    ck_assert_int_eq(identity_init(dir, 3, CONTROL, DATA, why), OK);
    ck_assert_int_eq(identity_init(dir, 3, CONTROL, DATA, why), E_EXISTS);
    ck_assert_ptr_nonnull(strstr(why, "empty data directory"));
    ck_assert_int_eq(identity_join(dir, 3, str_of(text), why), E_EXISTS);
}
END_TEST

START_TEST(nothing_begins_over_a_spool)
{
    char text[IDENTITY_TOKEN_BYTES];
    struct identity i;

    (void)my_token(text);
    make_folder("spool");
    put_text("spool/data", "x");
    ck_assert_int_eq(identity_init(dir, 3, CONTROL, DATA, why), E_EXISTS);
    ck_assert_ptr_nonnull(strstr(why, "spool"));
    ck_assert_int_eq(identity_join(dir, 3, str_of(text), why), E_EXISTS);
    ck_assert_int_eq(identity_load(dir, &i, why), E_NOTFOUND);
}
END_TEST

START_TEST(a_token_of_another_site_or_key_is_refused)
{
    char text[IDENTITY_TOKEN_BYTES];
    struct identity_token t = my_token(text);
    struct identity i;

    ck_assert_int_eq(identity_join(dir, 2, str_of(text), why), E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(why, "site 3"));
    t.key[5] ^= 1;
    ck_assert_int_eq(identity_token_text(&t, text), OK);
    ck_assert_int_eq(identity_join(dir, 3, str_of(text), why), E_CONFLICT);
    ck_assert_ptr_nonnull(strstr(why, "another key"));
    ck_assert_int_eq(identity_join(dir, 3, STR("not-a-token"), why), E_PROTO);
    ck_assert_int_eq(identity_load(dir, &i, why), E_NOTFOUND);
}
END_TEST

START_TEST(a_node_without_a_key_cannot_join)
{
    struct identity_token t = a_token();
    char text[IDENTITY_TOKEN_BYTES];

    ck_assert_int_eq(identity_token_text(&t, text), OK);
    ck_assert_int_eq(identity_join(dir, 3, str_of(text), why), E_CONFLICT);
}
END_TEST

START_TEST(without_identity_it_says_how_to_get_one)
{
    struct identity i;

    ck_assert_int_eq(identity_load(dir, &i, why), E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(why, "cluster init"));
    ck_assert_ptr_nonnull(strstr(why, "cluster join"));
}
END_TEST

static void make_lone_node(void)
{
    struct store_id id = {.site = 1, .incarnation = 9};
    char path[128];

    snprintf(path, sizeof path, "%s/control", dir);
    ck_assert_int_eq(
        control_core_make(&(struct control_core_make){.dir = path, .id = id, .first = NULL}),
        OK);
}

START_TEST(a_lone_node_does_not_become_a_member_by_its_configuration)
{
    uint8_t key[MEMBER_KEY_BYTES];
    struct identity i;

    make_lone_node();
    ck_assert_int_eq(identity_load(dir, &i, why), E_NOTFOUND);
    ck_assert_ptr_nonnull(strstr(why, "lone node"));
    ck_assert_int_eq(identity_key(dir, key, why), E_EXISTS);
    ck_assert_int_eq(identity_init(dir, 1, CONTROL, DATA, why), E_EXISTS);
}
END_TEST

START_TEST(a_first_member_with_an_address_that_is_none_is_not_made)
{
    struct identity i;

    ck_assert_int_eq(identity_init(dir, 1, STR("192.0.2.1"), DATA, why), E_PROTO);
    ck_assert_int_eq(identity_init(dir, 1, CONTROL, STR("a b:7302"), why), E_PROTO);
    ck_assert_int_eq(identity_load(dir, &i, why), E_NOTFOUND);
}
END_TEST

START_TEST(a_directory_put_together_from_two_nodes_is_refused)
{
    char text[IDENTITY_TOKEN_BYTES], line[IDENTITY_TOKEN_BYTES + 2];
    struct identity_token t = my_token(text);
    struct identity i;

    ck_assert_int_eq(identity_join(dir, 3, str_of(text), why), OK);
    put_text("cluster/seeds", text); /* without its line end */
    ck_assert_int_eq(identity_load(dir, &i, why), E_CORRUPT);
    t.incarnation++;
    ck_assert_int_eq(identity_token_text(&t, text), OK);
    snprintf(line, sizeof line, "%s\n", text);
    put_text("cluster/seeds", line);
    ck_assert_int_eq(identity_load(dir, &i, why), E_CONFLICT);
}
END_TEST

/* A crash after the seeds and before the stores. */
START_TEST(a_join_that_was_cut_short_can_be_done_again)
{
    char text[IDENTITY_TOKEN_BYTES];
    struct identity i;

    (void)my_token(text);
    put_text("cluster/seeds", "half of a");
    put_text("cluster/seeds.new", "half of a");
    ck_assert_msg(identity_join(dir, 3, str_of(text), why) == OK, "%s", why);
    ck_assert_int_eq(identity_load(dir, &i, why), OK);
    ck_assert_uint_eq(i.seed_count, 2);
}
END_TEST

START_TEST(a_first_member_has_no_seeds_of_a_join_before)
{
    struct identity i;

    make_folder("cluster");
    put_text("cluster/seeds", "half of a");
    ck_assert_int_eq(identity_init(dir, 1, CONTROL, DATA, why), OK);
    ck_assert_int_eq(identity_load(dir, &i, why), OK);
    ck_assert_uint_eq(i.seed_count, 0);
}
END_TEST

static void add_cases(TCase *tc)
{
    tcase_add_test(tc, a_token_is_one_word_and_comes_back_as_it_was);
    tcase_add_test(tc, a_token_with_the_longest_of_everything_fits);
    tcase_add_test(tc, a_token_with_any_character_changed_is_refused);
    tcase_add_loop_test(tc, a_token_that_makes_no_sense_is_not_written, 0,
                        sizeof spoil / sizeof *spoil);
    tcase_add_test(tc, the_key_is_made_once_and_is_for_its_owner_alone);
    tcase_add_test(tc, the_data_directory_is_made_too);
    tcase_add_loop_test(tc, a_damaged_key_is_not_replaced, 0, sizeof damaged / sizeof *damaged);
    tcase_add_test(tc, the_next_key_is_drawn_once_and_takes_the_place_of_the_key);
    tcase_add_test(tc, the_first_member_has_itself_in_its_log);
    tcase_add_test(tc, two_clusters_are_never_the_same);
    tcase_add_test(tc, a_node_that_joins_is_who_the_token_says_and_knows_the_members);
    tcase_add_test(tc, an_identity_is_given_once);
    tcase_add_test(tc, nothing_begins_over_a_spool);
    tcase_add_test(tc, a_token_of_another_site_or_key_is_refused);
    tcase_add_test(tc, a_node_without_a_key_cannot_join);
    tcase_add_test(tc, without_identity_it_says_how_to_get_one);
    tcase_add_test(tc, a_lone_node_does_not_become_a_member_by_its_configuration);
    tcase_add_test(tc, a_first_member_with_an_address_that_is_none_is_not_made);
    tcase_add_test(tc, a_directory_put_together_from_two_nodes_is_refused);
    tcase_add_test(tc, a_join_that_was_cut_short_can_be_done_again);
    tcase_add_test(tc, a_first_member_has_no_seeds_of_a_join_before);
}

int main(void)
{
    Suite *suite = suite_create("identity");
    TCase *tc = tcase_create("files");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    add_cases(tc);
    suite_add_tcase(suite, tc);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
