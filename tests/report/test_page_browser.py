"""The page as a person gets it: in a browser, at two widths, light and dark."""

import pytest


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<img src='https://example.com/x.png'>", "request to https://example.com/x.png"),
        ("<script>throw new Error('bad')</script>", "exception: bad"),
        ("<script>console.error('worse')</script>", "console: worse"),
    ],
)
def test_pages_with_faults_are_refused(open_page, tmp_path, body, said):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>a</title>{body}", encoding="utf-8")
    with pytest.raises(AssertionError, match=said):
        open_page(page)


def test_pale_text_is_found(open_page, axe, tmp_path):
    page = tmp_path / "page.html"
    text = "<!doctype html><html lang=en><title>a</title><main><h1 style='color:{}'>Good words</h1>"
    page.write_text(text.format("#ddd"), encoding="utf-8")
    (finding,) = axe(open_page(page))
    assert finding.startswith("color-contrast (serious)")
    page.write_text(text.format("#222"), encoding="utf-8")
    assert axe(open_page(page)) == []
