"""Keys of the API and what each has used, in SQLite or any database that SQLAlchemy reaches.

A key is `vm-` and 43 url-safe characters: 256 random bits. The database holds its first eleven
characters, by which it is found and shown, and the SHA-256 of all of it. A slow hash protects words
that people think up, which can be guessed; 256 random bits cannot, so a fast one is as safe, and
no one can make the server work hard by sending wrong keys.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated

from sqlalchemy import (
    URL,
    BigInteger,
    ForeignKey,
    String,
    create_engine,
    func,
    insert,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from phase4_deploy.serving.account import Usage
from shared.errors import VermeilError, nearest
from shared.home import home

PREFIX = 11  # characters of a key that are no secret: "vm-" and 48 bits
NOBODY = hashlib.sha256(b"").hexdigest()  # what a key with an unknown prefix is compared with
URLS = "e.g. --keys sqlite:////srv/keys.sqlite or postgresql+psycopg://user:password@host/name"
Count = Annotated[int, mapped_column(BigInteger)]  # a day can have more than 2**31 tokens
Bill = tuple[int, date, str]  # the key's id, the day (UTC), the endpoint


class Table(DeclarativeBase):
    """The tables of the service."""


class Key(Table):
    """A key: whose it is and what it may do. Revoked keys stay, for what they used is theirs."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(PREFIX), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    rate: Mapped[int]  # requests a minute
    concurrency: Mapped[int]  # requests at once
    created: Mapped[datetime]  # UTC, as are all times here
    revoked: Mapped[datetime | None]


class Used(Table):
    """What a key used on one day at one endpoint."""

    __tablename__ = "api_usage"

    key_id: Mapped[int] = mapped_column(ForeignKey("api_keys.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(String(128), primary_key=True)
    requests: Mapped[Count]
    errors: Mapped[Count]
    prompt_tokens: Mapped[Count]
    completion_tokens: Mapped[Count]
    images: Mapped[Count]
    audio_seconds: Mapped[float]


AMOUNTS = tuple(asdict(Usage()))


def digest(key: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def match(key: str, known: Mapping[str, Key]) -> Key | None:
    """The key with that secret among those known by prefix, revoked ones too.

    How long it takes tells nothing: digests are compared in constant time, and an unknown prefix
    is compared with nobody's.
    """
    found = known.get(key[:PREFIX])
    same = hmac.compare_digest(digest(key), found.digest if found else NOBODY)
    return found if same else None


class KeyStore:
    """The database. Its calls block: `KeyRing` makes them from threads."""

    def __init__(self, url: str = ""):
        self.url = _url(url or os.environ.get("VERMEIL_KEYS", ""))
        with self._answering():
            self._engine = create_engine(
                self.url, pool_pre_ping=True, connect_args=_patience(self.url)
            )
            try:
                Table.metadata.create_all(self._engine)
            except DBAPIError:  # another process made them between the look and the making
                Table.metadata.create_all(self._engine)

    def add(self, name: str, rate: int = 60, concurrency: int = 4) -> str:
        """Make a key and return it: it is not stored and cannot be shown again."""
        if not re.fullmatch(r"[A-Za-z0-9][\w.@-]{0,63}", name, re.ASCII):
            raise VermeilError(
                f"'{name}' cannot name a key", "1 to 64 letters, digits, '.', '_', '-' and '@'"
            )
        key = f"vm-{secrets.token_urlsafe(32)}"
        row = Key(
            name=name, prefix=key[:PREFIX], digest=digest(key), rate=rate,
            concurrency=concurrency, created=_now(), revoked=None,
        )  # fmt: skip
        with self._session() as session:
            session.add(row)
            try:
                session.commit()
            except IntegrityError:
                raise VermeilError(
                    f"there is a key named '{name}'",
                    "take another name; revoked keys keep theirs (vermeil keys list)",
                ) from None
        return key

    def all(self) -> list[Key]:
        """Every key, the revoked ones too."""
        with self._session() as session:
            return list(session.scalars(select(Key).order_by(Key.id)))

    def revoke(self, name: str) -> None:
        """Let a key work no longer; servers notice within seconds (KeyRing)."""
        with self._session() as session:
            names = list(session.scalars(select(Key.name).where(Key.revoked.is_(None))))
            if name not in names:
                known = nearest(name, names) if names else "there are none: vermeil keys add NAME"
                raise VermeilError(f"no working key is named '{name}'", known)
            session.execute(update(Key).where(Key.name == name).values(revoked=_now()))
            session.commit()

    def record(self, bills: Mapping[Bill, Usage]) -> None:
        """Add usage to what is there, all or nothing; other processes may do so at the same time.

        "Update, else insert, else update" is the upsert that every database understands. All go
        through the rows in one order, so that no two wait for each other.
        """
        with self._session() as session:
            for (key, day, endpoint), usage in sorted(bills.items()):
                amounts = asdict(usage)
                row = {"key_id": key, "day": day, "endpoint": endpoint}
                more = update(Used).filter_by(**row)
                more = more.values({name: getattr(Used, name) + n for name, n in amounts.items()})
                if session.execute(more).rowcount:  # pyright: ignore[reportAttributeAccessIssue]
                    continue
                try:
                    with session.begin_nested():
                        session.execute(insert(Used).values(**row, **amounts))
                except IntegrityError:
                    session.execute(more)
            session.commit()

    def totals(self) -> dict[int, tuple[Usage, date]]:
        """By the key's id: what it used in all, and the last day on which it did."""
        sums = [func.sum(getattr(Used, name)) for name in AMOUNTS]
        asked = select(Used.key_id, func.max(Used.day), *sums).group_by(Used.key_id)
        with self._session() as session:
            rows = [tuple(row) for row in session.execute(asked)]
        # Sums come as decimal numbers from some databases.
        return {key: (Usage(*map(int, n), audio_seconds=float(s)), day) for key, day, *n, s in rows}

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def _session(self) -> Iterator[Session]:
        with self._answering(), Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """A database that does not answer is named in one sentence, its password left out."""
        shown = self.url.render_as_string(hide_password=True)
        try:
            yield
        except ModuleNotFoundError as error:
            raise VermeilError(
                f"{shown} needs the package '{error.name}'", "install that database's driver"
            ) from None
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
            raise VermeilError(
                f"the keys' database {shown} does not answer ({reason})", URLS
            ) from error


def _url(url: str) -> URL:
    if not url:
        path = home() / "serving.sqlite"
        path.touch(mode=0o600)  # who used how much is nobody else's business
        return URL.create("sqlite", database=str(path))
    try:
        return make_url(url)
    except SQLAlchemyError:  # the text may hold a password: it is not repeated
        raise VermeilError("the keys' database is not given as a URL", URLS) from None


def _patience(url: URL) -> dict[str, float]:
    """SQLite has one writer at a time: seconds that the others wait for it."""
    return {"timeout": 10.0} if url.get_backend_name() == "sqlite" else {}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
