"""The one door for mail that leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from outbound_guard import config
from outbound_guard.clock import SystemClock
from outbound_guard.delivery import Delivery
from outbound_guard.mail import Envelope
from tests.nexthop import NextHop

ONE = Envelope("from@x.test", ("to@y.test",))


def door(path: Path, **settings: object) -> Delivery:
    whole = config.Config(
        delivery=config.Delivery(**settings), server=config.Server(data_dir="data"), path=str(path / "config.toml")
    )
    return Delivery(whole, hostname="guard.test", clock=SystemClock(), count=lambda *_: None)


async def test_pools_are_chosen_by_name(next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path) -> None:
    first, default = await next_hop(), await next_hop()
    pools = tuple(
        config.Pool(name=name, smarthosts=(hop.address,)) for name, hop in (("first", first), ("default", default))
    )
    delivery = door(tmp_path, pool=pools)
    for name, hop in (("first", first), ("default", default), ("", default), ("unheard of", default)):
        result = await delivery.send(ONE, [b"x\r\n"], name)
        assert result.peer == hop.address
        assert result.replies[0].accepted
    assert [health.host for health in delivery.health()["first"]] == [first.address]
    assert delivery.healthy() == {"first": True, "default": True}
    await delivery.close()


async def test_without_a_default_the_first_pool_is_it(
    next_hop: Callable[..., Awaitable[NextHop]], tmp_path: Path
) -> None:
    hop = await next_hop()
    delivery = door(tmp_path, pool=(config.Pool(name="empty"), config.Pool(name="b", smarthosts=(hop.address,))))
    assert (await delivery.send(ONE, [b"x\r\n"])).peer == hop.address
    await delivery.close()


async def test_a_sink_only_when_said_so(tmp_path: Path) -> None:
    delivery = door(tmp_path, mode="sink")
    result = await delivery.send(ONE, [b"Subject: x\r\n\r\n", b"y\r\n"])
    assert result.replies[0].accepted
    [file] = (tmp_path / "data/sink").glob("*.eml")
    assert file.read_bytes().endswith(b"Subject: x\r\n\r\ny\r\n")
    assert delivery.healthy() == {}
    await delivery.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "direct"}, "direct"),
        ({"pool": ()}, "no smarthost"),
        ({"pool": (config.Pool(smarthosts=("h:1",)), config.Pool(smarthosts=("h:2",)))}, "two with the name"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(settings: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=said):
        door(tmp_path, **settings)


def test_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\n")
    pool = config.Pool(smarthosts=("h:1",), user="u", password_file="password")
    assert door(tmp_path, pool=(pool,)).healthy() == {"default": True}
