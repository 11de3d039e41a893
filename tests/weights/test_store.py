"""Models: found, pulled, resumed, verified; against a real server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import http.server
import io
import multiprocessing
import os
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from face3d_cli.errors import ModelError, OutputError
from face3d_cli.weights import download, registry, store
from face3d_cli.weights.registry import ModelFile, ModelSpec
from face3d_cli.weights.store import bytes_to_pull, find_model, model_state, pull, verify

CONTENT = {
    "large.bin": np.random.default_rng(0).bytes(1_000_000),
    "small.txt": b"0 1 2\n",
}


def spec_at(address: str, name: str = "toy") -> ModelSpec:
    return ModelSpec(
        name=name,
        what="a toy",
        origin="download",
        files=tuple(
            ModelFile(
                file,
                len(data),
                hashlib.sha256(data).hexdigest(),
                f"{address}/toy/{file}" if address else "",
            )
            for file, data in CONTENT.items()
        ),
        homepage="https://example.org/toy",
        licence="MIT",
        licence_url="",
        non_commercial=False,
        paper="",
        preprocessing="",
        needed_for="tests",
    )


class Server(http.server.ThreadingHTTPServer):
    """Serves `CONTENT` under /toy/, with the faults a test asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = {f"/toy/{name}": data for name, data in CONTENT.items()}
        self.requests: list[tuple[str, str | None]] = []
        self.honours_range = True
        self.cut_after: list[int] = []  # bytes of each coming answer before the connection is cut
        self.status = 0
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        data = self.server.content.get(self.path)
        if data is None or self.server.status:
            self.send_error(self.server.status or 404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not self.server.honours_range:
            start = 0
        elif start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop = start + self.server.cut_after.pop(0) if self.server.cut_after else len(data)
        self.wfile.write(data[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("FACE3D_MIRROR", "FACE3D_OFFLINE", "http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def toy(server, home, monkeypatch):
    """The toy model, published by the server, in an empty store; returns its folder to be."""
    monkeypatch.setattr(registry, "_MODELS", (spec_at(server.address),))
    return home / "toy"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_pulled_model_is_found_and_verified(toy, server):
    assert bytes_to_pull("toy") == 1_000_006
    assert pull("toy") == toy
    assert {name: path.read_bytes() for name, path in find_model("toy").items()} == CONTENT
    assert verify("toy") == toy
    assert names(toy) == ["large.bin", "small.txt"]
    assert bytes_to_pull("toy") == 0
    asked = len(server.requests)
    pull("toy")
    assert len(server.requests) == asked  # what is whole is not asked for again


def test_missing_model_names_file_address_and_command(toy, server):
    with pytest.raises(ModelError) as caught:
        find_model("toy")
    assert caught.value.exit_code == 4
    text = str(caught.value)
    assert f"{toy / 'large.bin'} is missing" in text
    assert f"{server.address}/toy/large.bin" in text
    assert "small.txt" in text
    assert "face3d models pull toy" in text
    assert "\n" not in text


def test_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"no model named 'nope'; expected one of dlib, surrey"):
        find_model("nope")


def test_flipped_byte_is_named_by_verify_and_mended_by_pull(toy):
    pull("toy")
    damaged = bytearray(CONTENT["large.bin"])
    damaged[500_000] ^= 1
    (toy / "large.bin").write_bytes(damaged)
    assert find_model("toy")  # same size: the quick check passes
    with pytest.raises(ModelError, match=r"damaged: .*large\.bin has sha256") as caught:
        verify("toy")
    assert "small.txt" not in str(caught.value)
    assert bytes_to_pull("toy") == 1_000_000
    pull("toy")
    assert (toy / "large.bin").read_bytes() == CONTENT["large.bin"]


def test_wrong_size_is_named_at_once(toy):
    pull("toy")
    (toy / "small.txt").write_bytes(b"0 1")
    with pytest.raises(ModelError, match=r"damaged: .*small\.txt has 3 bytes, expected 6"):
        find_model("toy")


def test_damage_is_named_before_what_is_missing(toy):
    toy.mkdir(parents=True)
    (toy / "small.txt").write_bytes(b"0 1")
    state = model_state("toy")
    assert state.state == "damaged"
    assert state.bad_files == ("small.txt", "large.bin")


def test_broken_connection_is_resumed_within_one_pull(toy, server):
    server.cut_after = [300_000, 200_000]
    pull("toy")
    asked = [wanted for path, wanted in server.requests if path.endswith("large.bin")]
    assert asked == [None, "bytes=300000-", "bytes=500000-"]
    assert verify("toy")


def test_interrupted_pull_goes_on_where_it_stopped(toy, server):
    server.cut_after = [100_000, 0, 0]
    with pytest.raises(ModelError, match=r"100,000 of 1,000,000 bytes.*run the same command again"):
        pull("toy")
    assert names(toy) == ["large.bin.part"]
    with pytest.raises(ModelError, match="missing"):
        find_model("toy")
    server.requests.clear()
    gained: list[int] = []
    pull("toy", lambda count, _name: gained.append(count))
    assert server.requests[0] == ("/toy/large.bin", "bytes=100000-")
    assert sum(gained) == 1_000_006
    assert names(toy) == ["large.bin", "small.txt"]


def test_server_without_ranges_starts_again(toy, server):
    server.honours_range = False
    server.cut_after = [400_000]
    gained: list[int] = []
    pull("toy", lambda count, _name: gained.append(count))
    assert sum(gained) == 1_000_006
    assert verify("toy")


@pytest.mark.parametrize("size", [10, 1_000_000, 1_500_000])
def test_rubbish_in_the_partial_file_does_not_matter(toy, size):
    toy.mkdir(parents=True)
    (toy / "large.bin.part").write_bytes(bytes(size))
    pull("toy")
    assert verify("toy")
    assert names(toy) == ["large.bin", "small.txt"]


def test_wrong_content_is_refused_and_nothing_is_kept(toy, server):
    server.content["/toy/large.bin"] = bytes(1_000_000)
    with pytest.raises(ModelError, match="is not the pinned file: expected sha256") as caught:
        pull("toy")
    assert f"{server.address}/toy/large.bin" in str(caught.value)
    assert names(toy) == []


def test_longer_content_is_refused(toy, server):
    server.content["/toy/large.bin"] = bytes(1_000_001)
    with pytest.raises(ModelError, match="longer than the pinned file"):
        pull("toy")
    assert names(toy) == []


def test_shorter_content_is_refused(toy, server):
    server.content["/toy/large.bin"] = CONTENT["large.bin"][:999]
    with pytest.raises(ModelError, match=r"999 of 1,000,000 bytes"):
        pull("toy")
    assert not (toy / "large.bin").exists()


@pytest.mark.parametrize(("status", "said"), [(403, "HTTP 403"), (503, "HTTP 503")])
def test_refusing_server_is_said_in_one_line(toy, server, status, said):
    server.status = status
    with pytest.raises(ModelError, match=said) as caught:
        pull("toy")
    assert "\n" not in str(caught.value)
    assert len(server.requests) == (1 if status < 500 else 3)


def test_not_found_names_the_address(toy, server):
    del server.content["/toy/large.bin"]
    with pytest.raises(ModelError, match=f"not at {server.address}/toy/large.bin"):
        pull("toy")


def test_server_that_is_not_there_is_a_model_error(home, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", (spec_at("http://127.0.0.1:9"),))
    with pytest.raises(ModelError, match="cannot pull"):
        pull("toy")


def test_slow_server_times_out(toy, server, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.05)
    release = threading.Event()
    monkeypatch.setattr(Handler, "do_GET", lambda self: release.wait(5))
    with pytest.raises(ModelError, match="timed out"):
        pull("toy")
    release.set()


def test_mirror_folder_is_used_even_offline(home, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", (spec_at("http://127.0.0.1:9"),))
    mirror = tmp_path / "mirror [1]"
    (mirror / "toy").mkdir(parents=True)
    for name, data in CONTENT.items():
        (mirror / "toy" / name).write_bytes(data)
    monkeypatch.setenv("FACE3D_MIRROR", str(mirror))
    monkeypatch.setenv("FACE3D_OFFLINE", "1")
    pull("toy")
    assert verify("toy") == home / "toy"


def test_mirror_address_comes_before_upstream(server, home, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", (spec_at("http://127.0.0.1:9"),))
    monkeypatch.setenv("FACE3D_MIRROR", server.address + "/")
    pull("toy")
    assert [path for path, _ in server.requests] == ["/toy/large.bin", "/toy/small.txt"]


def test_file_that_the_mirror_lacks_comes_from_upstream(toy, server, tmp_path, monkeypatch):
    (tmp_path / "mirror" / "toy").mkdir(parents=True)
    (tmp_path / "mirror" / "toy" / "small.txt").write_bytes(CONTENT["small.txt"])
    monkeypatch.setenv("FACE3D_MIRROR", str(tmp_path / "mirror"))
    pull("toy")
    assert [path for path, _ in server.requests] == ["/toy/large.bin"]


def test_damaged_mirror_is_refused(toy, tmp_path, monkeypatch):
    (tmp_path / "mirror" / "toy").mkdir(parents=True)
    (tmp_path / "mirror" / "toy" / "large.bin").write_bytes(bytes(1_000_000))
    monkeypatch.setenv("FACE3D_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ModelError, match="is not the pinned file"):
        pull("toy")


def test_offline_never_asks_and_names_file_and_address(toy, server, monkeypatch):
    monkeypatch.setenv("FACE3D_OFFLINE", "1")
    monkeypatch.setenv("FACE3D_MIRROR", server.address)
    with pytest.raises(ModelError) as caught:
        pull("toy")
    assert "toy/large.bin" in str(caught.value)
    assert f"FACE3D_OFFLINE forbids {server.address}/toy/large.bin" in str(caught.value)
    assert server.requests == []


def test_file_without_any_source_says_what_to_set(home, monkeypatch):
    monkeypatch.setattr(registry, "_MODELS", (spec_at(""),))
    with pytest.raises(ModelError, match=r"no source is known.*FACE3D_MIRROR.*toy/large\.bin"):
        pull("toy")


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"../Folder/{name}")  # must not lead out of the store
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def mirrored_bundle(server, home, tmp_path, monkeypatch):
    """Makes a mirror that holds the toy model as one archive of the given files."""

    def make(files: dict[str, bytes]) -> Path:
        data = archive_of(files)
        bundle = ModelFile("toy.tar.xz", len(data), hashlib.sha256(data).hexdigest())
        monkeypatch.setattr(registry, "_MODELS", (replace(spec_at(server.address), bundle=bundle),))
        (tmp_path / "mirror" / "toy").mkdir(parents=True)
        (tmp_path / "mirror" / "toy" / "toy.tar.xz").write_bytes(data)
        monkeypatch.setenv("FACE3D_MIRROR", str(tmp_path / "mirror"))
        return home / "toy"

    return make


def test_archive_of_a_mirror_is_unpacked(mirrored_bundle, server):
    folder = mirrored_bundle({**CONTENT, "readme": b"not wanted"})
    gained: list[int] = []
    pull("toy", lambda count, _name: gained.append(count))
    assert sum(gained) == 1_000_006
    assert names(folder) == ["large.bin", "small.txt"]
    assert names(folder.parent) == ["toy"]
    assert verify("toy") == folder
    assert server.requests == []


def test_what_the_archive_lacks_comes_from_upstream(mirrored_bundle, server):
    folder = mirrored_bundle({"small.txt": CONTENT["small.txt"]})
    pull("toy")
    assert verify("toy") == folder
    assert [path for path, _ in server.requests] == ["/toy/large.bin"]


def test_damaged_file_inside_an_archive_is_refused(mirrored_bundle):
    folder = mirrored_bundle({**CONTENT, "large.bin": bytes(1_000_000)})
    with pytest.raises(ModelError, match=r"large\.bin of .*expected"):
        pull("toy")
    assert names(folder) == []


def test_archive_that_is_none_is_refused(mirrored_bundle, monkeypatch):
    folder = mirrored_bundle(CONTENT)
    data = b"no archive"
    bundle = ModelFile("toy.tar.xz", len(data), hashlib.sha256(data).hexdigest())
    monkeypatch.setattr(registry, "_MODELS", (replace(registry._MODELS[0], bundle=bundle),))
    Path(os.environ["FACE3D_MIRROR"], "toy", "toy.tar.xz").write_bytes(data)
    with pytest.raises(ModelError, match="cannot unpack"):
        pull("toy")
    assert names(folder) == []


def test_model_with_an_archive_comes_file_by_file_without_a_mirror(mirrored_bundle, monkeypatch):
    folder = mirrored_bundle(CONTENT)
    monkeypatch.delenv("FACE3D_MIRROR")
    pull("toy")
    assert verify("toy") == folder


def test_explicit_folder_is_the_only_one_looked_at(toy, tmp_path):
    pull("toy")
    with pytest.raises(ModelError, match="elsewhere"):
        find_model("toy", tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    for name, data in CONTENT.items():
        (tmp_path / "elsewhere" / name).write_bytes(data)
    assert find_model("toy", tmp_path / "elsewhere")["large.bin"].parent.name == "elsewhere"


def test_store_that_cannot_be_written_names_the_variable(toy):
    toy.parent.mkdir(parents=True)
    toy.write_text("a file where a folder is needed")
    with pytest.raises(OutputError, match="FACE3D_HOME"):
        pull("toy")


def _pull_in_process(address: str, ready: object, outcome: multiprocessing.Queue) -> None:
    registry._MODELS = (spec_at(address),)
    ready.wait()  # type: ignore[attr-defined]
    try:
        pull("toy")
        outcome.put("ok")
    except BaseException as problem:
        outcome.put(repr(problem))


def test_two_processes_pull_at_once_and_both_succeed(toy, server):
    context = multiprocessing.get_context("spawn")
    ready, outcome = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_pull_in_process, args=(server.address, ready, outcome))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [outcome.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found == ["ok", "ok"]
    assert [path for path, _ in server.requests] == ["/toy/large.bin", "/toy/small.txt"]
    assert verify("toy") == toy


def test_store_is_the_cache_folder_unless_a_home_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("FACE3D_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if os.name == "posix" and os.uname().sysname == "Linux":
        assert store.store_folder() == tmp_path / "face3d"
    monkeypatch.setenv("FACE3D_HOME", "~/models")
    assert store.store_folder() == Path.home() / "models"


@pytest.fixture
def shipped(home, tmp_path, monkeypatch):
    """A folder of shipped weights, in place of the project's own."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(registry, "shipped_folder", lambda: folder)
    monkeypatch.setattr(store, "shipped_folder", lambda: folder)
    return folder


def test_shipped_weights_are_listed_by_their_sums(shipped, home):
    with pytest.raises(
        ModelError, match=r"missing: .*SHA256SUMS lists no file of it.*reinstall face3d"
    ):
        find_model("unet-face")
    lines = []
    for name in ("unet-face.onnx", "unet-face.safetensors", "unet-face2.onnx"):
        (shipped / name).write_bytes(name.encode())
        lines.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}")
    (shipped / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    assert set(find_model("unet-face")) == {"unet-face.onnx", "unet-face.safetensors"}
    assert verify("unet-face") == shipped
    assert pull("unet-face") == shipped
    (shipped / "unet-face.onnx").write_bytes(b"unet-face,onnx")
    with pytest.raises(ModelError, match=r"damaged: .*unet-face\.onnx has sha256"):
        verify("unet-face")
    with pytest.raises(ModelError, match="reinstall"):
        pull("unet-face")
    own = home / "unet-face"  # a user's own weights come first
    own.mkdir(parents=True)
    for name in ("unet-face.onnx", "unet-face.safetensors"):
        (own / name).write_bytes(b"mine")
    assert find_model("unet-face")["unet-face.onnx"].read_bytes() == b"mine"


def test_damaged_list_of_shipped_weights_names_the_line(shipped):
    (shipped / "SHA256SUMS").write_text("abc unet-face.onnx\n")
    with pytest.raises(ModelError, match="line 1: expected 'SHA256  FILE'"):
        find_model("unet-face")


def test_dlib_is_found_without_importing_its_package(home):
    import sys

    files = find_model("dlib")
    assert "shape_predictor_68_face_landmarks.dat" in files
    assert "face_recognition_models" not in sys.modules


def test_dlib_without_its_package_says_what_to_install(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ModelError, match="pip install --force-reinstall face_recognition_models"):
        find_model("dlib")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["surrey", "yunet", "ict-facekit"])
def test_real_models_come_from_the_mirror(shared, home, monkeypatch, name):
    monkeypatch.setenv("FACE3D_MIRROR", str(shared / "models"))
    monkeypatch.setenv("FACE3D_OFFLINE", "1")
    pull(name)
    assert verify(name) == home / name


@pytest.fixture
def made(toy, monkeypatch):
    """The toy model as the source of another file: its small one with a mark behind."""
    source = registry._MODELS[0]
    whole = hashlib.sha256(b"0 1 2\n!").hexdigest()
    spec = replace(source, sources=source.files, files=(ModelFile("made.bin", 7, whole),))
    monkeypatch.setattr(registry, "_MODELS", (spec,))

    def convert(sources: Path, target: Path) -> None:
        assert names(sources) == ["large.bin", "small.txt"]
        target.write_bytes((sources / "small.txt").read_bytes() + b"!")

    monkeypatch.setitem(store._CONVERTERS, "toy", convert)
    return toy


def test_sources_are_converted_once_and_not_kept(made, server):
    assert bytes_to_pull("toy") == 1_000_006
    gained: list[int] = []
    assert pull("toy", lambda count, _name: gained.append(count)) == made
    assert sum(gained) == 1_000_006
    assert names(made) == ["made.bin"]
    assert verify("toy") == made
    assert bytes_to_pull("toy") == 0
    asked = len(server.requests)
    pull("toy")
    assert len(server.requests) == asked


def test_conversion_that_gives_something_else_is_refused(made, monkeypatch):
    monkeypatch.setitem(
        store._CONVERTERS, "toy", lambda _sources, target: target.write_bytes(b"another")
    )
    with pytest.raises(ModelError, match="not the pinned one"):
        pull("toy")
    assert names(made) == ["sources"]  # kept: the next pull converts them again
    assert model_state("toy").state == "missing"


def test_damaged_converted_file_is_made_again(made):
    pull("toy")
    (made / "made.bin").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        verify("toy")
    pull("toy")
    assert verify("toy") == made
