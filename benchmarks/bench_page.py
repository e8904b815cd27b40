"""The page of a running service: when it first paints, when answers are there, and how much is sent.

    meisho serve demo/local.meisho
    python benchmarks/bench_page.py http://127.0.0.1:8765/ --rounds 9

Times are of the browser itself, ms, from the beginning of the navigation, with an empty cache each round.
"""

import argparse
import shutil
import statistics
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SENT = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/v1/") && !name.endsWith("openapi.json"))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""


def look(page: Page, url: str) -> dict[str, float]:
    """Open the first screen, then the answers to its first photo."""
    page.goto(url)
    page.wait_for_selector("#picks img")
    page.wait_for_load_state("networkidle")
    times = {"first paint": page.evaluate(PAINT), "bytes of ours": page.evaluate(SENT)}
    photo = page.locator("#picks .card").first.get_attribute("data-id")
    page.goto("about:blank")
    page.goto(f"{url}#photo={quote(photo or '')}")
    page.wait_for_selector("#lists .card")
    times["first answers"] = page.evaluate("performance.now()")
    page.wait_for_selector("#busy", state="hidden")
    times["all answers"] = page.evaluate("performance.now()")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    seen: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(options.rounds):
            context = browser.new_context()
            for name, value in look(context.new_page(), options.url).items():
                seen.setdefault(name, []).append(value)
            context.close()
        browser.close()
    for name, values in seen.items():
        print(f"{name:14} median {statistics.median(values):8.0f}   most {max(values):8.0f}")


if __name__ == "__main__":
    main()
