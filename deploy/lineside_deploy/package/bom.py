"""The bill of materials of a package, in CycloneDX: which software and which models are in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lineside.extras import require
from lineside_deploy.package.contents import PackagedModel, PackageFile


def bill_of_materials(
    version: str, wheels: dict[str, PackageFile], models: Sequence[PackagedModel]
) -> bytes:
    """CycloneDX 1.6, JSON.

    Args:
        version: of lineside.
        wheels: by file name.
        models: what is run.
    """
    bom = require("cyclonedx.model.bom", extra="deploy")
    component = require("cyclonedx.model.component", extra="deploy")
    model = require("cyclonedx.model", extra="deploy")
    output = require("cyclonedx.output.json", extra="deploy")
    utils = require("packaging.utils", extra="deploy")
    purl = require("packageurl", extra="deploy")

    def sha256(content: str) -> object:
        return model.HashType(alg=model.HashAlgorithm.SHA_256, content=content)

    main = component.Component(
        name="lineside",
        version=version,
        type=component.ComponentType.APPLICATION,
        bom_ref="lineside",
    )
    parts = []
    for file, record in sorted(wheels.items()):
        name, release, *_ = utils.parse_wheel_filename(Path(file).name)
        if name == "lineside":
            continue
        parts.append(
            component.Component(
                name=name,
                version=str(release),
                type=component.ComponentType.LIBRARY,
                bom_ref=f"pkg:pypi/{name}@{release}",
                purl=purl.PackageURL("pypi", None, name, str(release)),
                hashes=[sha256(record.sha256)],
            )
        )
    parts += [
        component.Component(
            name=one.bundle,
            version=one.version,
            type=component.ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref=f"model/{one.name}",
            hashes=[sha256(one.digest.removeprefix("sha256:"))],
        )
        for one in models
    ]
    made = bom.Bom(components=parts, metadata=bom.BomMetaData(component=main))
    made.register_dependency(main, parts)
    text: str = output.JsonV1Dot6(made).output_as_string(indent=1)
    return text.encode()
