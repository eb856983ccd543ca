"""The package's version, for scikit-build-core: the project's own in a checkout, PKG-INFO's in a source distribution."""

import re
from pathlib import Path
from typing import Any, Mapping, Optional

HERE = Path(__file__).resolve().parent


def dynamic_metadata(field: str, settings: Optional[Mapping[str, Any]] = None) -> str:
    places = {HERE.parent / "CMakeLists.txt": r"project\(tessera VERSION ([0-9.]+)", HERE / "PKG-INFO": r"(?m)^Version: (\S+)$"}
    for file, pattern in places.items():
        found = file.is_file() and re.search(pattern, file.read_text(encoding="utf-8"))
        if found:
            return found.group(1)
    raise RuntimeError(f"{field}: neither {' nor '.join(map(str, places))} says one")
