"""A row that was added is there once, in order, after any death; what is forgotten is gone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from feedback.ledger_rows import exchange, rating
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ontogeny.base.errors import CorruptArtifact, InputError, NoSpace, OntogenyError
from ontogeny.feedback.exchange import Exchange, Rating
from ontogeny.feedback.ledger import Ledger

MARK = "zebra7731"
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def files_of(path: Path) -> bytes:
    """The bytes of the ledger and of all that SQLite keeps beside it."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def intact(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as line:
        return bool(line.execute("PRAGMA integrity_check").fetchall() == [("ok",)])


def test_rows_come_back_in_the_order_they_came(path: Path) -> None:
    with Ledger.open(path) as ledger:
        added = [exchange(f"e{n}", at=float(n), temperature=0.5) for n in range(5)]
        ledger.add(added[:3], [rating("e1", key="a", correction="Better", choice=1, at=7.0)])
        ledger.add(added[3:], [rating("e4", key="b", preferred=1, comment="so")])
    with Ledger.read(path) as ledger:
        exchanges, ratings = ledger.rows()
        assert exchanges == added
        assert [each.key for each in ratings] == ["a", "b"]
        assert ratings[0] == rating("e1", key="a", correction="Better", choice=1, at=7.0)
        assert ledger.last == 7
        assert ledger.rows(after=4) == (added[3:], ratings[1:])
        assert ledger.rows(until=4) == (added[:3], ratings[:1])
        assert ledger.exchange("e3") == added[3] and ledger.exchange("e9") is None
        assert ledger.counts() == (5, 2)


def test_the_same_row_sent_a_hundred_times_is_one_row(path: Path) -> None:
    with Ledger.open(path) as ledger:
        assert [ledger.add_exchange(exchange("e")) for _ in range(100)] == [True] + [False] * 99
        sent = [ledger.add_rating(rating("e", score=1.0, at=float(n))) for n in range(100)]
        assert sent == [True] + [False] * 99
        assert ledger.counts() == (1, 1)


def test_a_key_belongs_to_its_user(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add_exchange(exchange("e"))
        assert ledger.add_rating(rating("e", "u1", key="k"))
        assert ledger.add_rating(rating("e", "u2", key="k", score=-1.0))
        told = ledger.rating("u2", "k")
        assert told is not None and told.score == -1.0
        assert ledger.rating("u3", "k") is None


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (lambda ledger: ledger.add_exchange(exchange("e", said=MARK)), "another exchange"),
        (lambda ledger: ledger.add_rating(rating("none")), "no exchange none"),
        (lambda ledger: ledger.add_rating(rating("e", score=1.0, choice=2)), "2 answers"),
        (lambda ledger: ledger.add_rating(rating("e", preferred=2)), "2 answers"),
        (lambda ledger: ledger.add([exchange("f")], [rating("none")]), "no exchange none"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_of_it_stays(
    path: Path, add: Callable[[Ledger], object], reason: str
) -> None:
    with Ledger.open(path) as ledger:
        ledger.add_exchange(exchange("e"))
        before = ledger.digest()
        with pytest.raises(InputError, match=reason) as caught:
            add(ledger)
        assert MARK not in str(caught.value)
        assert ledger.digest() == before and ledger.counts() == (1, 0)


def test_a_digest_follows_content_and_order_alone(tmp_path: Path) -> None:
    def made(name: str, *added: Exchange | Rating) -> str:
        with Ledger.open(tmp_path / name) as ledger:
            for each in added:
                ledger.add(*([[each]] if isinstance(each, Exchange) else [[], [each]]))
            return ledger.digest()

    one, two, voted = exchange("1", at=5.0), exchange("2"), rating("1")
    first = made("a", one, two, voted)
    assert first == made("b", exchange("1", at=9.0), two, voted)
    others = [made("c", two, one, voted), made("d", one, voted, two), made("e", one, two)]
    assert len({first, *others}) == 4
    with Ledger.open(tmp_path / "a") as ledger:
        ledger.add([exchange("3")])
        assert ledger.digest() != first == ledger.digest(until=3)


def test_pseudonyms_follow_the_secret_and_keep_names_apart(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "a", secret=b"1" * 32) as ledger:
        pairs = [("", ""), ("a", ""), ("", "a"), ("a", "b"), ("ab", ""), ('a", "b', "")]
        names = [ledger.pseudonym(*pair) for pair in pairs]
        assert len(set(names)) == len(pairs)
        assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)
    with Ledger.open(tmp_path / "b", secret=b"1" * 32) as same, Ledger.open(tmp_path / "c") as new:
        assert [same.pseudonym(*pair) for pair in pairs] == names
        assert new.pseudonym("a", "b") not in names
    with pytest.raises(InputError, match="another secret"):
        Ledger.open(tmp_path / "a", secret=b"2" * 32)


def test_only_its_owner_may_read_it(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add_exchange(exchange("e"))
        for each in path.parent.iterdir():
            assert each.stat().st_mode & 0o077 == 0, each
        assert {each.name for each in path.parent.iterdir()} <= {
            f"ledger.db{end}" for end in ("", "-wal", "-shm")
        }


def test_what_is_forgotten_leaves_no_byte(path: Path) -> None:
    with Ledger.open(path) as ledger:
        for number in range(40):
            hers = exchange(f"h{number}", "her", f"{MARK} {number} " + "x" * 900)
            shadow = exchange(f"s{number}", "her", f"{MARK}", of=f"h{number}", arm="shadow")
            ledger.add([hers, shadow, exchange(f"o{number}", "other")])
        ledger.add([], [rating("h1", "her", correction=f"{MARK} better")])
        ledger.add([], [rating("h2", "other", key="o", score=0.5, comment=MARK)])
        ledger.add([], [rating("o1", "her", key="h", score=0.5, comment=MARK)])
        ledger.add([], [rating("o2", "other", key="p")])
        assert MARK.encode() in files_of(path)
        assert ledger.counts("her") == (80, 3)
        found = ledger.forget("her")
        assert (found.user, found.exchanges, found.ratings) == ("her", 80, 3)
        assert MARK.encode() not in files_of(path)
        assert ledger.counts("her") == (0, 0) and ledger.counts() == (40, 1)
        assert ledger.forgotten() == 1 and ledger.tombstones() == [found]
        again = ledger.forget("her")
        assert (again.exchanges, again.ratings, ledger.forgotten()) == (0, 0, 1)
        ledger.add([exchange("new")])
        assert ledger.rows(after=124)[0] == [exchange("new")]  # numbers are not used again
    assert MARK.encode() not in files_of(path) and intact(path)


def test_a_shadow_of_what_is_not_kept_is_not_kept(path: Path) -> None:
    with Ledger.open(path) as ledger:
        assert not ledger.add_exchange(exchange("s", of="e", arm="shadow"))
        ledger.add_exchange(exchange("e", "her"))
        ledger.forget("her")
        assert not ledger.add_exchange(exchange("s", "her", of="e", arm="shadow"))
        assert ledger.counts() == (0, 0)


def test_forgetting_beside_an_open_reader_says_so_and_is_finished_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ontogeny.feedback.ledger_schema.BUSY_SECONDS", 0.2)
    with Ledger.open(path) as ledger, closing(sqlite3.connect(path)) as reader:
        ledger.add_exchange(exchange("e", "her", MARK))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM exchanges").fetchone()
        with pytest.raises(InputError, match="run the same command again"):
            ledger.forget("her")
        reader.execute("COMMIT")
        assert ledger.forget("her").exchanges == 0
        assert MARK.encode() not in files_of(path)


def test_a_server_that_writes_meanwhile_does_not_hinder_forgetting(path: Path) -> None:
    with Ledger.open(path) as server:
        server.add([exchange("e", "her", MARK), exchange("f", "him")])
        with Ledger.open(path, make=False) as other:
            assert other.forget("her").exchanges == 1
        assert MARK.encode() not in files_of(path)
        assert server.forgotten() == 1
        server.add([exchange("g", "him")])
        assert [each.id for each in server.rows()[0]] == ["f", "g"]


def writer(path: Path, prefix: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "feedback.ledger_writer", str(path), prefix]
    places = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": places}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def acknowledged(process: subprocess.Popen[str], least: int) -> list[str]:
    """What it said until it was killed at some moment after `least` lines."""
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(least)]
    assert all(told), "the writer ended by itself"
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    return [line.strip() for line in told if line.endswith("\n")]


def check_kept(path: Path, said: list[str], most_more: int) -> None:
    """Each of them once, both rows, and at most so many that nobody heard of."""
    with Ledger.open(path) as ledger:
        exchanges, ratings = ledger.rows()
    ids = [each.id for each in exchanges]
    assert len(set(ids)) == len(ids)
    assert [each.exchange for each in ratings] == ids
    assert set(said) <= set(ids) and len(ids) <= len(said) + most_more
    assert intact(path)


def test_kill_at_any_moment_loses_nothing_acknowledged(path: Path) -> None:
    chance, said = random.Random(3), []
    for place in range(6):
        said += acknowledged(writer(path, f"w{place}"), chance.randint(1, 60))
        assert Path(f"{path}-wal").exists()
        check_kept(path, said, place + 1)


def test_two_writers_wait_for_one_another(path: Path) -> None:
    one, two = writer(path, "one"), writer(path, "two")
    said = acknowledged(one, 25) + acknowledged(two, 25)
    with Ledger.open(path) as ledger:
        ids = [each.id for each in ledger.rows()[0]]
    assert set(said) <= set(ids) and len(ids) == len(set(ids)) <= len(said) + 2
    for prefix in ("one", "two"):  # each one's rows in its own order
        numbers = [int(id_.split("-")[1]) for id_ in ids if id_.startswith(prefix)]
        assert numbers == list(range(len(numbers)))


def test_a_deleted_log_costs_its_rows_and_no_more(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add([exchange("before")])
    said = acknowledged(writer(path, "w"), 20)
    Path(f"{path}-wal").unlink()
    with Ledger.open(path) as ledger:
        ids = [each.id for each in ledger.rows()[0]]
        assert ids[0] == "before" and set(ids[1:]) <= set(said)
        ledger.add([exchange("after")])
    assert intact(path)


def test_a_log_alone_is_not_taken_for_a_new_ledgers(path: Path) -> None:
    acknowledged(writer(path, "w"), 3)
    path.unlink()
    with pytest.raises(CorruptArtifact, match="put the ledger back beside it") as caught:
        Ledger.open(path)
    assert caught.value.exit_code == 3 and caught.value.file == f"{path}-wal"


@pytest.mark.parametrize("keep", [0, 10, 100, 5000, 0.5, 0.9])
def test_a_truncated_ledger_is_corrupt_or_whole(path: Path, keep: float) -> None:
    with Ledger.open(path) as ledger:
        ledger.add([exchange(f"e{n}", said="x" * 500) for n in range(100)])
    size = path.stat().st_size
    os.truncate(path, int(keep * size) if isinstance(keep, float) else keep)
    for opened in (Ledger.open, Ledger.read):
        with pytest.raises(CorruptArtifact) as caught:
            opened(path)
        assert caught.value.file == str(path) and "\n" not in str(caught.value)


def test_scribbled_pages_end_in_one_line(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add([exchange(f"e{n}", said="x" * 500) for n in range(50)])
    whole, chance = path.read_bytes(), random.Random(1)
    for _ in range(60):
        data = bytearray(whole)
        place = chance.randrange(len(data))
        data[place : place + 300] = chance.randbytes(300)
        path.write_bytes(data)
        said = ""
        try:
            with Ledger.open(path) as ledger:
                ledger.rows()
                ledger.digest()
                ledger.add([exchange("new")])
        except OntogenyError as error:
            said = str(error)
        assert not said or (str(path) in said and "xxxx" not in said)
        for end in ("-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)


def test_other_peoples_files_are_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as line:
        line.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(InputError, match="another program's"):
        Ledger.open(path)
    assert path.read_bytes() == before
    path.write_text("A letter to my aunt, longer than a header.")
    with pytest.raises(CorruptArtifact, match="no ledger"):
        Ledger.open(path)


def test_another_format_is_refused_by_number(path: Path) -> None:
    Ledger.open(path).close()
    with closing(sqlite3.connect(path)) as line:
        line.execute("PRAGMA user_version = 9")
    with pytest.raises(InputError, match="of format 9, ours is 1"):
        Ledger.read(path)


@pytest.mark.parametrize("where", ["none.db", "no/such/folder/l.db", "."])
def test_no_ledger_is_one_line(tmp_path: Path, where: str) -> None:
    with pytest.raises(InputError):
        Ledger.read(tmp_path / where)
    with pytest.raises(InputError):
        Ledger.open(tmp_path / where, make=False)
    if where != "none.db":
        with pytest.raises(InputError):
            Ledger.open(tmp_path / where)


def test_a_ledger_that_another_holds_for_a_while_waits(path: Path) -> None:
    with Ledger.open(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = threading.Event()

        def add() -> None:
            with Ledger.open(path) as mine:
                mine.add([exchange("late")])
            done.set()

        waiting = threading.Thread(target=add)
        waiting.start()
        assert not done.wait(0.3)
        assert ledger.counts() == (0, 0)  # readers do not wait
        other.execute("COMMIT")
        waiting.join(30)
        assert done.is_set() and ledger.counts() == (1, 0)


def test_one_that_another_holds_too_long_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ontogeny.feedback.ledger_schema.BUSY_SECONDS", 0.1)
    with Ledger.open(path) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="another process has held"):
            ledger.add([exchange("e")])


def test_a_ledger_that_was_moved_away_or_replaced_takes_nothing_more(
    path: Path, tmp_path: Path
) -> None:
    with Ledger.open(path) as ledger:
        shutil.copy(path, tmp_path / "copy.db")
        path.rename(tmp_path / "away.db")
        with pytest.raises(InputError, match="moved or deleted"):
            ledger.check_place()
        (tmp_path / "copy.db").rename(path)
        with pytest.raises(InputError, match="moved or deleted"):
            ledger.check_place()


def test_a_full_disk_keeps_all_or_nothing(path: Path) -> None:
    with Ledger.open(path) as ledger:
        ledger.add([exchange("e")])
        ledger._connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(NoSpace, match="free some space"):
            ledger.add([exchange(f"f{n}", said="x" * 3000) for n in range(100)])
        assert [each.id for each in ledger.rows()[0]] == ["e"]
        ledger._connection.execute("PRAGMA max_page_count = 1000000")
        ledger.add([exchange("f")])
    assert intact(path)


USERS = st.sampled_from(["ann", "bob", "cyd"])


class Life(RuleBasedStateMachine):
    """The ledger beside two lists."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["LEDGERS"])
        self.path = self.folder / f"{random.Random().getrandbits(64):x}.db"
        self.ledger = Ledger.open(self.path)
        self.exchanges: list[Exchange] = []
        self.ratings: list[Rating] = []
        self.number = self.gone = 0

    @rule(user=USERS, said=st.text(min_size=1, max_size=9), shadowed=st.booleans())
    def ask(self, user: str, said: str, shadowed: bool) -> None:
        self.number += 1
        live = [each.id for each in self.exchanges if not each.of and each.user == user]
        of = live[-1] if shadowed and live else ""
        each = exchange(f"e{self.number}", user, said, of=of, arm="shadow" if of else "live")
        assert self.ledger.add_exchange(each)
        assert not self.ledger.add_exchange(each)
        self.exchanges.append(each)

    @rule(user=USERS, key=st.sampled_from("abc"), choice=st.integers(0, 99))
    def rate(self, user: str, key: str, choice: int) -> None:
        if not self.exchanges:
            return
        about = self.exchanges[choice % len(self.exchanges)].id
        each = rating(about, user, key, score=choice / 100)
        known = any((r.user, r.key) == (user, key) for r in self.ratings)
        assert self.ledger.add_rating(each) is not known
        if not known:
            self.ratings.append(each)

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        theirs = {each.id for each in self.exchanges if each.user == user}
        kept = [e for e in self.exchanges if e.id not in theirs and e.of not in theirs]
        left = {each.id for each in kept}
        said = [r for r in self.ratings if r.user != user and r.exchange in left]
        found = self.ledger.forget(user)
        assert found.exchanges == len(self.exchanges) - len(kept)
        assert found.ratings == len(self.ratings) - len(said)
        self.gone += bool(found.exchanges or found.ratings)
        self.exchanges, self.ratings = kept, said

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.path)

    @invariant()
    def the_same(self) -> None:
        assert self.ledger.rows() == (self.exchanges, self.ratings)
        assert self.ledger.counts() == (len(self.exchanges), len(self.ratings))
        assert self.ledger.forgotten() == self.gone

    def teardown(self) -> None:
        self.ledger.close()
        assert intact(self.path)


def test_any_life_of_a_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGERS", str(tmp_path))
    case = Life.TestCase
    case.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
    case().runTest()
