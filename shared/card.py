"""The model card that every artifact carries: what it is, how good, made from what."""

from typing import Any

TEMPLATE = """---
tags: [vermeil]
license: other
---
# {title} ({id})

{about}

## Results
{metrics}

## Made from
{lineage}

- preset `{preset}`, seed {seed}, {seconds:.0f} s on {hardware}
- made {created} by `vermeil train {step} {preset}`

## Limits
Trained from scratch on the data above and on nothing else: what is not in it, it does not know. It
was not filtered or aligned; its text repeats the views and the errors of its sources.
"""


def model_card(manifest: dict[str, Any], *, title: str, about: str) -> str:
    """The README.md of an artifact, from its manifest."""
    rows = ["| metric | value | split | n | protocol |", "|---|---|---|---|---|"]
    for row in manifest["metrics"]:
        value = "not available" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
        cells = (row["metric"], value, row["split"], row["n"], row["protocol"])
        rows.append("| " + " | ".join("" if c is None else str(c) for c in cells) + " |")
    lineage = [f"- artifact `{p['id']}` (sha256 {p['sha256'][:12]})" for p in manifest["parents"]]
    lineage += [
        f"- data {d['name']} {d['version']} (sha256 {d['sha256'][:12]}), licence: {d['licence']}"
        for d in manifest["data"]
    ]
    machine = manifest["hardware"]
    return TEMPLATE.format(
        title=title,
        about=about,
        metrics="\n".join(rows),
        lineage="\n".join(lineage),
        hardware=f"{machine['gpu'] or machine['cpu']}, {machine['threads']} threads",
        **{k: manifest[k] for k in ("id", "preset", "seed", "seconds", "created", "step")},
    )
