"""Archives: what comes out lies in the folder, is what went in, and never more than was said."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from site_of_faults import catalogue_of, site, stay_here, text
from soaking import Soak

from charlm.corpora import unpack as module
from charlm.corpora.download import download
from charlm.corpora.unpack import unpack
from charlm.errors import CharlmError, FetchError

FILES = {"data/names/German.txt": b"Bach\nHaydn\n", "data/names/Greek.txt": "Θεοδωράκης\n".encode(), "data/x.md": b"x"}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress
}  # fmt: skip


def zipped(files: dict[str, bytes], **more: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = more.get("attr", 0)
            archive.writestr(info, data, compress_type=zipfile.ZIP_DEFLATED)
    return made.getvalue()


def tarred(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in others:
            archive.addfile(info)
    return made.getvalue()


def unpacked(tmp_path: Path, data: bytes, kind: str, most: int = 100_000, *members: str) -> dict[str, bytes]:
    """What comes out, by path."""
    folder = tmp_path / "inside" / "out"
    folder.mkdir(parents=True)
    (tmp_path / "archive").write_bytes(data)
    unpack(tmp_path / "archive", folder, kind, most, name="novel.txt", members=members, report=lambda line: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "inside"]
    assert [path.name for path in (tmp_path / "inside").iterdir()] == ["out"]
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_zip_gives_back_its_files(tmp_path: Path) -> None:
    assert unpacked(tmp_path, zipped({**FILES, "empty/": b""}), "zip") == FILES


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_tar_gives_back_its_files_whatever_it_is_packed_with(tmp_path: Path, suffix: str) -> None:
    folder = tarfile.TarInfo("data/more")
    folder.type = tarfile.DIRTYPE
    assert unpacked(tmp_path, PACKERS[suffix](tarred(FILES, folder)), "tar") == FILES


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".bz2"])
def test_a_packed_file_is_one_file(tmp_path: Path, suffix: str) -> None:
    assert unpacked(tmp_path, PACKERS[suffix](b"a novel"), suffix[1:]) == {"novel.txt": b"a novel"}


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_only_the_wanted_members_come_out(tmp_path: Path, pack: Callable[..., bytes], kind: str) -> None:
    wanted = {name: data for name, data in FILES.items() if name.endswith(".txt")}
    assert unpacked(tmp_path, pack(FILES), kind, 100_000, "data/names/*.txt", "*.tex") == wanted
    assert unpacked(tmp_path / "dotted", pack({f"./{name}": data for name, data in FILES.items()}), kind, 100_000,
                    "data/names/*.txt") == wanted  # fmt: skip


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_an_archive_without_a_wanted_member_is_refused(tmp_path: Path, pack: Callable[..., bytes], kind: str) -> None:
    with pytest.raises(FetchError, match=r"holds no file that is called \*\.tex"):
        unpacked(tmp_path, pack(FILES), kind, 100_000, "*.tex")


@pytest.mark.every_case
@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "a/../../evil", "a/../evil", "..", "C:evil", "c:/evil", "a\\..\\..\\evil", "\\evil"]
)
def test_a_member_that_leads_out_refuses_the_whole_archive(
    tmp_path: Path, pack: Callable[..., bytes], kind: str, name: str
) -> None:
    with pytest.raises(FetchError, match="outside of its folder"):
        unpacked(tmp_path, pack({**FILES, name: b"evil"}), kind)
    assert not [path for path in tmp_path.rglob("*evil*")]


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "./a"), ("a", "a//b")])
def test_two_members_in_one_place_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(FetchError, match="two members in one place"):
        unpacked(tmp_path, made.getvalue(), "tar")


def test_links_and_devices_are_left_out_and_lead_nowhere(tmp_path: Path) -> None:
    others = []
    for name, kind, target in (
        ("out", tarfile.SYMTYPE, "../.."), ("passwd", tarfile.LNKTYPE, "/etc/passwd"), ("null", tarfile.CHRTYPE, ""),
        ("pipe", tarfile.FIFOTYPE, ""), ("hole", tarfile.GNUTYPE_SPARSE, ""),
    ):  # fmt: skip
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        others.append(info)
    # A link, and then a member that would be written through it.
    through = tarfile.TarInfo("out/evil")
    assert unpacked(tmp_path, tarred(FILES, *others[:4], through), "tar") == {**FILES, "out/evil": b""}
    assert unpacked(tmp_path / "zip", zipped(FILES), "zip") == FILES
    link = zipped({"link": b"/etc/passwd"}, attr=0o120777 << 16)
    with pytest.raises(FetchError, match="holds no file"):
        unpacked(tmp_path / "link", link, "zip")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "gz", "xz", "bz2"])
def test_a_bomb_is_refused_at_what_was_said(tmp_path: Path, kind: str) -> None:
    data = b"\0" * 30_000_000
    bombs = {"zip": lambda: zipped({"a": data}), "tar": lambda: tarred({"a": data}),
             "tar.gz": lambda: gzip.compress(tarred({"a": data}))}  # fmt: skip
    bomb = bombs[kind]() if kind in bombs else PACKERS[f".{kind}"](data)
    with pytest.raises(FetchError, match=r"more than 100,000 bytes come out"):
        unpacked(tmp_path, bomb, kind.split(".")[0])
    assert sum(file.stat().st_size for file in (tmp_path / "inside").rglob("*") if file.is_file()) <= 1 << 20


def test_a_head_without_an_end_is_a_bomb_too(tmp_path: Path) -> None:
    """A long name is a member of its own, which the reader of archives keeps in memory."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    head = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(FetchError, match="more than 100,000 bytes come out"):
        unpacked(tmp_path, gzip.compress(head + b"x" * 10_000_000), "tar")


def test_very_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 5)
    files = {f"{number}": b"" for number in range(6)}
    with pytest.raises(FetchError, match="more than 5 members"):
        unpacked(tmp_path, tarred(files), "tar", 100_000, "nothing")
    with pytest.raises(FetchError, match="more than 5 members"):
        unpacked(tmp_path / "zip", zipped(files), "zip")


@pytest.mark.parametrize("kind", ["zip", "tar", "gz", "xz", "bz2"])
@pytest.mark.parametrize("data", [b"", b"x", b"<html>" * 1000, b"PK\x03\x04" + b"x" * 1000, b"\x1f\x8b", b"BZh9"])
def test_what_is_no_archive_is_refused(tmp_path: Path, kind: str, data: bytes) -> None:
    if kind == "gz" and not data:
        pytest.skip("nothing is a gzip of nothing, and an empty download is refused before")
    with pytest.raises(FetchError, match="damaged, or no|holds no file"):
        unpacked(tmp_path, data, kind)


def test_damaged_archives_are_refused_or_give_what_lies_inside(tmp_path: Path, soak: Soak) -> None:
    random = Random(3)
    inside = {f"{number}.txt": random.randbytes(300) for number in range(5)}
    long = b"abc" * 999
    archives = {
        "zip": [zipped(inside)],
        "tar": [pack(tarred(inside)) for pack in (bytes, gzip.compress, lzma.compress)],
        **{suffix[1:]: [PACKERS[suffix](long)] for suffix in (".gz", ".xz", ".bz2")},
    }
    tries, refused = soak.count(150, 20_000), 0
    for number in range(tries):
        kind = random.choice(sorted(archives))
        data = bytearray(random.choice(archives[kind]))
        for _ in range(random.choice([1, 1, 3])):
            data[random.randrange(len(data))] = random.randrange(256)
        if random.random() < 0.3:
            del data[random.randrange(len(data)) :]
        folder = tmp_path / str(number)
        try:
            unpacked(folder, bytes(data), kind)
        except (FetchError, OSError):
            refused += 1
            assert sorted(path.name for path in folder.iterdir()) == ["archive", "inside"]
    assert 0 < refused < tries
    soak.saw("archives with changed bytes, unpacked", f"{refused} of {tries} refused; none wrote outside of its folder")


@pytest.mark.parametrize(("kind", "name"), [("zip", "names.zip"), ("tar", "names.tar.xz"), ("gz", "names.txt.gz")])
def test_a_download_is_unpacked_as_the_catalogue_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stay_here(monkeypatch)
    data = {"zip": zipped(FILES), "tar": lzma.compress(tarred(FILES)), "gz": gzip.compress(b"Bach\n")}[kind]
    with site(text(data)) as server:
        more = [f'unpack = "{kind}"', "unpacked = 50000"] + ['members = ["data/names/*"]'] * (kind != "gz")
        book = catalogue_of(server.address("/" + name), *more)
        Path("mine.toml").write_text(book)
        path = download("names", catalogue="mine.toml")
        found = {
            file.relative_to(path).as_posix(): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file() and not file.name.startswith(".")
        }
        wanted = {name: data for name, data in FILES.items() if "names" in name}
        assert found == ({"names.txt": b"Bach\n"} if kind == "gz" else wanted)
        assert [file.name for file in Path("corpora").iterdir()] == ["names"]
        Path("mine.toml").write_text(book.replace("unpacked = 50000", "unpacked = 4"))
        with pytest.raises(CharlmError, match="names cannot be unpacked: more than 4 bytes"):
            download("names", catalogue="mine.toml", out="again")
        assert not list(Path("again").iterdir())
