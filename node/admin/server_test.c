/* The control socket over a real socket, in one thread: the loop of the server is turned while
 * a client waits for its line. */
#include "node/admin/server.h"

#include <check.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "node/admin/call_kit.h"

#define TURNS_MAX 100000 /* of the loop, for one line: more is a hang */

static char folder[64], path[96];
static struct event_base *base;
static struct admin_server *server;
static struct kit kit;

static enum err start(struct admin_server **out)
{
    struct admin_server_options o = {.path = path, .base = base, .table = kit_table(&kit)};

    return admin_server_start(out, &o);
}

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(folder, sizeof folder, "/tmp/trispool-server-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/control.sock", folder);
    kit = (struct kit){0};
    base = event_base_new();
    ck_assert_int_eq(start(&server), OK);
}

static void teardown(void)
{
    if (server != NULL)
        admin_server_stop(&server);
    event_base_free(base);
    unlink(path);
    rmdir(folder);
}

static int connect_to(void)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    ck_assert(str_to_z(str_of(path), sa.sun_path, sizeof sa.sun_path));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void turn(void)
{
    ck_assert_int_ge(event_base_loop(base, EVLOOP_NONBLOCK), 0);
}

/* The next line, without its newline; "" at the end of the connection. */
static const char *hear(int fd)
{
    static char line[65536];

    for (int i = 0; i < TURNS_MAX; i++) {
        ssize_t got = recv(fd, line, sizeof line, MSG_PEEK);
        const char *end = got > 0 ? memchr(line, '\n', (size_t)got) : NULL;

        ck_assert(got >= 0 || errno == EAGAIN);
        if (got == 0)
            return "";
        if (end == NULL) {
            turn();
            continue;
        }
        ck_assert_int_eq(recv(fd, line, (size_t)(end - line) + 1, 0), end - line + 1);
        line[end - line] = 0;
        return line;
    }
    ck_abort_msg("no line came");
    return NULL;
}

#define ECHO_ROW  "{\"count\":7,\"flag\":false}"
#define ECHO_DONE "{\"done\":true,\"exit\":0,\"rows\":1,\"extra\":1}"

START_TEST(requests_of_a_session_are_answered_in_turn)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"echo\"}\n{\"cmd\":\"fail\"}\n");
    ck_assert_str_eq(hear(fd), ECHO_ROW);
    ck_assert_str_eq(hear(fd), ECHO_DONE);
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"exit\":1}"));
    say(fd, "{\"cmd\":");
    turn();
    say(fd, "\"echo\"}\n");
    ck_assert_str_eq(hear(fd), ECHO_ROW);
    ck_assert_str_eq(hear(fd), ECHO_DONE);
    close(fd);
}
END_TEST

START_TEST(a_closed_side_still_gets_its_answers)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"echo\"}\n{\"cmd\":\"echo\"}\n{\"cmd\":\"cut");
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(hear(fd), ECHO_ROW);
        ck_assert_str_eq(hear(fd), ECHO_DONE);
    }
    ck_assert_str_eq(hear(fd), "");
    ck_assert_uint_eq(kit.steps, 2);
    close(fd);
}
END_TEST

START_TEST(nonsense_is_answered_and_the_session_goes_on)
{
    int fd = connect_to();

    say(fd, "\n\x01\x02\xff\n{\"cmd\":\"echo\"}\n");
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"exit\":64}"));
    ck_assert_ptr_nonnull(strstr(hear(fd), "\"exit\":64}"));
    ck_assert_str_eq(hear(fd), ECHO_ROW);
    close(fd);
}
END_TEST

START_TEST(a_request_without_end_is_refused_at_the_limit)
{
    static char junk[2 * LIMIT_ADMIN_REQUEST_BYTES];
    int fd = connect_to();
    size_t sent = 0;

    memset(junk, 'x', sizeof junk);
    while (sent < sizeof junk) {
        ssize_t n = write(fd, junk + sent, sizeof junk - sent);

        if (n < 0)
            break; /* EAGAIN: it reads no more; EPIPE: it has closed */
        sent += (size_t)n;
        turn();
    }
    ck_assert_ptr_nonnull(strstr(hear(fd), "too long"));
    close(fd);
}
END_TEST

/* A reader that is not there for a while costs the limit and no more. */
START_TEST(a_listing_waits_for_its_reader)
{
    const char *line;
    int fd = connect_to(), small = 4096;
    uint64_t steps;

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    say(fd, "{\"cmd\":\"many\",\"args\":{\"count\":2000}}\n");
    for (int i = 0; i < 2000; i++)
        turn();
    steps = kit.steps;
    ck_assert_uint_gt(steps, LIMIT_ADMIN_OUT_BYTES / 2000);
    ck_assert_uint_lt(steps, 1000);
    for (int i = 0; i < 1000; i++)
        turn();
    ck_assert_uint_eq(kit.steps, steps);
    for (int i = 1; i <= 2000; i++) {
        char want[32];

        line = hear(fd);
        snprintf(want, sizeof want, "{\"n\":%d,", i);
        ck_assert_msg(strncmp(line, want, strlen(want)) == 0, "row %d: %.40s", i, line);
    }
    ck_assert_str_eq(hear(fd), "{\"done\":true,\"exit\":0,\"rows\":2000}");
    ck_assert_uint_eq(kit.ended, 1);
    close(fd);
}
END_TEST

START_TEST(a_client_that_goes_ends_its_call)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"many\",\"args\":{\"count\":1000000}}\n");
    (void)hear(fd);
    close(fd);
    for (int i = 0; i < TURNS_MAX && kit.ended == 0; i++)
        turn();
    ck_assert_uint_eq(kit.ended, 1);
}
END_TEST

START_TEST(a_waiting_call_goes_on_when_it_is_woken)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"sleep\",\"args\":{\"ms\":1000000}}\n");
    for (int i = 0; i < TURNS_MAX && kit.number == 0; i++)
        turn();
    turn();
    ck_assert_uint_eq(kit.steps, 1);
    admin_server_wake(server, kit.number + 1);
    turn();
    ck_assert_uint_eq(kit.steps, 1);
    ck_assert_ptr_nonnull(admin_server_state(server, kit.number));
    ck_assert_ptr_null(admin_server_state(server, kit.number + 1));
    admin_server_wake(server, kit.number);
    ck_assert_str_eq(hear(fd), "{\"done\":true,\"exit\":0,\"rows\":0}");
    ck_assert_uint_eq(kit.steps, 2);
    /* An answer that comes late finds nobody. */
    ck_assert_ptr_null(admin_server_state(server, kit.number));
    admin_server_wake(server, kit.number);
    close(fd);
}
END_TEST

START_TEST(a_wait_ends_by_its_time)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"sleep\",\"args\":{\"ms\":0}}\n");
    ck_assert_str_eq(hear(fd), "{\"done\":true,\"exit\":75,\"rows\":0}");
    close(fd);
}
END_TEST

START_TEST(sessions_are_counted)
{
    int fd[LIMIT_ADMIN_SESSIONS + 1];

    for (size_t i = 0; i <= LIMIT_ADMIN_SESSIONS; i++) {
        fd[i] = connect_to();
        turn();
    }
    ck_assert_ptr_nonnull(strstr(hear(fd[LIMIT_ADMIN_SESSIONS]), "\"exit\":75}"));
    ck_assert_str_eq(hear(fd[LIMIT_ADMIN_SESSIONS]), "");
    close(fd[LIMIT_ADMIN_SESSIONS]);
    say(fd[0], "{\"cmd\":\"echo\"}\n");
    ck_assert_str_eq(hear(fd[0]), ECHO_ROW);
    close(fd[0]);
    for (int i = 0; i < 10; i++)
        turn();
    /* One place is free again. */
    fd[0] = connect_to();
    say(fd[0], "{\"cmd\":\"echo\"}\n");
    ck_assert_str_eq(hear(fd[0]), ECHO_ROW);
    for (size_t i = 0; i < LIMIT_ADMIN_SESSIONS; i++)
        close(fd[i]);
}
END_TEST

START_TEST(the_socket_is_for_owner_and_group)
{
    struct stat st;

    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISSOCK(st.st_mode));
    ck_assert_uint_eq(st.st_mode & 0777, 0660);
}
END_TEST

START_TEST(a_socket_that_is_answered_is_left_alone)
{
    struct admin_server *second;

    ck_assert_int_eq(start(&second), E_EXISTS);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_socket_that_nobody_answers_is_replaced)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    admin_server_stop(&server);
    ck_assert(str_to_z(str_of(path), sa.sun_path, sizeof sa.sun_path));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(start(&server), OK);
    fd = connect_to();
    say(fd, "{\"cmd\":\"echo\"}\n");
    ck_assert_str_eq(hear(fd), ECHO_ROW);
    close(fd);
}
END_TEST

START_TEST(a_file_in_its_place_is_left_alone)
{
    int fd;

    admin_server_stop(&server);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(start(&server), E_EXISTS);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(the_file_goes_at_stop_unless_it_is_another)
{
    int fd;

    admin_server_stop(&server);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(start(&server), OK);
    ck_assert_int_eq(unlink(path), 0);
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    admin_server_stop(&server);
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(a_path_that_cannot_be_is_refused)
{
    struct admin_server *s;
    char longer[200];
    struct admin_server_options o = {.path = longer, .base = base, .table = kit_table(&kit)};

    memset(longer, 'x', sizeof longer);
    longer[0] = '/';
    longer[sizeof longer - 1] = 0;
    ck_assert_int_eq(admin_server_start(&s, &o), E_IO);
    o.path = "/no/such/folder/control.sock";
    ck_assert_int_eq(admin_server_start(&s, &o), E_IO);
}
END_TEST

START_TEST(stop_cuts_calls_under_way)
{
    int fd = connect_to();

    say(fd, "{\"cmd\":\"sleep\",\"args\":{\"ms\":1000000}}\n");
    for (int i = 0; i < TURNS_MAX && kit.number == 0; i++)
        turn();
    admin_server_stop(&server);
    ck_assert_uint_eq(kit.ended, 1);
    ck_assert_str_eq(hear(fd), "");
    close(fd);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("server");
    TCase *t = tcase_create("server");
    SRunner *r = srunner_create(s);
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, requests_of_a_session_are_answered_in_turn);
    tcase_add_test(t, a_closed_side_still_gets_its_answers);
    tcase_add_test(t, nonsense_is_answered_and_the_session_goes_on);
    tcase_add_test(t, a_request_without_end_is_refused_at_the_limit);
    tcase_add_test(t, a_listing_waits_for_its_reader);
    tcase_add_test(t, a_client_that_goes_ends_its_call);
    tcase_add_test(t, a_waiting_call_goes_on_when_it_is_woken);
    tcase_add_test(t, a_wait_ends_by_its_time);
    tcase_add_test(t, sessions_are_counted);
    tcase_add_test(t, the_socket_is_for_owner_and_group);
    tcase_add_test(t, a_socket_that_is_answered_is_left_alone);
    tcase_add_test(t, a_socket_that_nobody_answers_is_replaced);
    tcase_add_test(t, a_file_in_its_place_is_left_alone);
    tcase_add_test(t, the_file_goes_at_stop_unless_it_is_another);
    tcase_add_test(t, a_path_that_cannot_be_is_refused);
    tcase_add_test(t, stop_cuts_calls_under_way);
    suite_add_tcase(s, t);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
