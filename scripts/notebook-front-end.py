"""Drives JupyterLab in headless Chromium: opens a notebook, runs it, looks at its heat map, interrupts a loop, restarts the kernel.

    python3 -m venv lab && lab/bin/pip install -r scripts/notebook-front-end-requirements.txt
    npm run build && lab/bin/python scripts/notebook-front-end.py [--out FOLDER] [--chromium PATH]

It asserts what a person would look for, prints the figures as JSON, and leaves screenshots in FOLDER.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = "03-load-and-balance.ipynb"
PROMPT_CELLS = ["const kept = 42;\nkept", "while (true) {}", "kept + 1", "typeof kept"]
SECONDS = 1000
TOKEN = "front-end"


def notebook_of(codes: list[str]) -> dict:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": code, "metadata": {}, "outputs": [], "execution_count": None}
        for i, code in enumerate(codes)
    ]
    kernel = {"name": "moescope", "display_name": "TypeScript (moescope)", "language": "typescript"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def without_outputs(path: Path) -> dict:
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell.update(outputs=[], execution_count=None)
    return notebook


def start_server(folder: Path) -> tuple[subprocess.Popen, str]:
    """JupyterLab with the moescope kernel and nothing of this user's; gives its address once it answers."""
    subprocess.run(
        ["node", ROOT / "dist/src/cli/main.js", "kernel", "install", "--prefix", folder / "prefix"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = dict(os.environ, JUPYTER_PATH=str(folder / "prefix/share/jupyter"))
    for name in ("CONFIG", "DATA", "RUNTIME"):
        env[f"JUPYTER_{name}_DIR"] = str(folder / name.lower())
    env["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    news = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')
    options = [f"--ServerApp.port={port}", f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder / 'work'}"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", *options]
    log = open(folder / "server.log", "w")
    server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=5)
            return server, url
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"JupyterLab did not start:\n{(folder / 'server.log').read_text()}")


def open_notebook(page: Page, url: str, name: str) -> float:
    """Opens a notebook and gives the seconds until its kernel is idle."""
    started = time.monotonic()
    page.goto(f"{url}/lab/tree/{name}?token={TOKEN}&reset")
    expect(page.locator(".jp-Notebook:visible .jp-Cell").first).to_be_visible(timeout=60 * SECONDS)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("TypeScript (moescope) | Idle", timeout=60 * SECONDS)
    return time.monotonic() - started


def menu(page: Page, name: str, item: str) -> None:
    page.locator(".lm-MenuBar-item", has_text=re.compile(f"^{name}$")).click()
    page.locator(".lm-Menu-item", has_text=re.compile(f"^{item}")).first.click()


def cell(page: Page, place: int):
    return page.locator(".jp-Notebook:visible .jp-CodeCell").nth(place)


def run_cell(page: Page, place: int) -> None:
    cell(page, place).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+Enter")


def prompt(page: Page, place: int):
    """The number beside a cell: a star while it runs."""
    return cell(page, place).locator(".jp-InputPrompt")


def runs_notebook(page: Page, url: str, out: Path) -> dict:
    ready = open_notebook(page, url, NOTEBOOK)
    expect(page.locator(".jp-OutputArea-output")).to_have_count(0)
    codes = page.locator(".jp-Notebook:visible .jp-CodeCell")
    started = time.monotonic()
    menu(page, "Run", "Run All Cells")
    for place in range(codes.count()):
        codes.nth(place).scroll_into_view_if_needed()
        expect(prompt(page, place)).to_have_text(f"[{place + 1}]:", timeout=60 * SECONDS)
    seconds = time.monotonic() - started
    picture = page.locator(".jp-RenderedSVG img, .jp-RenderedSVG svg, .vega-embed svg, .vega-embed canvas").first
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    box = picture.bounding_box()
    assert box["width"] > 200 and box["height"] > 100, box
    assert page.locator(".jp-RenderedHTMLCommon table").count() >= 1
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    time.sleep(1)
    page.screenshot(path=out / "heat-map.png")
    return {"openToReadySeconds": ready, "runAllSeconds": seconds, "heatMapPixels": [box["width"], box["height"]]}


def interrupts_and_restarts(page: Page, url: str, out: Path) -> dict:
    open_notebook(page, url, "prompt.ipynb")
    run_cell(page, 0)
    expect(cell(page, 0).locator(".jp-OutputArea-executeResult")).to_contain_text("42")
    run_cell(page, 1)
    expect(prompt(page, 1)).to_have_text("[*]:")
    time.sleep(2)
    started = time.monotonic()
    page.locator("[data-command='notebook:interrupt-kernel']:visible, [data-jp-item-name=interrupt]:visible").first.click()
    expect(prompt(page, 1)).to_have_text("[2]:", timeout=10 * SECONDS)
    interrupted = time.monotonic() - started
    assert interrupted <= 2.5, f"the loop ended {interrupted:.1f} s after the click"
    expect(cell(page, 1).locator(".jp-OutputArea-output")).to_have_text("Interrupted: The cell was interrupted.")
    run_cell(page, 2)
    expect(cell(page, 2).locator(".jp-OutputArea-executeResult")).to_contain_text("43")
    page.screenshot(path=out / "interrupted.png")

    started = time.monotonic()
    menu(page, "Kernel", "Restart Kernel…")
    page.locator(".jp-Dialog button, .jp-Dialog jp-button", has_text="Restart").last.click()
    status = page.locator("#jp-main-statusbar")
    expect(status).to_contain_text(re.compile(r"\| (Restarting|Unknown|Connecting|Initializing|Starting)"))
    expect(status).to_contain_text("| Idle", timeout=60 * SECONDS)
    run_cell(page, 3)
    expect(prompt(page, 3)).to_have_text("[1]:", timeout=60 * SECONDS)
    restarted = time.monotonic() - started
    output = cell(page, 3).locator(".jp-OutputArea-output")
    expect(output.first).to_contain_text(re.compile("Cannot find name 'kept'|undefined"))
    run_cell(page, 0)
    expect(prompt(page, 0)).to_have_text("[2]:", timeout=60 * SECONDS)
    page.screenshot(path=out / "restarted.png")
    return {"interruptSeconds": interrupted, "restartToResultSeconds": restarted}


def completes(page: Page) -> dict:
    cell(page, 0).locator(".jp-InputArea-editor .cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.type("\nkept.toEx")
    page.keyboard.press("Tab")
    offered = page.locator(".jp-Completer:visible, .cm-content:has-text('toExponential')").first
    expect(offered).to_contain_text("toExponential", timeout=10 * SECONDS)
    return {"completed": "toExponential"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder for screenshots; without it they are not kept")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser; default: the one on the PATH")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="moescope-front-end-") as temporary:
        folder = Path(temporary)
        (folder / "work").mkdir()
        (folder / "work" / NOTEBOOK).write_text(json.dumps(without_outputs(ROOT / "notebooks" / NOTEBOOK)))
        (folder / "work/prompt.ipynb").write_text(json.dumps(notebook_of(PROMPT_CELLS)))
        out = options.out or folder
        out.mkdir(parents=True, exist_ok=True)
        server, url = start_server(folder)
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1100, "height": 760})
                figures = {"chromium": browser.version}
                try:
                    figures.update(runs_notebook(page, url, out))
                    figures.update(interrupts_and_restarts(page, url, out))
                    figures.update(completes(page))
                except BaseException:
                    page.screenshot(path=out / "failed.png")
                    print((folder / "server.log").read_text(), file=sys.stderr)
                    raise
        finally:
            server.terminate()
            server.wait(60)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
