"""The real images beside the repository, with few of them to evaluate on: for tests that do not look at the numbers."""

import json
from pathlib import Path


def with_few_to_evaluate(real_data: Path, folder: Path, dataset: str, count: int = 16) -> Path:
    """Link a dataset of COCO json into `folder`, its validation files cut to the first `count` ids; return `folder`."""
    source, target = real_data / dataset, folder / dataset
    (target / "annotations").mkdir(parents=True)
    for entry in source.iterdir():
        if entry.name != "annotations":
            (target / entry.name).symlink_to(entry)
    for path in (source / "annotations").glob("*.json"):
        data = json.loads(path.read_text())
        if "_val" in path.name:
            data["images"] = sorted(data["images"], key=lambda image: image["id"])[:count]
            kept = {image["id"] for image in data["images"]}
            data["annotations"] = [record for record in data["annotations"] if record["image_id"] in kept]
        (target / "annotations" / path.name).write_text(json.dumps(data))
    return folder
