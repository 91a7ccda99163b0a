"""The demo in a real browser: every tab answers, errors are seen, and nobody else is asked."""

import os
import shutil
from urllib.parse import urlsplit

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def page(demo):
    """The demo, opened; `asked` are the hosts that the page turned to, `noise` its complaints."""
    if not CHROMIUM:
        pytest.skip("there is no Chromium here: apt-get install chromium, or set CHROMIUM")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.set_default_timeout(20_000)
        page.asked, page.noise = set(), []
        page.on("request", lambda request: page.asked.add(urlsplit(request.url).netloc))
        page.on("console", lambda said: page.noise.append(said.text) if said.type == "error" else 0)
        page.goto(demo[0])
        yield page
        browser.close()


def tab(page, name: str):
    page.get_by_role("tab", name=name, exact=True).click()


def test_writing_streams_into_the_page(page):
    tab(page, "Write")
    page.get_by_role("button", name="Write on").click()
    page.wait_for_function(
        "() => [...document.querySelectorAll('textarea')]"
        ".some(area => area.value === 'She had been thinking of once upon seed 0')"
    )


def test_an_example_is_captioned_at_a_click_and_shown_pixel_by_pixel(page):
    tab(page, "Caption")
    page.locator("button.gallery-item:visible").first.click()
    field = page.locator("#shown textarea")
    page.wait_for_function(
        "area => area.value.startsWith('RGB 64 by 64')", arg=field.element_handle()
    )
    shown = page.locator(".seen img:visible").first
    assert shown.evaluate("img => img.naturalWidth") == 64
    assert shown.evaluate("img => img.getBoundingClientRect().height") > 150
    assert shown.evaluate("img => getComputedStyle(img).imageRendering") == "pixelated"


def test_questions_are_typed_and_asked_aloud(page):
    tab(page, "Ask")
    page.locator("tbody tr:visible").nth(1).click()
    field = page.locator("#answer textarea").element_handle()
    page.wait_for_function("area => area.value === '64 px: how many stars are there?'", arg=field)
    page.get_by_role("button", name="“what color is the background?”").click()
    page.wait_for_function("area => area.value === '64 px: question.flac'", arg=field)


def test_drawings_come_one_after_the_other(page):
    tab(page, "Draw")
    page.get_by_label("number input for How many").fill("3")
    page.get_by_role("button", name="Draw", exact=True).click()
    page.wait_for_function(
        "() => document.querySelectorAll('#drawn .thumbnail-item img').length == 3"
    )


def test_a_recording_is_written_down(page):
    tab(page, "Transcribe")
    page.get_by_role("button", name="weasels have eaten").click()
    field = page.locator("#heard textarea").element_handle()
    page.wait_for_function("area => area.value.endsWith('world')", arg=field)


def test_chat_answers_an_example(page):
    tab(page, "Chat")
    page.get_by_role("button", name="What do you see?").click()
    page.get_by_text("I got image_url, text").wait_for()


def test_the_report_runs_in_its_frame_alone(page):
    tab(page, "Report")
    heading = page.frame_locator("#report iframe").locator("h1")
    heading.get_by_text("the script ran").wait_for()
    assert heading.inner_text() == '"1" & ${value} {{two}} the script ran'


def test_a_mistake_is_one_sentence_and_nothing_is_lost(page):
    tab(page, "Write")
    words = page.get_by_label("It begins")
    words.fill("fail")
    page.get_by_role("button", name="Write on").click()
    toast = page.get_by_test_id("toast-body")
    toast.get_by_text("The <b>prompt</b> is 999 tokens long: shorten it").wait_for()
    assert words.input_value() == "fail"
    assert page.locator("#written textarea").input_value().endswith("upon seed 0")


def test_only_the_demo_itself_was_asked(page, demo):
    assert page.asked <= {urlsplit(demo[0]).netloc, ""}  # "": data in the page
    assert page.noise == []
