"""MLflow's own UI on a run, in Debian's Chromium: what a user finds there is drawn.

`BQSEARCH_SCREENSHOTS` names a folder for pictures of the pages, and `BQSEARCH_UI_RUN` a finished run's folder to look
at instead of a small one: `make screenshots` makes those of docs/.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Locator, Page, expect, sync_playwright
from report.conftest import build_front

from bqsearch.report.html import report_html
from bqsearch.tracking.mlflow import local_uri
from bqsearch.tracking.spool import Spool
from tracked import free_port, mlflow_server, replay, spooled

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 30_000  # milliseconds
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run's store under a server, and a browser before it.

    Attributes:
        uri: Of the server.
        page: Of the browser.
        study: The experiment's name.
        experiment: Its id.
        parent: The parent run's id.
        front: Ids of runs to compare.
    """

    uri: str
    page: Page
    study: str
    experiment: str
    parent: str
    front: list[str]

    def open(self, path: str) -> None:
        """Go to a page of the UI."""
        self.page.goto(f"{self.uri}/#{path}")

    def run(self, tab: str = "") -> None:
        """Go to a tab of the parent run."""
        self.open(f"/experiments/{self.experiment}/runs/{self.parent}{tab}")

    def keep(self, name: str) -> None:
        """Keep a picture where one is asked for."""
        folder = os.environ.get("BQSEARCH_SCREENSHOTS")
        if folder:
            self.page.wait_for_timeout(1500)  # plots move into their places
            paths = self.page.get_by_text(re.compile("^Path: file:"))
            paths.evaluate_all("found => found.forEach((element) => element.remove())")  # of this machine
            path = Path(folder) / f"mlflow-{name}.png"
            self.page.screenshot(path=path)
            with Image.open(path) as image:
                image.convert("RGB").quantize(128).save(path, optimize=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that MLflow has been told of, its page drawn."""
    named = os.environ.get("BQSEARCH_UI_RUN")
    if named:
        return Path(named)
    made = spooled(tmp_path_factory.mktemp("runs") / "shown", "shown", trials=8, layers=6, end=None)
    front = build_front(points=5, trials=8)
    (made / "front.json").write_text(json.dumps(front))
    (made / "report.html").write_text(report_html(front), encoding="utf-8")
    pareto = {number: {"accuracy_holdout": 0.88} for number in (1, 3, 5)}
    Spool(made).end("FINISHED", pareto, {"recommended_flash_bytes": 1001.0}, ["report.html", "points"], 0)
    replay(made, local_uri(made))
    return made


@pytest.fixture(scope="module")
def shown(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with mlflow_server(tmp_path_factory.mktemp("server"), free_port(), local_uri(folder)) as uri:
        client = MlflowClient(tracking_uri=uri)
        experiment = next(e for e in client.search_experiments() if e.name != "Default")
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        (parent,) = (run.info.run_id for run in runs if "bqsearch.run" in run.data.tags)
        front = [run.info.run_id for run in runs if run.data.tags.get("pareto") == "true"]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(PATIENCE)
            page.goto(uri)
            page.get_by_role("button", name="Close", exact=True).click()  # the assistant's half of the window
            names = {"study": experiment.name, "experiment": experiment.experiment_id, "parent": parent}
            yield Shown(uri=uri, page=page, front=front[:8], **names)
            browser.close()


def sees(locator: Locator) -> None:
    expect(locator.first).to_be_visible(timeout=PATIENCE)


def test_the_experiment_lists_the_run(shown: Shown) -> None:
    shown.open(f"/experiments/{shown.experiment}/runs")
    sees(shown.page.get_by_role("link", name=shown.study, exact=True).and_(shown.page.locator("[href*='/runs/']")))
    shown.keep("experiment")


def test_the_parent_run_tells_how_it_converged(shown: Shown) -> None:
    shown.run()
    for name in ("hypervolume", "best_feasible_flash", "trials_per_second"):
        sees(shown.page.get_by_text(name, exact=True))
    sees(shown.page.get_by_text("target", exact=False))
    shown.keep("run")


def test_the_convergence_is_drawn(shown: Shown) -> None:
    shown.run("/model-metrics")
    shown.page.get_by_placeholder("Search metric charts").fill("hypervolume|best_feasible|trials_per_second")
    sees(shown.page.get_by_text("hypervolume", exact=True).locator("visible=true"))
    sees(shown.page.locator(".js-plotly-plot path.js-line").locator("visible=true"))  # those of plain figures are flat
    shown.keep("convergence")


def test_the_pareto_page_is_drawn_inside_of_the_ui(shown: Shown) -> None:
    """Its script runs in the frame's sandbox, under the page's own content policy."""
    shown.run("/artifacts/report.html")
    frame = shown.page.frame_locator("iframe")
    marks = frame.locator("circle[role=radio]")
    sees(marks)
    assert marks.count() >= 5
    marks.first.click()
    expect(marks.first).to_have_attribute("aria-checked", "true")
    shown.keep("pareto")


def test_trials_are_compared(shown: Shown) -> None:
    chosen = json.dumps(shown.front, separators=(",", ":"))
    shown.open(f"/compare-runs?runs={chosen}&experiments={json.dumps([shown.experiment])}")
    sees(shown.page.get_by_text(re.compile(rf"Comparing {len(shown.front)} Runs")))
    sees(shown.page.locator(".js-plotly-plot svg"))
    shown.keep("compare")


def test_the_registered_model_is_listed(shown: Shown) -> None:
    shown.open(f"/models/{shown.study}/versions/1")
    sees(shown.page.get_by_text("Schema"))
    shown.page.get_by_role("cell", name="Inputs (1)").click()
    sees(shown.page.get_by_text("int8", exact=False))
    shown.keep("model")
