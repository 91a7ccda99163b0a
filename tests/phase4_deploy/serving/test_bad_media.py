"""Pictures and recordings that are none, or too much, or somebody else's; and thousands of damaged
ones: no crash, nothing fetched, memory flat."""

import base64
import contextlib
import io
import json
import random
import socket
import struct
import threading
import zlib
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image, PngImagePlugin

PICTURE_PATHS = ("/v1/captions", "/v1/vqa", "/v1/chat/completions", "/v1/embeddings")


def uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def show(http: httpx.Client, path: str, address: str) -> httpx.Response:
    """Send a picture's address the way that a path takes it."""
    parts = [{"type": "image_url", "image_url": {"url": address}}]
    body = {
        "/v1/captions": {"image": address, "max_tokens": 2},
        "/v1/vqa": {"image": address, "question": "what is it?", "max_tokens": 2},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": parts}], "max_tokens": 2},
        "/v1/embeddings": {"input": address},
    }[path]
    return http.post(path, json=body)


def hear(http: httpx.Client, content: bytes, name: str = "a.wav") -> httpx.Response:
    return http.post("/v1/audio/transcriptions", files={"file": (name, content)})


def say(http: httpx.Client, content: bytes) -> httpx.Response:
    data = base64.b64encode(content).decode()
    parts = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    messages = [{"role": "user", "content": parts}]
    return http.post("/v1/chat/completions", json={"messages": messages, "max_tokens": 2})


def refused(answer: httpx.Response, *statuses: int) -> dict:
    assert answer.status_code in statuses, answer.text[:300]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(width: int, height: int, rows: bytes, *before: bytes) -> bytes:
    """A picture in black and white whose rows are given compressed."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    end = chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + end


def zeros(number: int) -> bytes:
    """So many zeros, compressed a thousandfold."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(bytes(2**20)) for _ in range(number >> 20)]
    return b"".join(parts) + packer.flush()


def test_bombs_are_not_unpacked(live):
    """30,000 x 30,000 pixels in 0.5 MB, text of 300 MB in 1.3 MB, and rows without end."""
    bombs = {
        "pixels": png(30_000, 30_000, zeros(30_000 * 3751)),
        "text": png(8, 8, zlib.compress(bytes(16)), chunk(b"zTXt", b"a\0\0" + zeros(300 << 20))),
        "rows": png(8, 8, zeros(300 << 20)),
    }
    for content in bombs.values():  # once, for what stays in memory from then on
        show(live.http, "/v1/captions", uri(content))
    before = live.rss
    for _ in range(3):
        for kind, content in bombs.items():
            for path in PICTURE_PATHS:
                answer = show(live.http, path, uri(content))
                if kind == "pixels":
                    assert "too large" in refused(answer, 413)["message"]
                else:
                    assert answer.status_code in (200, 400), answer.text
    assert live.rss - before < 60


def test_recordings_without_end_are_cut_off(live):
    """Two hours of silence are 1 MB of FLAC; a WAV may say that it holds 4 GB."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(2 * 3600 * 8000, np.int16), 8000, format="FLAC")
    before = live.rss
    assert refused(hear(live.http, buffer.getvalue(), "a.flac"), 413)["code"] == "audio_too_long"
    assert refused(say(live.http, buffer.getvalue()), 413)["code"] == "audio_too_long"
    lying = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    for size in (2**32 - 1, 2**31, 0):
        content = lying + b"data" + struct.pack("<I", size) + bytes(3200)
        assert hear(live.http, content).status_code in (200, 400)
    assert live.rss - before < 150


def test_files_that_are_two_things_are_what_they_begin_with(live, scene, recording):
    page = b"<html><script>fetch('http://127.0.0.1/')</script></html>"
    zipped = b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)
    for content in (scene + page, scene + zipped, scene.replace(b"IEND", b"IEND")):
        answer = show(live.http, "/v1/captions", uri(content))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    sound, magic = recording(), b"\x89PNG\r\n\x1a\n"
    none = (
        magic + sound,
        sound[:12] + scene,
        page,
        zipped,
        b"%PDF-1.7\n" + scene,
        b"GIF89a",
        sound,
    )
    for content in none:
        assert (
            refused(show(live.http, "/v1/captions", uri(content)), 400)["code"] == "invalid_image"
        )
    for content in (magic + sound, scene, page, zipped, sound[:20] + scene, b"", sound[:44]):
        for answer in (hear(live.http, content), say(live.http, content)):
            if content == sound[:44]:  # a header of no samples
                assert answer.status_code in (200, 400)
            else:
                refused(answer, 400 if content else answer.status_code)
                assert answer.status_code in (400, 422)


@pytest.mark.parametrize("address", [
    "", "data:", "data:,", "data:image/png", "data:image/png,abc", "data:image/png;base64",
    "data:image/png;base64,", "data:image/png;base64,!!!!", "data:image/png;base64,AAAA====",
    "data:image/png;base64,AAA", "data:image/png;base64,iVBORw0K Ggo=", "data:text/html,<b>",
    "data:image/png;base64," + "%41" * 8, "data:image/png;charset=a;b=c;base64,AA==", "image.png",
    "data:" + "a" * 5000 + ";base64,AA==", "data:image/png;base64,\u00e9",
    "DATA:IMAGE/PNG;BASE64,",
    "data:image/png;" + "a=b;" * 40_000 + "base64,AA==", "\x00",
    "data:image/svg+xml;base64,PHN2Zy8+",
])  # fmt: skip
def test_malformed_data_uris(live, address):
    for path in PICTURE_PATHS:
        answer = show(live.http, path, address)
        if path == "/v1/embeddings" and not address.lower().startswith("data:image/"):
            assert answer.status_code in (200, 400)  # there it is a text
        else:
            error = refused(answer, 400 if address or "chat" not in path else 422)
            assert error["code"] in ("invalid_image_url", "invalid_image", "invalid_value")


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[int, list[str]]]:
    """A port that nobody should call, at IPv4 and IPv6, and who called it all the same."""
    calls: list[str] = []
    first = socket.create_server(("127.0.0.1", 0))
    port = first.getsockname()[1]
    listeners = [first]
    if socket.has_ipv6:
        with contextlib.suppress(OSError):  # a machine without it
            listeners.append(socket.create_server(("::1", port), family=socket.AF_INET6))

    def listen(listener: socket.socket) -> None:
        while True:
            try:
                connection, caller = listener.accept()
            except OSError:
                return
            calls.append(str(caller))
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n")
            connection.close()

    threads = [threading.Thread(target=listen, args=(each,), daemon=True) for each in listeners]
    for thread in threads:
        thread.start()
    socket.create_connection(("127.0.0.1", port)).close()
    while not calls:  # it sings when it is called
        pass
    calls.clear()
    yield port, calls
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


HOSTS = ("127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0",
         "[::ffff:127.0.0.1]", "user@127.0.0.1")  # fmt: skip


def test_nothing_is_ever_fetched(live, canary):
    """By any scheme, host and field; in pictures and sounds that name addresses; by redirects."""
    port, calls = canary
    addresses = [
        f"{scheme}://{host}:{port}/a.png" for scheme in ("http", "HTTPS") for host in HOSTS
    ]
    rest = ("ftp", "gopher", "ws", "dict", "rtsp", "s3", "tftp", "smb", "jar:http", "url:http")
    addresses += [f"{scheme}://127.0.0.1:{port}/a.png" for scheme in rest]
    addresses += [f"//127.0.0.1:{port}/a", f" http://127.0.0.1:{port}/a", "file:///etc/passwd",
                  f"file://127.0.0.1:{port}/a", "/etc/passwd", f"data:http://127.0.0.1:{port}/a",
                  f"http:\\\\127.0.0.1:{port}\\a", f"\nhttp://127.0.0.1:{port}/"]  # fmt: skip
    for address in addresses:
        for path in PICTURE_PATHS[:3]:
            error = refused(show(live.http, path, address), 400)
            assert error["code"] == "invalid_image_url"
        show(live.http, "/v1/embeddings", address)
        body = {"image": "data:image/png;base64,AA==", "audio": address}
        refused(live.http.post("/v1/vqa", json=body), 400)
    inside = f"http://127.0.0.1:{port}/a"
    for content in (
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{inside}"/></svg>',
        f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "{inside}">]><svg>&b;</svg>',
        f"#EXTM3U\n#EXTINF:1,\n{inside}\n", f"push graphic-context\nimage over 0,0 0,0 '{inside}'",
        f"ffconcat version 1.0\nfile '{inside}'\n", f"[playlist]\nFile1={inside}\n",
        f"%!PS\n({inside}) (r) file\n",
    ):  # fmt: skip
        for kind in ("image/png", "image/svg+xml"):
            refused(show(live.http, "/v1/captions", uri(content.encode(), kind)), 400)
        for name in ("a.m3u8", "a.wav", "concat:a.wav"):
            refused(hear(live.http, content.encode(), name), 400)
        refused(say(live.http, content.encode()), 400)
    for text in (inside, f"file {inside}", f"![a]({inside})"):
        live.http.post("/v1/completions", json={"prompt": text, "max_tokens": 1})
    assert calls == []


# Damaged at random.


def seeds(scene: bytes, recording) -> dict[str, list[bytes]]:
    """Small real files of every kind."""
    picture = Image.open(io.BytesIO(scene))
    pictures, info = [scene], PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 50, zip=True)
    kinds = [("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("WEBP", {}), ("BMP", {}),
             ("TIFF", {"compression": "tiff_lzw"}), ("PNG", {"pnginfo": info}), ("PPM", {}),
             ("WEBP", {"lossless": True})]  # fmt: skip
    for kind, how in kinds:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **how)
        pictures.append(buffer.getvalue())
    sounds = [recording(0.3, form) for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF")]
    body = {"model": "lm", "prompt": ["a", "b"], "max_tokens": 3, "temperature": 0.5, "n": 2,
            "stop": ["x"], "stream": False, "seed": 1, "stream_options": None}  # fmt: skip
    return {"picture": pictures, "sound": sounds, "json": [json.dumps(body).encode()]}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes changed, taken out, doubled, put in; the beginning a little more often."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        place = int(len(found) * rng.random() ** 2)
        match rng.randrange(6):
            case 0 | 1:
                found[place : place + 1] = rng.randbytes(1)
            case 2:
                found[place : place + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
            case 3:
                del found[place : place + rng.randint(1, 64)]
            case 4:
                found[place:place] = found[place : place + rng.randint(1, 64)]
            case 5:
                found = found[: max(place, 1)] if rng.random() < 0.3 else found + rng.randbytes(9)
    return bytes(found)


def fuzz(live, files: dict[str, list[bytes]], number: int) -> None:
    rng = random.Random(number)

    def once() -> None:
        for kind, contents in files.items():
            content = damaged(rng.choice(contents), rng)
            if kind == "picture":
                answers = [show(live.http, rng.choice(PICTURE_PATHS), uri(content))]
            elif kind == "sound":
                answers = [rng.choice((hear, say))(live.http, content)]
            else:
                head = {"content-type": "application/json"}
                answers = [live.http.post("/v1/completions", content=content, headers=head)]
            for answer in answers:
                if answer.status_code != 200:
                    assert answer.status_code in (400, 404, 413, 422), (answer.text, content)
                    refused(answer, answer.status_code)

    for _ in range(number // 4):
        once()
    before = live.rss
    for _ in range(number):
        once()
    assert live.rss - before < 48  # MiB; what one picture of the largest size takes
    assert live.http.get("/health/ready").status_code == 200


def test_damaged_uploads(live, scene, recording):
    fuzz(live, seeds(scene, recording), 80)


@pytest.mark.full
def test_thousands_of_damaged_uploads(live, scene, recording):
    fuzz(live, seeds(scene, recording), 4000)
