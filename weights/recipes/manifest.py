"""Write the sha256 of every file that ``weights/manifest.json`` names into it; name, purpose and origin are by hand."""

from __future__ import annotations

import json

from d2m_cli.ground.digests import file_sha256
from d2m_cli.ground.weights_path import weights_dir


def main() -> None:
    path = weights_dir() / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for entry in manifest["weights"]:
        entry["sha256"] = file_sha256(path.parent / entry["file"])
    path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
