/* Frames of the control plane: what goes out comes in again, and nothing else comes in. */
#include "proto/raftwire.h"

#include <check.h>
#include <stdlib.h>
#include <xxhash.h>

static uint8_t buf[LIMIT_FRAME_BYTES + 4096];
static struct arena arena;
static struct raftwire_frame f, got;
static struct str bytes;
static struct raftwire_entry entries[LIMIT_CONTROL_BATCH + 1];

static void setup(void)
{
    arena_init(&arena, 4 * MiB);
    f = (struct raftwire_frame){.site = 2, .incarnation = 17, .to = 23};
    memcpy(f.cluster, "0123456789abcdef", sizeof f.cluster);
}

static void teardown(void)
{
    arena_reset(&arena);
}

static void there_and_back(void)
{
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), OK);
    ck_assert_int_eq(raftwire_decode(bytes, &arena, &got), OK);
    ck_assert_int_eq(got.kind, f.kind);
    ck_assert_mem_eq(got.cluster, f.cluster, sizeof f.cluster);
    ck_assert_uint_eq(got.site, 2);
    ck_assert_uint_eq(got.incarnation, 17);
    ck_assert_uint_eq(got.to, 23);
}

static void message(enum raftwire_kind kind, uint8_t version)
{
    f.kind = kind;
    f.message = (struct raftwire_message){.kind = kind, .version = version, .term = 9};
}

START_TEST(every_field_of_every_vote_comes_back)
{
    message(RAFTWIRE_VOTE, 2);
    f.message.vote.last_index = 7;
    f.message.vote.last_term = 8;
    f.message.vote.pre_vote = true;
    there_and_back();
    ck_assert_uint_eq(got.message.version, 2);
    ck_assert_uint_eq(got.message.term, 9);
    ck_assert_uint_eq(got.message.vote.last_index, 7);
    ck_assert_uint_eq(got.message.vote.last_term, 8);
    ck_assert(got.message.vote.pre_vote && !got.message.vote.disrupt_leader);
    ck_assert_uint_eq(got.message.peer, 17); /* who sent it */
    message(RAFTWIRE_VOTE_RESULT, 2);
    f.message.vote_result.granted = true;
    f.message.vote_result.features = 1;
    f.message.vote_result.capacity = 65535;
    there_and_back();
    /* without its version a vote for real and one for the asking are the same */
    ck_assert_uint_eq(got.message.version, 2);
    ck_assert(got.message.vote_result.granted && !got.message.vote_result.pre_vote);
    ck_assert_uint_eq(got.message.vote_result.features, 1);
    ck_assert_uint_eq(got.message.vote_result.capacity, 65535);
    message(RAFTWIRE_VOTE_RESULT, 2);
    f.message.vote_result.pre_vote = true;
    there_and_back();
    ck_assert(!got.message.vote_result.granted && got.message.vote_result.pre_vote);
    message(RAFTWIRE_TIMEOUT_NOW, 0);
    f.message.timeout_now.last_index = 70;
    f.message.timeout_now.last_term = 71;
    there_and_back();
    ck_assert_uint_eq(got.message.timeout_now.last_index, 70);
    ck_assert_uint_eq(got.message.timeout_now.last_term, 71);
}
END_TEST

START_TEST(every_field_of_an_append_and_its_result_comes_back)
{
    message(RAFTWIRE_APPEND, 1);
    entries[0] = (struct raftwire_entry){3, RAFTWIRE_MEMBERS, STR("members")};
    entries[1] = (struct raftwire_entry){4, RAFTWIRE_BARRIER, {"\0\0", 2}};
    entries[2] = (struct raftwire_entry){4, RAFTWIRE_COMMAND, STR("x")};
    f.message.append.prev_index = 10;
    f.message.append.prev_term = 2;
    f.message.append.commit = 9;
    f.message.append.entries = entries;
    f.message.append.count = 3;
    there_and_back();
    ck_assert_uint_eq(got.message.version, 1);
    ck_assert_uint_eq(got.message.append.prev_index, 10);
    ck_assert_uint_eq(got.message.append.prev_term, 2);
    ck_assert_uint_eq(got.message.append.commit, 9);
    ck_assert_uint_eq(got.message.append.count, 3);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(got.message.append.entries[i].term, entries[i].term);
        ck_assert_int_eq(got.message.append.entries[i].kind, entries[i].kind);
        ck_assert(str_eq(got.message.append.entries[i].bytes, entries[i].bytes));
    }
    message(RAFTWIRE_APPEND, 0);
    there_and_back(); /* a heartbeat */
    ck_assert_uint_eq(got.message.append.count, 0);
    message(RAFTWIRE_APPEND_RESULT, 2);
    f.message.append_result.rejected = 5;
    f.message.append_result.last_index = 4;
    f.message.append_result.features = 1;
    f.message.append_result.capacity = 3;
    there_and_back();
    ck_assert_uint_eq(got.message.version, 2);
    ck_assert_uint_eq(got.message.append_result.rejected, 5);
    ck_assert_uint_eq(got.message.append_result.last_index, 4);
    ck_assert_uint_eq(got.message.append_result.features, 1);
    ck_assert_uint_eq(got.message.append_result.capacity, 3);
}
END_TEST

static void snapshot(struct str piece)
{
    f.kind = RAFTWIRE_SNAPSHOT;
    f.snapshot.version = 1;
    f.snapshot.term = 6;
    f.snapshot.at = (struct raftwire_snapshot){
        .index = 100, .term = 5, .members_index = 40, .members = STR("members")};
    f.snapshot.transfer = 77;
    f.snapshot.applied = 103;
    f.snapshot.offset = 1 << 20;
    f.snapshot.last = true;
    f.snapshot.piece = piece;
}

START_TEST(a_piece_of_a_snapshot_of_full_size_fits_into_a_frame)
{
    static char piece[RAFTWIRE_PIECE_BYTES];
    static char members[RAFTWIRE_MEMBERS_BYTES];

    snapshot((struct str){piece, sizeof piece});
    f.snapshot.at.members = (struct str){members, sizeof members};
    there_and_back();
    ck_assert_uint_eq(got.snapshot.version, 1);
    ck_assert_uint_eq(got.snapshot.term, 6);
    ck_assert_uint_eq(got.snapshot.at.index, 100);
    ck_assert_uint_eq(got.snapshot.at.term, 5);
    ck_assert_uint_eq(got.snapshot.at.members_index, 40);
    ck_assert_uint_eq(got.snapshot.at.members.n, sizeof members);
    ck_assert_uint_eq(got.snapshot.transfer, 77);
    ck_assert_uint_eq(got.snapshot.applied, 103);
    ck_assert_uint_eq(got.snapshot.offset, 1 << 20);
    ck_assert(got.snapshot.last);
    ck_assert_uint_eq(got.snapshot.piece.n, sizeof piece);
    f = (struct raftwire_frame){.site = 2, .incarnation = 17, .to = 23};
    f.kind = RAFTWIRE_SNAPSHOT_ACK;
    f.snapshot_ack.transfer = 77;
    f.snapshot_ack.offset = 5;
    f.snapshot_ack.failed = true;
    there_and_back();
    ck_assert_uint_eq(got.snapshot_ack.transfer, 77);
    ck_assert_uint_eq(got.snapshot_ack.offset, 5);
    ck_assert(got.snapshot_ack.failed);
}
END_TEST

START_TEST(proposals_and_greetings_come_back)
{
    f.kind = RAFTWIRE_HELLO;
    f.hello.format = RAFTWIRE_FORMAT;
    f.hello.answer = true;
    f.hello.applied = 4;
    there_and_back();
    ck_assert_uint_eq(got.hello.format, RAFTWIRE_FORMAT);
    ck_assert(got.hello.answer);
    ck_assert_uint_eq(got.hello.applied, 4);
    f.kind = RAFTWIRE_FORWARD;
    f.forward.request = UINT64_MAX;
    f.forward.bytes = STR("command");
    there_and_back();
    ck_assert_uint_eq(got.forward.request, UINT64_MAX);
    ck_assert(str_eq(got.forward.bytes, STR("command")));
    f.kind = RAFTWIRE_FORWARD_ANSWER;
    memset(&f.forward_answer, 0, sizeof f.forward_answer);
    f.forward_answer.request = 8;
    f.forward_answer.outcome = RAFTWIRE_ACCEPTED;
    f.forward_answer.index = 12;
    f.forward_answer.term = 3;
    there_and_back();
    ck_assert_uint_eq(got.forward_answer.index, 12);
    ck_assert_uint_eq(got.forward_answer.term, 3);
    f.forward_answer.outcome = RAFTWIRE_NOT_LEADER;
    f.forward_answer.index = f.forward_answer.term = 0;
    f.forward_answer.leader = 99;
    there_and_back();
    ck_assert_int_eq(got.forward_answer.outcome, RAFTWIRE_NOT_LEADER);
    ck_assert_uint_eq(got.forward_answer.leader, 99);
}
END_TEST

static struct raftwire_peer peers[LIMIT_MEMBER_RECORDS + 1];

static void say_peers(void)
{
    f.kind = RAFTWIRE_PEERS;
    memset(&f.peers, 0, sizeof f.peers);
    for (uint16_t i = 0; i <= LIMIT_MEMBER_RECORDS; i++)
        peers[i] = (struct raftwire_peer){.site = (uint16_t)(i + 1),
                                          .incarnation = 100u + i,
                                          .key = {(uint8_t)i, 7},
                                          .address = STR("192.0.2.1:7301")};
    f.peers.index = 50;
    f.peers.list = peers;
    f.peers.count = 3;
}

START_TEST(who_is_a_member_comes_back)
{
    say_peers();
    peers[1].has_old_key = true;
    peers[1].old_key[31] = 9;
    peers[2].address = STR("[2001:db8::1]:7301");
    there_and_back();
    ck_assert_uint_eq(got.peers.index, 50);
    ck_assert_uint_eq(got.peers.count, 3);
    for (int i = 0; i < 3; i++) {
        const struct raftwire_peer *p = &got.peers.list[i];

        ck_assert_uint_eq(p->site, peers[i].site);
        ck_assert_uint_eq(p->incarnation, peers[i].incarnation);
        ck_assert_mem_eq(p->key, peers[i].key, sizeof p->key);
        ck_assert(p->has_old_key == peers[i].has_old_key);
        ck_assert_mem_eq(p->old_key, peers[i].old_key, sizeof p->old_key);
        ck_assert(str_eq(p->address, peers[i].address));
    }
    f.peers.count = LIMIT_MEMBER_RECORDS;
    there_and_back();
}
END_TEST

START_TEST(members_that_make_no_sense_cannot_be_said)
{
    for (int what = 0; what < 8; what++) {
        say_peers();
        if (what == 1)
            f.peers.index = 0;
        if (what == 2)
            f.peers.count = 0;
        if (what == 3)
            f.peers.count = LIMIT_MEMBER_RECORDS + 1;
        if (what == 4)
            peers[0].site = 0;
        if (what == 5)
            peers[1].site = 1; /* twice */
        if (what == 6)
            peers[2].incarnation = 0;
        if (what == 7)
            peers[2].address = STR("nowhere");
        ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes),
                         what == 0 ? OK : E_PROTO);
    }
}
END_TEST

START_TEST(what_makes_no_sense_cannot_be_said)
{
    struct raftwire_frame well;

    f.kind = RAFTWIRE_FORWARD;
    f.forward.request = 1;
    f.forward.bytes = STR("c");
    well = f;
    f.site = 0;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f = well;
    f.incarnation = 0;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f = well;
    f.forward.request = 0;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f = well;
    f.forward.bytes = STR_NONE;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f = well;
    ck_assert_int_eq(raftwire_encode(&f, buf, 20, &bytes), E_FULL);
    snapshot(STR("p"));
    f.snapshot.applied = 99; /* older than the place it is for */
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    message(RAFTWIRE_APPEND, 0);
    f.message.append.entries = entries;
    f.message.append.count = LIMIT_CONTROL_BATCH + 1;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f.message.append.count = 1;
    entries[0] = (struct raftwire_entry){1, (enum raftwire_entry_kind)4, STR("x")};
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
    f.kind = (enum raftwire_kind)11;
    ck_assert_int_eq(raftwire_encode(&f, buf, sizeof buf, &bytes), E_PROTO);
}
END_TEST

START_TEST(a_batch_of_the_largest_number_of_entries_is_bounded_by_what_they_add)
{
    size_t sum = RAFTWIRE_HEAD_BYTES;

    message(RAFTWIRE_APPEND, 0);
    for (int i = 0; i < LIMIT_CONTROL_BATCH; i++) {
        entries[i] = (struct raftwire_entry){UINT64_MAX, RAFTWIRE_COMMAND, STR("command")};
        sum += raftwire_entry_bytes(&entries[i]);
    }
    f.message.term = f.message.append.prev_index = f.message.append.prev_term =
        f.message.append.commit = UINT64_MAX;
    f.message.append.entries = entries;
    f.message.append.count = LIMIT_CONTROL_BATCH;
    there_and_back();
    ck_assert_uint_le(bytes.n, sum);
}
END_TEST

START_TEST(a_frame_with_one_bit_turned_is_refused)
{
    static char copy[512];

    f.kind = RAFTWIRE_FORWARD;
    f.forward.request = 1;
    f.forward.bytes = STR("command");
    there_and_back();
    ck_assert_uint_lt(bytes.n, sizeof copy);
    for (size_t bit = 0; bit < bytes.n * 8; bit++) {
        memcpy(copy, bytes.p, bytes.n);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        ck_assert_int_eq(raftwire_decode((struct str){copy, bytes.n}, &arena, &got), E_PROTO);
    }
    for (size_t n = 0; n < bytes.n; n++)
        ck_assert_int_eq(raftwire_decode(str_head(bytes, n), &arena, &got), E_PROTO);
}
END_TEST

/* With a checksum that is right: only the form can refuse it. */
static enum err decode_summed(const char *frame, size_t n)
{
    static char whole[512];
    uint64_t sum = XXH3_64bits(frame, n);

    memcpy(whole, frame, n);
    for (int i = 0; i < 8; i++)
        whole[n + (size_t)i] = (char)(sum >> (8 * i));
    return raftwire_decode((struct str){whole, n + 8}, &arena, &got);
}

START_TEST(only_the_one_form_is_taken)
{
    char frame[256];
    size_t n;

    f.kind = RAFTWIRE_HELLO;
    f.hello.format = 1;
    there_and_back();
    n = bytes.n - 8;
    memcpy(frame, bytes.p, n);
    ck_assert_int_eq(decode_summed(frame, n), OK);
    memcpy(frame + n, "\x1a\x00", 2); /* a field nobody knows */
    ck_assert_int_eq(decode_summed(frame, n + 2), E_PROTO);
    memcpy(frame + n, "\xa2\x01\x02\x08\x01", 5); /* a second body */
    ck_assert_int_eq(decode_summed(frame, n + 5), E_PROTO);
    memcpy(frame + n, "\x10\x02", 2); /* the site twice */
    ck_assert_int_eq(decode_summed(frame, n + 2), E_PROTO);
    ck_assert_int_eq(decode_summed(frame, n - 4), E_PROTO); /* no body */
}
END_TEST

START_TEST(an_arena_without_room_is_not_the_senders_fault)
{
    struct arena small;

    arena_init(&small, 16);
    f.kind = RAFTWIRE_FORWARD;
    f.forward.request = 1;
    f.forward.bytes = STR("a command that is longer than the arena has room for");
    there_and_back();
    ck_assert_int_eq(raftwire_decode(bytes, &small, &got), E_FULL);
    arena_reset(&small);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("raftwire");
    TCase *tc = tcase_create("raftwire");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_field_of_every_vote_comes_back);
    tcase_add_test(tc, every_field_of_an_append_and_its_result_comes_back);
    tcase_add_test(tc, a_piece_of_a_snapshot_of_full_size_fits_into_a_frame);
    tcase_add_test(tc, proposals_and_greetings_come_back);
    tcase_add_test(tc, who_is_a_member_comes_back);
    tcase_add_test(tc, members_that_make_no_sense_cannot_be_said);
    tcase_add_test(tc, what_makes_no_sense_cannot_be_said);
    tcase_add_test(tc, a_batch_of_the_largest_number_of_entries_is_bounded_by_what_they_add);
    tcase_add_test(tc, a_frame_with_one_bit_turned_is_refused);
    tcase_add_test(tc, only_the_one_form_is_taken);
    tcase_add_test(tc, an_arena_without_room_is_not_the_senders_fault);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
