#include "node/admin/access.h"

#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define DAEMON 990
#define GROUP  980

static const struct access_rule rule = {.uid = DAEMON, .has_group = true, .group = GROUP};
static const struct access_rule rule_without_group = {.uid = DAEMON, .group = GROUP};

static const struct {
    const char *who;
    const struct access_rule *rule;
    struct access_peer peer;
    bool is_allowed;
} rows[] = {
    {"root", &rule, {.uid = 0, .gid = 0}, true},
    {"root without a group", &rule_without_group, {.uid = 0, .gid = 0}, true},
    {"the daemon", &rule, {.uid = DAEMON, .gid = 1}, true},
    {"a member by primary group", &rule, {.uid = 1000, .gid = GROUP}, true},
    {"a member",
     &rule,
     {.uid = 1000, .gid = 100, .groups = {5, GROUP}, .group_count = 2},
     true},
    {"somebody", &rule, {.uid = 1000, .gid = 100, .groups = {5, 6}, .group_count = 2}, false},
    {"a group beyond the count", &rule, {.uid = 1000, .gid = 100, .groups = {GROUP}}, false},
    {"a member of a group that is not there",
     &rule_without_group,
     {.uid = 1000, .gid = GROUP},
     false},
    {"root's group alone", &rule, {.uid = 1000, .gid = 0}, false},
};

START_TEST(only_root_the_daemon_and_its_group_may)
{
    ck_assert_msg(access_allowed(rows[_i].rule, &rows[_i].peer) == rows[_i].is_allowed, "%s",
                  rows[_i].who);
}
END_TEST

START_TEST(the_kernel_says_who_is_there)
{
    struct access_peer peer;
    int fd[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    ck_assert_int_eq(access_peer_of(fd[0], &peer), OK);
    ck_assert_uint_eq(peer.uid, geteuid());
    ck_assert_uint_eq(peer.gid, getegid());
    ck_assert_uint_eq(peer.group_count, (size_t)getgroups(0, NULL));
    close(fd[0]);
    close(fd[1]);
}
END_TEST

START_TEST(without_a_unix_socket_nobody_is_there)
{
    struct access_peer peer;
    int fd[2];

    ck_assert_int_eq(pipe(fd), 0);
    ck_assert_int_eq(access_peer_of(fd[0], &peer), E_IO);
    close(fd[0]);
    close(fd[1]);
}
END_TEST

START_TEST(an_unknown_group_is_none)
{
    struct access_rule r;

    access_rule_init(&r, "no-such-group-here");
    ck_assert(!r.has_group);
    access_rule_init(&r, NULL);
    ck_assert(!r.has_group);
    ck_assert_uint_eq(r.uid, geteuid());
    access_rule_init(&r, "root");
    ck_assert(r.has_group && r.group == 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("access");
    TCase *t = tcase_create("access");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_loop_test(t, only_root_the_daemon_and_its_group_may, 0,
                        sizeof rows / sizeof *rows);
    tcase_add_test(t, the_kernel_says_who_is_there);
    tcase_add_test(t, without_a_unix_socket_nobody_is_there);
    tcase_add_test(t, an_unknown_group_is_none);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
