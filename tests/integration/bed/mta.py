"""Stock Postfix as machines of a bed: sender, backup (what trispool is measured against), primary.
The package is unpacked (postfix.py), not installed."""
import os
import re
import time

import postfix
from postfix import MASTER, QUEUE, UIDS

SPOOL = "/var/spool/postfix"
MAIL = "/var/vmail"

COMMON = {
    "compatibility_level": "3.6", "queue_directory": SPOOL, "command_directory": "/usr/sbin",
    "daemon_directory": "/usr/lib/postfix/sbin", "data_directory": "/var/lib/postfix",
    "mail_owner": "postfix", "setgid_group": "postdrop", "mynetworks": "127.0.0.0/8",
    "inet_protocols": "ipv4", "alias_maps": "", "alias_database": "",
    "maillog_file": "/var/log/postfix.log", "smtp_tls_security_level": "", "biff": "no",
    "mydestination": "", "local_recipient_maps": "", "meta_directory": "/etc/postfix",
    "shlib_directory": "/usr/lib/postfix", "smtpd_peername_lookup": "yes", "notify_classes": "",
}

START = """set -e
mkdir -p /var/lib/postfix %(spool)s /var/log %(mail)s
chown postfix /var/lib/postfix; chown vmail:vmail %(mail)s; chown root %(spool)s
for d in %(queues)s; do mkdir -p -m 700 %(spool)s/$d; chown postfix %(spool)s/$d; done
mkdir -p -m 730 %(spool)s/maildrop; chown postfix:postdrop %(spool)s/maildrop
mkdir -p -m 710 %(spool)s/public; chown postfix:postdrop %(spool)s/public
mkdir -p -m 755 %(spool)s/pid
cp -n /usr/share/postfix/postfix-files /etc/postfix/ 2>/dev/null || true
chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop
chmod g+s /usr/sbin/postqueue /usr/sbin/postdrop
exec /usr/lib/postfix/sbin/master -d
""" % {"spool": SPOOL, "mail": MAIL, "queues": " ".join(QUEUE)}


def accounts():
    """/etc/passwd and /etc/group of this machine, with the users of the package."""
    ours = re.compile("(%s):" % "|".join(UIDS))
    texts = {}
    for name, row in (("passwd", "%s:x:%d:%d::/nonexistent:/usr/sbin/nologin\n"), ("group", "%s:x:%d:\n")):
        lines = [l for l in open("/etc/" + name) if not ours.match(l)]
        lines += [row % ((user, uid, uid) if name == "passwd" else (user, uid))
                  for user, uid in UIDS.items()]
        texts["/etc/" + name] = "".join(lines)
    return texts


def machine(net, name, disks=None, **settings):
    main = {**COMMON, "myhostname": name + ".bed", **settings}
    files = accounts()
    files["/etc/postfix/main.cf"] = "".join("%s = %s\n" % pair for pair in main.items())
    files["/etc/postfix/master.cf"] = MASTER.format(listen="smtp")
    return net.machine(name, layers=[str(postfix.unpacked())], files=files, disks=disks, command=START)


def sender(net, name, disk=None, **settings):
    """Takes anything from anywhere and passes it on by MX."""
    return machine(net, name, {SPOOL: disk} if disk else None, mynetworks="0.0.0.0/0",
                   smtpd_relay_restrictions="permit_mynetworks, reject_unauth_destination", **settings)


def backup(net, name, domains, disk=None, **settings):
    return machine(net, name, {SPOOL: disk} if disk else None, relay_domains=domains,
                   relay_recipient_maps="", smtpd_relay_restrictions="reject_unauth_destination",
                   **settings)


def primary(net, name, domains, disk=None, virtual_mailbox_maps="static:all/", **settings):
    return machine(net, name, {MAIL: disk} if disk else None, virtual_mailbox_domains=domains,
                   virtual_mailbox_base=MAIL, virtual_mailbox_maps=virtual_mailbox_maps,
                   virtual_uid_maps="static:%d" % UIDS["vmail"],
                   virtual_gid_maps="static:%d" % UIDS["vmail"],
                   smtpd_relay_restrictions="reject_unauth_destination",
                   smtpd_client_connection_rate_limit="0", smtpd_client_connection_count_limit="0",
                   **settings)


def folder_of(m, path):
    """A folder of a machine, running or not."""
    return os.fspath(m.disks.get(path) or m.folder + "/up" + path)


def queued(m):
    """Messages in the queue of a Postfix, running or not."""
    return sum(len(files) for q in ("incoming", "active", "deferred", "maildrop")
               for _, _, files in os.walk(folder_of(m, SPOOL) + "/" + q))


def received(m):
    """{id: [unix time, ...]} of what lies in the mailboxes of a primary."""
    base = folder_of(m, MAIL) + "/all/new"
    found = {}
    for f in os.scandir(base) if os.path.isdir(base) else []:
        with open(f.path, "rb") as mail:
            m = re.search(rb"^X-Bed-Id: (\S+)", mail.read(4000), re.M)
        if m:
            found.setdefault(m[1].decode(), []).append(f.stat().st_mtime)
    return found


INJECT = r"""
import smtplib, sys
host, count, rcpt, size, tag = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
sender = sys.argv[6]
text = ("x" * 70 + "\r\n") * (size // 72)
server = smtplib.SMTP(host, 25, timeout=60)
for i in range(count):
    if i and i % 100 == 0:
        server.quit()
        server = smtplib.SMTP(host, 25, timeout=60)
    name = "%s%d" % (tag, i)
    try:
        server.sendmail(sender.replace("{n}", str(i)), [rcpt], "From: s@sender.bed\r\nTo: %s\r\nSubject: %s\r\n"
            "Date: Mon, 30 Nov 2026 12:00:00 +0000\r\nMessage-Id: <%s@sender.bed>\r\nX-Bed-Id: %s\r\n\r\n%s" % (rcpt, name, name, name, text))
        print(name)
    except smtplib.SMTPException as e:
        print(name, e, file=sys.stderr)
server.quit()
"""


# One transaction a session, without a second try; {n} in sender and recipient is its number.
FLOOD = r"""
import smtplib, sys
host, count, rcpt, sender, helo = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
sources = sys.argv[6:]
for i in range(count):
    try:
        server = smtplib.SMTP(host, 25, helo, timeout=60, source_address=(sources[i % len(sources)], 0))
        server.ehlo()
        server.mail(sender.replace("{n}", str(i)))
        code = server.rcpt(rcpt.replace("{n}", str(i)))[0]
        if code == 250:
            code = server.data("From: x@x.bed\r\nDate: Mon, 30 Nov 2026 12:00:00 +0000\r\n\r\nspam\r\n")[0]
        server.quit()
    except smtplib.SMTPConnectError as e:
        code = e.smtp_code
    except smtplib.SMTPServerDisconnected:
        code = 421
    print(code)
"""


def flood(host, address, count, rcpt, sender, sources=()):
    """{code: how often}, of RCPT, or of the dot where that was 250. From these addresses of the host in turn."""
    told = host.run(["/usr/bin/python3", "-c", FLOOD, address, str(count), rcpt, sender, host.name + ".bed",
                     *(sources or [host.v4])], timeout=600).split()
    return {code: told.count(code) for code in set(told)}


def inject(host, address, count, rcpt, size=2000, tag="m", sender="s@sender.bed"):
    """Sends so many messages from a host; the ids of those that got a 250. {n} in the sender is the
    number of the message."""
    told = host.run(["/usr/bin/python3", "-c", INJECT, address, str(count), rcpt, str(size), tag, sender],
                    timeout=600)
    return [l for l in told.split("\n") if l and " " not in l]


DISCONNECT = re.compile(r"^(\w+ +\d+ [\d:]+) .* disconnect from \S+\[([\da-f.:]+)\] .* rcpt=(?:\d+/)?(\d+)")


def questions(m, clients):
    """[time, ...] of each recipient that this Postfix was named by these addresses, in sessions without DATA; times
    are those of the end of the session."""
    times = []
    with open(folder_of(m, "/var/log") + "/postfix.log") as f:
        for line in f:
            found = DISCONNECT.match(line)
            if found and found[2] in clients and " data=" not in line:
                times += [time.mktime(time.strptime("2000 " + found[1], "%Y %b %d %H:%M:%S"))] * int(found[3])
    return times
