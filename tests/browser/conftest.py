"""Reports in a real Chromium without a network; whatever asks for one, or complains, fails the test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.config import ModelOptions
from charlm.model import parameters
from charlm.model.checkpoint import Model
from charlm.tokenizers.vocabulary import Vocabulary

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The Chromium of the system."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if executable is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a file from the disk; options are those of a browser context, such as `color_scheme`."""
    contexts, complaints = [], []

    def open_file(path: Path, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("request", lambda found: found.url.startswith("file://") or complaints.append(f"asks: {found.url}"))
        page.on("console", lambda said: said.type in ("error", "warning") and complaints.append(f"says: {said.text}"))
        page.on("pageerror", lambda error: complaints.append(f"fails: {error}"))

        def dialog(shown: Any) -> None:
            complaints.append(f"runs: {shown.message}")
            shown.dismiss()

        page.on("dialog", dialog)
        page.goto(path.resolve().as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def make_model() -> Callable[..., Model]:
    """An lstm with random weights that knows the letters that are given."""

    def make(letters: str, hidden: int = 6, layers: int = 1) -> Model:
        options = ModelOptions.of(
            {"cell": "lstm", "hidden": hidden, "layers": layers, "embedding": 1, "dropout": 0.0, "input": "one-hot"}
        )
        symbols = Vocabulary("char", np.array(sorted({*map(ord, letters)}), np.uint32))
        random = np.random.default_rng(9)
        weights = {
            name: (3 * random.standard_normal(shape)).astype(np.float32)
            for name, shape in parameters.shapes(options, symbols.size).items()
        }
        weights["readout.weight"] *= 4  # now and then it is sure
        return Model(options, symbols, weights)

    return make
