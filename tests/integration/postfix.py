"""A stock Debian Postfix on loopback, for tests. The package is fetched once into a cache folder
(TRISPOOL_CACHE, default /var/cache/trispool-tests), unpacked and never installed; each instance
runs in mount and pid namespaces of its own, with its own users, configuration and queue, and ends
with the process that started it. Needs root. A Postfix that cannot be had fails the test."""
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import house

CACHE = Path(os.environ.get("TRISPOOL_CACHE", "/var/cache/trispool-tests"))

# Of Debian's master.cf, what takes, queues and delivers mail; nothing in a chroot.
MASTER = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

QUEUE = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
         "saved", "trace")
UIDS = {"postfix": 901, "vmail": 902, "postdrop": 903}


def run(*argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def fetch(folder):
    """The .deb, by the machine's own apt; asks for fresh package lists when the old ones fail."""
    get = ("apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", "postfix")
    code, said = run(*get, cwd=folder)
    if code != 0:
        run("apt-get", "-q", "update")
        code, said = run(*get, cwd=folder)
    assert code == 0, "no Postfix package: apt-get download postfix says\n" + said
    return next(Path(folder).glob("postfix_*.deb"))


def unpacked():
    """The folder with the unpacked package. Complete or not there: it comes by one rename."""
    top = CACHE / "postfix"
    if not (top / "usr/sbin/postconf").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as fresh:
            tree = Path(fresh) / "tree"
            code, said = run("dpkg", "-x", str(fetch(fresh)), str(tree))
            assert code == 0, said
            tree.chmod(0o755)
            if not top.exists():
                tree.rename(top)
    return top


class Postfix:
    """One instance. Further settings of main.cf as keywords. Use as a context manager."""

    def __init__(self, port=None, **settings):
        assert os.geteuid() == 0, "a Postfix needs root: namespaces and users of its own"
        self.tree = unpacked()
        self.port = port or house.free_port()
        # Not pytest's folder: the users of Postfix must be able to walk down to the mailboxes.
        self.folder = Path(tempfile.mkdtemp(prefix="trispool-postfix-"))
        self.log = self.folder / "log"
        self.mail = self.folder / "mail"
        self.process = None
        self.make_users()
        self.make_folders()
        self.set(**settings)

    def make_users(self):
        """/etc/passwd and /etc/group of the machine, with the users of the package."""
        ours = re.compile("(%s):" % "|".join(UIDS))
        for name, row in (("passwd", "%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"),
                          ("group", "%s:x:%d:\n")):
            lines = [l for l in open("/etc/" + name) if not ours.match(l)]
            for user, uid in UIDS.items():
                lines.append(row % ((user, uid, uid) if name == "passwd" else (user, uid)))
            (self.folder / name).write_text("".join(lines))

    def make_folders(self):
        self.folder.chmod(0o755)
        for name, mode, user, group in (
                [("etc", 0o755, 0, 0), ("spool", 0o755, 0, 0), ("spool/pid", 0o755, 0, 0),
                 ("lib", 0o755, UIDS["postfix"], UIDS["postfix"]),
                 ("mail", 0o755, UIDS["vmail"], UIDS["vmail"]),
                 ("spool/maildrop", 0o730, UIDS["postfix"], UIDS["postdrop"]),
                 ("spool/public", 0o710, UIDS["postfix"], UIDS["postdrop"])]
                + [("spool/" + q, 0o700, UIDS["postfix"], 0) for q in QUEUE]):
            path = self.folder / name
            path.mkdir()
            os.chown(path, user, group)
            path.chmod(mode)

    def set(self, **settings):
        """Writes main.cf. What differs from Debian's: the paths; no DNS; nothing of the mail is
        rewritten, so that it can be compared; a queue that is looked at every second."""
        main = {
            "compatibility_level": "3.6", "myhostname": "postfix.example.net",
            "queue_directory": self.folder / "spool", "data_directory": self.folder / "lib",
            "meta_directory": self.folder / "etc", "shlib_directory": self.tree / "usr/lib/postfix",
            "daemon_directory": self.tree / "usr/lib/postfix/sbin",
            "command_directory": self.tree / "usr/sbin",
            "import_environment": "MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH",
            "mail_owner": "postfix", "setgid_group": "postdrop", "maillog_file": "/dev/stdout",
            "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8", "smtpd_peername_lookup": "no",
            "smtp_dns_support_level": "disabled", "smtp_host_lookup": "native",
            "alias_maps": "", "alias_database": "", "local_recipient_maps": "", "biff": "no",
            "mydestination": "", "notify_classes": "", "message_size_limit": "0",
            "mailbox_size_limit": "0", "virtual_mailbox_limit": "0",
            "local_header_rewrite_clients": "", "message_drop_headers": "",
            "smtp_line_length_limit": "0",
            "queue_run_delay": "1s", "minimal_backoff_time": "1s", "maximal_backoff_time": "1s",
        }
        main.update(settings)
        etc = self.folder / "etc"
        (etc / "main.cf").write_text("".join("%s = %s\n" % kv for kv in main.items()))
        (etc / "master.cf").write_text(MASTER.format(listen="127.0.0.1:%d" % self.port))
        os.utime(etc / "main.cf", (0, 0))  # else it waits two seconds: a file may still change

    def command(self, *argv):
        return subprocess.run([str(self.tree / "usr/sbin" / argv[0]), *map(str, argv[1:])],
                              env=self.environment(), capture_output=True, text=True, check=True)

    def environment(self):
        return dict(os.environ, MAIL_CONFIG=str(self.folder / "etc"),
                    LD_LIBRARY_PATH=str(self.tree / "usr/lib/postfix"))

    def start(self):
        # The shell stays, as the first process of its namespace: master changes its user and so
        # loses the order to die with its parent; the shell keeps it, and takes all with it.
        script = ('mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && '
                  '{ "$2" -s -d & } && wait')
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--propagation",
                 "private", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--",
                 "sh", "-c", script, "sh", str(self.folder),
                 str(self.tree / "usr/lib/postfix/sbin/master")],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment(),
                cwd=self.folder)

        def up():
            assert self.process.poll() is None, "Postfix ended:\n" + self.log_text()
            assert " fatal: " not in self.log_text(), self.log_text()
            return re.search("daemon started", self.log_text())
        house.until(up)
        house.until_port(self.port)
        return self

    def stop(self):
        """Every process of it at once; the queue stays. The last one gone frees the port."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

            def is_free():
                with socket.socket() as s:
                    return s.connect_ex(("127.0.0.1", self.port)) != 0
            house.until(is_free)

    def log_text(self):
        return self.log.read_text(errors="replace")

    def lines(self, pattern):
        """Lines of the log that the expression is found in."""
        return [l for l in self.log_text().splitlines() if re.search(pattern, l)]

    def queued(self):
        """Messages in its queue, however they wait."""
        return sum(len(files) for q in ("maildrop", "incoming", "active", "deferred", "hold")
                   for _, _, files in os.walk(self.folder / "spool" / q))

    def received(self):
        """What lies in the mailboxes: bytes as on the wire (CRLF), oldest name first."""
        return [f.read_bytes().replace(b"\n", b"\r\n") for f in sorted(self.mail.glob("*/new/*"))]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            print("--- log of Postfix on port %d\n%s" % (self.port, self.log_text()[-8000:]))
        shutil.rmtree(self.folder, ignore_errors=True)


def sender(to_port, **settings):
    """Takes anything from loopback and passes it all to this port."""
    return Postfix(relayhost="[127.0.0.1]:%d" % to_port,
                   smtpd_relay_restrictions="permit_mynetworks, reject_unauth_destination",
                   smtpd_client_connection_count_limit="0", **settings)


def primary(*domains, port=None, mailboxes="static:all/", **settings):
    """Keeps the mail of these domains in maildirs; nothing is relayed."""
    return Postfix(port=port, virtual_mailbox_domains=", ".join(domains),
                   virtual_mailbox_base="$queue_directory/../mail", virtual_mailbox_maps=mailboxes,
                   virtual_uid_maps="static:%d" % UIDS["vmail"],
                   virtual_gid_maps="static:%d" % UIDS["vmail"],
                   smtpd_relay_restrictions="reject_unauth_destination",
                   smtpd_client_connection_count_limit="0", **settings)
