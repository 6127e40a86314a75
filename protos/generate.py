"""Regenerates the modules beside the .proto files; `--check` says whether the committed ones are current.

Run from the repository's root: `python protos/generate.py`. It never edits a .proto file.
"""

import sys
import sysconfig
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "protos").rglob("*.proto"))


def generate(into: Path) -> None:
    """Writes the generated modules and their type stubs below `into`, in the sources' own folders."""
    well_known = files("grpc_tools") / "_proto"
    outputs = [f"--{kind}_out={into}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    # protoc looks for its plugins on the PATH, which need not have this environment's folder.
    scripts = Path(sysconfig.get_path("scripts"))
    plugins = [f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    status = protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", *plugins, *outputs, *SOURCES])
    if status != 0:
        raise SystemExit(f"protoc failed with status {status}")


def stale() -> list[str]:
    """The generated files, relative to the root, that differ from what the sources give today."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = [path for path in Path(scratch).rglob("*") if path.is_file()]
        names = [path.relative_to(scratch) for path in fresh]
        return sorted(
            name.as_posix()
            for name, path in zip(names, fresh, strict=True)
            if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != path.read_bytes()
        )


def main(arguments: list[str]) -> None:
    if arguments == ["--check"]:
        if names := stale():
            raise SystemExit(f"not current: {', '.join(names)}; run `make proto`")
    elif arguments:
        raise SystemExit("usage: python protos/generate.py [--check]")
    else:
        generate(ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])
