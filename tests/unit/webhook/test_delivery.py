"""Deliveries to real receivers on loopback: what they do, and what we do about it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from ips_flows.core import clock
from ips_flows.core.notice.formats.format import Payload
from ips_flows.core.notice.targets import Rules, parse_networks
from ips_flows.core.request.choices import WebhookFormat
from ips_flows.webhook.delivery import Delivery, DeliveryIO, Message, deliver
from tests.fakes.webhook_receiver import Receiver, Reply, certificate, receiving

LOOPBACK = Rules(allowed=parse_networks("127.0.0.0/8")[0])
BODY = b'{"event":"task.completed"}'
ROBOT = "SECabc"
ID = "0d7e-2026-01-31T12:00:00Z-completed"


@dataclass
class World:
    """Time that passes only where someone sleeps, and names that lead where a test says."""

    at: datetime = field(default_factory=clock.now)
    pauses: list[float] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    try_seconds: float = 5.0
    verify: bool | str = True

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.at += timedelta(seconds=seconds)

    def resolve(self, host: str, _port: int) -> list[str]:
        """The addresses of a name."""
        self.asked.append(host)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]

    def _seconds(self) -> float:
        return self.at.timestamp()

    @property
    def io(self) -> DeliveryIO:
        """What a delivery is given of this world."""
        return DeliveryIO(
            resolve=self.resolve,
            monotonic=self._seconds,
            sleep=self.sleep,
            now=lambda: self.at,
            verify=self.verify,
            try_seconds=self.try_seconds,
        )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def world() -> World:
    return World(names={"127.0.0.1": ["127.0.0.1"]})


def message(url: str, *, secret: str = "", form: WebhookFormat = "json") -> Message:
    return Message(url, Payload(BODY, "application/json"), ID, form, secret)


def send(world: World, receiver: Receiver, **named: Any) -> Delivery:
    return deliver(message(receiver.url, **named), LOOPBACK, world.io)


def test_a_receiver_that_takes_it(receiver: Receiver, world: World) -> None:
    """One request with the id, the time and our body; no signature where there is no key."""
    assert send(world, receiver) == Delivery("delivered", 204, tries=1)
    (one,) = receiver.received
    assert (one.path, one.body, one.id) == ("/hook?token=t0ps3cret", BODY, ID)
    assert one.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert one.headers["idempotency-key"] == ID
    assert one.headers["content-type"] == "application/json"
    assert one.headers["user-agent"].startswith("ips-flow/")
    assert int(one.headers["webhook-timestamp"]) == int(world.at.timestamp())
    assert "webhook-signature" not in one.headers
    assert world.asked == ["127.0.0.1"]


@pytest.mark.parametrize(
    "secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a plain key, in any letters: ключ"]
)
def test_the_signature_is_what_an_independent_program_expects(
    receiver: Receiver, world: World, secret: str
) -> None:
    """Standard Webhooks; a plain text is the key itself."""
    receiver.will(Reply(500))
    assert send(world, receiver, secret=f"{secret}\n").outcome == "delivered"
    key: Any = secret if secret.startswith("whsec_") else secret.encode()
    for one in receiver.received:
        Webhook(key).verify(one.body, dict(one.headers))
    first, second = receiver.received
    assert first.id == second.id
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 1


def test_a_key_that_is_none(receiver: Receiver, world: World) -> None:
    """Nothing is sent unsigned that was to be signed."""
    found = send(world, receiver, secret="whsec_!!")  # noqa: S106
    assert (found.outcome, found.tries, receiver.received) == ("undelivered", 0, [])
    assert found.reason == "secret: got whsec_… with invalid base64; allowed: whsec_ followed by base64"


def test_errors_of_the_receiver_are_tried_again(receiver: Receiver, world: World) -> None:
    """After 1, 2 and 4 seconds, always with the same id."""
    receiver.will(Reply(503), Reply(500), Reply(408))
    assert send(world, receiver) == Delivery("delivered", 204, tries=4)
    assert world.pauses == [1.0, 2.0, 4.0]
    assert set(receiver.ids) == {ID}


def test_it_gives_up_after_three_retries(receiver: Receiver, world: World) -> None:
    """Then it is undelivered, and says what the receiver said last."""
    receiver.otherwise = Reply(502)
    assert send(world, receiver) == Delivery("undelivered", 502, "HTTP 502", 4)
    assert len(receiver.received) == 4


@pytest.mark.parametrize("later", ["7", "date"])
def test_retry_after_is_honoured(receiver: Receiver, world: World, later: str) -> None:
    """As seconds or as a date."""
    at = world.at.astimezone(UTC) + timedelta(seconds=8)
    text = at.strftime("%a, %d %b %Y %H:%M:%S GMT") if later == "date" else later
    receiver.will(Reply(429, {"Retry-After": text}))
    assert send(world, receiver).outcome == "delivered"
    assert len(world.pauses) == 1
    assert 6.9 <= world.pauses[0] <= 8


def test_retry_after_beyond_the_time_there_is(receiver: Receiver, world: World) -> None:
    """It is not waited for, but said, so that the next round does not come too early."""
    receiver.will(Reply(503, {"Retry-After": "3600"}))
    found = send(world, receiver)
    assert (found.outcome, found.tries, world.pauses) == ("undelivered", 1, [])
    assert found.not_before == clock.stamp(world.at + timedelta(hours=1))


@pytest.mark.parametrize("text", ["86401", "9" * 5000, "Fri, 31 Dec 9999 00:00:00 GMT"])
def test_retry_after_beyond_a_day(receiver: Receiver, world: World, text: str) -> None:
    """However long it is, a day is the most."""
    receiver.will(Reply(503, {"Retry-After": text}))
    assert send(world, receiver).not_before == clock.stamp(world.at + timedelta(days=1))


@pytest.mark.parametrize(
    "text",
    ["soon", "-5", "", "1e9", "\u00b2", "Fri, 99 Foo 2026", "Fri, 01 Jan 99999999999999999999 00:00:00 GMT"],
)
def test_retry_after_that_says_nothing(receiver: Receiver, world: World, text: str) -> None:
    """The usual pause is made."""
    receiver.will(Reply(429, {"Retry-After": text}))
    assert send(world, receiver).outcome == "delivered"
    assert world.pauses == [1.0]


def test_410_is_for_good(receiver: Receiver, world: World) -> None:
    """The receiver wants no more."""
    receiver.otherwise = Reply(410)
    assert send(world, receiver) == Delivery("gone", 410, "HTTP 410", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, world: World, status: int) -> None:
    """They are no success either; where they lead to hears nothing, and their endless body is not read."""
    with receiving() as other:
        receiver.will(Reply(status, {"Location": other.url}, endless=True))
        found = send(world, receiver)
        assert other.received == []
    assert found == Delivery("undelivered", status, f"HTTP {status}: a redirect, which is not followed", 1)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_refusals_are_left_to_the_next_round(receiver: Receiver, world: World, status: int) -> None:
    """What someone must mend first is not tried again within seconds."""
    receiver.otherwise = Reply(status)
    assert send(world, receiver) == Delivery("undelivered", status, f"HTTP {status}", 1)


def test_a_receiver_that_is_down(world: World) -> None:
    """Nobody listens: four tries, and the reason without path or query."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = deliver(message(f"http://127.0.0.1:{port}/secret?token=x"), LOOPBACK, world.io)
    assert found == Delivery("undelivered", None, f"http://127.0.0.1:{port}: connection refused", 4)


@pytest.mark.parametrize("reply", [Reply(trickle=True), Reply(silent=True)], ids=["trickling", "silent"])
def test_a_slow_receiver_is_cut_off(receiver: Receiver, world: World, reply: Reply) -> None:
    """The time of a try is that of all of it, however the receiver spends it."""
    receiver.otherwise = reply
    world.try_seconds = 0.2
    found = send(world, receiver)
    why = f"http://127.0.0.1:{receiver.port}: no answer within 0.2 s"
    assert found == Delivery("undelivered", None, why, 4)


def test_the_time_of_all_tries_is_bounded(receiver: Receiver, world: World) -> None:
    """With 10 s a try and the pauses between, the last one gets what is left of 45 s."""
    spent: list[float] = []
    receiver.otherwise = Reply(500)
    take = receiver.take

    def slowly(one: Any) -> Reply:
        world.at += timedelta(seconds=10)
        spent.append(10)
        return take(one)

    receiver.take = slowly  # type: ignore[method-assign]
    began = world.at
    assert send(world, receiver).tries == 4
    assert (world.at - began).total_seconds() == sum(spent) + 7
    receiver.received.clear()
    world.at += timedelta(hours=1)
    began = world.at
    found = deliver(message(receiver.url), LOOPBACK, world.io, seconds=25)
    assert found.tries == 3
    assert (world.at - began).total_seconds() < 45


def test_an_endless_answer(receiver: Receiver, world: World) -> None:
    """A status counts; of the body no more is read than a limit."""
    receiver.will(Reply(200, endless=True))
    assert send(world, receiver) == Delivery("delivered", 200, tries=1)


def test_no_proxy_of_the_environment(
    receiver: Receiver, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect to where nobody judged."""
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(world, receiver).outcome == "delivered"
        assert proxy.received == []


def test_the_name_is_resolved_once_and_kept(receiver: Receiver, world: World) -> None:
    """All tries go to the addresses that were judged, in turn; the receiver sees the name."""
    world.names["hooks.example"] = ["127.0.0.1", "127.0.0.2"]
    receiver.will(Reply(500))
    url = f"http://hooks.example:{receiver.port}/a"
    found = deliver(message(url), LOOPBACK, world.io)
    assert world.asked == ["hooks.example"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
    # The second address has no listener, the third try goes to the first again.
    assert (found.outcome, found.tries) == ("delivered", 3)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_https(world: World, trusted: tuple[Any, str]) -> None:
    """The certificate is checked against the name, though an address is connected to."""
    context, world.verify = trusted
    world.names |= {"hooks.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    with receiving(tls=context) as receiver:
        url = f"https://hooks.example:{receiver.port}/a"
        assert deliver(message(url), LOOPBACK, world.io) == Delivery("delivered", 204, tries=1)
        assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
        url = f"https://other.example:{receiver.port}/a"
        found = deliver(message(url), LOOPBACK, world.io)
        assert len(receiver.received) == 1
    assert found.outcome == "undelivered"
    assert found.reason.startswith(
        f"https://other.example:{receiver.port}: TLS: Hostname mismatch, certificate is not valid for"
    )


def test_bad_tls(world: World, trusted: tuple[Any, str]) -> None:
    """A certificate that nobody vouches for, and a receiver that speaks no TLS at all."""
    world.names["hooks.example"] = ["127.0.0.1"]
    with receiving(tls=trusted[0]) as receiver:
        found = deliver(message(f"https://hooks.example:{receiver.port}/a"), LOOPBACK, world.io)
        assert found.reason == f"https://hooks.example:{receiver.port}: TLS: self-signed certificate"
        assert receiver.received == []
    with receiving() as receiver:
        found = deliver(message(f"https://hooks.example:{receiver.port}/a"), LOOPBACK, world.io)
        assert found.reason.startswith(f"https://hooks.example:{receiver.port}: TLS: ")


def test_a_slow_handshake_is_cut_off(world: World) -> None:
    """A receiver that takes the connection and never says a word of TLS."""
    world.names["hooks.example"] = ["127.0.0.1"]
    world.try_seconds = 0.2
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        found = deliver(message(f"https://hooks.example:{port}/a"), LOOPBACK, world.io)
    assert found == Delivery("undelivered", None, f"https://hooks.example:{port}: no answer within 0.2 s", 4)


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("innocent.example", "127.0.0.1"),
        ("both.example", "203.0.113.5 127.0.0.1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("metadata.example", "169.254.169.254"),
    ],
)
def test_forbidden_targets_hear_nothing(receiver: Receiver, name: str, leads_to: str) -> None:
    """Whatever name leads to them; one bad address among good ones is enough."""
    world = World(names={name.strip("[]"): leads_to.split()})
    found = deliver(message(f"http://{name}:{receiver.port}/x"), Rules(), world.io)
    assert (found.outcome, found.tries, receiver.received) == ("refused", 0, [])
    assert found.reason.endswith("and not in webhook-allowed-networks")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://nowhere.example/token", "http://nowhere.example: Name or service not known"),
        ("ftp://127.0.0.1/token", "the URL is not one of http or https"),
        ("http://[half/token", "the URL can't be read"),
        ("http:///token", "the URL can't be read"),
        ("http://127.0.0.1:99999/token", "the URL can't be read"),
    ],
)
def test_urls_that_lead_nowhere(world: World, url: str, reason: str) -> None:
    """They are told in words without the path."""
    found = deliver(message(url), LOOPBACK, world.io)
    assert (found.outcome, found.reason, found.tries) == ("undelivered", reason, 0)


def test_a_resolver_that_hangs(receiver: Receiver) -> None:
    """It is not waited for longer than for a try."""

    def hang(_host: str, _port: int) -> list[str]:
        receiver.ended.wait(30)
        return []

    found = deliver(message("http://hooks.example/x"), LOOPBACK, DeliveryIO(resolve=hang, try_seconds=0.1))
    assert found.reason == "http://hooks.example: its name is not resolved within 0.1 s"


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_numbers_in_other_notations_are_resolved_before_they_are_judged(
    receiver: Receiver, name: str
) -> None:
    """The system reads them as loopback, so that is what is refused."""
    assert deliver(message(f"http://{name}:{receiver.port}/x"), Rules()).outcome == "refused"
    assert receiver.received == []


def test_a_name_that_can_not_be() -> None:
    """A label of 70 characters has no address, and breaks nothing."""
    found = deliver(message(f"http://{'a' * 70}.example/x"), Rules())
    assert found.reason == f"http://{'a' * 70}.example: no such name can be"


def test_credentials_in_a_url(receiver: Receiver, world: World) -> None:
    """A Secret's URL may have some: they go as a header, and into no message."""
    receiver.otherwise = Reply(500)
    url = receiver.url.replace("http://", "http://me:p4ss@")
    found = deliver(message(url), LOOPBACK, world.io)
    assert receiver.received[0].headers["authorization"] == "Basic bWU6cDRzcw=="
    assert receiver.received[0].headers["host"] == f"127.0.0.1:{receiver.port}"
    assert found.reason == "HTTP 500"


def test_dingtalk_says_no_in_the_body(receiver: Receiver, world: World) -> None:
    """Its 200 is a success only with errcode 0; its signature stands in the query."""
    receiver.will(
        Reply(200, body=b'{"errcode":130101,"errmsg":"send too fast"}'),
        Reply(200, body=b"<html>"),
        Reply(200, body=b'{"errcode":0}'),
    )
    assert send(world, receiver, form="dingtalk", secret=ROBOT) == Delivery("delivered", 200, tries=3)
    assert "&timestamp=" in receiver.received[0].path
    assert "&sign=" in receiver.received[0].path
    assert "webhook-signature" not in receiver.received[0].headers
    receiver.otherwise = Reply(200, body=b'{"errcode":310000}')
    found = send(world, receiver, form="dingtalk")
    assert (found.outcome, found.reason) == ("undelivered", "DingTalk refused the message: errcode 310000")
