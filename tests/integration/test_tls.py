"""TLS with clients (STARTTLS, RFC 3207) and with primaries, over the wire."""
import contextlib
import re
import signal
import socket
import ssl
import subprocess
import threading
from types import SimpleNamespace

import house
import pytest
from certificates import Certificate

PLAIN_WORDS = {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "LIMITS"}
TEN_MB = b"Subject: big\r\n\r\n" + b"".join(
    b".%07d " % i + b"x" * 88 + b"\r\n" for i in range(100 * 1024))


def stuffed(body):
    return re.sub(rb"(?m)^\.", b"..", body)


def anybody():
    """A client that takes any certificate, as a mail server does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client(house.Client):
    def secure(self, context=None):
        """The handshake; then replies come under TLS."""
        self.s = (context or anybody()).wrap_socket(self.s)
        self.f = self.s.makefile("rb")
        return self

    def starttls(self, context=None):
        assert self.code("STARTTLS") == 220
        return self.secure(context)

    def words(self):
        code, lines = self.say("EHLO client.example")
        assert code == 250
        return {l[4:].split()[0] for l in lines[1:]}

    def certificate(self):
        return self.s.getpeercert(binary_form=True)


def der(c):
    return ssl.PEM_cert_to_DER_cert(c.certificate.read_text())


def tls_lines(c, more=""):
    return "tls_certificate_file: %s\ntls_key_file: %s\n%s" % (c.certificate, c.key, more)


def metric(node, name):
    lines = [r["line"] for r in node.ask("metrics")]
    return int(next(l.split()[1] for l in lines if l.startswith("trispool_%s " % name)))


@pytest.fixture
def site(tmp_path):
    """A daemon with a certificate: .node, .own, .folder; its primary is a closed port."""
    own = Certificate(tmp_path, "own")
    (tmp_path / "mx").mkdir()
    with house.Node(tmp_path / "mx", smtp=tls_lines(own)) as n:
        n.primary_port = house.free_port()
        n.add_domain(route="127.0.0.1:%d" % n.primary_port)
        yield SimpleNamespace(node=n, own=own, folder=tmp_path)


# --- with clients ---


def test_starttls_is_offered_before_tls_and_not_after(site):
    c = Client(site.node.port)
    assert c.words() == PLAIN_WORDS | {"STARTTLS"}
    c.starttls()
    assert c.certificate() == der(site.own)
    assert c.words() == PLAIN_WORDS
    assert c.code("STARTTLS") == 503


def test_what_was_said_before_tls_is_forgotten(site):
    c = Client(site.node.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    assert c.code("RSET") == 250
    c.starttls()
    assert c.code("MAIL FROM:<a@sender.example>") == 503  # EHLO first
    c.hello()
    assert c.code("RCPT TO:<b@example.test>") == 503
    assert c.send(b"Subject: x\r\n\r\ny\r\n")[0] == 250


def test_starttls_is_no_command_for_the_middle_of_a_mail(site):
    c = Client(site.node.port).hello()
    assert c.code("MAIL FROM:<a@sender.example>") == 250
    assert c.code("STARTTLS") == 503
    assert c.code("RCPT TO:<b@example.test>") == 250


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that is why they are refused
@pytest.mark.parametrize("version, taken", [
    ("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_tls_1_2_and_up_only(site, version, taken):
    context = anybody()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    c = Client(site.node.port).hello()
    if taken:
        assert c.starttls(context).words() == PLAIN_WORDS
        assert c.s.version() == version.replace("_", ".")
        return
    with pytest.raises(ssl.SSLError, match="alert protocol version"):  # the server's word
        c.starttls(context)
    house.until(lambda: site.node.events("tls_in_failed"))


@pytest.mark.parametrize("tail", [
    b"NOOP\r\n", b"MAIL FROM:<evil@sender.example>\r\n", b"X",
    b"EHLO evil.example\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@example.test>\r\nDATA\r\n"])
def test_bytes_behind_starttls_are_thrown_away(site, tail):
    """CVE-2011-0411 and its kin: what came in the clear is not answered under TLS."""
    c = Client(site.node.port).hello()
    c.raw(b"STARTTLS\r\n" + tail)
    assert c.reply()[0] == 220
    c.secure()
    assert c.words() == PLAIN_WORDS  # the first answer belongs to this EHLO
    assert c.code("RCPT TO:<b@example.test>") == 503
    code, lines = c.send(b"Subject: x\r\n\r\ny\r\n", sender="good@sender.example")
    assert code == 250
    assert site.node.trace(lines[0].split()[-1])[0]["sender"] == "good@sender.example"
    event, = site.node.events("plaintext_after_starttls")
    assert "bytes=%d" % len(tail) in event
    assert metric(site.node, "starttls_discarded_total") == 1
    assert site.node.queued() == 1


def test_a_handshake_that_is_none_ends_the_session_only(site):
    c = Client(site.node.port).hello()
    assert c.code("STARTTLS") == 220
    c.raw(b"EHLO client.example\r\n" * 10)
    with contextlib.suppress(ConnectionResetError):  # an alert, perhaps; then the end
        while c.f.read(4096):
            pass
    house.until(lambda: site.node.events("tls_in_failed"))
    assert Client(site.node.port).hello().starttls().words() == PLAIN_WORDS


def test_a_session_under_tls_is_marked_in_received_and_trace(site):
    c = Client(site.node.port).hello().starttls().hello()
    code, lines = c.send(b"Subject: x\r\n\r\ny\r\n")
    assert code == 250
    row = site.node.trace(lines[0].split()[-1])[0]
    assert row["tls"].startswith("TLSv1.3 ")
    assert "with ESMTPS" in row["trace_header"] and row["tls"] in row["trace_header"]


def test_a_pipelined_group_under_tls_is_answered_in_order(site):
    c = Client(site.node.port).hello().starttls().hello()
    c.raw(b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@example.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n")
    assert [c.reply()[0] for _ in range(4)] == [250, 250, 452, 354]
    c.raw(b"x: y\r\n\r\nz\r\n.\r\nQUIT\r\n")
    assert [c.reply()[0] for _ in range(2)] == [250, 221]
    assert c.closed()


def test_required_tls_is_asked_for_with_530(tmp_path):
    own = Certificate(tmp_path, "own")
    (tmp_path / "mx").mkdir()
    with house.Node(tmp_path / "mx", smtp=tls_lines(own, "require_tls: true")) as n:
        n.add_domain(route="127.0.0.1:1")
        c = Client(n.port).hello()
        assert c.code("MAIL FROM:<a@sender.example>") == 530
        assert c.code("VRFY b") == 530
        assert c.code("NOOP") == 250
        c.starttls().hello()
        assert c.send(b"Subject: x\r\n\r\ny\r\n")[0] == 250
        c = Client(n.port).hello()
        assert c.code("QUIT") == 221


# --- the files ---




def remove_certificate(c):
    c.certificate.unlink()


def remove_key(c):
    c.key.unlink()


def spoil_certificate(c):
    c.certificate.write_text("this is no certificate\n")


def spoil_key(c):
    c.key.write_text("this is no key\n")


def swap_key(c):
    c.key.write_text(Certificate(c.key.parent, "other").key.read_text())


def swap_kind_of_key(c):
    c.key.write_text(Certificate(c.key.parent, "other", key=("ed25519",)).key.read_text())


BREAKS = [(remove_certificate, "own.pem"), (remove_key, "own.key"), (spoil_certificate, "own.pem"),
          (spoil_key, "own.key"), (swap_key, "do not match"),
          (swap_kind_of_key, "do not match")]


@pytest.mark.parametrize("spoil, said", BREAKS)
def test_a_wrong_certificate_or_key_is_told_at_the_start(tmp_path, spoil, said):
    own = Certificate(tmp_path, "own")
    n = house.Node(tmp_path, smtp=tls_lines(own))
    spoil(own)
    done = subprocess.run([house.DAEMON, "--config", n.config], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 78
    last = done.stderr.splitlines()[-1]
    assert str(n.config) in last and "TLS" in last and said in last and str(tmp_path) in last
    assert not (tmp_path / "data").exists()


def test_a_wrong_ca_file_is_told_at_the_start(tmp_path):
    n = house.Node(tmp_path, delivery="tls_ca_file: %s/none.pem" % tmp_path)
    done = subprocess.run([house.DAEMON, "--config", n.config], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 78 and "none.pem" in done.stderr


def hup(node, event):
    before = len(node.events(event))
    node.process.send_signal(signal.SIGHUP)
    house.until(lambda: len(node.events(event)) > before)


def test_a_renewed_certificate_counts_for_new_sessions_after_sighup(site):
    first = der(site.own)
    old = Client(site.node.port).hello()
    under_tls = Client(site.node.port).hello().starttls().hello()
    Certificate(site.folder, "own")  # the same file names
    assert der(site.own) != first
    assert Client(site.node.port).hello().starttls().certificate() == first
    hup(site.node, "reload")
    assert Client(site.node.port).hello().starttls().certificate() == der(site.own)
    assert old.starttls().certificate() == first  # a session keeps what it began with
    assert under_tls.send(b"Subject: x\r\n\r\ny\r\n")[0] == 250


@pytest.mark.parametrize("spoil, said", BREAKS)
def test_a_wrong_renewal_leaves_the_old_certificate_in_force(site, spoil, said):
    before = der(site.own)
    spoil(site.own)
    hup(site.node, "reload_failed")
    assert said in site.node.log_text()
    assert Client(site.node.port).hello().starttls().certificate() == before


# --- with primaries ---


class Names(threading.Thread):
    """A name server: every A question is answered 127.0.0.1, the rest with no data."""

    def __init__(self):
        super().__init__(daemon=True)
        self.s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.s.bind(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.start()

    def run(self):
        while True:
            question, client = self.s.recvfrom(4096)
            end = question.index(b"\0", 12) + 5
            is_a = question[end - 4:end] == b"\0\1\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_a else b""
            self.s.sendto(question[:2] + b"\x81\x80\0\1\0" + bytes([is_a]) + b"\0\0\0\0"
                          + question[12:end] + answer, client)


@pytest.fixture(scope="module")
def names():
    return Names()


@pytest.fixture
def outward(tmp_path, names):
    """A daemon that trusts one authority; example.test must go by TLS to mx.example.test."""
    ca = Certificate(tmp_path, "ca", "DNS:ca.example")
    (tmp_path / "mx").mkdir()
    with house.Node(tmp_path / "mx", delivery="tls_ca_file: %s" % ca.certificate,
                    extra='dns:\n  servers: ["127.0.0.1:%d"]\n' % names.port) as n:
        n.primary_port = house.free_port()
        n.add_domain(route="mx.example.test:%d" % n.primary_port, tls="require")
        yield SimpleNamespace(node=n, ca=ca, folder=tmp_path)


def primary(at, certificate=None, *options):
    """trispool-sink that keeps what it gets in folder/got."""
    (at.folder / "got").mkdir(exist_ok=True)
    tls = ["--tls", certificate.certificate, "--tls-key", certificate.key] if certificate else []
    return house.Sink(at.folder / "sink", at.node.primary_port, "--dir", at.folder / "got", *tls,
                      *options)


def got(at):
    return [f.read_bytes() for f in sorted((at.folder / "got").glob("*.eml"))]


def queue_one(node, body=b"Subject: x\r\n\r\ny\r\n"):
    assert Client(node.port).hello().send(stuffed(body))[0] == 250


def test_a_primary_with_a_good_certificate_gets_the_mail(outward):
    queue_one(outward.node)
    good = Certificate(outward.folder, "good", "DNS:mx.example.test", outward.ca)
    with primary(outward, good, "--require-tls"):
        house.until(lambda: outward.node.queued() == 0)
    assert len(got(outward)) == 1


def strange_authority(at):
    other = Certificate(at.folder, "other", "DNS:other.example")
    return Certificate(at.folder, "bad", "DNS:mx.example.test", other)


def own_word_only(at):
    return Certificate(at.folder, "bad", "DNS:mx.example.test")


def other_name(at):
    return Certificate(at.folder, "bad", "DNS:mx.example.org", at.ca)


def no_tls(at):
    return None


@pytest.mark.parametrize("make", [strange_authority, own_word_only, other_name, no_tls])
def test_mail_waits_for_a_primary_that_proves_its_name(outward, make):
    queue_one(outward.node)
    with primary(outward, make(outward)):
        house.until(lambda: len(outward.node.events("tls_out_failed")) >= 2)  # the probe, too
        assert outward.node.queued() == 1
    assert got(outward) == []
    good = Certificate(outward.folder, "good", "DNS:mx.example.test", outward.ca)
    (outward.folder / "sink/sink.sock").unlink(missing_ok=True)
    with primary(outward, good, "--require-tls"):
        house.until(lambda: outward.node.queued() == 0)
    assert len(got(outward)) == 1
    assert outward.node.events("message_bounced") == []


def test_a_primary_known_by_address_proves_its_address(outward):
    outward.node.ask("domain.set", name="example.test",
                     route="127.0.0.1:%d" % outward.node.primary_port)
    queue_one(outward.node)
    good = Certificate(outward.folder, "good", "IP:127.0.0.1", outward.ca)
    with primary(outward, good, "--require-tls"):
        house.until(lambda: outward.node.queued() == 0)
    assert len(got(outward)) == 1


def test_without_a_ca_file_required_tls_takes_any_certificate(site):
    site.node.ask("domain.set", name="example.test", tls="require")
    queue_one(site.node)
    with primary(site, site.own, "--require-tls"):
        house.until(lambda: site.node.queued() == 0)
    assert len(got(site)) == 1


def test_ten_megabytes_pass_under_tls_in_and_out(site):
    site.node.ask("domain.set", name="example.test", tls="require")
    c = Client(site.node.port).hello().starttls().hello()
    assert c.send(stuffed(TEN_MB))[0] == 250
    with primary(site, site.own, "--require-tls"):
        house.until(lambda: site.node.queued() == 0)
    message, = got(site)
    head, ours = message[:-len(TEN_MB)], message[-len(TEN_MB):]
    assert ours == TEN_MB
    assert re.fullmatch(rb"Received:[^\r]*\r\n([ \t][^\r]*\r\n)*", head)


def test_the_name_of_the_primary_is_asked_for_and_an_address_is_not(outward):
    """SNI carries names only (RFC 6066, 3)."""
    good = Certificate(outward.folder, "good", "DNS:mx.example.test,IP:127.0.0.1", outward.ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.certificate, good.key)
    asked = []
    context.sni_callback = lambda s, name, c: asked.append(name)
    listener = socket.create_server(("127.0.0.1", outward.node.primary_port))

    def play():
        for _ in range(2):
            s, _ = listener.accept()
            s.settimeout(30)
            s.sendall(b"220 p\r\n")
            s.recv(1000)
            s.sendall(b"250-p\r\n250 STARTTLS\r\n")
            s.recv(1000)
            s.sendall(b"220 go\r\n")
            s = context.wrap_socket(s, server_side=True)
            s.recv(1000)
            s.sendall(b"421 enough\r\n")
            s.close()
    player = threading.Thread(target=play, daemon=True)
    player.start()
    queue_one(outward.node)
    house.until(lambda: len(asked) == 1)
    outward.node.ask("domain.set", name="example.test",
                     route="127.0.0.1:%d" % outward.node.primary_port)
    house.until(lambda: len(asked) == 2)
    player.join(timeout=30)
    listener.close()
    assert asked == ["mx.example.test", None]
