"""A thread beside the requests that looks again and again whether something has changed."""

import logging
import threading
from collections.abc import Callable

from django.db import Error, close_old_connections, connections

logger = logging.getLogger(__name__)

# A pause of nothing would be a core of its own.
SHORTEST_PAUSE = 0.05
STOP_SECONDS = 5.0


class Watch(threading.Thread):
    """Calls `look` at once and then every `pause()` seconds, or sooner when told to hurry.

    `look` may fail: with a database that is away the next one is tried as if nothing had been.
    Database connections are closed as they are between requests, and at the end.
    """

    def __init__(self, look: Callable[[], None], *, pause: Callable[[], float]) -> None:
        super().__init__(name="watch", daemon=True)
        self._look = look
        self._pause = pause
        self._woken = threading.Event()
        self._over = False
        self._database_away = False

    def hurry(self) -> None:
        """Look now, not when the pause is over."""
        self._woken.set()

    def stop(self) -> None:
        """End after the look of the moment, which is waited for, a few seconds at most."""
        self._over = True
        self._woken.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(STOP_SECONDS)

    def run(self) -> None:
        try:
            self._round()
            while not self._over:
                self._woken.wait(max(self._pause(), SHORTEST_PAUSE))
                self._woken.clear()
                if not self._over:
                    self._round()
        finally:
            connections.close_all()

    def _round(self) -> None:
        try:
            close_old_connections()
            self._look()
        except Error as error:
            connections.close_all()
            if not self._database_away:
                logger.warning("The database does not answer; what is loaded serves on: %s", error)
            self._database_away = True
        except Exception:
            # Whatever it was: a thread that ends here would keep this process at an old version.
            logger.exception("Looking for changes failed; what is loaded serves on.")
        else:
            if self._database_away:
                logger.warning("The database answers again.")
            self._database_away = False
