/* Slots and domains have one holder each, under epochs that only grow, whatever joins, ends,
 * drains or is taken over; and a late entry changes nothing. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/prng.h"
#include "spool/control.h"

#define MAP (64 * MiB)

static char dir[64];
static struct control *c;
static struct arena arena;
static uint64_t at; /* index of the last entry */
static uint64_t incarnation[5];
static const struct store_id id = {.cluster = {9}, .site = 1, .incarnation = 1};

static void setup(void)
{
    log_set_level(LOG_ALARM);
    snprintf(dir, sizeof dir, "/tmp/control_cluster_test.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    arena_init(&arena, 1 * MiB);
    ck_assert_int_eq(control_open(&c,
                                  &(struct control_options){
                                      .dir = dir, .map_bytes = MAP, .id = &id, .create = true}),
                     OK);
    at = 0;
    memset(incarnation, 0, sizeof incarnation);
}

static void teardown(void)
{
    char file[256];

    control_close(&c);
    arena_reset(&arena);
    for (const char *const *f = (const char *const[]){"data.mdb", "lock.mdb", NULL}; *f; f++) {
        snprintf(file, sizeof file, "%s/%s", dir, *f);
        unlink(file);
    }
    rmdir(dir);
}

static enum err apply(struct command cmd)
{
    struct command_result r = {.err = E_IO};

    ck_assert_int_eq(control_apply(c, ++at, &cmd, &r), OK);
    ck_assert((r.err == OK) == (r.refused == NULL));
    return r.err;
}

/* --- commands --- */

static enum err add_with(uint16_t site, uint64_t inc, uint8_t key)
{
    enum err e = apply((struct command){.kind = COMMAND_MEMBER_ADD,
                                        .member_add = {.site = site,
                                                       .incarnation = inc,
                                                       .key = {key},
                                                       .control = STR("mx.example.net:7301"),
                                                       .data = STR("192.0.2.1:7302")}});

    if (e == OK && site < 5)
        incarnation[site] = inc != 0 ? inc : at;
    return e;
}

static enum err add(uint16_t site)
{
    return add_with(site, at == 0 ? 1 : 0, (uint8_t)(site + 10 * at));
}

static enum err drop(uint16_t site, uint64_t inc)
{
    return apply((struct command){.kind = COMMAND_MEMBER_REMOVE, .member_remove = {site, inc}});
}

static enum err fill(uint16_t site)
{
    return apply((struct command){.kind = COMMAND_MEMBER_FILLED,
                                  .member_filled = {site, incarnation[site]}});
}

static enum err rekey(uint16_t site, uint8_t key, bool keep)
{
    return apply((struct command){
        .kind = COMMAND_MEMBER_KEY,
        .member_key = {
            .site = site, .incarnation = incarnation[site], .key = {key}, .keep_old = keep}});
}

static enum err open_after(uint16_t site, uint64_t nonce, uint64_t after)
{
    return apply((struct command){.kind = COMMAND_SESSION_OPEN,
                                  .session_open = {.site = site,
                                                   .incarnation = incarnation[site],
                                                   .duration_ms = 10000,
                                                   .nonce = nonce,
                                                   .after = after}});
}

static enum err open_nonce(uint16_t site, uint64_t nonce)
{
    struct session before = {0};

    if (control_session(c, site, &before) != OK)
        before.epoch = 0;
    return open_after(site, nonce, before.epoch);
}

static enum err begin(uint16_t site)
{
    return open_nonce(site, 0);
}

static enum err renew(uint16_t site, uint64_t epoch)
{
    return apply((struct command){.kind = COMMAND_SESSION_RENEW,
                                  .session_renew = {site, epoch, 7 * at}});
}

static enum err end(uint16_t site, uint64_t epoch, uint64_t renewal)
{
    return apply(
        (struct command){.kind = COMMAND_SESSION_END, .session_end = {site, epoch, renewal}});
}

static enum err drain(uint16_t site, bool on)
{
    return apply((struct command){.kind = COMMAND_DRAIN, .drain = {site, on}});
}

static enum err want(uint32_t from, uint32_t to, uint16_t site, bool balance)
{
    struct command cmd = {.kind = COMMAND_SLOT_WANTED,
                          .slot_wanted = {.site = site, .balance = balance}};

    for (uint32_t i = from; i < to; i++)
        cmd.slot_wanted.slots[i / 8] |= (uint8_t)(1u << i % 8);
    return apply(cmd);
}

static enum err give(uint32_t slot, uint64_t epoch, uint16_t to)
{
    struct slot_ref ref = {(uint8_t)slot, epoch};

    return apply((struct command){.kind = COMMAND_SLOT_RELEASE, .slot_release = {&ref, 1, to}});
}

static enum err place(const char *domain, uint16_t site, uint64_t epoch)
{
    return apply(
        (struct command){.kind = COMMAND_PLACE, .place = {str_of(domain), site, epoch}});
}

static enum err domain(const char *name)
{
    return apply((struct command){
        .kind = COMMAND_DOMAIN_PUT,
        .domain_put = {.mode = DOMAIN_ADD,
                       .domain = {.name = str_of(name), .route.kind = ROUTE_MX}}});
}

/* --- looking --- */

static struct slot slot_at(uint32_t i)
{
    struct slot s;

    ck_assert_int_eq(control_slot(c, i, &s), OK);
    return s;
}

static uint32_t held_by(uint16_t site)
{
    struct slot slots[CONTROL_SLOTS];
    uint32_t n = 0;

    ck_assert_int_eq(control_slots(c, slots), OK);
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++)
        n += slots[i].site == site;
    return n;
}

static void expect_held(uint32_t one, uint32_t two, uint32_t three)
{
    ck_assert_uint_eq(held_by(1), one);
    ck_assert_uint_eq(held_by(2), two);
    ck_assert_uint_eq(held_by(3), three);
    ck_assert_uint_eq(held_by(0), CONTROL_SLOTS - one - two - three);
}

static struct session session_of(uint16_t site)
{
    struct session s;

    ck_assert_int_eq(control_session(c, site, &s), OK);
    return s;
}

static struct member member_of(uint16_t site)
{
    struct member m;

    ck_assert_int_eq(control_member_get(c, site, &m), OK);
    return m;
}

static void holder_is(const char *name, uint16_t site, uint64_t epoch)
{
    uint16_t s;
    uint64_t e;

    ck_assert_int_eq(control_holder(c, str_of(name), &s, &e), OK);
    ck_assert_uint_eq(s, site);
    ck_assert_uint_eq(e, epoch);
}

static bool released(const char *name, uint64_t epoch)
{
    return control_released(c, str_of(name), epoch);
}

/* Site 1 holds all, sites 2 and 3 are filled and hold nothing: entries 1 to 8. */
static void three(void)
{
    ck_assert_int_eq(add(1), OK);
    ck_assert_int_eq(begin(1), OK); /* 2 */
    ck_assert_int_eq(add(2), OK);
    ck_assert_int_eq(begin(2), OK); /* 4 */
    ck_assert_int_eq(fill(2), OK);
    ck_assert_int_eq(add(3), OK);
    ck_assert_int_eq(begin(3), OK); /* 7 */
    ck_assert_int_eq(fill(3), OK);
    expect_held(256, 0, 0);
}

/* The same, and the slots split: site 1 has 86, 2 and 3 have 85. */
static void three_even(void)
{
    three();
    for (uint32_t i = 86; i < 256; i++)
        ck_assert_int_eq(give(i, 2, i < 171 ? 2 : 3), OK);
    expect_held(86, 85, 85);
}

/* --- members --- */

START_TEST(the_first_member_brings_its_incarnation_and_all_others_get_theirs)
{
    struct member m;

    ck_assert_int_eq(add_with(1, 0, 1), E_CONFLICT);
    ck_assert_int_eq(add_with(1, 1, 1), OK);
    ck_assert_int_eq(add_with(2, 7, 2), E_CONFLICT);
    ck_assert_int_eq(add_with(2, 0, 1), E_EXISTS); /* the key of site 1 */
    ck_assert_int_eq(add_with(2, 0, 2), OK);       /* 5 */
    m = member_of(1);
    ck_assert(m.filled && !m.leaving && m.incarnation == 1 && m.key[0] == 1);
    ck_assert_str_eq(m.control, "mx.example.net:7301");
    ck_assert_str_eq(m.data, "192.0.2.1:7302");
    m = member_of(2);
    ck_assert(!m.filled && m.incarnation == 5 && m.added == 5);
    ck_assert_int_eq(control_member_get(c, 3, &m), E_NOTFOUND);
    ck_assert_int_eq(add(3), OK);
    ck_assert_int_eq(add(4), E_FULL);
}
END_TEST

START_TEST(an_incarnation_that_the_first_member_took_is_not_given_again)
{
    ck_assert_int_eq(add_with(1, 2, 1), OK);
    ck_assert_int_eq(add_with(2, 0, 2), E_CONFLICT); /* entry 2 */
    ck_assert_int_eq(add_with(2, 0, 2), OK);
}
END_TEST

START_TEST(a_member_added_again_replaces_the_old_one_and_ends_its_session)
{
    struct control_members all;
    uint64_t old;

    three_even();
    old = incarnation[2];
    ck_assert_int_eq(add(2), OK);
    expect_held(128, 0, 128);
    ck_assert(session_of(2).ended);
    ck_assert(control_session_sealed(c, 2, 4));
    ck_assert_int_eq(control_members(c, &all), OK);
    ck_assert_uint_eq(all.count, 4);
    ck_assert_uint_eq(all.applied, at);
    ck_assert(all.members[1].leaving && all.members[1].incarnation == old);
    ck_assert(!all.members[2].leaving && all.members[2].incarnation == incarnation[2]);
    ck_assert(!member_of(2).filled);
    /* the old incarnation may not open a session again; the new one may, and holds when filled
     */
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_SESSION_OPEN,
                                            .session_open = {2, old, 10000, 0, 0}}),
                     E_CONFLICT);
    /* the new one's first session follows none, whatever the old one had */
    ck_assert_int_eq(open_after(2, 55, session_of(2).epoch), E_CONFLICT);
    ck_assert_int_eq(open_after(2, 55, 0), OK);
    ck_assert(!session_of(2).may_hold);
    ck_assert_int_eq(end(1, 2, 0), OK);
    expect_held(0, 0, 256);
    ck_assert_int_eq(fill(2), OK);
    ck_assert(session_of(2).may_hold && member_of(2).wants_share);
    ck_assert_int_eq(drop(2, old), OK);
    ck_assert_int_eq(drop(2, old), E_NOTFOUND);
    ck_assert(session_of(2).may_hold);
}
END_TEST

START_TEST(removing_a_member_ends_its_session_and_the_last_one_stays)
{
    struct member m;

    three_even();
    ck_assert_int_eq(drop(3, incarnation[3]), OK);
    ck_assert_int_eq(control_member_get(c, 3, &m), E_NOTFOUND);
    expect_held(128, 128, 0);
    ck_assert(control_session_sealed(c, 3, 7));
    ck_assert_int_eq(begin(3), E_CONFLICT);
    ck_assert_int_eq(drop(1, 1), OK);
    expect_held(0, 256, 0);
    ck_assert_int_eq(drop(2, incarnation[2]), E_CONFLICT);
}
END_TEST

START_TEST(replaced_members_are_forgotten_or_no_more_are_added)
{
    three();
    for (int i = 0; i < LIMIT_MEMBER_RECORDS - 3; i++)
        ck_assert_int_eq(add(2), OK);
    ck_assert_int_eq(add(2), E_FULL);
}
END_TEST

START_TEST(a_key_is_changed_over_or_revoked)
{
    three();
    ck_assert_int_eq(rekey(2, 77, true), OK);
    ck_assert(member_of(2).key[0] == 77 && member_of(2).has_old_key);
    ck_assert_uint_eq(member_of(2).old_key[0], 22);
    ck_assert_int_eq(rekey(2, 77, true), OK); /* came twice */
    ck_assert_uint_eq(member_of(2).old_key[0], 22);
    ck_assert_int_eq(rekey(1, 22, false), E_EXISTS); /* still good at site 2 */
    ck_assert_int_eq(rekey(2, 77, false), OK);
    ck_assert(!member_of(2).has_old_key);
    ck_assert_int_eq(rekey(1, 22, false), OK);
    ck_assert_int_eq(rekey(1, 77, false), E_EXISTS);
    incarnation[2] = 999;
    ck_assert_int_eq(rekey(2, 5, false), E_NOTFOUND);
}
END_TEST

/* --- sessions --- */

START_TEST(a_renewal_counts_for_the_newest_live_session_alone)
{
    three();
    ck_assert_int_eq(renew(2, 4), OK); /* 9 */
    ck_assert_uint_eq(session_of(2).renewal_index, 9);
    ck_assert_uint_eq(session_of(2).renewal_seq, 56);
    ck_assert_int_eq(renew(2, 5), E_CONFLICT);
    ck_assert_int_eq(renew(4, 5), E_CONFLICT);
    ck_assert_int_eq(end(2, 4, 9), OK);
    ck_assert_int_eq(renew(2, 4), E_CONFLICT);
    ck_assert_uint_eq(session_of(2).renewal_index, 9);
}
END_TEST

START_TEST(a_take_over_that_comes_after_a_renewal_changes_nothing)
{
    three_even();
    ck_assert_int_eq(renew(2, 4), OK);
    ck_assert_int_eq(end(2, 4, 4), E_CONFLICT);
    expect_held(86, 85, 85);
    ck_assert(!session_of(2).ended);
    ck_assert_int_eq(end(2, 4, at - 1), OK);
    expect_held(128, 0, 128);
    ck_assert_int_eq(end(2, 4, at - 2), E_CONFLICT);
    ck_assert_int_eq(begin(2), OK);
    ck_assert_int_eq(end(2, 4, 0), E_CONFLICT); /* of an old session */
    ck_assert(!session_of(2).ended);
}
END_TEST

START_TEST(what_is_sealed_is_what_ended)
{
    three();
    ck_assert(!control_session_sealed(c, 2, 4));
    ck_assert(control_session_sealed(c, 2, 3));
    ck_assert(!control_session_sealed(c, 2, 5)); /* not opened yet, as far as known here */
    ck_assert(!control_session_sealed(c, 4, 1)); /* unknown site */
    ck_assert_int_eq(begin(2), OK);
    ck_assert(control_session_sealed(c, 2, 4) && !control_session_sealed(c, 2, at));
    ck_assert_int_eq(end(2, at, 0), OK);
    ck_assert(control_session_sealed(c, 2, at - 1));
}
END_TEST

START_TEST(a_site_that_opens_anew_keeps_its_slots_under_a_new_epoch)
{
    three_even();
    ck_assert_int_eq(domain("example.com"), OK); /* slot 115, of site 2 */
    ck_assert_int_eq(begin(2), OK);
    expect_held(86, 85, 85);
    holder_is("example.com", 2, at);
    ck_assert(!released("example.com", slot_at(115).epoch));
    ck_assert_uint_eq(slot_at(0).epoch, 2);
}
END_TEST

START_TEST(an_opening_that_comes_twice_opens_once)
{
    three();
    ck_assert_int_eq(open_nonce(2, 99), OK);
    ck_assert_int_eq(open_nonce(2, 99), E_EXISTS);
    ck_assert_uint_eq(session_of(2).epoch, at - 1);
    ck_assert_int_eq(open_nonce(2, 100), OK);
    ck_assert_int_eq(open_nonce(3, 100), OK);
}
END_TEST

/* A repetition that was on its way for long must not end the session that came after it. */
START_TEST(an_opening_that_comes_late_opens_nothing)
{
    uint64_t first, second;

    three();
    first = session_of(2).epoch;
    ck_assert_int_eq(open_after(2, 99, first), OK);
    second = session_of(2).epoch;
    ck_assert_uint_gt(second, first);
    ck_assert_int_eq(open_after(2, 98, first), E_CONFLICT);
    ck_assert_int_eq(open_after(2, 97, 0), E_CONFLICT);
    ck_assert_uint_eq(session_of(2).epoch, second);
    ck_assert(!session_of(2).ended);
    ck_assert_int_eq(open_after(2, 98, second), OK);
}
END_TEST

START_TEST(with_nobody_left_slots_are_free_until_somebody_comes)
{
    struct slot s;

    three_even();
    ck_assert_int_eq(end(1, 2, 0), OK);
    ck_assert_int_eq(end(2, 4, 0), OK);
    expect_held(0, 0, 256);
    ck_assert_int_eq(end(3, 7, 0), OK);
    expect_held(0, 0, 0);
    ck_assert_int_eq(control_slot(c, 0, &s), E_NOTFOUND);
    ck_assert_int_eq(begin(2), OK);
    expect_held(0, 256, 0);
    ck_assert_uint_eq(slot_at(9).epoch, at);
}
END_TEST

/* --- draining --- */

START_TEST(a_draining_site_gets_nothing_while_another_can)
{
    three_even();
    ck_assert_int_eq(drain(2, true), OK);
    ck_assert(!session_of(2).may_hold);
    expect_held(86, 85, 85); /* it gives them itself */
    ck_assert_int_eq(want(0, 9, 2, false), E_CONFLICT);
    ck_assert_int_eq(give(0, 2, 2), E_CONFLICT);
    ck_assert_int_eq(end(1, 2, 0), OK);
    expect_held(0, 85, 171);
    ck_assert_int_eq(end(3, 7, 0), OK);
    expect_held(0, 256, 0); /* better by it than by nobody */
    ck_assert_int_eq(drain(2, false), OK);
    ck_assert(session_of(2).may_hold);
    ck_assert_int_eq(drain(4, true), E_NOTFOUND);
}
END_TEST

START_TEST(a_draining_site_that_restarts_has_given_all_away)
{
    three_even();
    ck_assert_int_eq(drain(2, true), OK);
    ck_assert_int_eq(begin(2), OK);
    expect_held(128, 0, 128);
}
END_TEST

/* --- slots --- */

START_TEST(a_wish_is_recorded_and_goes_with_the_slot)
{
    three();
    ck_assert_int_eq(want(0, 256, 2, true), OK);
    ck_assert_uint_eq(slot_at(0).wanted, 2);
    ck_assert_uint_eq(slot_at(0).site, 1);
    ck_assert_int_eq(want(5, 10, 1, false), OK); /* who has it needs no wish */
    ck_assert_uint_eq(slot_at(5).wanted, 0);
    ck_assert_int_eq(want(10, 11, 0, false), OK); /* taken back */
    ck_assert_uint_eq(slot_at(10).wanted, 0);
    ck_assert_int_eq(give(20, 2, 2), OK);
    ck_assert_uint_eq(slot_at(20).wanted, 0);
    ck_assert_uint_eq(slot_at(20).site, 2);
    ck_assert_int_eq(give(21, 2, 3), OK); /* elsewhere: the wish is still open */
    ck_assert_uint_eq(slot_at(21).wanted, 2);
    ck_assert_int_eq(end(2, 4, 0), OK);
    ck_assert_uint_eq(slot_at(0).wanted, 0);
}
END_TEST

START_TEST(a_share_is_wanted_until_it_was_given_or_an_operator_moved_slots)
{
    three();
    ck_assert(member_of(2).wants_share && member_of(3).wants_share);
    ck_assert_int_eq(want(0, 85, 2, true), OK);
    ck_assert(!member_of(2).wants_share && member_of(3).wants_share);
    ck_assert_int_eq(want(0, 1, 2, false), OK);
    ck_assert(!member_of(3).wants_share);
    ck_assert_int_eq(begin(3), OK);
    ck_assert(member_of(3).wants_share);
    ck_assert_int_eq(want(0, 0, 3, true), OK); /* it has what it should */
    ck_assert(!member_of(3).wants_share);
    ck_assert_int_eq(drain(2, true), OK);
    ck_assert(!member_of(2).wants_share);
    ck_assert_int_eq(drain(2, false), OK);
    ck_assert(member_of(2).wants_share);
}
END_TEST

START_TEST(slots_are_released_all_or_none_and_only_under_their_epoch)
{
    struct slot_ref refs[3] = {{1, 2}, {2, 2}, {3, 2}};
    struct command cmd = {.kind = COMMAND_SLOT_RELEASE, .slot_release = {refs, 3, 2}};

    three();
    refs[2].epoch = 3;
    ck_assert_int_eq(apply(cmd), E_CONFLICT);
    expect_held(256, 0, 0);
    refs[2].epoch = 2;
    ck_assert_int_eq(apply(cmd), OK);
    expect_held(253, 3, 0);
    ck_assert_uint_eq(slot_at(3).epoch, at);
    ck_assert_int_eq(apply(cmd), E_CONFLICT);    /* came twice */
    ck_assert_int_eq(give(7, 2, 4), E_CONFLICT); /* to nobody */
    ck_assert_int_eq(give(7, 2, 1), OK);         /* to itself: a new epoch */
    ck_assert_uint_eq(slot_at(7).epoch, at);
    refs[0] = (struct slot_ref){2, slot_at(2).epoch}; /* two holders in one entry */
    refs[1] = (struct slot_ref){6, 2};
    cmd.slot_release.count = 2;
    ck_assert_int_eq(apply(cmd), E_CONFLICT);
}
END_TEST

START_TEST(slots_given_to_whom_it_may_concern_are_spread)
{
    struct slot_ref refs[256];
    struct command cmd = {.kind = COMMAND_SLOT_RELEASE, .slot_release = {refs, 256, 0}};

    three();
    for (uint32_t i = 0; i < 256; i++)
        refs[i] = (struct slot_ref){(uint8_t)i, 2};
    ck_assert_int_eq(apply(cmd), OK);
    expect_held(0, 128, 128);
    ck_assert_int_eq(end(2, 4, 0), OK);
    ck_assert_int_eq(end(1, 2, 0), OK);
    ck_assert_int_eq(give(0, slot_at(0).epoch, 0), E_CONFLICT); /* nobody else is there */
    expect_held(0, 0, 256);
}
END_TEST

/* --- what was released --- */

START_TEST(an_epoch_is_released_by_its_holders_word_and_not_by_a_take_over)
{
    uint64_t own, first;

    three();
    ck_assert_int_eq(domain("example.com"), OK);
    ck_assert_int_eq(give(115, 2, 2), OK);
    first = at;
    ck_assert(released("example.com", 2) && !released("example.com", first));
    ck_assert(!released("example.net", 2)); /* slot 116 */
    ck_assert_int_eq(end(2, 4, 4), OK);     /* taken */
    ck_assert(!released("example.com", first));
    own = slot_at(115).epoch;
    ck_assert_int_eq(end(slot_at(115).site, session_of(slot_at(115).site).epoch, 0), OK);
    ck_assert(released("example.com", own)); /* its own word */
    ck_assert(released("example.com", 2));
    ck_assert(!released("example.com", 0));
}
END_TEST

START_TEST(a_released_epoch_is_forgotten_after_four_others_and_never_wrongly_remembered)
{
    uint64_t epochs[8];

    three();
    ck_assert_int_eq(domain("example.com"), OK);
    for (int i = 0; i < 8; i++) {
        epochs[i] = slot_at(115).epoch;
        ck_assert_int_eq(give(115, epochs[i], (uint16_t)(2 + i % 2)), OK);
    }
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(released("example.com", epochs[i]), i >= 4);
    for (uint64_t e = 0; e < at + 2; e++)
        ck_assert(!released("example.com", e) || e == epochs[4] || e == epochs[5] ||
                  e == epochs[6] || e == epochs[7]);
}
END_TEST

/* --- placements --- */

START_TEST(a_placement_beats_the_slot_and_epochs_of_a_domain_only_grow)
{
    uint64_t placed, back;

    three();
    ck_assert_int_eq(place("example.com", 2, 2), E_NOTFOUND);
    ck_assert_int_eq(domain("example.com"), OK);
    ck_assert_int_eq(domain("example.net"), OK);
    ck_assert_int_eq(place("example.com", 2, 3), E_CONFLICT);
    ck_assert_int_eq(place("example.com", 4, 2), E_CONFLICT);
    ck_assert_int_eq(place("example.com", 2, 2), OK);
    placed = at;
    holder_is("example.com", 2, placed);
    holder_is("example.net", 1, 2);
    ck_assert(released("example.com", 2));
    ck_assert_int_eq(place("example.com", 3, 2), E_CONFLICT); /* came late */
    /* the slot goes elsewhere: the placement stays */
    ck_assert_int_eq(give(115, 2, 3), OK);
    holder_is("example.com", 2, placed);
    ck_assert_int_eq(place("example.com", 0, placed), OK);
    back = at;
    holder_is("example.com", 3, back);
    ck_assert(released("example.com", placed) && !released("example.com", back));
    /* the epoch after the end is closed with the slot's assignment */
    ck_assert_int_eq(give(115, slot_at(115).epoch, 1), OK);
    holder_is("example.com", 1, at);
    ck_assert(released("example.com", back));
}
END_TEST

START_TEST(a_placement_at_the_slots_own_holder_is_none)
{
    struct placement p;

    three();
    ck_assert_int_eq(domain("example.com"), OK);
    ck_assert_int_eq(place("example.com", 2, 2), OK);
    ck_assert_int_eq(place("example.com", 1, at), OK);
    holder_is("example.com", 1, at);
    ck_assert_int_eq(control_placement_next(c, STR_NONE, &arena, &p), OK);
    ck_assert(str_eq(p.domain, STR("example.com")) && p.site == 0 && p.epoch == at);
    ck_assert_int_eq(control_placement_next(c, p.domain, &arena, &p), E_NOTFOUND);
}
END_TEST

START_TEST(a_placement_ends_with_the_session_of_its_site)
{
    uint64_t placed;

    three();
    ck_assert_int_eq(domain("example.com"), OK);
    ck_assert_int_eq(place("example.com", 2, 2), OK);
    placed = at;
    ck_assert_int_eq(end(2, 4, 4), OK);
    holder_is("example.com", 1, at);
    ck_assert(!released("example.com", placed));
    /* a take-over of the slot closes nothing of the epoch after the end */
    placed = at;
    ck_assert_int_eq(end(1, 2, 2), OK);
    holder_is("example.com", 3, at);
    ck_assert(!released("example.com", placed));
}
END_TEST

START_TEST(a_placement_goes_on_when_its_site_opens_anew)
{
    three();
    ck_assert_int_eq(domain("example.com"), OK);
    ck_assert_int_eq(place("example.com", 2, 2), OK);
    ck_assert_int_eq(begin(2), OK);
    holder_is("example.com", 2, at);
    ck_assert_int_eq(drain(2, true), OK);
    ck_assert_int_eq(begin(2), OK);
    holder_is("example.com", 1, at);
}
END_TEST

START_TEST(a_domain_that_is_dropped_takes_its_placement_along)
{
    struct control_counts n;
    uint64_t made;

    three();
    ck_assert_int_eq(domain("example.com"), OK);
    made = at;
    ck_assert_int_eq(place("example.com", 2, 2), OK);
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_DOMAIN_REMOVE,
                                            .domain_remove = {STR("example.com")}}),
                     OK);
    ck_assert_int_eq(apply((struct command){.kind = COMMAND_DOMAIN_DROP,
                                            .domain_drop = {STR("example.com"), made}}),
                     OK);
    ck_assert_int_eq(control_counts(c, &n), OK);
    ck_assert_uint_eq(n.placements, 0);
}
END_TEST

/* --- anything goes --- */

static const char *const names[] = {"example.com", "example.net", "a.example", "b.example"};

static void any_entry(struct prng *r)
{
    uint16_t site = (uint16_t)(1 + prng_below(r, 3)), other = (uint16_t)prng_below(r, 4);
    struct session s = {.site = site};
    uint32_t slot = (uint32_t)prng_below(r, 256);
    const char *name = names[prng_below(r, 4)];
    struct slot have = {.site = 0};
    uint16_t holder = 0;
    uint64_t epoch = 1;

    (void)!control_session(c, site, &s);
    (void)!control_slot(c, slot, &have);
    (void)!control_holder(c, str_of(name), &holder, &epoch);
    switch (prng_below(r, 16)) {
    case 0:
        (void)(prng_below(r, 4) == 0 ? add(site) : drop(site, prng_below(r, at + 1) + 1));
        return;
    case 1:
        (void)fill(site);
        return;
    case 2:
    case 3:
        (void)begin(site);
        return;
    case 4:
        (void)renew(site, s.epoch + 1 - prng_below(r, 2));
        return;
    case 5:
        (void)end(site, s.epoch == 0 ? 1 : s.epoch, prng_below(r, 2) * s.renewal_index);
        return;
    case 6:
        (void)drain(site, prng_below(r, 2) == 0);
        return;
    case 7:
        (void)want(slot, slot + (256 - slot) / 2 + 1, other, false);
        return;
    case 8:
    case 9:
    case 10:
        (void)give(slot, have.epoch == 0 ? 1 : have.epoch, other);
        return;
    case 11:
        (void)domain(name);
        return;
    default:
        (void)place(name, other, epoch == 0 ? 1 : epoch);
        return;
    }
}

/* A slot's holder has a live session of a present member; epochs never go back, and change with
 * every change of the holder. */
static void look_at_all(struct slot was[CONTROL_SLOTS], uint64_t domain_epochs[4])
{
    static struct control_cluster v;
    bool is_live[4] = {false};

    ck_assert_int_eq(control_cluster(c, &v), OK);
    for (uint32_t i = 0; i < v.session_count; i++)
        is_live[v.sessions[i].site] =
            !v.sessions[i].ended && member_of(v.sessions[i].site).filled;
    for (uint32_t i = 0; i < CONTROL_SLOTS; i++) {
        const struct slot *now = &v.slots[i];

        ck_assert(now->epoch >= was[i].epoch);
        ck_assert(now->site == was[i].site || now->epoch == at);
        ck_assert(now->site == 0 || is_live[now->site]);
        was[i] = *now;
    }
    for (int i = 0; i < 4; i++) {
        uint16_t site = 0;
        uint64_t epoch = 0;
        enum err e = control_holder(c, str_of(names[i]), &site, &epoch);

        ck_assert(e == OK || e == E_NOTFOUND);
        ck_assert(epoch >= domain_epochs[i]);
        ck_assert(site == 0 || is_live[site]);
        ck_assert(!control_released(c, str_of(names[i]), epoch) || site == 0);
        domain_epochs[i] = epoch;
    }
}

START_TEST(whatever_comes_holders_are_live_and_epochs_grow)
{
    struct slot was[CONTROL_SLOTS] = {{.site = 0}};
    uint64_t domain_epochs[4] = {0}, bad;
    struct prng r;

    prng_seed(&r, (uint64_t)_i + 1);
    ck_assert_int_eq(add(1), OK);
    for (int i = 0; i < 400; i++) {
        any_entry(&r);
        look_at_all(was, domain_epochs);
    }
    ck_assert_int_eq(control_verify(c, &bad), OK);
    ck_assert_uint_eq(bad, 0);
}
END_TEST

START_TEST(an_entry_without_a_command_moves_the_index_and_nothing_else)
{
    struct control_input in = {.index = 1};
    struct command_result r;
    struct control_members m;

    ck_assert_int_eq(control_apply_batch(c, &in, 1, &r), OK);
    ck_assert_int_eq(r.err, OK);
    ck_assert_uint_eq(control_applied(c), 1);
    ck_assert_int_eq(control_members(c, &m), OK);
    ck_assert(m.count == 0 && m.applied == 1);
}
END_TEST

START_TEST(the_view_for_leases_is_of_one_moment)
{
    static struct control_cluster v;

    three_even();
    ck_assert_int_eq(control_cluster(c, &v), OK);
    ck_assert_uint_eq(v.applied, at);
    ck_assert_uint_eq(v.member_count, 3);
    ck_assert_uint_eq(v.session_count, 3);
    ck_assert(v.sessions[1].may_hold && v.sessions[1].epoch == 4);
    ck_assert_uint_eq(v.slots[255].site, 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_cluster");
    TCase *tc = tcase_create("control_cluster");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_first_member_brings_its_incarnation_and_all_others_get_theirs);
    tcase_add_test(tc, an_incarnation_that_the_first_member_took_is_not_given_again);
    tcase_add_test(tc, a_member_added_again_replaces_the_old_one_and_ends_its_session);
    tcase_add_test(tc, removing_a_member_ends_its_session_and_the_last_one_stays);
    tcase_add_test(tc, replaced_members_are_forgotten_or_no_more_are_added);
    tcase_add_test(tc, a_key_is_changed_over_or_revoked);
    tcase_add_test(tc, a_renewal_counts_for_the_newest_live_session_alone);
    tcase_add_test(tc, a_take_over_that_comes_after_a_renewal_changes_nothing);
    tcase_add_test(tc, what_is_sealed_is_what_ended);
    tcase_add_test(tc, a_site_that_opens_anew_keeps_its_slots_under_a_new_epoch);
    tcase_add_test(tc, an_opening_that_comes_twice_opens_once);
    tcase_add_test(tc, an_opening_that_comes_late_opens_nothing);
    tcase_add_test(tc, with_nobody_left_slots_are_free_until_somebody_comes);
    tcase_add_test(tc, a_draining_site_gets_nothing_while_another_can);
    tcase_add_test(tc, a_draining_site_that_restarts_has_given_all_away);
    tcase_add_test(tc, a_wish_is_recorded_and_goes_with_the_slot);
    tcase_add_test(tc, a_share_is_wanted_until_it_was_given_or_an_operator_moved_slots);
    tcase_add_test(tc, slots_are_released_all_or_none_and_only_under_their_epoch);
    tcase_add_test(tc, slots_given_to_whom_it_may_concern_are_spread);
    tcase_add_test(tc, an_epoch_is_released_by_its_holders_word_and_not_by_a_take_over);
    tcase_add_test(
        tc, a_released_epoch_is_forgotten_after_four_others_and_never_wrongly_remembered);
    tcase_add_test(tc, a_placement_beats_the_slot_and_epochs_of_a_domain_only_grow);
    tcase_add_test(tc, a_placement_at_the_slots_own_holder_is_none);
    tcase_add_test(tc, a_placement_ends_with_the_session_of_its_site);
    tcase_add_test(tc, a_placement_goes_on_when_its_site_opens_anew);
    tcase_add_test(tc, a_domain_that_is_dropped_takes_its_placement_along);
    tcase_add_test(tc, an_entry_without_a_command_moves_the_index_and_nothing_else);
    tcase_add_test(tc, the_view_for_leases_is_of_one_moment);
    tcase_add_loop_test(tc, whatever_comes_holders_are_live_and_epochs_grow, 0, 10);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
