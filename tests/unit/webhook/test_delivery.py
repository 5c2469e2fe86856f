"""Delivery of webhook notifications to receivers on loopback."""

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
    """A clock that advances only in `sleep`, and a resolver with the names of a test."""

    at: datetime = field(default_factory=clock.now)
    pauses: list[float] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    try_seconds: float = 5.0
    verify: bool | str = True

    def sleep(self, seconds: float) -> None:
        """Advance the clock."""
        self.pauses.append(seconds)
        self.at += timedelta(seconds=seconds)

    def resolve(self, host: str, _port: int) -> list[str]:
        """Return the addresses of a name."""
        self.asked.append(host)
        if host not in self.names:
            raise OSError(-2, "Name or service not known")
        return self.names[host]

    def _seconds(self) -> float:
        return self.at.timestamp()

    @property
    def io(self) -> DeliveryIO:
        """Resolver and clock for a delivery."""
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
    """The receiver gets one request with id, time and body, and without a key no signature."""
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
    """The signature conforms to Standard Webhooks; a secret in plain text is the key itself."""
    receiver.will(Reply(500))
    assert send(world, receiver, secret=f"{secret}\n").outcome == "delivered"
    key: Any = secret if secret.startswith("whsec_") else secret.encode()
    for one in receiver.received:
        Webhook(key).verify(one.body, dict(one.headers))
    first, second = receiver.received
    assert first.id == second.id
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 1


def test_an_invalid_key(receiver: Receiver, world: World) -> None:
    """With an invalid key nothing is sent."""
    found = send(world, receiver, secret="whsec_!!")  # noqa: S106
    assert (found.outcome, found.tries, receiver.received) == ("undelivered", 0, [])
    assert found.reason == "secret: got whsec_… with invalid base64; allowed: whsec_ followed by base64"


def test_errors_of_the_receiver_are_retried(receiver: Receiver, world: World) -> None:
    """Server errors are retried after 1, 2 and 4 seconds, with the same id."""
    receiver.will(Reply(503), Reply(500), Reply(408))
    assert send(world, receiver) == Delivery("delivered", 204, tries=4)
    assert world.pauses == [1.0, 2.0, 4.0]
    assert set(receiver.ids) == {ID}


def test_it_gives_up_after_three_retries(receiver: Receiver, world: World) -> None:
    """After three retries the outcome is `undelivered`, with the last response as the reason."""
    receiver.otherwise = Reply(502)
    assert send(world, receiver) == Delivery("undelivered", 502, "HTTP 502", 4)
    assert len(receiver.received) == 4


@pytest.mark.parametrize("later", ["7", "date"])
def test_retry_after_is_honoured(receiver: Receiver, world: World, later: str) -> None:
    """Retry-After may be seconds or a date."""
    at = world.at.astimezone(UTC) + timedelta(seconds=8)
    text = at.strftime("%a, %d %b %Y %H:%M:%S GMT") if later == "date" else later
    receiver.will(Reply(429, {"Retry-After": text}))
    assert send(world, receiver).outcome == "delivered"
    assert len(world.pauses) == 1
    assert 6.9 <= world.pauses[0] <= 8


def test_retry_after_beyond_the_time_limit(receiver: Receiver, world: World) -> None:
    """A long Retry-After ends the delivery, and `not_before` passes it to the next round."""
    receiver.will(Reply(503, {"Retry-After": "3600"}))
    found = send(world, receiver)
    assert (found.outcome, found.tries, world.pauses) == ("undelivered", 1, [])
    assert found.not_before == clock.stamp(world.at + timedelta(hours=1))


@pytest.mark.parametrize("text", ["86401", "9" * 5000, "Fri, 31 Dec 9999 00:00:00 GMT"])
def test_retry_after_beyond_a_day(receiver: Receiver, world: World, text: str) -> None:
    """Retry-After is limited to one day."""
    receiver.will(Reply(503, {"Retry-After": text}))
    assert send(world, receiver).not_before == clock.stamp(world.at + timedelta(days=1))


@pytest.mark.parametrize(
    "text",
    ["soon", "-5", "", "1e9", "\u00b2", "Fri, 99 Foo 2026", "Fri, 01 Jan 99999999999999999999 00:00:00 GMT"],
)
def test_an_invalid_retry_after(receiver: Receiver, world: World, text: str) -> None:
    """An invalid Retry-After is ignored."""
    receiver.will(Reply(429, {"Retry-After": text}))
    assert send(world, receiver).outcome == "delivered"
    assert world.pauses == [1.0]


def test_410_is_for_good(receiver: Receiver, world: World) -> None:
    """After 410 the outcome is `gone`, without a retry."""
    receiver.otherwise = Reply(410)
    assert send(world, receiver) == Delivery("gone", 410, "HTTP 410", 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, world: World, status: int) -> None:
    """A redirect is a failure: its location gets no request, and its endless body is not read."""
    with receiving() as other:
        receiver.will(Reply(status, {"Location": other.url}, endless=True))
        found = send(world, receiver)
        assert other.received == []
    assert found == Delivery("undelivered", status, f"HTTP {status}: redirects are not followed", 1)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_refusals_are_left_to_the_next_round(receiver: Receiver, world: World, status: int) -> None:
    """A client error is not retried within the same delivery."""
    receiver.otherwise = Reply(status)
    assert send(world, receiver) == Delivery("undelivered", status, f"HTTP {status}", 1)


def test_a_receiver_that_is_down(world: World) -> None:
    """Without a listener there are four tries, and the reason contains no path or query."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    found = deliver(message(f"http://127.0.0.1:{port}/secret?token=x"), LOOPBACK, world.io)
    assert found == Delivery("undelivered", None, f"http://127.0.0.1:{port}: connection refused", 4)


@pytest.mark.parametrize("reply", [Reply(trickle=True), Reply(silent=True)], ids=["trickling", "silent"])
def test_a_slow_receiver_is_cut_off(receiver: Receiver, world: World, reply: Reply) -> None:
    """The time limit of a try includes the whole response."""
    receiver.otherwise = reply
    world.try_seconds = 0.2
    found = send(world, receiver)
    why = f"http://127.0.0.1:{receiver.port}: no response within 0.2 s"
    assert found == Delivery("undelivered", None, why, 4)


def test_the_time_of_all_tries_is_bounded(receiver: Receiver, world: World) -> None:
    """If each try takes 10 s, four tries and their pauses fit into 45 s; with 25 s the last try is omitted."""
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


def test_an_endless_response(receiver: Receiver, world: World) -> None:
    """The status counts, and the body is read up to a limit."""
    receiver.will(Reply(200, endless=True))
    assert send(world, receiver) == Delivery("delivered", 200, tries=1)


def test_no_proxy_of_the_environment(
    receiver: Receiver, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies of the environment are not used, because a proxy could connect to an address that was not checked."""
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(world, receiver).outcome == "delivered"
        assert proxy.received == []


def test_the_name_is_resolved_once_and_kept(receiver: Receiver, world: World) -> None:
    """The tries use the checked addresses in turn; the Host header has the name."""
    world.names["hooks.example"] = ["127.0.0.1", "127.0.0.2"]
    receiver.will(Reply(500))
    url = f"http://hooks.example:{receiver.port}/a"
    found = deliver(message(url), LOOPBACK, world.io)
    assert world.asked == ["hooks.example"]
    assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"
    # The second address has no listener; the third try uses the first address again.
    assert (found.outcome, found.tries) == ("delivered", 3)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    return certificate(tmp_path_factory.mktemp("tls"))


def test_https(world: World, trusted: tuple[Any, str]) -> None:
    """The certificate is checked against the host name, although the connection is made to an address."""
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
    """An untrusted certificate, and a receiver without TLS, are reported as TLS errors."""
    world.names["hooks.example"] = ["127.0.0.1"]
    with receiving(tls=trusted[0]) as receiver:
        found = deliver(message(f"https://hooks.example:{receiver.port}/a"), LOOPBACK, world.io)
        assert found.reason == f"https://hooks.example:{receiver.port}: TLS: self-signed certificate"
        assert receiver.received == []
    with receiving() as receiver:
        found = deliver(message(f"https://hooks.example:{receiver.port}/a"), LOOPBACK, world.io)
        assert found.reason.startswith(f"https://hooks.example:{receiver.port}: TLS: ")


def test_a_slow_handshake_is_cut_off(world: World) -> None:
    """A receiver that accepts the connection but sends no TLS data is cut off after the time of a try."""
    world.names["hooks.example"] = ["127.0.0.1"]
    world.try_seconds = 0.2
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        found = deliver(message(f"https://hooks.example:{port}/a"), LOOPBACK, world.io)
    assert found == Delivery(
        "undelivered", None, f"https://hooks.example:{port}: no response within 0.2 s", 4
    )


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
def test_forbidden_targets_get_no_request(receiver: Receiver, name: str, leads_to: str) -> None:
    """A name that resolves to a forbidden address is refused, even if its other addresses are allowed."""
    world = World(names={name.strip("[]"): leads_to.split()})
    found = deliver(message(f"http://{name}:{receiver.port}/x"), Rules(), world.io)
    assert (found.outcome, found.tries, receiver.received) == ("refused", 0, [])
    assert found.reason.endswith("and not in webhook-allowed-networks")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://nowhere.example/token", "http://nowhere.example: Name or service not known"),
        ("ftp://127.0.0.1/token", "the URL is not an http or https URL"),
        ("http://[half/token", "the URL is invalid"),
        ("http:///token", "the URL is invalid"),
        ("http://127.0.0.1:99999/token", "the URL is invalid"),
    ],
)
def test_invalid_urls(world: World, url: str, reason: str) -> None:
    """The reason of an invalid URL contains no path."""
    found = deliver(message(url), LOOPBACK, world.io)
    assert (found.outcome, found.reason, found.tries) == ("undelivered", reason, 0)


def test_a_resolver_that_hangs(receiver: Receiver) -> None:
    """A name lookup is limited to the time of a try."""

    def hang(_host: str, _port: int) -> list[str]:
        receiver.ended.wait(30)
        return []

    found = deliver(message("http://hooks.example/x"), LOOPBACK, DeliveryIO(resolve=hang, try_seconds=0.1))
    assert found.reason == "http://hooks.example: the host name was not resolved within 0.1 s"


@pytest.mark.parametrize("name", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_addresses_in_other_notations_are_resolved_before_the_check(receiver: Receiver, name: str) -> None:
    """The system resolves them to loopback, so they are refused."""
    assert deliver(message(f"http://{name}:{receiver.port}/x"), Rules()).outcome == "refused"
    assert receiver.received == []


def test_an_invalid_host_name() -> None:
    """A label of 70 characters is reported as an invalid host name."""
    found = deliver(message(f"http://{'a' * 70}.example/x"), Rules())
    assert found.reason == f"http://{'a' * 70}.example: the host name is invalid"


def test_credentials_in_a_url(receiver: Receiver, world: World) -> None:
    """Credentials in a URL are sent as a header, and appear in no message."""
    receiver.otherwise = Reply(500)
    url = receiver.url.replace("http://", "http://me:p4ss@")
    found = deliver(message(url), LOOPBACK, world.io)
    assert receiver.received[0].headers["authorization"] == "Basic bWU6cDRzcw=="
    assert receiver.received[0].headers["host"] == f"127.0.0.1:{receiver.port}"
    assert found.reason == "HTTP 500"


def test_dingtalk_reports_errors_in_the_body(receiver: Receiver, world: World) -> None:
    """A DingTalk response 200 is a success only with errcode 0; the signature is in the query."""
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
