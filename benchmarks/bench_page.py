"""The page of a running service: when it first paints, when answers are there, and how much is sent.

    meisho serve demo/local.meisho
    python benchmarks/bench_page.py http://127.0.0.1:8765/ --rounds 9

Times are of the browser itself, ms, from the beginning of the navigation, with an empty cache each round;
"reply to paint" is from the last byte of a reply with many answers to the frame that shows them all.
Bytes are the page's own: of all that the first screen loads.
"""

import argparse
import shutil
import statistics
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

MOST = 500  # answers to one query, where the collection holds as many photos
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SENT = """[...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(({ name }) => !name.includes("/v1/") && !name.endsWith("openapi.json"))
  .reduce(([packed, written], { encodedBodySize, decodedBodySize }) =>
    [packed + encodedBodySize, written + decodedBodySize], [0, 0])"""
NOTE = """addEventListener("DOMContentLoaded", () => new MutationObserver((_, seen) => {
  seen.disconnect();
  requestAnimationFrame(() => setTimeout(() => (document.body.dataset.painted = performance.now())));
}).observe(document.querySelector("#lists"), { childList: true }))"""
TOOK = """() => {
  const reply = performance.getEntriesByType("resource").find(({ name }) => name.endsWith("v1/search"));
  const cards = document.querySelectorAll("#lists .card");
  return [cards.length, document.body.dataset.painted - reply.responseEnd];
}"""


def look(page: Page, url: str) -> dict[str, float]:
    """Open the first screen, then the answers to its first photo, few and many."""
    page.goto(url)
    page.wait_for_selector("#picks img")
    page.wait_for_load_state("networkidle")
    packed, written = page.evaluate(SENT)
    times = {"first paint": page.evaluate(PAINT), "bytes as sent": packed, "bytes as written": written}
    photo = quote(page.locator("#picks .card").first.get_attribute("data-id") or "")
    page.goto("about:blank")
    page.goto(f"{url}#photo={photo}")
    page.wait_for_selector("#lists .card")
    times["first answers"] = page.evaluate("performance.now()")
    page.wait_for_selector("#busy", state="hidden")
    times["all answers"] = page.evaluate("performance.now()")
    page.goto("about:blank")
    page.goto(f"{url}#photo={photo}&top={MOST}")
    page.wait_for_selector("body[data-painted]")
    number, took = page.evaluate(TOOK)
    return times | {"many answers": number, "reply to paint": took}


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
            context.add_init_script(NOTE)
            context.set_default_timeout(0)
            for name, value in look(context.new_page(), options.url).items():
                seen.setdefault(name, []).append(value)
            context.close()
        browser.close()
    for name, values in seen.items():
        print(f"{name:16} median {statistics.median(values):8.0f}   most {max(values):8.0f}")


if __name__ == "__main__":
    main()
