"""kill -9 under load, again and again: every id that got a 250 arrives, byte for byte."""
import os
import random
import signal
import subprocess

import house

CYCLES = int(os.environ.get("TRISPOOL_KILLS", "200"))
SEED = int(os.environ.get("TRISPOOL_SEED", "1"))


def test_kill_9_in_a_loop_loses_nothing(tmp_path):
    rng = random.Random(SEED)
    (tmp_path / "node").mkdir()
    n = house.Node(tmp_path / "node", extra="log:\n  level: notice\n")
    with house.Sink(tmp_path / "sink") as sink:
        n.start()
        n.add_domain(route="127.0.0.1:%d" % sink.port)
        journals = []
        for i in range(CYCLES):
            sink.say("up" if rng.random() < 0.5 else "down")
            journals.append(tmp_path / ("journal%d" % i))
            size = rng.choice([700, 4096, 30000, 300000])
            source = subprocess.Popen(
                [house.LOAD, "-t", "127.0.0.1:%d" % n.port, "-c", "8", "-m", "5", "-n", "0", "-d", "2s",
                 "-s", str(size), "--journal", str(journals[-1]), "--run", "k%d" % i],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # the kill comes when a random number of messages was acknowledged, not after a time
            wanted = rng.randrange(1, 120)
            house.until(lambda: source.poll() is not None or
                        accepted(n) >= wanted or n.process.poll() is not None, every=0.002)
            n.kill()
            source.send_signal(signal.SIGINT)
            source.wait(timeout=60)
            n.start()
        sink.say("up")
        house.until(lambda: n.queued() == 0, seconds=300, every=0.2)
        n.stop()
        sink.stop()
        verdict = house.compare_ledgers(journals, [sink.ledger])
    print(verdict)
    assert verdict["acked"] > CYCLES
    assert verdict["lost"] == 0 and verdict["altered"] == 0, verdict
    check = subprocess.run([house.CHECK, str(n.folder / "data" / "spool")], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def accepted(n):
    for row in n.ask("metrics", check=False) or []:
        if row.get("line", "").startswith("trispool_messages_accepted_total "):
            return int(row["line"].split()[1])
    return 0
