"""Secrets of the environment and of pictures: none of them is in anything that firstlight writes or says."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from hostile_parts.attempts import Found, Row, tried
from hostile_parts.commands import Ran
from hostile_parts.place import Place

VARIABLES = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN",
    "FIRSTLIGHT_TOKEN",
    "OPENAI_API_KEY", "WANDB_API_KEY", "PGPASSWORD", "DATABASE_URL", "SSH_AUTH_SOCK", "KAGGLE_KEY", "NETRC", "API_KEY",
    "AZURE_CLIENT_SECRET", "GOOGLE_APPLICATION_CREDENTIALS", "SECRET_KEY", "PASSWORD", "TOKEN", "MY_PRIVATE_THING",
)  # fmt: skip
TAGS = {  # of EXIF, by what they tell
    "artist": 0x013B, "copyright": 0x8298, "description": 0x010E, "software": 0x0131, "host": 0x013C, "date": 0x0132,
    "document": 0x010D, "author": 0x9C9D, "comment": 0x9C9C, "title": 0x9C9B,
}  # fmt: skip
INNER_TAGS = {"owner": 0xA430, "serial": 0xA431, "lens": 0xA435, "note": 0x927C, "user": 0x9286, "id": 0xA420}
GPS_TAGS = {"place": 27, "area": 28, "day": 29, "datum": 18}


def rows(place: Place) -> Iterator[Row]:
    """Yield one row: a secret is tried by looking for it in everything that a run and its commands leave."""
    yield searched(everything(place, _use))


def searched(written: dict[str, bytes]) -> Row:
    """Return the row of all secrets, each looked for in some files."""
    names = [*(f"variable {name}" for name in VARIABLES), *(f"EXIF {name}" for name in (*TAGS, *INNER_TAGS, *GPS_TAGS))]

    def look(number: int) -> Found:
        secret = secret_of(names[number].split()[1])
        forms = [secret.encode(), secret.encode("utf-16-le"), secret.encode().hex().encode()]
        where = [name for name, data in written.items() if any(form in data for form in forms)]
        return Found(f"{names[number]} is in {where[:3]}" if where else "", sum(map(len, written.values())))

    return tried("secrets", len(names), look)


def secret_of(name: str) -> str:
    """Return what is looked for: as long as a token, and nowhere else."""
    return f"canary-{name.lower()}-7f3a9"


def everything(place: Place, use: Callable[[Path], None]) -> dict[str, bytes]:
    """Return all that `use` leaves in its folder, by the names of the files, with secrets in the environment.

    In a process of its own, so that this one keeps its environment.
    """
    folder = place.fresh("canaries")
    child = os.fork()
    if child == 0:
        os.environ |= {name: secret_of(name) for name in VARIABLES}
        os.environ["FIRSTLIGHT_CACHE"] = str(folder / "cache")
        code = 1
        try:
            use(folder)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the commands that the secrets are looked for in failed")
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _use(folder: Path) -> None:
    """Train, and use the model in all ways; what is said goes to files. The pictures are removed afterwards."""
    photos, run = folder / "photos", folder / "run"
    chance = np.random.default_rng(0)
    for number in range(60):
        file = photos / "abc"[number % 3] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(photograph(chance.integers(0, 256, (40, 40, 3), np.uint8)))
    picture, said = photos / "a" / "0.jpg", []
    for words in (
        ["check", photos, "--labels"], ["check", photos, "--json"],
        ["train", photos, "--model=mlp", "--hidden=8", "--epochs=2", "--img-size=16", "--out", run],
        ["predict", run, photos, "--csv", folder / "answers.csv"], ["predict", run, picture, "--json"],
        ["evaluate", run, photos, "--csv", folder / "scores.csv", "--out", folder / "figures"],
        ["explain", run, picture, "--out", folder / "heatmaps"], ["report", run], ["export", run, "--to", "card"],
        ["predict", run, "no-such-file", "--json"], ["train", photos, "--epochs", "many"],
        ["train", folder / "nothing"],
    ):  # fmt: skip
        ran = Ran(*words)
        said.append(" ".join(ran.words) + ran.out + ran.err)
    (folder / "said.txt").write_text("\n".join(said))
    shutil.rmtree(photos)


def photograph(pixels: np.ndarray) -> bytes:
    """Return a JPEG whose EXIF block tells what nobody should hear."""
    exif = Image.Exif()
    for name, tag in TAGS.items():
        exif[tag] = secret_of(name).encode("utf-16-le") if tag >= 0x9C00 else secret_of(name)
    inner, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    inner |= {
        tag: secret_of(name).encode() if tag in (0x927C, 0x9286) else secret_of(name)
        for name, tag in INNER_TAGS.items()
    }
    gps |= {tag: secret_of(name).encode() if tag in (27, 28) else secret_of(name) for name, tag in GPS_TAGS.items()}
    exif[0x8769], exif[0x8825] = dict(inner), dict(gps)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", exif=exif, comment=secret_of("comment"))
    return file.getvalue()
