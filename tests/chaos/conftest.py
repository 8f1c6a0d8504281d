"""One rail and one carrier for a module of tests; each test has a line of its own on them."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.life import Life
from tests.chaos.scene import Scene, load_reference_data, open_scene


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with open_scene(tmp_path_factory.mktemp("chaos")) as scene:
        yield scene
        # What came late, after a test had ended, is in the journals too.
        for moved in (scene.charges(), scene.credits(), scene.credits("reversal")):
            assert len({reference for reference, _ in moved}) == len(moved)


@pytest.fixture
def scene(running: Scene, settings: Any, live_server: Any) -> Scene:
    """Calm, and with real adapters pointed at it; messages come to the live server."""
    for name, value in running.settings(public_url=live_server.url).items():
        setattr(settings, name, value)
    running.calm()
    running.alipay.set(is_silent=False)
    load_reference_data()
    return running


@pytest.fixture
def life(scene: Scene, tmp_path: Any) -> Life:
    """Alice's line, just below its threshold."""
    return Life.of_a_low_line(scene, tmp_path / "worker.log")
