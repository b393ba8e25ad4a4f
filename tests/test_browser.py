"""The browser that other tests look through notices what it is there to notice."""

from browser import file_url, opened, overflow


def page(tmp_path, body):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>t</title>{body}")
    return file_url(path)


def test_a_quiet_page_has_no_faults_and_one_request(chromium, tmp_path):
    url = page(tmp_path, "<p>hello</p><img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>")
    with opened(chromium, url, offline=True) as seen:
        assert seen.page.inner_text("p") == "hello"
        assert (seen.faults, seen.requests, seen.dialogs) == ([], [url], [])
        assert overflow(seen.page) == 0


def test_errors_requests_and_dialogs_are_seen(chromium, tmp_path):
    url = page(tmp_path, "<script src='elsewhere.js'></script><script>alert('hi'); null.x</script>")
    with opened(chromium, url) as seen:
        assert seen.requests == [url, url.replace("page.html", "elsewhere.js")]
        assert seen.dialogs == ["hi"]
        assert any("null" in fault for fault in seen.faults)


def test_width_and_scheme_are_the_readers(chromium, tmp_path):
    style = "<style>@media (prefers-color-scheme: dark) { body { background: #010203 } }</style>"
    url = page(tmp_path, style + "<div style='width: 500px'>wide</div>")
    with opened(chromium, url, width=390, dark=True) as seen:
        assert overflow(seen.page) > 100
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(1, 2, 3)"
