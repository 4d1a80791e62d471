"""Fetching as the settings allow it."""

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from ipaddress import ip_network
from typing import Any

import pytest
from pytest_django import Settings

from classifier import fetching, remote
from classifier.fetching import FetchError
from classifier.tests.odd_sites import answering, odd_site


@pytest.fixture(autouse=True)
def _short(settings: Settings) -> None:
    settings.URL_FETCHING_SECONDS = 5.0


def refusal(url: str, **options: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        remote.fetch_picture(url, **options)
    return caught.value


def test_a_private_host_of_the_settings_is_asked(settings: Settings) -> None:
    with odd_site() as site:
        site.answer = answering(b"a picture")
        url = f"http://127.0.0.1:{site.port}/cat.png"
        assert refusal(url).code == "port_not_allowed"
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{site.port}"]
        fetched = remote.fetch_picture(url)
        assert (fetched.content, fetched.filename) == (b"a picture", "cat.png")
        settings.IMAGE_MAX_BYTES = 5
        assert refusal(url).code == "too_many_bytes"


def test_only_allowed_hosts_are_asked(settings: Settings) -> None:
    settings.URL_FETCHING_ALLOWED_HOSTS = [".example.org"]
    assert refusal("http://example.com/cat.png").code == "host_not_allowed"


def test_it_can_be_switched_off(settings: Settings) -> None:
    settings.URL_FETCHING = False
    settings.URL_FETCHING_PRIVATE_HOSTS = ["127.0.0.1"]
    assert refusal("http://127.0.0.1/cat.png").code == "disabled"


class SlowAnswer:
    """A site's answer that waits until it shall go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Event(), threading.Event()

    def __call__(self, connection: Any) -> None:
        self.asked.set()
        self.go_on.wait(10)
        answering(b"late")(connection)


def test_servers_that_take_their_time_do_not_take_all_threads(settings: Settings) -> None:
    settings.URL_FETCHING_CONCURRENCY = 1
    slowly = SlowAnswer()
    asked, go_on = slowly.asked, slowly.go_on

    with odd_site() as site:
        site.answer = slowly
        url = f"http://127.0.0.1:{site.port}/"
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{site.port}"]
        first = threading.Thread(target=remote.fetch_picture, args=(url,))
        first.start()
        assert asked.wait(10)
        assert refusal(url).code == "busy"
        assert refusal(url, wait=0.05).code == "busy"
        threading.Timer(0.05, go_on.set).start()
        assert remote.fetch_picture(url, wait=10.0).content == b"late"
        first.join()


def test_neither_do_those_who_wait_for_their_turn(settings: Settings) -> None:
    settings.URL_FETCHING_CONCURRENCY = 1
    slowly = SlowAnswer()
    with odd_site() as site, ThreadPoolExecutor() as threads:
        site.answer = slowly
        url = f"http://127.0.0.1:{site.port}/"
        settings.URL_FETCHING_PRIVATE_HOSTS = [f"127.0.0.1:{site.port}"]
        first = threads.submit(remote.fetch_picture, url)
        assert slowly.asked.wait(10)
        # Of two that would wait, one hears at once that there is no room.
        later = [threads.submit(remote.fetch_picture, url, wait=10.0) for _ in range(2)]
        done, waiting = wait(later, timeout=5, return_when=FIRST_COMPLETED)
        assert [getattr(each.exception(), "code", None) for each in done] == ["busy"]
        slowly.go_on.set()
        assert [each.result(10).content for each in (first, *waiting)] == [b"late", b"late"]


def test_the_settings_permit_no_network_as_a_whole() -> None:
    assert remote.limits().permitted == ()
    assert ip_network("127.0.0.0/8") not in fetching.FetchLimits(1, 1.0).permitted
