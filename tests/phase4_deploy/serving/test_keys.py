"""Keys in a real SQLite file: made, found, revoked; what they used adds up, whoever writes it."""

import asyncio
import hmac
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import event, insert

from phase4_deploy.serving import key_ring
from phase4_deploy.serving import keys as module
from phase4_deploy.serving.account import Usage
from phase4_deploy.serving.key_commands import keys as command
from phase4_deploy.serving.key_ring import KeyRing
from phase4_deploy.serving.keys import KeyStore, Used, digest, match
from shared.errors import VermeilError

ROOT = Path(__file__).resolve().parents[3]
DAY = date(2026, 11, 30)


@pytest.fixture
def store() -> KeyStore:
    return KeyStore()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def by_prefix(store):
    return {key.prefix: key for key in store.all()}


def test_the_file_holds_no_key_and_is_its_owners_alone(store, home):
    key = store.add("anna", rate=7, concurrency=2)
    assert re.fullmatch(r"vm-[\w-]{43}", key, re.ASCII)
    path = home / "serving.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert key.encode() not in content and key[11:].encode() not in content
    [row] = sqlite3.connect(path).execute("select name, prefix, digest, rate from api_keys")
    assert row == ("anna", key[:11], digest(key), 7)
    assert digest("abc").startswith("ba7816bf8f01cfea")  # FIPS 180-4's example


def test_a_key_is_found_by_all_of_its_characters(store):
    anna, ben = store.add("anna"), store.add("ben")
    known = by_prefix(store)
    assert match(anna, known).name == "anna" and match(ben, known).name == "ben"
    for wrong in ("", "vm-", anna[:-1], anna + "x", anna[:11] + ben[11:], anna.upper(), "ü\udc80"):
        assert match(wrong, known) is None, wrong


def test_every_look_up_compares_once_in_constant_time(store, monkeypatch):
    key, compared = store.add("anna"), []
    real = hmac.compare_digest

    def noted(a: str, b: str) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(module.hmac, "compare_digest", noted)
    known = by_prefix(store)
    for shown in (key, key[:11] + "x" * 35, "vm-unknown-prefix"):
        match(shown, known)
    assert [len(b) for _, b in compared] == [64, 64, 64]
    assert compared[2][1] == module.NOBODY


def test_mistakes_are_told_in_a_sentence(store, tmp_path):
    store.add("anna")
    for name, said in (
        ("anna", "there is a key named 'anna'"),
        ("a b", "cannot name"),
        ("", "name"),
    ):
        with pytest.raises(VermeilError, match=said):
            store.add(name)
    with pytest.raises(VermeilError, match=r"'ana'.*did you mean 'anna'"):
        store.revoke("ana")
    store.revoke("anna")
    with pytest.raises(VermeilError, match="there are none"):
        store.revoke("anna")
    with pytest.raises(VermeilError, match="not given as a URL"):
        KeyStore("keys")
    with pytest.raises(VermeilError, match="unable to open"):
        KeyStore(f"sqlite:///{tmp_path}/no/folder.sqlite")
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"not a database" * 100)
    with pytest.raises(VermeilError, match="not a database"):
        KeyStore(f"sqlite:///{broken}")
    for url in ("no+such://u:geheim@h/x", "mysql+nothing://u:geheim@h/x"):
        with pytest.raises(VermeilError) as error:
            KeyStore(url)
        assert "geheim" not in str(error.value) and "***" in str(error.value)


def test_usage_adds_up_by_key_day_and_endpoint(store):
    store.add("anna"), store.add("ben")
    some = Usage(1, 0, 10, 20, 0, 1.5)
    store.record({(1, DAY, "/v1/a"): some, (1, DAY, "/v1/b"): some, (2, DAY, "/v1/a"): some})
    store.record({(1, DAY, "/v1/a"): Usage(1, 1), (1, date(2026, 12, 1), "/v1/a"): Usage(images=4)})
    assert store.totals() == {
        1: (Usage(3, 1, 20, 40, 4, 3.0), date(2026, 12, 1)),
        2: (some, DAY),
    }


def test_a_row_that_another_process_makes_meanwhile_is_added_to(store):
    """SQLite's lock never lets that happen; other databases do."""
    store.add("anna")
    bill, others = {(1, DAY, "/v1/a"): Usage(1, 0, 5)}, []

    @event.listens_for(store._engine, "savepoint")
    def meanwhile(connection, name):
        others.append(name)
        values = {"key_id": 1, "day": DAY, "endpoint": "/v1/a", **asdict(Usage(2, 1, 7))}
        connection.execute(insert(Used).values(**values))

    store.record(bill)
    assert len(others) == 1 and store.totals() == {1: (Usage(3, 1, 12), DAY)}


WRITER = """
import sys
from datetime import date
from phase4_deploy.serving.account import Usage
from phase4_deploy.serving.keys import KeyStore
store = KeyStore()
print("ready", flush=True)
sys.stdin.readline()
for turn in range(60):
    store.record({(1, date(2026, 11, 1 + turn % 3), f"/v1/{turn % 2}"): Usage(1, 0, 2, 3, 0, 0.5)})
"""


def test_two_processes_write_usage_at_the_same_time_and_nothing_is_lost(store):
    store.add("anna")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    [(total, _)] = store.totals().values()
    assert total == Usage(120, 0, 240, 360, 0, 60.0)


def test_the_ring_asks_the_database_once_in_a_while(store):
    key, clock, threads = store.add("anna"), Clock(), []

    async def check():
        read = store.all
        store.all = lambda: threads.append(threading.current_thread()) or read()
        async with KeyRing(store, clock=clock) as ring:
            found = await asyncio.gather(*(ring.find(key) for _ in range(20)))
            assert {item.name for item in found} == {"anna"} and len(threads) == 1
            store.revoke("anna")
            clock.now = key_ring.LIFE - 0.1
            assert (await ring.find(key)).revoked is None
            clock.now = key_ring.LIFE
            assert (await ring.find(key)).revoked is not None
            assert len(threads) == 2

    asyncio.run(check())
    assert threading.main_thread() not in threads  # the event loop is never blocked


def test_a_door_that_had_a_key_never_opens_again(store, home):
    clock = Clock()

    async def check():
        async with KeyRing(store, life=1.0, clock=clock) as ring:
            assert await ring.open()
            key = store.add("anna")
            assert await ring.open()  # not noticed yet
            clock.now = 1.0
            assert not await ring.open() and await ring.find(key)
            store.revoke("anna")
            sqlite3.connect(home / "serving.sqlite").executescript("delete from api_keys")
            clock.now = 2.0
            assert await ring.find(key) is None and not await ring.open()

    asyncio.run(check())


def test_a_database_that_is_away_is_borne_for_a_minute(store, caplog):
    key, clock = store.add("anna"), Clock()

    def away():
        raise VermeilError("the keys' database does not answer")

    async def check():
        read, store.all = store.all, away
        async with KeyRing(store, clock=clock) as ring:
            with pytest.raises(VermeilError):
                await ring.find(key)  # never read: nobody is let in, and nobody for free
            with pytest.raises(VermeilError):
                await ring.open()
            store.all, clock.now = read, 10.0
            assert await ring.find(key)
            store.all, clock.now = away, 10 + key_ring.GRACE
            assert await ring.find(key)
            clock.now += 1
            with pytest.raises(VermeilError):
                await ring.find(key)

    asyncio.run(check())
    assert "keys cannot be read" in caplog.text


def test_usage_is_written_in_batches_kept_while_it_cannot_be_and_flushed_at_the_end(
    store, caplog, monkeypatch
):
    store.add("anna")
    monkeypatch.setattr(key_ring, "WRITE_EVERY", 0.05)
    batches, record = [], store.record

    def counted(bills):
        batches.append(dict(bills))
        if len(batches) == 1:
            raise VermeilError("locked")
        time.sleep(0.1)
        record(bills)

    store.record = counted

    async def check():
        async with KeyRing(store) as ring:
            [key] = store.all()
            for _ in range(10):
                ring.used(key, "/v1/a", Usage(1, 0, 5))
            async with asyncio.timeout(5):
                while len(batches) < 2:
                    await asyncio.sleep(0.01)
            ring.used(key, "/v1/b", Usage(1))  # while a batch is on its way, and then it ends

    asyncio.run(check())
    assert [sum(u.requests for u in batch.values()) for batch in batches] == [10, 10, 1]
    [(total, _)] = store.totals().values()
    assert total == Usage(11, 0, 50)
    assert "kept until it can be written" in caplog.text


def test_vermeil_keys(capsys, store):
    command(["add", "anna", "--rate", "7"])
    printed = capsys.readouterr()
    key = printed.out.strip()
    assert match(key, by_prefix(store)).rate == 7 and "cannot be shown again" in printed.err
    store.record({(1, DAY, "/v1/a"): Usage(3, 1, 10, 20, 0, 2.25)})
    command(["list"])
    head, row = capsys.readouterr().out.splitlines()
    cells = dict(zip(head.split(), row.split(), strict=True))
    assert cells["NAME"] == "anna" and cells["A_MINUTE"] == "7" and cells["REVOKED"] == "-"
    assert cells["REQUESTS"] == "3" and cells["TOKENS_OUT"] == "20" and cells["AUDIO_S"] == "2.2"
    assert (
        cells["LAST_USED"] == "2026-11-30" and key not in row and cells["KEY"] == key[:11] + "..."
    )
    command(["revoke", "anna"])
    command(["list"])
    assert capsys.readouterr().out.splitlines()[2].split()[5] != "-"
    for words in (["add"], ["revoke"], ["lst"], ["add", "x", "--rate", "0"]):
        with pytest.raises(VermeilError):
            command(words)
    command([])
    assert "vermeil keys add NAME" in capsys.readouterr().out
